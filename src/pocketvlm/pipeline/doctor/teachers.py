"""The teachers: key, price, and whether the endpoint answers. Nothing asked here is paid."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from threading import Thread
from time import monotonic

import httpx2

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.keys import LOOPBACK, check_address, hide, read_key
from pocketvlm.pipeline.doctor.found import Found
from pocketvlm.workspace import Row

CONNECT, READ = 3.0, 4.0
"""Seconds for a connection, and for each part of the reply."""

WHOLE = 8.0
"""Seconds for all endpoints together: a name server may take its time, a server dribble."""

LARGEST = 8 << 20
"""Bytes of a list of models that are read; the longest known one has 0.6 MB."""

UNAUTHORIZED, FORBIDDEN = 401, 403
UNLISTED = (404, 405, 501)
"""Not every server lists its models."""

NAMED = 3
"""Near matches that are named."""


@dataclass
class Reply:
    """What an endpoint has said to GET /models, as far as it has."""

    status: int | None = None
    body: bytes | None = None
    """None as long as it is not whole."""
    error: Exception | None = None


@dataclass
class Endpoint:
    """One address with one key, and the teachers behind it."""

    base_url: str
    host: str
    key: str | None
    put_key: str
    """What gives it a key, for people."""
    key_name: str
    models: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    """The facts about each teacher."""
    reply: Reply = field(default_factory=Reply)

    def ask(self) -> None:
        """GET /models; what comes is kept part by part, because nobody may wait for the end."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            with (
                httpx2.Client(
                    timeout=httpx2.Timeout(READ, connect=CONNECT),
                    follow_redirects=True,
                    trust_env=self.host not in LOOPBACK,
                ) as client,
                client.stream(
                    "GET", f"{self.base_url.rstrip('/')}/models", headers=headers
                ) as response,
            ):
                self.reply.status = response.status_code
                body = bytearray()
                for part in response.iter_bytes():
                    body += part
                    if len(body) > LARGEST:
                        return
                self.reply.body = bytes(body)
        except Exception as error:  # proxies and certificates of the environment raise much
            self.reply.error = error


def check_teachers(found: Found) -> None:
    """Key, price and endpoint of every teacher; each is a problem of its own. An endpoint that
    labelling has no question for is not looked at, one that it may have some for is warned of."""
    from pocketvlm.pipeline.doctor.questions import look_ahead

    if found.project.config.prepare.custom:
        return
    asking = look_ahead(found)
    endpoints = read_endpoints(found)
    if asking == "nothing":
        return
    ask_all(endpoints)
    for endpoint in endpoints:
        with found.going_on(sure=asking == "surely"):
            said, warnings = judged(endpoint)
            found.warnings += [*warnings, *keyless(endpoint)]
            for row in endpoint.rows:
                row["endpoint"] = said
                row["key"] = row["key"] if endpoint.key else "none, not asked for"


def read_endpoints(found: Found) -> list[Endpoint]:
    """The configured ones, each once; what is wrong with a price or a key's place is told."""
    from pocketvlm.label.money import price_of, price_words

    project, endpoints = found.project, dict[tuple[str, str], Endpoint]()
    rows = found.facts["teachers"] = list[Row]()
    for teacher in project.config.teachers:
        url, name = teacher.base_url, teacher.api_key_env
        row: Row = {"teacher": f"{teacher.model} at {url}"}
        rows.append(row)
        with found.going_on():
            row["price"] = price_words(price_of(project.config, teacher))
        with found.going_on():
            host, key = check_address(url), read_key(name, project.workspace.root)
            row["key"] = f"found as {name}" if key else "none"
            put = f"put {name}=... into {project.workspace.root / '.env'} or the environment"
            one = endpoints.setdefault((url, name), Endpoint(url, host, key, put, name))
            one.models.append(teacher.model)
            one.rows.append(row)
    return list(endpoints.values())


