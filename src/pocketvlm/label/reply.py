"""What an endpoint sends back, read without trust: proxies send HTML, servers leave fields out."""

import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from pocketvlm.label.answer import Malformed, parse_answer
from pocketvlm.sections import plain_word
from pocketvlm.workspace import Row

LONGEST_SAID = 300
"""Characters kept of a server's error."""

LONGEST_RAW = 4000
"""Characters kept of a reply that is no chat completion."""

LONGEST_WORDS = 100_000
"""Characters kept of what a model says: more than any `max_tokens` that makes sense."""

MOST_TOKENS = 10_000_000
"""No call takes so many: a usage that says so is nonsense."""


class Message(BaseModel):
    """The assistant's turn."""

    content: str | None = None
    refusal: Any = None

    @field_validator("content", mode="before")
    @classmethod
    def _joined(cls, content: object) -> object:
        """Some servers send a list of parts; thoughts among them are no answer."""
        if not isinstance(content, list):
            return content
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in parts if isinstance(text, str))


class Choice(BaseModel):
    """One of the answers; only one is asked for."""

    message: Message
    finish_reason: Any = None


class Reply(BaseModel):
    """The part of a chat completion that is used."""

    choices: list[Choice] = Field(min_length=1)
    usage: Any = None
    """What the call is billed by; some servers leave it out, or write nonsense."""


def read_reply(body: str, labels: Iterable[str]) -> Row:
    """A reply's body as fields of an answer row: status, label, ..., raw, tokens_in, tokens_out."""
    try:
        reply = Reply.model_validate_json(body)
    except ValidationError:
        return _row(None, "malformed", body[:LONGEST_RAW]) | {"error": _no_completion(body)}
    choice, usage = reply.choices[0], reply.usage
    raw = choice.message.content or ""
    if choice.message.refusal or choice.finish_reason == "content_filter":
        return _row(usage, "refused", str(choice.message.refusal or raw))
    if choice.finish_reason == "length":
        # A sound object in what there is may be a draft, or what is written in the picture.
        return _row(usage, "malformed", raw) | {"error": "cut at max_tokens: raise it"}
    try:
        answer = parse_answer(raw)
    except Malformed as error:
        return _row(usage, "malformed", raw) | {"error": str(error)}
    named = {plain_word(label): label for label in labels}
    fields = answer.model_dump() | {"label": named.get(answer.label, answer.label)}
    fields["alternative"] = named.get(answer.alternative or "", answer.alternative)
    return _row(usage, answer.status(named), raw) | fields


def _row(usage: Any, status: str, raw: str) -> Row:
    tokens_in, tokens_out = _billed(usage, raw)
    return {
        "status": status,
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "usd": None,
        "raw": raw[:LONGEST_WORDS],
    }


def _no_completion(body: str) -> str:
    """What is wrong with a reply that is no chat completion; some servers (OpenRouter) send their
    errors with status 200."""
    try:
        error = json.loads(body).get("error")
        said = str(error.get("message") or error) if isinstance(error, dict) else error
    except (ValueError, AttributeError, RecursionError):
        said = None
    if said:
        return f"the server answers with an error: {' '.join(str(said).split())[:LONGEST_SAID]}"
    return "the reply is no chat completion: does base_url end in /v1?"


def _billed(usage: Any, raw: str) -> tuple[int | None, int | None]:
    """Tokens in and out; None for both where either is not told, or cannot be true: some servers
    fill in zeros. Thoughts are output, and some servers count them in the total alone."""
    told = usage if isinstance(usage, dict) else {}
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    tokens_in, tokens_out, total = (_count(told.get(name)) for name in names)
    if tokens_in is None or tokens_out is None:
        return None, None
    tokens_out = max(tokens_out, (total or 0) - tokens_in)
    return (tokens_in, tokens_out) if tokens_in and (tokens_out or not raw) else (None, None)


def _count(value: Any) -> int | None:
    """A number of tokens; None for what is none."""
    whole = isinstance(value, int | float) and 0 <= value <= MOST_TOKENS
    return int(value) if whole else None
