"""The teacher's answer, parsed. What a picture says in writing cannot change how."""

import json
import re
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from pocketvlm.label.prompt import NONE
from pocketvlm.sections import plain_word

LONGEST = 32_768
"""Characters at the end of a text that are searched: an answer has a thousand."""

BEGUN = re.compile(r"""\{\s*["']|["']label\\?["']\s*:""")
"""An answer that begins or goes on after the last sound object: had that been the answer, nothing
like it would follow. So what a teacher repeats of the picture inside an answer that is broken, by
quotes that are not escaped, is not taken for the answer."""


class Malformed(ValueError):
    """The answer is not the JSON object that was asked for."""


class TeacherAnswer(BaseModel):
    """What the teacher saw and decided."""

    visual_features: list[str] = []
    colours: list[str] = []
    texture: str = ""
    reason: str = ""
    ambiguity: str | None = None
    alternative: str | None = None
    confidence: float = Field(ge=0, le=1)
    label: str

    @field_validator("label", "alternative")
    @classmethod
    def _plain(cls, word: str | None) -> str | None:
        return plain_word(word) if word else word

    @field_validator("alternative")
    @classmethod
    def _some(cls, word: str | None) -> str | None:
        """Teachers without structured output write that nothing comes close in words."""
        return None if word in ("", NONE, "null", "n/a") else word

    @field_validator("visual_features", "colours", mode="before")
    @classmethod
    def _list(cls, words: object) -> object:
        """Teachers without structured output like to answer one phrase."""
        return [words] if isinstance(words, str) else words or []

    @field_validator("texture", "reason", "ambiguity", mode="before")
    @classmethod
    def _phrase(cls, words: object) -> object:
        return ", ".join(map(str, words)) if isinstance(words, list) else words or ""

    @field_validator("ambiguity")
    @classmethod
    def _said(cls, words: str | None) -> str | None:
        return words or None

    def status(self, labels: Collection[str]) -> str:
        """`ok`, `none` (no label fits) or `rejected` (outside the set of plain words)."""
        if self.label == NONE:
            return "none"
        return "ok" if self.label in labels else "rejected"


def parse_answer(text: str) -> TeacherAnswer:
    """Read the answer, also out of prose or a code fence; Malformed says what is wrong."""
    try:
        return TeacherAnswer.model_validate(_json_object(text[-LONGEST:]))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise Malformed(f"{key}: {first['msg']}") from None


def _json_object(text: str) -> dict[str, Any]:
    """The last object with a label: teachers that think aloud draft before they decide, or repeat
    what is written in the picture. An answer holds no other object, so the innermost counts."""
    start = text.rfind("{")
    while start >= 0:
        value, stop = _decode(text, start)
        if "label" in value:
            if BEGUN.search(text, stop):
                raise Malformed("the last JSON object with a label is not whole")
            return value
        start = text.rfind("{", 0, start)
    raise Malformed("no JSON object with a label" if text.strip() else "empty answer")


def _decode(text: str, start: int) -> tuple[dict[str, Any], int]:
    """The object that begins at a brace, and where it ends; an empty one where there is none."""
    with suppress(ValueError, RecursionError):
        value, stop = json.JSONDecoder().raw_decode(text, start)
        return dict(value), stop
    return {}, start
