"""Which questions a project asks: every picture, every teacher that is due, every repeat."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pocketvlm.config import Config
from pocketvlm.label.ledger import FINAL, Ledger
from pocketvlm.label.prompt import NONE, prompt_hash
from pocketvlm.pictures import BROKEN, FORMATS
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows, sha256_json


@dataclass(frozen=True)
class Question:
    """One picture shown to one teacher."""

    key: str
    picture: Row
    """Its line of originals/index.jsonl."""
    repeat: int


class Plan:
    """The project's questions, against what the ledger holds."""

    def __init__(self, project: Project, ledger: Ledger) -> None:
        self.config, self.ledger = project.config, ledger
        self.prompt = prompt_hash(project.config.task)
        originals = project.workspace.originals
        self.pictures = [sized(row, originals) for row in read_rows(project.workspace.index)]

    def keys(self, teacher: int, picture: str) -> list[str]:
        """The keys of one teacher's questions about a picture, one a repeat."""
        repeats = range(self.config.teachers[teacher].repeats)
        return [question_key(self.config, teacher, picture, self.prompt, n) for n in repeats]

    def due(self, teacher: int) -> list[Question]:
        """What this teacher has still to be asked, as far as the ones before it have answered."""
        found = []
        for picture, opinions in self.opinions(teacher):
            if teacher and not unsure(opinions, teacher - 1, self.config):
                continue
            found += self.unanswered(teacher, picture)
        return found

    def unanswered(self, teacher: int, picture: Row) -> list[Question]:
        """One teacher's questions about a picture that have no answer, whether or not it is due."""
        keys = enumerate(self.keys(teacher, picture["sha256"]))
        return [
            Question(key, picture, repeat) for repeat, key in keys if not self.ledger.answered(key)
        ]

    def opinions(self, teachers: int | None = None) -> Iterator[tuple[Row, list[Row]]]:
        """Every picture with the answers of the first `teachers` (default: all), cheapest first.

        Answers to another prompt, model or sampling are no opinions."""
        count = len(self.config.teachers) if teachers is None else teachers
        for picture in self.pictures:
            sha256 = picture["sha256"]
            asked = [
                (number, repeat, key)
                for number in range(count)
                for repeat, key in enumerate(self.keys(number, sha256))
            ]
            answers = self.ledger.answers([key for _, _, key in asked])
            yield (
                picture,
                [
                    answer | {"teacher": number, "repeat": repeat}
                    for (number, repeat, _), answer in zip(asked, answers, strict=True)
                    if answer is not None
                ],
            )

    def answered_otherwise(self) -> set[str]:
        """Pictures with an answer to another prompt, model or sampling than the present one."""
        planned = {
            key
            for picture in self.pictures
            for number in range(len(self.config.teachers))
            for key in self.keys(number, picture["sha256"])
        }
        places = self.ledger.places.items()
        return {
            place.picture for key, place in places if place.status in FINAL and key not in planned
        }


def sized(picture: Row, originals: Path) -> Row:
    """A line of the index with width and height, which those of older versions lack: read from the
    file's header; 1 x 1 where that cannot be read, and so nothing will be asked."""
    if picture.get("width") and picture.get("height"):
        return picture
    try:
        with Image.open(originals / picture["file"], formats=FORMATS) as opened:
            width, height = opened.size
    except BROKEN:
        width = height = 1
    return picture | {"width": width, "height": height}


def unsure(opinions: Sequence[Row], teacher: int, config: Config) -> bool:
    """Whether the next teacher should look too: under the confidence, with an alternative, without
    a label, or not the same in all repeats. A call that failed is asked again, not passed on."""
    given = [row for row in opinions if row["teacher"] == teacher]
    if any(row["status"] == "failed" for row in given) or not given:
        return False
    labelled = [row for row in given if row["status"] == "ok"]
    if len(labelled) < len(given) or len({row["label"] for row in labelled}) > 1:
        return True
    low = min(float(row.get("confidence") or 0.0) for row in labelled)
    named = any(row.get("alternative") not in (None, NONE, row["label"]) for row in labelled)
    return named or low < config.label.second_opinion_below


def question_key(
    config: Config, teacher: int, picture: str, prompt: str | None = None, repeat: int = 0
) -> str:
    """Names one question: picture, prompt, model, sampling and repeat."""
    asked = config.teachers[teacher]
    names = {"temperature", "reasoning_effort", "max_side"}
    sampling = asked.model_dump(include=names)
    prompt = prompt or prompt_hash(config.task)
    return sha256_json([picture, prompt, asked.model, sampling, repeat])[:32]
