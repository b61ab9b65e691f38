"""The controls that tell learning from luck: each must be able to fail."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pocketvlm.config import parse_config
from pocketvlm.export import export_text, export_vision
from pocketvlm.pictures import Bitmap
from pocketvlm.project import Project
from pocketvlm.runtime import Asked, ask_all
from pocketvlm.student.data import read_bitmap
from pocketvlm.student.tiny import save_tiny
from pocketvlm.validate.controls import again, controls, majority
from pocketvlm.validate.controls.control import Control, Judged
from pocketvlm.validate.controls.probe_features import probe_controls
from pocketvlm.validate.controls.teaching import teacher
from pocketvlm.validate.controls.twins import near_duplicates
from pocketvlm.validate.examples import Example, read_examples
from pocketvlm.workspace import Row, append_row, read_rows, write_rows
from tests.prepare.conftest import answered
from tests.validate.conftest import LABELS, SIDE, lines
from tests.validate.conftest import settings as sections

TRAIN, TEST = 120, 60

Files = tuple[Path, Path]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random tiny base."""
    folder = tmp_path_factory.mktemp("controls") / "base"
    save_tiny(folder, words=LABELS, side=SIDE)
    return folder


@pytest.fixture(scope="module")
def files(base: Path) -> Files:
    """It as files of llama.cpp."""
    text, vision = base.parent / "model.gguf", base.parent / "mmproj.gguf"
    export_text(base, text, "F32")
    export_vision(base, vision, "F32", SIDE)
    return text, vision


@pytest.fixture
def project(base: Path, tmp_path: Path) -> Project:
    """Pictures whose colour is their label."""
    return make(tmp_path, base)


def make(root: Path, base: Path, train: int = TRAIN, **changed: Any) -> Project:
    """A project with so many pictures in train."""
    config = parse_config(sections(**{"base": {"model": str(base)}} | changed))
    made = Project.of(config, root)
    for split, count in (("train", train), ("val", 6), ("test", TEST)):
        lines(made, split, count)
    made.record_contract(made.workspace.dataset)
    return made


def shuffle(project: Project, *splits: str) -> None:
    """Deal the labels out anew among the pictures of a split."""
    rng = np.random.default_rng(1)
    for name in splits:
        rows = list(read_rows(project.workspace.split(name)))
        order = rng.permutation(len(rows))
        changed = [row | {"label": rows[at]["label"]} for row, at in zip(rows, order, strict=True)]
        write_rows(project.workspace.split(name), changed)


def colours(project: Project) -> list[str]:
    """What a perfect student says of test: the colour, whatever the lines say."""
    return [list(LABELS)[at % len(LABELS)] for at in range(TEST)]


def rows_of(project: Project, files: Files, said: Sequence[Asked] | None = None) -> dict[str, Row]:
    """The controls by their name; the files' own answers unless others are given."""
    _, examples = read_examples(project)
    if said is None:
        said = list(ask_all(files, project.contract, bitmaps(project, examples)))
    return {row["name"]: row for row in controls(project, files, examples, said)}


def judged_by(project: Project, said: Sequence[str]) -> tuple[list[Example], Judged]:
    """The examples, and these answers to them."""
    _, examples = read_examples(project)
    return examples, Judged.of(project.contract, examples, said)


def probed(project: Project, said: Sequence[str]) -> dict[str, Control]:
    """The controls by a probe."""
    return {one.name: one for one in probe_controls(project, *judged_by(project, said))}


def taught(project: Project, said: Sequence[str]) -> Control:
    """The control of the teacher."""
    return teacher(project, *judged_by(project, said))


def twins(project: Project, said: Sequence[str]) -> Control:
    """The control of near-duplicates."""
    examples, judged = judged_by(project, said)
    return near_duplicates(project, [one.path for one in examples], judged)


def repeated(project: Project, files: Files, said: Sequence[Asked]) -> dict[str, Control]:
    """The controls that ask again."""
    _, examples = read_examples(project)
    return {one.name: one for one in again.ask_again(project, files, examples, said)}


def first_said(project: Project, files: Files) -> list[Asked]:
    """What the files themselves say."""
    _, examples = read_examples(project)
    return list(ask_all(files, project.contract, bitmaps(project, examples)))


