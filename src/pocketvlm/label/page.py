"""labels/report.html: what the teachers said, in one file for people; nothing is loaded from
elsewhere, and everything that came from a teacher is escaped."""

import base64
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

from pocketvlm.errors import PocketError
from pocketvlm.label.agreement import decided
from pocketvlm.label.consensus import Decision, class_of
from pocketvlm.label.prompt import NONE
from pocketvlm.pages import html_pages
from pocketvlm.pictures import open_picture
from pocketvlm.plots import calibration_plot, confidence_plot, confusion_plot
from pocketvlm.workspace import Row

DISPUTED, LOST, FOUND, PAIRS = 24, 12, 2000, 3
"""Disagreements and examples without a label that are shown, answers to be searched, confusion
tables drawn."""

SIDE = 256
"""Thumbnails fit into a square of so many pixels."""

UNCOVERED = 0.2
"""A larger share of pictures that no label fits is warned about."""

LOSSES = {
    "none": "a teacher says that no label fits",
    "rejected": "a label outside the set: sharpen the definitions in task.labels",
    "refused": "the teacher declined: try another model",
    "malformed": "no answer of the form asked for: ask again, or try another model",
    "failed": "the call failed: run pocketvlm label again",
}
"""What each status means, and what can be done."""

RAW = ("refused", "malformed")
"""Answers that say nothing else."""

SHOWN = ("rejected", *RAW)
"""Pictures of which examples are shown."""

STATED = ("model", "repeat", "status", "confidence", "alternative")
TEXTS, LISTS = ("reason", "ambiguity", "texture", "error"), ("visual_features", "colours")
"""Fields of an opinion that are shown: as they are, and cut."""

Full = Callable[[int], Sequence[Row]]
"""A picture's opinions with all their fields, by its index."""


def render(
    pictures: Sequence[Row],
    opinions: Sequence[Sequence[Row]],
    decisions: Sequence[Decision],
    figures: Row,
    *,
    question: str,
    labels: Mapping[str, str],
    originals: Path,
    full: Full | None = None,
) -> str:
    """The whole page.

    `pictures` are lines of originals/index.jsonl (`sha256`, `file`) with opinions and decision at
    the same index, `figures` are agreement.figures of them, `labels` the task's with definitions,
    `originals` the folder of the files. `full` gives a picture's opinions with all fields that the
    ledger has (`reason`, `visual_features`, `colours`, `texture`, `ambiguity`, `raw`, `error`) by
    its index, in the order of `opinions`; it is asked for the pictures that are shown and, without
    their files, for those that can be searched. Without it `opinions` hold all there is."""
    pages = html_pages(Path(__file__).parent)
    pages.filters["money"] = money
    full = full or opinions.__getitem__
    return pages.get_template("labels.html.j2").render(
        **_about(figures),
        **_examples(pictures, opinions, decisions, originals, full),
        question=question,
        labels=labels,
    )


def _examples(
    pictures: Sequence[Row],
    opinions: Sequence[Sequence[Row]],
    decisions: Sequence[Decision],
    originals: Path,
    full: Full,
) -> Row:
    """What is shown of single pictures: those without a label first, then the least sure."""
    sure = [-1.0 if one.confidence is None else one.confidence for one in decisions]
    order = sorted(range(len(pictures)), key=sure.__getitem__)
    apart = [at for at in order if len({class_of(row) for row in opinions[at]} - {None}) > 1]
    lost = [at for at in order if decisions[at].status in SHOWN]

    def cards(chosen: Sequence[int]) -> list[Row]:
        return [card(pictures[at], full(at), decisions[at], originals) for at in chosen]

    return {
        "apart": cards(apart[:DISPUTED]),
        "apart_count": len(apart),
        "lost": cards(lost[:LOST]),
        "lost_count": len(lost),
        "answers": list(_searchable(pictures, order, full)),
        "answers_count": sum(len(said) for said in opinions),
    }


def _about(figures: Row) -> Row:
    """What the figures alone say: sentences and drawings."""
    stating = [teacher for teacher in figures["teachers"] if teacher["histogram"]]
    return {
        "figures": figures,
        "headline": headline(figures),
        "cost": cost(figures),
        "warnings": warnings(figures),
        "losses": LOSSES,
        "confidence": confidence_plot(stating) if stating else None,
        "calibrations": _calibrations(figures),
        "pairs": _pairs(figures),
    }


def headline(figures: Row) -> str:
    """The one sentence that people remember."""
    count = figures["pictures"]
    noun = "picture has" if count == 1 else "pictures have"
    return f"{figures['labelled']:,} of {count:,} {noun} a label."


def cost(figures: Row) -> str:
    """What it cost, in all and a label."""
    usd, each = figures["usd"], figures["usd_per_label"]
    if usd is None:
        return "What the answers cost is not known."
    if not usd:
        return "The answers cost nothing."
    return f"The answers cost {money(usd)}" + (f", {money(each)} a label." if each else ".")


def money(usd: float) -> str:
    """An amount as people read it: dollars, or cents and their fractions."""
    return f"{usd:,.2f} USD" if usd >= 0.1 else f"{100 * usd:.2g} cents"


