"""The dataset card: what is in dataset/, for people."""

from pocketvlm.project import Project
from pocketvlm.workspace import Row

CARD = """\
# Dataset

Pictures as the device's bitmap ({side}x{side}, {resize}, black padding) with one label each.

| label | definition | train | val | test |
|---|---|---:|---:|---:|
{table}
| **all** | | {train} | {val} | {test} |

![pictures of each label, by split](balance.svg)

- Labels: {source}. Looked at by a person: {reviewed}.
- Left out of train for a confidence under {min_confidence}: {unsure}. val and test keep all.
- Without a usable label: {rejected}{reasons} (skipped.jsonl).
- Split: by the SHA-256 of the picture's file, 80/10/10, so that nothing moves when labels change;
  {near_duplicates} near-duplicates are in the split of the picture that they are like.
- Contract: `{contract}`
{notes}"""


FIGURES = ("train", "val", "test", "unsure", "rejected", "reviewed", "near_duplicates")
"""Those that the card shows as they are."""


def cell(text: str) -> str:
    """Text as it can stand in one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def teachers(project: Project) -> str:
    """Who labelled, in the order they were asked."""
    return "the teacher " + ", then ".join(one.model for one in project.config.teachers)


def dataset_card(project: Project, figures: Row) -> str:
    """Counts a label and split, where the labels come from, and what the splits cannot hold."""
    custom = project.config.prepare.custom
    counts = figures["counts"]
    rows = [
        f"| {cell(label)} | {cell(definition)} | "
        + " | ".join(str(counts[split].get(label, 0)) for split in ("train", "val", "test"))
        + " |"
        for label, definition in project.config.task.labels.items()
    ]
    return CARD.format(
        side=project.contract.side,
        resize=project.contract.resize,
        table="\n".join(rows),
        source=f"the file {custom}" if custom else teachers(project),
        min_confidence=project.config.prepare.min_confidence,
        contract=project.contract.hash,
        reasons="".join(f", {kind} {count}" for kind, count in figures["reasons"].items()),
        **{name: figures[name] for name in FIGURES},
        notes="".join(f"- {note}\n" for note in figures["notes"]),
    )
