"""The teacher's answer, parsed. What a picture says in writing cannot change how."""

import json
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from pocketvlm.label.prompt import NONE
from pocketvlm.sections import plain_word


class Malformed(ValueError):
    """The answer is not the JSON object that was asked for."""


class TeacherAnswer(BaseModel):
    """What the teacher saw and decided."""

    visual_features: list[str] = []
    colours: list[str] = []
    texture: str = ""
    reason: str = ""
    alternative: str | None = None
    confidence: float = Field(ge=0, le=1)
    label: str

    @field_validator("label", "alternative")
    @classmethod
    def _plain(cls, word: str | None) -> str | None:
        return plain_word(word) if word else word

    @field_validator("visual_features", "colours", mode="before")
    @classmethod
    def _list(cls, words: object) -> object:
        """Teachers without structured output like to answer one phrase."""
        return [words] if isinstance(words, str) else words or []

    @field_validator("texture", "reason", mode="before")
    @classmethod
    def _phrase(cls, words: object) -> object:
        return ", ".join(map(str, words)) if isinstance(words, list) else words or ""

    def status(self, labels: Collection[str]) -> str:
        """`ok`, `none` (no label fits) or `rejected` (outside the set of plain words)."""
        if self.label == NONE:
            return "none"
        return "ok" if self.label in labels else "rejected"


def parse_answer(text: str) -> TeacherAnswer:
    """Read the answer, also out of prose or a code fence; Malformed says what is wrong."""
    try:
        return TeacherAnswer.model_validate(_json_object(text))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise Malformed(f"{key}: {first['msg']}") from None


def _json_object(text: str) -> dict[str, Any]:
    """The last object with a label: teachers that think aloud draft before they decide."""
    decoder, found = json.JSONDecoder(), None
    start = text.find("{")
    while start >= 0:
        end = start + 1
        with suppress(ValueError, RecursionError):
            value, stop = decoder.raw_decode(text, start)
            if "label" in value:
                found, end = value, stop
        start = text.find("{", end)
    if found is None:
        raise Malformed("no JSON object with a label" if text.strip() else "empty answer")
    return dict(found)