def ask_all(endpoints: Sequence[Endpoint]) -> None:
    """All at once, and none for longer than `WHOLE`: a thread that still waits is left behind."""
    threads = [Thread(target=endpoint.ask, daemon=True) for endpoint in endpoints]
    for thread in threads:
        thread.start()
    until = monotonic() + WHOLE
    for thread in threads:
        thread.join(max(0.0, until - monotonic()))


def judged(endpoint: Endpoint) -> tuple[str, list[str]]:
    """A word for the facts, and warnings. PocketError when nobody answers, ConfigError when the key
    is refused, or missing where one is asked for."""
    reply, where = endpoint.reply, endpoint.base_url
    if reply.status is None:
        return unanswered(endpoint)
    if reply.status in (UNAUTHORIZED, FORBIDDEN) and not endpoint.key:
        raise ConfigError(f"no key for {where}, which wants one: {endpoint.put_key}")
    if reply.status == UNAUTHORIZED:
        raise ConfigError(f"{where} refuses the key in {endpoint.key_name} (401): copy it again")
    if reply.status == FORBIDDEN:
        return "answers, without a list of models", [
            f"{where} shows no models to the key in {endpoint.key_name} (403): that is all right "
            "where the key may do nothing but chat"
        ]
    if reply.status in UNLISTED:
        return "answers, without a list of models", []
    if not 200 <= reply.status < 300:
        return f"answers with {reply.status}", [
            f"{where} answers GET /models with {reply.status}: look whether the service is down, "
            "or the account's limit reached"
        ]
    models = listed(reply.body)
    if models is None:
        return "answers, without a list of models", []
    return f"answers, {len(models)} models", unlisted(endpoint, models)


def unanswered(endpoint: Endpoint) -> tuple[str, list[str]]:
    """A server that takes the connection and says nothing may only be slow; PocketError else, and
    ConfigError where the key is missing, too: only a server on this machine surely needs none."""
    error, where = endpoint.reply.error, endpoint.base_url
    slow = isinstance(error, httpx2.ReadTimeout)
    if slow:
        said = f"{where} takes the connection, but says nothing within {READ:g} s"
    else:
        why = hide(str(error or f"nothing within {WHOLE:g} s"), endpoint.key or "")
        said = (
            f"{where} cannot be reached ({why}): check base_url and the network; a server on this "
            "machine has to be started"
        )
    if not endpoint.key and endpoint.host not in LOOPBACK:
        raise ConfigError(f"{said}. There is no key for it either: {endpoint.put_key}")
    if slow:
        return "slow", [said]
    raise PocketError(said)


def keyless(endpoint: Endpoint) -> list[str]:
    """A warning where a key is sent unencrypted, and where nobody has asked for one yet, but
    somebody has to pay: OpenRouter shows its models to all."""
    if endpoint.key and endpoint.base_url.startswith("http:") and endpoint.host not in LOOPBACK:
        return [
            f"the key in {endpoint.key_name} goes to {endpoint.base_url} in the clear: use https, "
            "or name another variable in api_key_env if that server needs no key"
        ]
    paid = any(row.get("price", "free") != "free" for row in endpoint.rows)
    if endpoint.key or not paid or endpoint.host in LOOPBACK:
        return []
    return [
        f"{endpoint.base_url} answers without a key, but has a price: if it wants a key to label, "
        f"{endpoint.put_key}"
    ]


def listed(body: bytes | None) -> list[str] | None:
    """The names in a list of models as OpenAI's API gives it; None when it is something else."""
    try:
        models = json.loads(body or b"")["data"]
        return [str(model["id"]) for model in models]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def unlisted(endpoint: Endpoint, models: Sequence[str]) -> list[str]:
    """A warning for each model that the server does not list; some have more than they list."""
    near = {name: get_close_matches(name, models, NAMED, 0.5) for name in endpoint.models}
    return [
        f"{endpoint.base_url} does not list the model {name!r}: "
        + (f"near are {', '.join(near[name])}" if near[name] else f"it lists {len(models)} others")
        for name in endpoint.models
        if models and name not in models
    ]