def bitmaps(project: Project, examples: Iterable[Example]) -> Iterator[Bitmap]:
    """The examples' bitmaps."""
    return (read_bitmap(one.path, project.contract.side) for one in examples)


def test_all_are_there_for_people_and_programs(project: Project, files: Files) -> None:
    rows = rows_of(project, files)
    assert list(rows) == [
        *("majority", "blank pictures", "another order", "wrong truths"),
        *("linear probe", "labels", "teacher", "near-duplicates"),
    ]
    for row in rows.values():
        assert list(row) == ["name", "words", "value", "limit", "passed", "sentence"]
        assert row["words"].endswith((".", "?")) and row["sentence"].endswith((".", "`."))
        assert row["passed"] in (True, False, None)
    assert json.loads(json.dumps(rows)) == rows  # no numpy in it


def test_a_student_that_says_nothing_is_no_better_than_the_commonest_label(
    project: Project, files: Files
) -> None:
    """The untrained base: its answers are no labels, and a probe is far better."""
    rows = rows_of(project, files)
    assert rows["majority"]["passed"] is False
    assert rows["linear probe"]["passed"] is False
    assert rows["labels"]["passed"] is True  # they are fine; the training is not
    assert rows["wrong truths"]["passed"] is None
    assert rows == rows_of(project, files)  # the same files give the same figures


def judged(right: int, wrong: int) -> Judged:
    """Two labels, half of the pictures each."""
    truth = ["sky", "grass"] * ((right + wrong) // 2)
    said = [
        true if at < right else {"sky": "grass", "grass": "sky"}[true]
        for at, true in enumerate(truth)
    ]
    return Judged(truth, said)


@pytest.mark.parametrize(
    ("right", "wrong", "passed"), [(80, 20, True), (56, 44, False), (2, 0, None)]
)
def test_accuracy_must_surely_lie_above_the_majority(
    right: int, wrong: int, passed: bool | None
) -> None:
    control = majority(judged(right, wrong))
    assert control.passed is passed
    assert control.limit == 0.5
    assert ("too few" in control.words) == (passed is None)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=30, max_size=60), st.randoms())
def test_chance_is_what_random_orders_give(truth: list[str], random: Any) -> None:
    said = [one if random.random() < 0.5 else "a" for one in truth]
    mean, limit = Judged(truth, said).chance
    expected = sum(truth.count(word) * said.count(word) for word in "abc") / len(truth) ** 2
    assert abs(mean - expected) < 0.01
    assert mean <= limit <= 1


def test_few_right_answers_on_a_rare_label_are_no_chance() -> None:
    """Accuracy below the majority's, but from a student that looks."""
    truth = ["common"] * 90 + ["rare"] * 10
    said = ["common"] * 80 + ["rare"] * 20
    assert Judged(truth, said).majority == Judged(truth, said).accuracy == 0.9
    assert Judged(truth, said).related is True
    assert Judged(truth, ["common"] * 100).related is False
    assert Judged(["a", "b", "a"], ["b", "a", "b"]).related is None
    assert (majority(Judged(truth, said)).passed, majority(Judged(truth, said)).value) == (
        None,
        Judged(truth, said).interval[0],
    )
    assert majority(Judged(truth, ["common"] * 100)).passed is False


