"""One question to the teacher through any OpenAI-compatible endpoint."""

import asyncio
import base64
import io
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
from PIL import Image
from pydantic_settings import BaseSettings, SettingsConfigDict

from pocketvlm.config import Config
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.label.prompt import answer_schema, build_prompt
from pocketvlm.label.reply import read_reply
from pocketvlm.pictures import open_picture
from pocketvlm.workspace import Row

STRUCTURED_UNKNOWN = (400, 404, 415, 422, 501)
"""How servers without structured output refuse `response_format`."""

SHORTEST_SECRET = 8
"""Characters of a key worth hiding; shorter ones are placeholders such as `none` or `EMPTY`."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Hosts that no proxy of the environment can reach."""


class Unreachable(PocketError):
    """No connection to the endpoint."""


class Deadline(openai.DefaultAsyncHttpxClient):
    """An HTTP client whose `timeout` bounds a whole call. httpx bounds each read, so that a server
    that sends a byte now and then would hold a call for ever."""

    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        """One attempt; httpx2.ReadTimeout, which openai tries again, when it takes too long."""
        try:
            async with asyncio.timeout(self.timeout.read):
                return await super().send(request, **how)
        except TimeoutError:
            raise httpx2.ReadTimeout("the call took too long", request=request) from None


class Teacher:
    """The endpoint with its key, timeout and retries (openai's, which honour Retry-After up to
    two minutes). ConfigError when the address or the key cannot be right."""

    def __init__(self, config: Config, root: Path) -> None:
        settings = config.teacher
        self.config = config
        self.structured = settings.structured
        self.sampling: dict[str, Any] = {
            "temperature": settings.temperature,
            "max_tokens": settings.max_tokens,
        }
        self.prompt = build_prompt(config.task)
        self.key = read_key(settings.api_key_env, root) or "none"
        host = check_address(settings.base_url)
        try:
            self.client = openai.AsyncOpenAI(
                base_url=settings.base_url,
                api_key=self.key,
                timeout=settings.timeout,
                max_retries=settings.retries,
                http_client=Deadline(timeout=settings.timeout, trust_env=host not in LOOPBACK),
            )
        except (ValueError, ImportError, OSError) as error:
            raise ConfigError(
                f"no connection to {settings.base_url} can be set up ({error}): check ALL_PROXY, "
                "HTTPS_PROXY, HTTP_PROXY and SSL_CERT_FILE of the environment"
            ) from None

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    async def ask(self, picture: Path) -> Row:
        """The answer row's own fields: status, label, confidence, ..., raw, tokens, seconds.

        Failures of one call become rows; PocketError is what would fail every call."""
        settings, started = self.config.teacher, time.monotonic()
        try:
            image = await asyncio.to_thread(encode_picture, picture, settings.max_side)
        except PocketError as error:
            return failed("picture", str(error))
        try:
            row = read_reply(self._hide(await self._complete(image)), self.config.task.labels)
        except openai.APITimeoutError:
            row = failed("timeout", f"no answer within {settings.timeout:g} s")
        except openai.APIConnectionError as error:
            raise Unreachable(
                f"{settings.base_url} cannot be reached ({error.__cause__ or error}): "
                "check teacher.base_url and that the server runs"
            ) from None
        except openai.APIStatusError as error:
            row = self._refused(error)
        return row | {"seconds": round(time.monotonic() - started, 3)}

    def _refused(self, error: openai.APIStatusError) -> Row:
        """The row of an error status; PocketError for one that every other call would meet."""
        settings = self.config.teacher
        said = self._hide(error.message.removeprefix("Error code: "))[:300]
        match error:
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                raise PocketError(
                    f"{settings.base_url} refused the key (status {error.status_code}): put a "
                    f"valid one into {settings.api_key_env} (environment or .env)"
                ) from None
            case openai.NotFoundError():
                raise PocketError(
                    f"{settings.base_url} knows no model {settings.model!r}: "
                    "check teacher.base_url (it ends in /v1) and teacher.model"
                ) from None
            case openai.RateLimitError(code="insufficient_quota"):
                raise PocketError("the teacher's account has no credit left: top it up") from None
            case openai.RateLimitError():
                return failed("rate limited", f"lower teacher.concurrency ({said})")
            case openai.InternalServerError():
                return failed("server error", said)
            case openai.BadRequestError(code="content_filter"):  # Azure's moderation
                return {"status": "refused", "raw": said}
        return failed("request refused", said)

    def _hide(self, text: str) -> str:
        """What came back without the key: some servers send back what they were sent."""
        return text.replace(self.key, "***") if len(self.key) >= SHORTEST_SECRET else text

    async def _complete(self, picture: str) -> str:
        """The body of one chat completion; a server that refuses structured output and takes the
        same question without it is not asked for it again."""
        settings = self.config.teacher
        content = [
            {"type": "text", "text": self.prompt},
            {"type": "image_url", "image_url": {"url": picture}},
        ]
        request: dict[str, Any] = {
            "model": settings.model,
            "messages": [{"role": "user", "content": content}],
        }
        if self.structured:
            schema = {"name": "label", "strict": True, "schema": answer_schema(self.config.task)}
            wanted: Any = {"type": "json_schema", "json_schema": schema}
            try:
                return await self._create(request | {"response_format": wanted})
            except openai.APIStatusError as error:
                if error.status_code not in STRUCTURED_UNKNOWN:
                    raise
        body = await self._create(request)
        self.structured = False
        return body

    async def _create(self, request: dict[str, Any]) -> str:
        """One call; a limit or sampling that this model does not take is left to it from then on.

        OpenAI's reasoning models want `max_completion_tokens` and no temperature, and name what
        they refuse in the error's `param`."""
        create = self.client.chat.completions.with_raw_response.create
        sent = dict(self.sampling)
        while True:
            try:
                return str((await create(**request, **sent)).text)
            except openai.BadRequestError as error:
                if error.param not in sent or error.param == "max_completion_tokens":
                    raise
                value = sent.pop(error.param)
                if error.param == "max_tokens":
                    sent["max_completion_tokens"] = value
                self.sampling = sent


def failed(kind: str, detail: str) -> Row:
    """The row of a call that gave no answer; the next run asks again."""
    return {"status": "failed", "error": f"{kind}: {detail}"}


def encode_picture(path: Path, max_side: int) -> str:
    """A picture as JPEG data URL, shrunk to fit `max_side`."""
    picture = Image.fromarray(open_picture(path))
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def check_address(url: str) -> str:
    """The host of an endpoint's address; ConfigError when it is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"teacher.base_url: {url!r} is no address ({error})") from None
    plain = url.isascii() and url.isprintable()  # other hosts are written with xn--
    if parts.scheme not in ("http", "https") or not host or port == 0 or not plain:
        raise ConfigError(f"teacher.base_url: {url!r} must look like http://localhost:8000/v1")
    return host


def read_key(name: str, root: Path) -> str | None:
    """The key from the environment, or from `.env` beside the configuration or where one is.

    ConfigError, which never shows the key, when no HTTP header could carry it."""

    class Keys(BaseSettings):
        model_config = SettingsConfigDict(env_file=(".env", root / ".env"), extra="allow")

    try:
        extra = Keys().model_extra or {}
    except UnicodeDecodeError:
        raise ConfigError("the file .env is not UTF-8: save it in that encoding") from None
    value = str(os.environ.get(name) or extra.get(name.lower()) or "").strip()
    if not all("!" <= letter <= "~" for letter in value):
        raise ConfigError(f"{name}: the key holds a space or a sign outside ASCII: copy it again")
    return value or None
