"""The page: self-contained, escaped, complete, and every number in it is in metrics.json."""

import base64
import re
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from pocketvlm.pages import percent
from pocketvlm.project import Project
from pocketvlm.validate.report import SECTIONS, TRUTH, render, telling
from pocketvlm.validate.report.shown import RIGHT_IN_ALL, WRONG
from pocketvlm.workspace import Row, write_json
from tests.html_reader import Page

from . import figures as simulated

ODD = ["water&land", '"quoted"', "ماء", "🔥", "l" * 500]
Figures = tuple[Row, list[Row]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Three hundred small pictures."""
    return simulated.project(tmp_path_factory.mktemp("report"))


@pytest.fixture
def full() -> Figures:
    """Every field of metrics.json, and the predictions."""
    return simulated.simulate()


def page(project: Project, found: Figures) -> Page:
    """The page, read."""
    return Page(render(project, *found))


def sections(seen: Page) -> list[str]:
    """The ids of the sections in their order."""
    return [str(attrs["id"]) for attrs in seen.all("h2") if attrs.get("id") in SECTIONS]


def test_nothing_is_loaded_from_elsewhere(project: Project, full: Figures) -> None:
    seen = page(project, full)
    names = ("src", "href", "xlink:href", "data", "action", "srcset", "poster")
    links = [attrs[name] for _, attrs in seen.elements for name in names if attrs.get(name)]
    assert links
    assert all(str(link).startswith(("data:image/", "#")) for link in links)
    assert not seen.all("script")
    assert not re.search(r"@import|url\((?!#)", render(project, *full))


def test_pictures_decode_and_have_words(project: Project, full: Figures) -> None:
    pictures = page(project, full).all("img")
    wrong = sum(not row["right"] for row in full[1])
    assert len(pictures) == wrong + 5 * 6
    for picture in pictures:
        encoded = str(picture["src"]).removeprefix("data:image/jpeg;base64,")
        with Image.open(BytesIO(base64.b64decode(encoded, validate=True))) as decoded:
            decoded.load()
        assert picture["alt"]


def test_the_verdict_comes_first(project: Project, full: Figures) -> None:
    figures, seen = full[0], page(project, full)
    right = round(figures["accuracy"] * figures["n"])
    low, high = (percent(bound) for bound in figures["ci"])
    told = [
        f"{right} of 300 pictures are answered right by the files that ship.",
        "2 of 6 gates missed",
        f"between {low} and {high} (95% interval)",
        "missed by 2.1 points",
        "What ships: model-Q8_0.gguf with mmproj-F16.gguf",
        figures["recommendation"]["words"],
        figures["warnings"][0],
        "What was asked for before anything was measured",
        "at most 700 ms",
        "From the base to the phone's files",
    ]
    places = [seen.text.index(words) for words in told]
    assert sorted(places) == places


def test_every_section_is_there_in_order(project: Project, full: Figures, tmp_path: Path) -> None:
    trained = simulated.project(tmp_path)
    history = {"train": [{"epoch": 0.5, "loss": 2.0}], "val": [], "best": None}
    write_json(
        trained.workspace.adapter / "history.json", history | {"warnings": ["'fire' is rare"]}
    )
    seen = page(trained, full)
    assert sections(seen) == list(SECTIONS)
    assert "No validation split." in seen.text
    assert "'fire' is rare" in seen.text
    assert "training" not in sections(page(project, full))  # an adapter without a history


def test_two_files_alone_leave_the_other_sections_out(project: Project, full: Figures) -> None:
    seen = page(project, simulated.thin(*full))
    assert sections(seen) == [
        *("ladder", "ways", "classes", "wrong", "right", "controls", "setting", "truth")
    ]
    assert "Gate passed" in seen.text
    assert "of 300 pictures are answered right by these files." in seen.text
    assert "the folder meadow ." in seen.text
    assert "The labels of which the teacher was surest come first." in seen.text
    assert "None" not in seen.text


def test_older_figures_are_shown_as_far_as_they_go(project: Project, full: Figures) -> None:
    seen = page(project, simulated.older(*full))
    assert sections(seen) == [
        *("ladder", "classes", "wrong", "right", "slices", "audit", "setting", "truth")
    ]
    assert "llama.cpp Q8_0 ships" in seen.text
    assert "None" not in seen.text


@pytest.mark.parametrize("key", sorted(simulated.simulate()[0]))
def test_any_figure_may_be_none_or_absent(project: Project, full: Figures, key: str) -> None:
    needed = {"accuracy", "ci", "n", "truth", "split", "model", "mmproj", "runtime"}
    needed |= {"per_class", "confusion", "majority", "macro_f1", "one_word", "ms_per_picture"}
    figures = full[0] | {"calibration": None}  # its plots take a second
    if key not in needed:
        page(project, (figures | {key: None}, []))
        page(project, ({name: value for name, value in figures.items() if name != key}, []))


def test_model_and_teacher_text_is_escaped(project: Project, full: Figures) -> None:
    figures, rows = full
    bad = "<script>alert(1)</script> & <b>more"
    rows = [row | {"reason": bad} for row in rows]
    rows[0] |= {"answer": None, "right": False, "texts": {"llama.cpp Q8_0": " a <b>picture</b>"}}
    figures |= {"warnings": [bad], "audit": simulated.audit(broken=True)}
    figures["recommendation"] |= {"words": bad}
    figures["controls"][1] |= {"words": bad, "sentence": bad, "value": bad}
    seen = page(project, (figures, rows))
    assert not seen.all("script")
    assert not seen.all("b")
    assert "no label: “a <b>picture</b>”" in seen.text
    assert seen.text.count("<script>alert(1)</script> & <b>more") > 5


def test_forty_odd_labels(tmp_path: Path) -> None:
    labels = [*ODD, *(f"species{at}" for at in range(35))]
    figures, rows = simulated.simulate(900, labels)
    rows = [row | {"reason": "as the teacher said"} for row in rows]
    seen = page(simulated.project(tmp_path, labels, 900), (figures, rows))
    assert {"water&land", '"quoted"', "ماء", "🔥"} <= set(seen.text.split())
    assert seen.text.count("l" * 500) == 1  # in the device contract
    assert any(attrs.get("title") == "l" * 500 for _, attrs in seen.elements)
    wrong = sum(not row["right"] for row in rows)
    assert wrong > WRONG
    assert f"{wrong} wrong of 900, {WRONG} shown" in seen.text
    assert len(seen.all("img")) <= WRONG + RIGHT_IN_ALL
    assert "Taken for each other most often" in seen.text


def test_the_surest_mistake_comes_first(project: Project, full: Figures) -> None:
    figures, rows = full
    wrong = [row | {"right": False, "reason": None} for row in rows[:3]]
    wrong[0] |= {"id": "a" * 64, "sure": None, "confidence": 1.0}
    wrong[1] |= {"id": "b" * 64, "sure": 0.6, "confidence": 0.5}
    wrong[2] |= {"id": "c" * 64, "sure": 0.9, "confidence": 0.5}
    seen = page(project, (figures, wrong))
    ids = [str(attrs["alt"])[8] for attrs in seen.all("img")]
    assert ids == ["c", "b", "a"]
    assert "90% sure" in seen.text


def test_without_a_mistake_the_page_stands(project: Project, full: Figures) -> None:
    figures, rows = full
    seen = page(project, (figures, [row for row in rows if row["right"]]))
    assert "Nothing." in seen.text


def test_the_ladder_marks_what_ships_and_what_costs(project: Project, full: Figures) -> None:
    figures = full[0]
    figures["recommendation"] |= {"recommended": "llama.cpp Q4_0"}
    rung = next(row for row in figures["ladder"] if row["step"] == "llama.cpp Q4_0")
    text = page(project, full).text
    assert "llama.cpp Q8_0 ships" in text
    assert "llama.cpp F16 measured only" in text
    assert "llama.cpp Q4_0 recommended" in text
    assert "llama.cpp Q8_0 + mmproj Q8_0 too few pictures to tell" in text
    assert "About 1,840 test pictures would tell" in text
    points = telling.points(-rung["change"]["difference"])
    assert f"llama.cpp Q4_0 loses {points} points against llama.cpp F16" in text


def test_answers_that_are_no_label_are_no_confusion(project: Project, full: Figures) -> None:
    table = full[0]["confusion"]
    table["counts"] = [[0] * 5 + [9], *table["counts"][1:]]
    text = page(project, full).text
    assert "Most often water gets an answer that is no label (9 pictures)" in text
    assert "llama.cpp F16 measured only" in text
    assert "torch merged measured only" not in text


def test_a_break_of_the_audit_is_told_at_the_top(project: Project, full: Figures) -> None:
    seen = page(project, (full[0] | {"audit": simulated.audit(broken=True)}, full[1]))
    assert seen.text.index("Torch and llama.cpp differ") < seen.text.index("Gates")
    assert any("shows it worst" in str(picture["alt"]) for picture in seen.all("img"))


def test_no_threshold_is_told_as_such(project: Project, full: Figures) -> None:
    gone = {"unsure_below": None, "coverage": None, "accuracy_when_sure": None}
    full[0]["calibration"] |= gone | {"ci_when_sure": None}
    text = page(project, full).text
    assert "no threshold makes 95.0% of the answers right" in text
    assert "The dot is the chosen threshold" not in text


def test_ids_are_unique_and_references_resolve(project: Project, full: Figures) -> None:
    elements = page(project, full).elements
    ids = [attrs["id"] for _, attrs in elements if attrs.get("id")]
    assert len(ids) == len(set(ids))
    labelled = {attrs["aria-labelledby"] for _, attrs in elements if attrs.get("aria-labelledby")}
    linked = {str(attrs["href"])[1:] for tag, attrs in elements if tag == "a"}
    assert labelled | linked <= set(ids)
    assert linked


def test_pictures_lie_in_the_dataset_or_anywhere(full: Figures, tmp_path: Path) -> None:
    figures, rows = full
    made = simulated.project(tmp_path)
    images = made.workspace.dataset / "images"
    shutil.move(images, tmp_path / "kept")
    elsewhere = [row | {"image": str(tmp_path / "kept" / Path(row["image"]).name)} for row in rows]
    assert page(made, (figures, elsewhere)).all("img")
    with pytest.raises(FileNotFoundError):
        page(made, full)


@pytest.mark.parametrize("truth", TRUTH)
def test_what_counts_as_true_is_said(project: Project, full: Figures, truth: str) -> None:
    text = page(project, (full[0] | {"truth": truth}, full[1])).text
    assert f"What counts as true: {truth}" in text
    assert TRUTH[truth] in text


NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
FIXED = {"95", "100", "0", "0.001", "1.0", "90", "1"}
"""The interval's level, the ends of scales, and numbers inside fixed sentences."""

WRITTEN: tuple[Callable[[float], str], ...] = (
    *(percent, telling.points, telling.number, telling.outcome, telling.duration, str),
    lambda value: percent(value, 0),
    *(lambda value, digits=digits: f"{value:.{digits}f}" for digits in (2, 3)),
    lambda value: f"{value:,}",
    lambda value: f"{value:.3g}",
)


def leaves(value: object) -> Iterator[float | str]:
    """Every figure and every text inside."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name != "curve":  # drawn, not written
                yield from (str(name), *leaves(part))
    elif isinstance(value, list):
        for part in value:
            yield from leaves(part)
    elif isinstance(value, (int, float, str)) and not isinstance(value, bool):
        yield value


def written(value: float | str) -> set[str]:
    """The numbers that a figure may be written with."""
    texts = [value] if isinstance(value, str) else [write(abs(value)) for write in WRITTEN]
    return {number for text in texts for number in NUMBER.findall(text)}


def test_every_number_is_in_the_metrics(project: Project, full: Figures) -> None:
    figures, rows = full
    wrong = [row for row in rows if not row["right"]]
    known = set(FIXED) | {str(len(wrong)), str(len(rows) - len(wrong))}
    known |= {str(sum(not gate["passed"] for gate in figures["gates"].values()))}
    known |= {str(len(figures["gates"])), str(project.config.prepare.min_confidence)}
    shown = [{"sure": row["sure"], "confidence": row["confidence"]} for row in wrong]
    for value in leaves([figures, shown, project.contract.describe()]):
        known |= written(value)
    html = re.sub(r"<svg.*?</svg>", "", render(project, *full), flags=re.DOTALL)
    found = set(NUMBER.findall(Page(html).text))
    assert len(found) > 150
    assert found <= known, found - known


def test_a_sample_of_figures_is_shown(project: Project, full: Figures) -> None:
    figures, text = full[0], page(project, full).text
    calibration, cost, ways = (figures[name] for name in ("calibration", "cost", "ways"))
    ships = next(row for row in figures["ladder"] if row["ships"])
    expected = [
        percent(figures["accuracy"]),
        *(percent(row["accuracy"]) for row in figures["ladder"]),
        *(f"{row['vision_ms']:.0f} + " for row in figures["ladder"] if row["vision_ms"]),
        f"{telling.number(ships['mib'])} MiB in all",
        *(percent(row["accuracy"]) for row in ways.values()),
        *(percent(row["recall"]) for row in figures["per_class"].values()),
        f"below {percent(calibration['unsure_below'])}",
        f"answers {percent(calibration['coverage'])} of the pictures",
        f"right on {percent(calibration['accuracy_when_sure'])} of them",
        *(percent(row["accuracy"]) for rows in figures["slices"].values() for row in rows),
        *(str(n) for row in figures["data"]["counts"].values() for n in row.values()),
        f"${cost['usd']:.2f} for 3,120 answers",
        "1 h 30 min",
        percent(figures["confident"]["accuracy"]),
        project.contract.hash,
        "llama-cpp-python 0.3.36",
    ]
    assert [words for words in expected if words not in text] == []


@pytest.mark.parametrize(("share", "words"), [(0.8349, "83.5%"), (1, "100.0%"), (None, "–")])  # noqa: RUF001
def test_percent(share: float | None, words: str) -> None:
    assert percent(share) == words
