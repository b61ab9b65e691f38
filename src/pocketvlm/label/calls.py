"""What one call came to, and what an error status means: for the ledger, the pace and the bill."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import openai

from pocketvlm.errors import PocketError
from pocketvlm.teachers import Teacher
from pocketvlm.workspace import Row

BAD_REQUEST, UNAUTHORISED, PAYMENT_REQUIRED, FORBIDDEN, NOT_FOUND = 400, 401, 402, 403, 404
LIMITED = 429

LATER = (408, 409, 425)
"""Statuses below 500 that mean: once more (as OpenAI's own client has it)."""

GATEWAY = (504, 524)
"""The proxy gave up waiting; the model behind it may have answered, and be billed."""

MODERATED = frozenset(
    {"content_filter", "content_policy_violation", "moderation_blocked", "data_inspection_failed"}
)
"""Codes with which servers (Azure, OpenAI, DashScope) decline a picture."""

MODERATION = ("flagged", "moderation", "safety", "usage guidelines")
"""Words by which a 403 about the picture (OpenRouter, xAI) is told from one about the key."""

BROKE = frozenset({"insufficient_quota", "billing_not_active", "billing_hard_limit_reached"})
"""Codes of an account without credit."""

FORBIDS = "forbidden"
"""How the error of a 403 begins that does not say what it is about."""


@dataclass(frozen=True)
class Outcome:
    """What one call came to."""

    row: Row
    """The answer row's own fields: status, label, confidence, ..., raw, tokens, seconds."""
    kind: Literal["answered", "limited", "troubled"]
    """For the pace: a reply, a 429, or no reply that can be used (time-out, cut, 5xx)."""
    billed: Literal["usage", "nothing", "unknown"]
    headers: Mapping[str, str] = field(default_factory=dict)
    fatal: PocketError | None = None
    """What every other call would meet too: asking stops."""

    @property
    def tokens(self) -> int | None:
        """In and out, where the usage tells."""
        if self.billed != "usage":
            return None
        return int(self.row["tokens_in"]) + int(self.row["tokens_out"])


def failed(kind: str, detail: str) -> Row:
    """The row of a call that gave no answer; the next run asks again."""
    return {"status": "failed", "error": f"{kind}: {detail}"}


def read_status(
    error: openai.APIStatusError, said: str, teacher: Teacher, answered: bool
) -> Outcome:
    """What an error status means; `answered`: whether the server has answered a call before, which
    shows that address, model and key are right."""
    status, headers = error.status_code, error.response.headers
    if is_moderation(error):
        row = {"status": "refused", "raw": said}
        return Outcome(row, "answered", "nothing", headers)
    if fatal := _fatal(error, said, teacher, answered):
        kind, reason = fatal
        return Outcome(failed(kind, said), "answered", "nothing", headers, reason)
    if status == FORBIDDEN:  # with a key that works: it is about this picture
        row = {"status": "refused", "raw": said, "error": f"{FORBIDS}: {said}"}
        return Outcome(row, "answered", "nothing", headers)
    if status == LIMITED:
        return Outcome(failed("rate limited", said), "limited", "nothing", headers)
    if status in LATER or status >= 500:
        billed: Literal["nothing", "unknown"] = "unknown" if status in GATEWAY else "nothing"
        return Outcome(failed("server error", said), "troubled", billed, headers)
    return Outcome(failed("request refused", said), "answered", "nothing", headers)


def is_moderation(error: openai.APIStatusError) -> bool:
    """Whether a picture was declined, and not the request or the key."""
    if error.status_code == FORBIDDEN:
        return any(word in error.message.lower() for word in MODERATION)
    return error.status_code == BAD_REQUEST and error.code in MODERATED


def _fatal(
    error: openai.APIStatusError, said: str, teacher: Teacher, answered: bool
) -> tuple[str, PocketError] | None:
    """What would fail every call: its name in the ledger, and why asking stops."""
    status = error.status_code
    if status == UNAUTHORISED or (status == FORBIDDEN and not answered):
        return "key refused", no_entry(teacher, status, said)
    if status == PAYMENT_REQUIRED or error.code in BROKE:
        return "no credit", PocketError(
            f"the teacher's account has no credit left: top it up ({said})"
        )
    if status == NOT_FOUND and not answered:
        return "unknown model", PocketError(
            f"{teacher.base_url} knows no model {teacher.model!r}: check base_url (it ends in "
            f"/v1) and model of that teacher ({said})"
        )
    return None


def no_entry(teacher: Teacher, status: int, said: str) -> PocketError:
    """The key is wrong, or not allowed to do this."""
    return PocketError(
        f"{teacher.base_url} refused the key (status {status}): put a valid one into "
        f"{teacher.api_key_env} (environment or .env) ({said})"
    )