def leaky(
    files: Files, contract: Any, bitmaps: Iterable[Bitmap], **options: Any
) -> Iterator[Asked]:
    """A runtime in which half of the picture before is still there."""
    before = np.zeros((SIDE, SIDE, 3), np.uint8)

    def mixed() -> Iterator[Bitmap]:
        nonlocal before
        for bitmap in bitmaps:
            yield np.concatenate([before[: SIDE // 2], bitmap[SIDE // 2 :]])
            before = bitmap

    return ask_all(files, contract, mixed(), **options)


def test_a_runtime_without_memory_passes(project: Project, files: Files) -> None:
    found = repeated(project, files, first_said(project, files))
    assert found["blank pictures"].passed is True
    assert found["another order"].passed is True
    for name in ("black", "grey", "noise", "sure"):
        assert name in found["blank pictures"].words


def test_a_runtime_that_remembers_is_caught(
    project: Project, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, examples = read_examples(project)
    said = list(leaky(files, project.contract, bitmaps(project, examples)))
    monkeypatch.setattr(again, "ask_all", leaky)
    monkeypatch.setattr(again, "DRIFT", 1e-4)  # of a random base a label's share moves little
    found = repeated(project, files, said)
    assert found["another order"].passed is False
    assert found["blank pictures"].passed is False
    assert "got another answer" in found["another order"].words


def test_answers_that_changed_since_are_counted(project: Project, files: Files) -> None:
    said = first_said(project, files)
    said[7] = replace(said[7], text="something else")
    found = repeated(project, files, said)["another order"]
    assert found.passed is False
    assert found.value == pytest.approx(1 - 1 / TEST)
    assert f"{TEST} pictures" in found.words and " 1 got another answer" in found.words


def test_a_near_tie_is_no_change(project: Project) -> None:
    water, fire, _ = project.contract.labels
    close, far = (
        Asked(" fire", 2, True, likelihoods=scores)
        for scores in ((-0.7, -0.75, -9.0), (-0.1, -2.0, -9.0))
    )
    assert again.near_tie(project, close, f" {water}", f" {fire}")
    assert not again.near_tie(project, far, f" {water}", f" {fire}")
    assert not again.near_tie(project, close, " a picture", f" {fire}")


def test_answers_that_follow_the_place_are_caught() -> None:
    truth = ["sky", "grass"] * 50
    turned = truth[1:] + truth[:1]
    by_place = again.wrong_truths(Judged(turned, turned), Judged(truth, truth))
    assert by_place.passed is False
    random = np.random.default_rng(0).permutation(truth).tolist()
    assert again.wrong_truths(Judged(random, random), Judged(truth, random)).passed is True


def test_a_student_as_good_as_the_probe_passes(project: Project) -> None:
    found = probed(project, colours(project))
    assert found["linear probe"].passed is True
    assert found["linear probe"].value == 1
    assert found["labels"].passed is True
    assert (found["labels"].value or 0) > 0.9


def test_labels_that_do_not_follow_the_pictures_are_named(project: Project) -> None:
    """All labels shuffled, and a student that learned from them: it says what it likes."""
    shuffle(project, "train", "val", "test")
    noise = np.random.default_rng(2).choice(list(LABELS), TEST).tolist()
    labels = probed(project, noise)["labels"]
    assert labels.passed is False
    assert "do not follow the pictures" in labels.sentence
    assert majority(judged_by(project, noise)[1]).passed is False


def test_shuffled_labels_are_named_where_the_truth_is_known_too(base: Path, tmp_path: Path) -> None:
    """Also of a student that by luck is often right: that proves nothing for the labels."""
    project = known(tmp_path, base)
    shuffle(project, "train", "val", "test")
    lucky = [one if at % 2 else "fire" for at, one in enumerate(colours(project))]
    assert majority(judged_by(project, lucky)[1]).passed is True
    assert probed(project, lucky)["labels"].passed is False
    assert taught(project, lucky).passed is False


def test_a_truth_that_was_mixed_up_is_told_from_labels_that_were(project: Project) -> None:
    shuffle(project, "test")
    labels = probed(project, colours(project))["labels"]
    assert labels.passed is False
    assert "what counts as true" in labels.sentence


def test_too_few_pictures_accuse_nobody(base: Path, tmp_path: Path) -> None:
    few = make(tmp_path / "few", base, train=30)
    shuffle(few, "train", "test")
    assert probed(few, ["wood"] * TEST)["labels"].passed is None
    none = make(tmp_path / "none", base, train=4)
    found = probed(none, ["wood"] * TEST)
    assert found["linear probe"].passed is found["labels"].passed is None
    assert "Not judged" in found["linear probe"].words


def known(root: Path, base: Path) -> Project:
    """A project whose truth lies in a file: the colours."""
    truth = {"truth": "known", "truth_file": "truth.jsonl"}
    project = make(root, base, validate=truth)
    rows = read_rows(project.workspace.split("test"))
    write_rows(root / "truth.jsonl", [{"sha256": r["id"], "label": r["label"]} for r in rows])
    return project


def test_a_student_may_be_better_than_its_teacher(base: Path, tmp_path: Path) -> None:
    project = known(tmp_path, base)
    path = project.workspace.split("test")
    rows = [
        row | ({"label": "wood"} if at % 4 == 0 else {}) for at, row in enumerate(read_rows(path))
    ]
    write_rows(path, rows)
    row = taught(project, colours(project))
    assert row.passed is True
    assert row.value == pytest.approx(50 / TEST)
    assert "better than its teacher" in row.words


def test_the_teacher_is_not_judged_by_itself(project: Project) -> None:
    row = taught(project, colours(project))
    assert (row.value, row.passed) == (None, None)
    assert "own labels" in row.words


def test_what_a_person_replaced_is_not_known_without_the_ledger(base: Path, tmp_path: Path) -> None:
    project = make(tmp_path, base, validate={"truth": "reviewed"})
    _, examples = read_examples(project)
    row = taught(project, [one.truth for one in examples])
    assert (row.value, row.passed) == (None, None)
    assert "not on the disk" in row.words


def test_what_the_teacher_said_before_a_person_decided_is_in_the_ledger(
    base: Path, tmp_path: Path
) -> None:
    """Every third answer was another one; a picture that nobody asked about is left out."""
    project = make(tmp_path, base, validate={"truth": "reviewed"})
    project.workspace.originals.mkdir()
    rows = [row for row in read_rows(project.workspace.split("test")) if row["reviewed"]]
    for at, row in enumerate(rows):
        said = {"label": "wood"} if at % 3 == 0 else {"label": row["label"]}
        index = {"sha256": row["id"], "file": "gone.png", "origin": "x", "width": 9, "height": 9}
        append_row(project.workspace.index, index)
        if at:
            answered(project, index, **(said if at != 3 else {"status": "none", "label": None}))
    right = sum(at % 3 != 0 or (row["label"] == "wood" and at > 3) for at, row in enumerate(rows))
    control = taught(project, [row["label"] for row in rows])
    assert f"of {len(rows) - 1} pictures" in control.words
    assert control.value == pytest.approx(right / (len(rows) - 1))
    assert control.passed is True


def drawn(project: Project, split: str, pictures: Sequence[Bitmap]) -> None:
    """Replace the first bitmaps of a split."""
    folder = project.workspace.dataset
    rows = read_rows(project.workspace.split(split))
    for row, bitmap in zip(rows, pictures, strict=False):
        Image.fromarray(bitmap).save(folder / row["image"])


def blobs(seed: int) -> Bitmap:
    """A picture of large random shapes."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def test_copies_of_train_in_test_are_found(project: Project) -> None:
    """Brighter ones too; the student knows them by heart and nothing else."""
    shown = [blobs(at) for at in range(TRAIN)]
    drawn(project, "train", shown)
    brighter = [(one * 0.9 + 20).astype(np.uint8) for one in shown[:30]]
    drawn(project, "test", [*brighter, *(blobs(1000 + at) for at in range(TEST - 30))])
    said = [one if at < 30 else "none" for at, one in enumerate(colours(project))]
    row = twins(project, said)
    assert row.words.startswith(f"30 of {TEST} pictures")
    assert (row.value, row.passed) == (0, False)


def test_copies_that_change_nothing_pass(project: Project) -> None:
    shown = [blobs(at) for at in range(TRAIN)]
    drawn(project, "train", shown)
    drawn(project, "test", [*shown[:10], *(blobs(1000 + at) for at in range(TEST - 10))])
    row = twins(project, colours(project))
    assert row.words.startswith(f"10 of {TEST} pictures")
    assert (row.value, row.passed) == (1, True)


def test_where_all_are_copies_nothing_is_left(project: Project) -> None:
    shown = [blobs(at) for at in range(TRAIN)]
    drawn(project, "train", shown)
    drawn(project, "test", shown)
    row = twins(project, colours(project))
    assert (row.value, row.passed) == (None, False)


def test_black_borders_make_no_twins(project: Project) -> None:
    """Panoramas: most of each bitmap is the same black."""

    def panorama(seed: int) -> Bitmap:
        wide = Image.fromarray(blobs(seed)).resize((6 * SIDE, SIDE))
        return project.contract.bitmap(wide)

    drawn(project, "train", [panorama(at) for at in range(TRAIN)])
    drawn(project, "test", [panorama(1000 + at) for at in range(TEST)])
    row = twins(project, colours(project))
    assert row.words == f"None of the {TEST} pictures looks like one of train or val."
    assert row.passed is True
