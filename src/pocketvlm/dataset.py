"""The lines of dataset/*.jsonl, checked: `prepare` writes them, or a person with a dataset."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from pydantic import AliasChoices, BaseModel, Field, ValidationError, field_validator

from pocketvlm.errors import PocketError
from pocketvlm.project import Project
from pocketvlm.workspace import read_rows


class Line(BaseModel):
    """One picture with its label; everything else a line may hold is for people."""

    image: str
    """The device bitmap, relative to the dataset's folder."""
    label: str = Field(validation_alias=AliasChoices("label", "element"))
    id: str = ""
    confidence: float | None = Field(None, ge=0, le=1)
    reason: str | None = None
    source: str = "unknown"
    reviewed: bool = False

    @field_validator("reviewed", mode="before")
    @classmethod
    def _only_true(cls, reviewed: object) -> bool:
        """A person's decision is not guessed from "yes" or 1."""
        return reviewed is True

    @field_validator("source", mode="before")
    @classmethod
    def _named(cls, source: object) -> str:
        return str(source) if source else "unknown"

    @field_validator("image")
    @classmethod
    def _inside(cls, image: str) -> str:
        path = PurePosixPath(image)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError("must lie inside the dataset's folder")
        return image


def read_split(project: Project, name: str) -> Iterator[Line]:
    """The lines of one split in order; PocketError names file, line and key of a wrong one."""
    path = project.workspace.split(name)
    for number, row in enumerate(read_rows(path), 1):
        try:
            yield Line.model_validate(row)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            said = str(first["msg"]).removeprefix("Value error, ")
            raise PocketError(f"{path}, row {number}: {key}: {said}; correct the line") from None
