"""What an endpoint sends back, read without trust: proxies send HTML, servers leave fields out."""

from collections.abc import Iterable

from pydantic import BaseModel, Field, ValidationError

from pocketvlm.label.answer import Malformed, parse_answer
from pocketvlm.sections import plain_word
from pocketvlm.workspace import Row

LONGEST_RAW = 4000
"""Characters kept of a reply that is no chat completion."""


class Message(BaseModel):
    """The assistant's turn."""

    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    """One of the answers; only one is asked for."""

    message: Message
    finish_reason: str | None = None


class Usage(BaseModel):
    """What the call is billed by; some servers leave it out."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Reply(BaseModel):
    """The part of a chat completion that is used."""

    choices: list[Choice] = Field(min_length=1)
    usage: Usage | None = None


def read_reply(body: str, labels: Iterable[str]) -> Row:
    """A reply's body as fields of an answer row: status, label, ..., raw, tokens_in, tokens_out."""
    try:
        reply = Reply.model_validate_json(body)
    except ValidationError:
        error = "the reply is no chat completion: does teacher.base_url end in /v1?"
        return _row(Usage(), "malformed", body[:LONGEST_RAW]) | {"error": error}
    choice, usage = reply.choices[0], reply.usage or Usage()
    raw = choice.message.content or ""
    if choice.message.refusal or choice.finish_reason == "content_filter":
        return _row(usage, "refused", choice.message.refusal or raw)
    try:
        answer = parse_answer(raw)
    except Malformed as error:
        cut = " (cut at teacher.max_tokens)" if choice.finish_reason == "length" else ""
        return _row(usage, "malformed", raw) | {"error": f"{error}{cut}"}
    named = {plain_word(label): label for label in labels}
    fields = answer.model_dump() | {"label": named.get(answer.label, answer.label)}
    fields["alternative"] = named.get(answer.alternative or "", answer.alternative)
    return _row(usage, answer.status(named), raw) | fields


def _row(usage: Usage, status: str, raw: str) -> Row:
    return {
        "status": status,
        "tokens_in": usage.prompt_tokens,
        "tokens_out": usage.completion_tokens,
        "usd": None,
        "raw": raw,
    }
