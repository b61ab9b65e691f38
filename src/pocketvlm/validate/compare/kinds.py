"""What a comparison reads of metrics.json, and of which kind each figure must be."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pocketvlm.errors import PocketError
from pocketvlm.workspace import Row

Interval = Annotated[list[float], Field(min_length=2, max_length=2)]


class Known(BaseModel):
    """Other keys may be there; nothing is converted."""

    model_config = ConfigDict(strict=True)


class Confusion(Known):
    """Its labels."""

    truth: list[str]


class Label(Known):
    """One label's figures."""

    recall: float
    support: int


class Rung(Known):
    """One step of the ladder."""

    step: str | None = None
    mib: float | None = None


class Before(Known):
    """The student without its training."""

    likelihood: float | None = None


class Gate(Known):
    """One gate."""

    passed: bool


class Verdict(Known):
    """metrics.json; older files lack what has a default."""

    accuracy: float
    ci: Interval
    n: int
    confusion: Confusion
    truth: str | None = None
    split: str | None = None
    contract: str | None = None
    type: str | None = None
    mmproj_type: str | None = None
    majority: float | None = None
    macro_f1: float | None = None
    one_word: float | None = None
    agreement: float | None = None
    ms_per_picture: float | None = None
    per_class: dict[str, Label] | None = None
    ladder: list[Rung] | None = None
    base: Before | None = None
    gates: dict[str, Gate] | None = None


def check_kinds(file: Path, metrics: Row) -> None:
    """PocketError when metrics.json lacks what every verdict has, or has it otherwise."""
    try:
        Verdict.model_validate(metrics)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise PocketError(
            f"{file} holds no verdict ({place}: {first['msg']}): name the metrics.json that "
            "`validate` wrote"
        ) from None
