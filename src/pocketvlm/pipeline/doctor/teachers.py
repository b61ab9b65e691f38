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
from pocketvlm.teachers import Teacher
from pocketvlm.workspace import Row

CONNECT, READ = 3.0, 4.0
"""Seconds for a connection, and for each part of the reply."""

WHOLE = 8.0
"""Seconds for all endpoints together: a name server may take its time, a server dribble."""

LARGEST = 8 << 20
"""Bytes of a list of models that are read; the longest known one has 0.6 MB."""

REFUSED = (401, 403)
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
    key_name: str
    models: list[str] = field(default_factory=list)
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
    """Key, price and endpoint of every teacher; each is a problem of its own."""
    from pocketvlm.label.money import price_of, price_words

    project, asked = found.project, dict[tuple[str, str | None], Endpoint]()
    if project.config.prepare.custom:
        return
    rows = found.facts["teachers"] = list[Row]()
    for teacher in project.config.teachers:
        row: Row = {"teacher": f"{teacher.model} at {teacher.base_url}"}
        rows.append(row)
        with found.going_on():
            row["price"] = price_words(price_of(project.config, teacher))
        with found.going_on():
            host = check_address(teacher.base_url)
            key = read_key(teacher.api_key_env, project.workspace.root)
            made = Endpoint(teacher.base_url, host, key, teacher.api_key_env)
            asked.setdefault((teacher.base_url, key), made).models.append(teacher.model)
            row["key"] = key_words(teacher, key)
            if not key and host not in LOOPBACK:
                raise ConfigError(
                    f"no key for {teacher.base_url}: put {teacher.api_key_env}=... into "
                    f"{project.workspace.root / '.env'} or the environment"
                )
    ask_all(list(asked.values()))
    for endpoint in asked.values():
        with found.going_on():
            said, warnings = judged(endpoint)
            found.warnings += warnings
            for row in rows:
                if row["teacher"].endswith(f" at {endpoint.base_url}"):
                    row["endpoint"] = said


def key_words(teacher: Teacher, key: str | None) -> str:
    """Whether there is a key, for people; never the key."""
    if key:
        return f"found as {teacher.api_key_env}"
    local = check_address(teacher.base_url) in LOOPBACK
    return "none, not needed on this machine" if local else "missing"


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
    is refused."""
    reply, where = endpoint.reply, endpoint.base_url
    if reply.status is None:
        return unanswered(endpoint)
    if reply.status in REFUSED and not endpoint.key:
        return "answers, and wants a key", []
    if reply.status in REFUSED:
        raise ConfigError(
            f"{where} refuses the key in {endpoint.key_name} ({reply.status}): copy it again, or "
            "allow it to list models"
        )
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
    """A server that takes the connection and says nothing may only be slow; PocketError else."""
    error, where = endpoint.reply.error, endpoint.base_url
    if isinstance(error, httpx2.ReadTimeout):
        return "slow", [f"{where} takes the connection, but says nothing within {READ:g} s"]
    why = str(error or f"nothing within {WHOLE:g} s")
    raise PocketError(
        f"{where} cannot be reached ({hide(why, endpoint.key or '')}): check base_url and the "
        "network; a server on this machine has to be started"
    )


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
