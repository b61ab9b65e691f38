"""The comparison of runs for people: a table as text, and one page that opens offline."""

from pathlib import Path

from pocketvlm.errors import ConfigError
from pocketvlm.pages import html_pages, percent
from pocketvlm.workspace import Row

UNKNOWN = "–"  # noqa: RUF001


def table(figures: Row) -> str:
    """A column a run, then what makes them hard to compare."""
    head = ["", *(row["name"] for row in figures["runs"])]
    lines = [head, *([heading, *cells] for heading, cells in lines_of(figures))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    warnings = [f"NOT COMPARABLE: {warning}" for warning in figures["warnings"]]
    return "\n".join([*text, *([""] if warnings else []), *warnings])


def lines_of(figures: Row) -> list[tuple[str, list[str]]]:
    """A heading and a cell a run; figures that no run has are left out."""
    rows = figures["runs"]
    first = rows[0]["name"]
    lines = [
        ("accuracy", [share_of(row) for row in rows]),
        ("pictures", [f"{row['n']}, {row['split'] or UNKNOWN}" for row in rows]),
        ("truth", [row["truth"] or UNKNOWN for row in rows]),
        (f"points against {first}", [points_of(row["change"]) for row in rows]),
        ("right only here, only there", [pairing(row["change"]) for row in rows]),
        ("McNemar's p", [chance(row["change"]) for row in rows]),
        ("commonest label", [percent(row["majority"]) for row in rows]),
        ("macro F1", [number(row["macro_f1"], 3) for row in rows]),
        ("worst recall", [recall_of(row["worst_recall"]) for row in rows]),
        ("one-word answers", [percent(row["one_word"]) for row in rows]),
        ("agreement with torch", [percent(row["agreement"]) for row in rows]),
        ("both files, MiB", [number(row["mib"], 1) for row in rows]),
        ("ms a picture", [number(row["ms"], 1) for row in rows]),
        ("files", [files_of(row) for row in rows]),
        ("base", [base_of(row) for row in rows]),
        ("before, by likelihood", [percent(row["before"]) for row in rows]),
        ("epochs", [number(row["epochs"], 0) for row in rows]),
        ("gates", [gates_of(row["gates"]) for row in rows]),
    ]
    return [(heading, cells) for heading, cells in lines if set(cells) - {UNKNOWN, ""}]


def share_of(row: Row) -> str:
    """Accuracy with its interval."""
    low, high = row["ci"]
    return f"{percent(row['accuracy'])} [{low * 100:.1f}, {high * 100:.1f}]"


def points_of(change: Row | None) -> str:
    """A change in points with its interval."""
    if change is None:
        return UNKNOWN
    difference, low, high = (f"{change[key] * 100:+.1f}" for key in ("difference", "low", "high"))
    return f"{difference} [{low}, {high}]"


def pairing(change: Row | None) -> str:
    """What the change rests on: pictures that only one of the two gets right."""
    if change is None:
        return UNKNOWN
    if change["n"] is None:
        return "unpaired"
    return f"{change['gained']}, {change['lost']} of {change['n']}"


def chance(change: Row | None) -> str:
    """How likely so uneven a split is where both are as often right."""
    return UNKNOWN if change is None or change["p"] is None else f"{change['p']:.2g}"


def meaning(change: Row | None, first: str) -> str | None:
    """The change in words: one that is not told apart is not called a gain."""
    if change is None:
        return None
    told = "not told apart from"
    if change["low"] > 0 or change["high"] < 0:
        told = f"right {'more' if change['low'] > 0 else 'less'} often than"
    return f"{told} {first}" + ("" if change["n"] else " (unpaired)")


def recall_of(worst: Row | None) -> str:
    """The label that is found least often."""
    return f"{percent(worst['recall'])} {worst['label']}" if worst else UNKNOWN


def number(value: float | None, digits: int) -> str:
    """A figure, or a dash."""
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def files_of(row: Row) -> str:
    """Types of both files."""
    types = [kind for kind in (row["type"], row["mmproj_type"]) if kind]
    return " + mmproj ".join(types) or UNKNOWN


def base_of(row: Row) -> str:
    """The base's hub id, or the last part of its folder."""
    if row["base"] is None:
        return UNKNOWN
    path = Path(row["base"])
    return path.name if path.is_absolute() else str(row["base"])


def gates_of(gates: dict[str, bool] | None) -> str:
    """Which gates were missed."""
    if gates is None:
        return UNKNOWN
    missed = [name for name, passed in gates.items() if not passed]
    return f"missed: {', '.join(missed)}" if missed else f"passed: {', '.join(gates)}"


def check_place(file: Path) -> None:
    """ConfigError where no page can be written."""
    if file.is_dir():
        raise ConfigError(f"--html {file} is a folder: name a file, such as {file / 'page.html'}")
    if not file.parent.is_dir():
        raise ConfigError(f"--html {file}: there is no folder {file.parent}: make it first")


def render(figures: Row) -> str:
    """The whole page. `figures` is what `compare` gives."""
    pages = html_pages(Path(__file__).parent)
    first = figures["runs"][0]["name"]
    return pages.get_template("compare.html.j2").render(
        runs=figures["runs"],
        warnings=figures["warnings"],
        lines=lines_of(figures)[1:],
        words=[meaning(row["change"], first) for row in figures["runs"]],
    )
