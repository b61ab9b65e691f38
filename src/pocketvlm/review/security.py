"""Who may ask: the browser that was given the token, on this machine, from this page.

A page in the browser can send requests to 127.0.0.1, and a name of its own can be made to point
there (DNS rebinding). So the Host header must be ours, every request carries the token, and a write
comes from our own page: Origin and Sec-Fetch-Site say so (https://www.w3.org/TR/fetch-metadata/).
"""

from secrets import compare_digest
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 256 * 1024
"""Bytes of a request's body: a thousand decisions."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

READS = ("GET", "HEAD")


class Guard:
    """Refuses what does not come from the page, before anything else looks at it."""

    def __init__(self, app: ASGIApp, token: str, ticket: str, port: int) -> None:
        self.app, self.token = app, token
        self.tickets = [ticket]
        """Good for one visit, which brings the token: what a browser is started with can be seen
        in the list of processes."""
        self.hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self.cookie = f"pocketvlm-review-{port}"
        """Cookies do not know ports: two reviews at once need two names."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # no web sockets here
            return await send({"type": "websocket.close"})
        given = asked_with(scope)
        refusal = self.refusal(scope, Headers(scope=scope), given)
        welcome = given is not None and refusal is None
        if welcome and self.is_ticket(given):
            self.tickets.clear()

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if welcome:
                    headers.append("Set-Cookie", self.new_cookie())
            await send(message)

        if refusal:
            status, why = refusal
            answer = JSONResponse({"detail": why}, status, {"Connection": "close"})
            return await answer(scope, receive, guarded)
        return await self.app(scope, receive, guarded)

    def new_cookie(self) -> str:
        """It ends with the browser's session; scripts cannot read it, other sites not send it."""
        return f"{self.cookie}={self.token}; HttpOnly; SameSite=Strict; Path=/"

    def refusal(self, scope: Scope, headers: Headers, given: str | None) -> tuple[int, str] | None:
        """The status and reason for which a request is refused, or None."""
        if headers.getlist("host") not in ([host] for host in self.hosts):
            return 400, "this is not the address of the review"
        if not self.knows_token(headers, given):
            return 403, "the token is missing or old: open the address that pocketvlm printed"
        page = scope["path"] == "/" and scope["method"] == "GET"
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none") and not page:
            return 403, "only the review's own page may ask"
        if scope["method"] in READS:
            return None
        if headers.get("origin") != f"http://{headers['host']}":
            return 403, "only the review's own page may write"
        size = headers.get("content-length", "")
        if not size.isdecimal() or "transfer-encoding" in headers:
            return 411, "a request says how long it is"
        return (413, "too long") if int(size) > LARGEST else None

    def knows_token(self, headers: Headers, given: str | None) -> bool:
        """Whether the token comes as the page's cookie, or it or the ticket in its address."""
        # http.cookies drops all cookies at the first odd one, and other programs may set some
        brought = cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
        known = same(brought, self.token) or same(given or "", self.token)
        return known or self.is_ticket(given)

    def is_ticket(self, given: str | None) -> bool:
        """Whether this is a ticket that has not been used yet."""
        return any(same(given or "", ticket) for ticket in self.tickets)


def same(given: str, secret: str) -> bool:
    """Whether two texts are equal, in a time that does not tell where they differ."""
    return compare_digest(given.encode(), secret.encode())


def asked_with(scope: Scope) -> str | None:
    """The token of an address, which only that of the page may hold."""
    if scope["path"] != "/":
        return None
    found = parse_qs(scope["query_string"].decode("latin-1")).get("token")
    return found[0] if found else None
