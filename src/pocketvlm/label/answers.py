"""What the teachers said, searched: every word of a rich answer, on the terminal or as CSV."""

import csv
import io
from collections.abc import Iterator, Sequence

from pocketvlm.errors import ConfigError
from pocketvlm.label.decisions import answers_of
from pocketvlm.project import Project
from pocketvlm.workspace import Row

TEXTS = ("label", "alternative", "reason", "ambiguity", "texture", "visual_features", "colours")
"""Fields that are searched; `raw` would match the keys of the JSON itself."""

STATUSES = ("ok", "none", "refused", "rejected", "malformed", "failed")

COLUMNS = (
    *("file", "origin", "sha256", "status", "label", "confidence", "agreement", "opinions"),
    *("alternative", "reason", "ambiguity", "visual_features", "colours", "texture", "model"),
)
"""Of the CSV."""


def search(
    project: Project, words: Sequence[str], label: str | None = None, status: str | None = None
) -> Iterator[Row]:
    """Pictures whose answer holds all `words` (any case), with label and status if given; in the
    order of the index. ConfigError for a label or status that does not exist."""
    if label is not None and label not in project.config.task.labels:
        known = ", ".join(project.config.task.labels)
        raise ConfigError(f"--label {label!r} is none of the task's: {known}")
    if status is not None and status not in STATUSES:
        raise ConfigError(f"--status {status!r}: choose one of {', '.join(STATUSES)}")
    return _search(project, [word.casefold() for word in words], label, status)


def _search(
    project: Project, wanted: Sequence[str], label: str | None, status: str | None
) -> Iterator[Row]:
    for picture, answer in answers_of(project):
        text = " ".join(as_text(answer.get(name)) for name in TEXTS).casefold()
        if label is not None and (answer["status"] != "ok" or answer["label"] != label):
            continue
        if status is not None and answer["status"] != status:
            continue
        if all(word in text for word in wanted):
            row = {name: picture.get(name) for name in ("file", "origin", "sha256")}
            yield row | {name: answer.get(name) for name in COLUMNS[3:]}


def as_text(value: object) -> str:
    """A field in one line."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    if value is None:
        return ""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def sentence(row: Row) -> str:
    """One picture for people."""
    sure = f" {row['confidence']:.2f}" if row["confidence"] is not None else ""
    said = row["label"] if row["status"] == "ok" else row["status"]
    other = f" (or {row['alternative']})" if row["alternative"] else ""
    return f"{as_text(row['origin'])}: {said}{sure}{other}. {as_text(row['reason'])}"


def as_csv(rows: Iterator[Row]) -> Iterator[str]:
    """A heading and a line a picture, for a spreadsheet. Text that a spreadsheet would take for a
    formula gets an apostrophe before it (OWASP, CSV injection): it comes from a teacher."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    yield out.getvalue().rstrip("\n")
    for row in rows:
        out.seek(0)
        out.truncate()
        cells = {name: as_text(row[name]) for name in COLUMNS}
        writer.writerow(
            {
                name: f"'{cell}" if cell[:1] in "=+-@\t\r" and cell else cell
                for name, cell in cells.items()
            }
        )
        yield out.getvalue().rstrip("\n")