def warnings(figures: Row) -> list[str]:
    """What a reader must know before believing the labels, in sentences that say what to do."""
    return [*_about_confidence(figures), *_about_labels(figures), *_about_losses(figures)]


def _about_confidence(figures: Row) -> Iterator[str]:
    clustered = [
        f"{names} states {one['value']:g} for {one['share']:.0%} of its answers"
        for teacher, names in zip(figures["teachers"], _names(figures).values(), strict=True)
        if (one := teacher["clustered"])
    ]
    if clustered:
        yield (
            f"{', '.join(clustered)}: a confidence that is nearly always the same cannot tell good "
            "labels from bad ones. Ask a teacher several times or add a second one, and let a "
            "person review a sample"
        )


def _about_labels(figures: Row) -> Iterator[str]:
    empty = [label for label, row in figures["classes"].items() if not row["accepted"]]
    if empty and figures["labelled"]:
        yield (
            f"no picture got the label {' or '.join(empty)}: the student cannot learn it. Collect "
            "pictures of it, or sharpen its definition"
        )
    if figures["rejected"]:
        words = ", ".join(f"{word} ({times})" for word, times in figures["rejected"].items())
        yield f"labels outside the set were answered: {words}. Sharpen the definitions, or add one"


def _about_losses(figures: Row) -> Iterator[str]:
    count, status = max(figures["pictures"], 1), figures["status"]
    if status["none"] / count > UNCOVERED:
        yield (
            f"no label fits {status['none'] / count:.0%} of the pictures: the labels do not cover "
            "what was collected"
        )
    if status["refused"]:
        yield (
            f"{status['refused']:,} of {count:,} pictures were refused and are left out: another "
            "model may answer"
        )
    if waiting := status["failed"] + status["malformed"]:
        yield (
            f"{waiting:,} of {count:,} pictures have no answer that can be read: run pocketvlm "
            "label again"
        )


def card(picture: Row, said: Sequence[Row], decision: Decision, originals: Path) -> Row:
    """One picture with what each teacher said about it."""
    word = decided(decision)
    return {
        "id": picture["sha256"][:12],
        "file": name_of(picture),
        "thumbnail": thumbnail(originals / picture["file"]),
        "status": decision.status,
        "label": word,
        "confidence": decision.confidence,
        "opinions": [
            _opinion(row)
            | {
                "usable": class_of(row) is not None,
                "same": word is not None and class_of(row) == word,
                "raw": _cut(row.get("raw"), 300) if row["status"] in RAW else "",
            }
            for row in said
        ],
    }


def _opinion(row: Row) -> Row:
    """What is shown of an opinion everywhere."""
    word = NONE if row["status"] == "none" else row["label"]
    stated = {name: row[name] for name in STATED}
    return stated | {name: _cut(row.get(name)) for name in TEXTS} | {"word": word}


def name_of(picture: Row) -> str:
    """A picture's name as people know it: in originals/ it is its SHA-256."""
    return str(picture.get("origin") or picture["file"])


def thumbnail(path: Path) -> str | None:
    """A collected picture as a small JPEG data URI, turned as its EXIF says; None where the file
    cannot be read any more."""
    try:
        small = Image.fromarray(open_picture(path))
    except PocketError:
        return None
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    out = BytesIO()
    small.save(out, "JPEG", quality=78)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def _searchable(pictures: Sequence[Row], order: Sequence[int], full: Full) -> Iterator[Row]:
    """Answers for the search box."""
    left = FOUND
    for at in order:
        for row in full(at)[:left]:
            lists = {name: [_cut(word) for word in row.get(name) or []] for name in LISTS}
            yield _opinion(row) | lists | {"file": name_of(pictures[at])}
            left -= 1
        if not left:
            return


def _cut(text: object, longest: int = 600) -> str:
    """The text of an answer, no longer than so many characters."""
    words = str(text or "")
    return words if len(words) <= longest else words[: longest - 1] + "…"


def _names(figures: Row) -> dict[int, str]:
    """The teachers' models; one that is asked at two places is told apart by its number."""
    models = {teacher["teacher"]: str(teacher["model"]) for teacher in figures["teachers"]}
    several = {model for model, count in Counter(models.values()).items() if count > 1}
    return {
        number: f"{model} ({number + 1})" if model in several else model
        for number, model in models.items()
    }


def _calibrations(figures: Row) -> list[Row]:
    """A plot for each thing that confidence is held against, where there is any."""
    titles = {"others": "share equal to another opinion", "reviews": "share right, reviewed"}
    names, plots = _names(figures), []
    for against, title in titles.items():
        series = {
            names[teacher["teacher"]]: rows
            for teacher in figures["teachers"]
            if (rows := teacher["calibration"][against])
        }
        if series:
            plot = calibration_plot(series, title, f"calibration-{against}")
            plots.append({"against": against, "plot": plot})
    return plots


def _pairs(figures: Row) -> list[Row]:
    """Each pair of teachers by name, the first ones with a drawing."""
    names, rows = _names(figures), []
    for at, pair in enumerate(figures["pairs"]):
        weak, strong = (names[number] for number in pair["teachers"])
        drawn = confusion_plot(pair["confusion"], weak, strong, f"pair{at}") if at < PAIRS else None
        rows.append(pair | {"weak": weak, "strong": strong, "plot": drawn})
    return rows
