"""The append-only ledger of every call: an intent before it, an answer after it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pocketvlm.config import Config
from pocketvlm.label.prompt import prompt_hash
from pocketvlm.project import Project
from pocketvlm.workspace import Row, append_row, read_rows, sha256_json

FINAL = frozenset({"ok", "none", "refused", "rejected"})
"""Statuses that are answers; `failed` and `malformed` calls are made again by the next run."""


class Ledger:
    """`labels/answers.jsonl`: what was asked and what came back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, Row] = {}
        for row in self._read():
            self._remember(row)

    def _read(self) -> Iterator[Row]:
        """Every sound line; one torn by a kill was never an answer that arrived."""
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            for line in file:
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                if isinstance(row, dict) and row.get("kind") == "answer":
                    yield row

    def _remember(self, row: Row) -> None:
        """Keep the last answer to each question, without its raw text, which stays on disk."""
        self.answers[row["key"]] = {name: row[name] for name in row if name != "raw"}

    def answered(self, key: str) -> bool:
        """Whether this question needs no further call."""
        return key in self.answers and self.answers[key]["status"] in FINAL

    def intend(self, key: str, picture: str, config: Config) -> None:
        """Write down that a call is about to be made."""
        append_row(
            self.path,
            {
                "kind": "intent",
                "key": key,
                "picture": picture,
                "model": config.teacher.model,
                "prompt": prompt_hash(config.task),
                "at": now(),
                "reserved_usd": None,
            },
        )

    def record(self, row: Row) -> None:
        """Write down what came back."""
        append_row(self.path, row)
        self._remember(row)


def question_key(config: Config, picture: str, repeat: int = 0) -> str:
    """Names one question: picture, prompt, model, sampling and repeat."""
    teacher = config.teacher
    sampling = {"temperature": teacher.temperature, "max_side": teacher.max_side}
    return sha256_json([picture, prompt_hash(config.task), teacher.model, sampling, repeat])[:32]


def answers_of(project: Project) -> Iterator[tuple[Row, Row]]:
    """Each collected picture's index row with its answer under the present prompt and model."""
    ledger = Ledger(project.workspace.answers)
    for picture in read_rows(project.workspace.index):
        answer = ledger.answers.get(question_key(project.config, picture["sha256"]))
        if answer:
            yield picture, answer


def now() -> str:
    """The time for a ledger row."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
