"""One question to the teacher through any OpenAI-compatible endpoint."""

import base64
import io
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import httpx2
import openai
from PIL import Image

from pocketvlm.config import Config
from pocketvlm.errors import ConfigError
from pocketvlm.keys import LOOPBACK, check_address, hide, read_key
from pocketvlm.label.calls import Outcome, failed, is_moderation, read_status
from pocketvlm.label.prompt import answer_schema, build_prompt
from pocketvlm.label.reply import read_reply
from pocketvlm.label.wire import Wire
from pocketvlm.pictures import open_picture
from pocketvlm.teachers import Teacher
from pocketvlm.workspace import Row

BAD_REQUEST, UNPROCESSABLE = 400, 422

STRUCTURED_UNKNOWN = (400, 404, 415, 422, 501)
"""How servers without structured output refuse `response_format`."""

LONGEST_SAID = 300
"""Characters kept of an error: some servers send a page."""


class Manner(NamedTuple):
    """How the server wants to be asked, as far as its refusals have shown."""

    structured: bool
    sampling: Row


class Client:
    """One teacher's endpoint with its key. A call is one attempt: who asks decides about another.
    ConfigError when the address or the key cannot be right."""

    def __init__(self, config: Config, teacher: Teacher, root: Path) -> None:
        self.teacher, self.task = teacher, config.task
        sampling = {
            "temperature": teacher.temperature,
            "max_tokens": teacher.max_tokens,
            "reasoning_effort": teacher.reasoning_effort,
        }
        wanted = {name: value for name, value in sampling.items() if value is not None}
        self.manner = Manner(teacher.structured, wanted)
        self.prompt = build_prompt(config.task)
        self.key = read_key(teacher.api_key_env, root) or "none"
        self.answered = False
        """Whether this run has had an answer: then address, model and key are right."""
        host = check_address(teacher.base_url)
        try:
            self.client = openai.AsyncOpenAI(
                base_url=teacher.base_url,
                api_key=self.key,
                timeout=teacher.timeout,
                max_retries=0,
                http_client=Wire(
                    timeout=teacher.timeout,
                    trust_env=host not in LOOPBACK,
                    limits=httpx2.Limits(max_connections=teacher.concurrency + 8),
                ),
            )
        except (ValueError, ImportError, OSError) as error:
            raise ConfigError(
                f"no connection to {teacher.base_url} can be set up ({error}): check ALL_PROXY, "
                "HTTPS_PROXY, HTTP_PROXY and SSL_CERT_FILE of the environment"
            ) from None

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    async def ask(self, picture: str) -> Outcome:
        """One call about a picture (data URL)."""
        started = time.monotonic()
        try:
            outcome = self._read(*await self._complete(picture))
        except openai.APITimeoutError:
            row = failed("timeout", f"no answer within {self.teacher.timeout:g} s")
            outcome = Outcome(row, "troubled", "unknown")
        except openai.APIConnectionError as error:
            outcome = self._cut(error)
        except openai.APIStatusError as error:
            outcome = read_status(error, self.said(error), self.teacher, self.answered)
        seconds = {"seconds": round(time.monotonic() - started, 3)}
        return replace(outcome, row=outcome.row | seconds)

    def body(self, picture: str, manner: Manner | None = None) -> Row:
        """The request about a picture, as the Batch API takes it too."""
        manner = manner or self.manner
        content = [
            {"type": "text", "text": self.prompt},
            {"type": "image_url", "image_url": {"url": picture}},
        ]
        messages = [{"role": "user", "content": content}]
        request: Row = {"model": self.teacher.model, "messages": messages} | manner.sampling
        if manner.structured:
            schema = {"name": "label", "strict": True, "schema": answer_schema(self.task)}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        return request

    def hide(self, text: str) -> str:
        """What came back without the key."""
        return hide(text, self.key)

    def said(self, error: openai.APIStatusError) -> str:
        """An error status and its message, in one short line without the key."""
        words = " ".join(self.hide(error.message.removeprefix("Error code: ")).split())
        return words[:LONGEST_SAID]

    def _read(self, body: str, headers: Mapping[str, str]) -> Outcome:
        """A reply with status 200."""
        row = read_reply(self.hide(body), self.task.labels)
        told = row.get("tokens_in") is not None and row.get("tokens_out") is not None
        self.answered |= told or row["status"] != "malformed"
        return Outcome(row, "answered", "usage" if told else "unknown", headers)

    def _cut(self, error: openai.APIConnectionError) -> Outcome:
        """No connection, or one that broke: only a call that was under way may be billed."""
        said = f"{self.teacher.base_url} cannot be reached ({error.__cause__ or error})"
        never = isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
        row = failed("unreachable", self.hide(said))
        return Outcome(row, "troubled", "nothing" if never else "unknown")

    async def _complete(self, picture: str) -> tuple[str, Mapping[str, str]]:
        """Body and headers of one chat completion. What the server refuses of the manner in which
        it is asked is left out, and from then on once it has answered without it."""
        first = manner = self.manner
        while True:
            try:
                raw = await self.client.chat.completions.with_raw_response.create(
                    **self.body(picture, manner)
                )
                break
            except openai.APIStatusError as error:
                simpler = simplify(manner, error)
                if simpler is None:
                    raise
                manner = simpler
        if manner is not first:  # another call may have learnt it meanwhile
            self.manner = manner
        return str(raw.text), raw.headers


def simplify(manner: Manner, error: openai.APIStatusError) -> Manner | None:
    """How to ask instead after a refusal; None when it is not about the manner.

    OpenAI's reasoning models want `max_completion_tokens` and no temperature, and name what they
    refuse in the error's `param`; others name it in the message. How servers refuse structured
    output is not to be told from how they refuse a picture."""
    if error.status_code in (BAD_REQUEST, UNPROCESSABLE):
        named = [name for name in manner.sampling if name in (error.param or error.message)]
        if named and named[0] != "max_completion_tokens":
            rest = {name: value for name, value in manner.sampling.items() if name != named[0]}
            if named[0] == "max_tokens":
                rest["max_completion_tokens"] = manner.sampling["max_tokens"]
            return manner._replace(sampling=rest)
    if manner.structured and error.status_code in STRUCTURED_UNKNOWN and not is_moderation(error):
        return manner._replace(structured=False)
    return None


def encode_picture(path: Path, max_side: int) -> tuple[str, tuple[int, int]]:
    """A picture as JPEG data URL, shrunk to fit `max_side`, with its width and height as sent."""
    picture = Image.fromarray(open_picture(path))
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/jpeg;base64,{data}", picture.size
