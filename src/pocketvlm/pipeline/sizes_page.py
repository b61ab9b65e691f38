"""The comparison of sides for people: sentences, a table as text, and sizes.html."""

from collections.abc import Sequence
from pathlib import Path

from pocketvlm.pages import html_pages
from pocketvlm.plots import sizes_plot
from pocketvlm.project import Project
from pocketvlm.validate import report
from pocketvlm.workspace import Row

HEAD = (
    *("side", "tokens", "mmproj", "MiB", "accuracy", "n", "ms", "tower", "training", "gate"),
    "against the smallest",
)


def prices(rows: Sequence[Row]) -> list[str]:
    """What each larger side gains and costs against the smallest, a sentence a side."""
    return [price(row, rows[0]) for row in rows[1:]]


def price(row: Row, smallest: Row) -> str:
    """One side against the smallest: an accuracy that is not told apart is not called a gain."""
    pair, names = row["against_smallest"], (row["side"], smallest["side"])
    low, high = pair["ci"]
    if low > 0:
        gain = f"{points(pair['difference'])} points more accurate [{points(low)}, {points(high)}]"
    elif high < 0:
        gain = (
            f"{points(-pair['difference'])} points less accurate [{points(-high)}, {points(-low)}]"
        )
    else:
        apart = f"{signed(pair['difference'])} points [{signed(low)}, {signed(high)}]"
        gain = f"not told apart from {names[1]} by {pair['n']} pictures ({apart})"
    times = row["ms"] / smallest["ms"]
    cost = f"{row['ms']:.0f} ms against {smallest['ms']:.0f}"
    return f"{names[0]} is {gain} and takes {times:.1f} times as long as {names[1]} ({cost})."


def points(share: float) -> str:
    """A share as percentage points."""
    return f"{share * 100:.1f}"


def signed(share: float) -> str:
    """The same with its sign."""
    return f"{share * 100:+.1f}"


def table(figures: Row) -> str:
    """The rows as text with a line a side, then the sentences."""
    rows = figures["sides"]
    lines = [HEAD, *(cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([*text, "", *figures["words"]])


def cells(row: Row) -> tuple[str, ...]:
    """A side as people read it."""
    pair, (low, high) = row["against_smallest"], row["ci"]
    return (
        str(row["side"]),
        f"{row['tiles']} x {row['image_tokens']}",
        f"{row['mmproj_mib']:.1f}",
        f"{row['mib']:.1f}",
        f"{points(row['accuracy'])}% [{points(low)}, {points(high)}]",
        str(row["n"]),
        f"{row['ms']:.1f}",
        f"{row['vision_ms']:.1f}",
        f"{row['train_seconds']:.0f} s",
        "missed" if row["gate"] else "passed",
        f"{signed(pair['difference'])} (right: {pair['only_this']} only it, "
        f"{pair['only_smallest']} only the smallest)"
        if pair
        else "-",
    )


def render(project: Project, figures: Row) -> str:
    """The whole page. `figures` is sizes.json."""
    pages = html_pages(Path(__file__).parent)
    pages.filters |= {"points": points, "signed": signed}
    rows = figures["sides"]
    return pages.get_template("sizes.html.j2").render(
        task=project.config.task,
        rows=rows,
        smallest=rows[0],
        words=figures["words"],
        truth=report.TRUTH[rows[0]["truth"]],
        plot=sizes_plot(rows),
    )
