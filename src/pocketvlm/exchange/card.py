"""README.md of an export: the data set's card, as the Hub reads it."""

from collections import Counter
from pathlib import Path

import yaml

from pocketvlm.exchange.licences import UNKNOWN, front_matter, licences
from pocketvlm.pages import markdown_pages
from pocketvlm.project import Project
from pocketvlm.workspace import Row

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

SHOWN = 50
"""Authors that the card names; every picture's line names its own."""


def card(project: Project, splits: dict[str, list[Row]], files: dict[str, str]) -> str:
    """The page. `splits` are the lines under their names in the export, `files` the pattern of
    each split's data files."""
    rows = [row for lines in splits.values() for row in lines]
    page = markdown_pages(Path(__file__).parent).get_template("card.md.j2")
    return page.render(
        head=yaml.safe_dump(
            _head(rows, {name: files[name] for name, lines in splits.items() if lines}),
            sort_keys=False,
            allow_unicode=True,
        ),
        contract=project.contract,
        question=project.config.task.question,
        labels=project.config.task.labels,
        splits=splits,
        counts={name: Counter(row["label"] for row in lines) for name, lines in splits.items()},
        sources=Counter(str(row.get("source") or UNKNOWN) for row in rows).most_common(),
        reviewed=sum(row.get("reviewed") is True for row in rows),
        licences=licences(rows).most_common(),
        authors=_authors(rows),
        shown=SHOWN,
        messages=any(pattern.endswith(".jsonl") for pattern in files.values()),
    )


def _head(rows: list[Row], files: dict[str, str]) -> Row:
    size = next((name for limit, name in SIZES if len(rows) < limit), "1M<n<10M")
    data_files = [{"split": split, "path": path} for split, path in files.items()]
    return {
        **front_matter(licences(rows)),
        "task_categories": ["image-classification"],
        "size_categories": [size],
        "tags": ["image", "pocketvlm"],
        "configs": [{"config_name": "default", "data_files": data_files}],
    }


def _authors(rows: list[Row]) -> list[tuple[tuple[str, str], int]]:
    """Authors with their licence and pictures, the most frequent first."""
    named = (row for row in rows if row.get("author"))
    return Counter(
        (str(row["author"]), str(row.get("licence") or UNKNOWN)) for row in named
    ).most_common()
