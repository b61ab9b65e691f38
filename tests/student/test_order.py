"""Which pictures a step shows: a matter of seed and epoch, of nothing else."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from accelerate import skip_first_batches
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator
from transformers import TrainerState

from pocketvlm.project import Project
from pocketvlm.sections import Train
from pocketvlm.student import checkpoints, train
from pocketvlm.student.data import Collator, Split
from pocketvlm.student.features import Lessons
from pocketvlm.student.history import Reporter
from pocketvlm.student.order import Item, Order, Turns, balanced
from pocketvlm.student.trainer import Loader
from pocketvlm.workspace import read_rows, write_rows
from tests.student.conftest import make_project
from tests.student.students import lessons_of, make_student, trained

LABELS = st.lists(st.sampled_from("aaaaaaabbc"), min_size=1, max_size=80)
CONFIGS = st.builds(
    Train,
    seed=st.integers(0, 2**31),
    effective_batch=st.integers(1, 20),
    mirror=st.booleans(),
    balanced=st.booleans(),
)
EPOCHS = st.integers(0, 9)


def batches(
    labels: list[str], config: Train, epoch: int, rank: int = 0, processes: int = 1
) -> list[list[Item]]:
    """One epoch of one process."""
    order = Order(labels, config, rank, processes)
    order.set_epoch(epoch)
    return list(order)


@given(LABELS, CONFIGS, EPOCHS)
def test_every_epoch_shows_every_picture_once(labels: list[str], config: Train, epoch: int) -> None:
    config = config.model_copy(update={"balanced": False})
    found = batches(labels, config, epoch)
    places = [place for batch in found for place, _ in batch]
    assert sorted(places) == list(range(len(labels)))


@given(LABELS, CONFIGS, EPOCHS)
def test_batches_are_whole_steps(labels: list[str], config: Train, epoch: int) -> None:
    found = batches(labels, config, epoch)
    *full, last = map(len, found)
    assert set(full) <= {config.effective_batch}
    assert 1 <= last <= config.effective_batch
    assert sum(map(len, found)) == len(labels)
    assert len(Order(labels, config)) == len(found)


@given(LABELS, CONFIGS, EPOCHS, st.integers(1, 7))
def test_any_number_of_processes_shares_the_same_batches(
    labels: list[str], config: Train, epoch: int, processes: int
) -> None:
    whole = batches(labels, config, epoch)
    shares = [batches(labels, config, epoch, rank, processes) for rank in range(processes)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert Counter(batch) == Counter(item for part in parts for item in part)
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1


@given(LABELS, CONFIGS, EPOCHS, st.integers(1, 40))
def test_machine_and_history_change_nothing(
    labels: list[str], config: Train, epoch: int, pictures: int
) -> None:
    """Neither what fits at once, nor epochs shown before, nor torch's own random numbers."""
    wanted = batches(labels, config, epoch)
    machine = config.model_copy(update={"batch_size": pictures, "cache": False, "epochs": 50})
    order = Order(labels, machine)
    for shown in range(epoch + 1):
        torch.manual_seed(pictures + shown)
        order.set_epoch(shown)
        found = list(order)
    assert found == wanted


def test_seed_and_epoch_change_it() -> None:
    labels = list("ab" * 50)
    for config in (Train(), Train(balanced=True)):
        other = config.model_copy(update={"seed": 1})
        runs = [batches(labels, config, 0), batches(labels, config, 1), batches(labels, other, 0)]
        assert runs[0] != runs[1] != runs[2] != runs[0]


def test_mirroring_changes_no_place() -> None:
    labels = list("ab" * 50)
    straight, mirrored = (batches(labels, Train(mirror=mirror), 3) for mirror in (False, True))
    assert [[place for place, _ in batch] for batch in straight] == [
        [place for place, _ in batch] for batch in mirrored
    ]
    assert {view for batch in straight for _, view in batch} == {0}


def test_mirroring_is_tossed_for_each_picture_and_epoch_alone() -> None:
    count, epochs = 400, 20
    views = torch.zeros(epochs, count)
    for epoch in range(epochs):
        for batch in batches(["a"] * count, Train(mirror=True), epoch):
            for place, view in batch:
                views[epoch, place] = view
    share = float(views.mean())
    assert 0.47 < share < 0.53  # 6 standard deviations of 8,000 tosses are 0.034
    assert views.mean(1).min() > 0.35 and views.mean(1).max() < 0.65
    # Neighbours among pictures and among epochs agree as often as not.
    for one, other in ((views[1:], views[:-1]), (views[:, 1:], views[:, :-1])):
        assert 0.46 < float((one == other).float().mean()) < 0.54
    assert set(views.mean(0).tolist()) - {0.0, 1.0} and views.mean(0).min() > 0.0


@given(LABELS, st.integers(0, 99))
def test_balanced_labels_are_equally_frequent(labels: list[str], seed: int) -> None:
    config = Train(balanced=True, seed=seed)
    shown = [place for batch in batches(labels, config, 0) for place, _ in batch]
    assert len(shown) == len(labels)
    counts = Counter(labels[at] for at in shown)
    assert set(counts) == set(labels)
    assert max(counts.values()) - min(counts.values()) <= 1


@given(LABELS, st.integers(0, 99))
def test_no_picture_comes_again_before_all_of_its_label(labels: list[str], seed: int) -> None:
    kinds = sorted(set(labels))
    places = [torch.tensor([at for at, one in enumerate(labels) if one == k]) for k in kinds]
    times = Counter(balanced(places, Generator().manual_seed(seed)).tolist())
    for own in places:
        shown = [times[at] for at in own.tolist()]
        assert max(shown) - min(shown) <= 1


def test_of_a_frequent_label_each_epoch_shows_others() -> None:
    labels = ["a"] * 90 + ["b"] * 10
    config = Train(balanced=True)
    shown = {
        place
        for epoch in range(6)
        for batch in batches(labels, config, epoch)
        for place, _ in batch
    }
    assert len(shown) > 95  # half of the frequent ones come in an epoch


@given(st.integers(0, 90), st.integers(1, 20), st.integers(1, 7))
def test_val_is_asked_once_and_in_its_own_order(count: int, size: int, processes: int) -> None:
    shares = [Turns(count, size, rank, processes) for rank in range(processes)]
    for share in shares:
        asked = list(share)
        assert len(asked) == len(share)
        assert [item for batch in asked for item in batch] == [(at, 0) for at in share.places]
        assert all(1 <= len(batch) <= size for batch in asked)
    assert sorted(at for share in shares for at in share.places) == list(range(count))


Shown = tuple[Lessons, Collator]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Shown:
    """24 bitmaps, and how they become batches."""
    project = make_project(tmp_path_factory.mktemp("order"), tiny_base)
    student = make_student(project, tiny_base)
    split = Split(project, "train")
    lessons = lessons_of(student, split, tmp_path_factory.mktemp("kept"), cache=False, mirror=True)
    return lessons, Collator(student)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 6), st.integers(0, 3), st.booleans())
def test_going_on_in_the_middle_shows_the_rest(
    shown: Shown, skipped: int, epoch: int, balanced: bool
) -> None:
    """As transformers' Trainer does it: skip first, then announce the epoch to the sampler."""
    lessons, collate = shown
    config = Train(effective_batch=4, mirror=True, balanced=balanced)
    loader = Loader(lessons, Order(lessons.labels, config), collate)
    loader.set_epoch(epoch)
    wanted = list(loader)[skipped:]
    loader.set_epoch(99)
    rest = skip_first_batches(loader, skipped)
    rest.batch_sampler.batch_sampler.set_epoch(epoch)
    found = list(rest)
    assert len(found) == len(wanted) == 6 - skipped
    for one, other in zip(found, wanted, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in ("seen", "labels"))


def lopsided(root: Path, base: Path) -> Project:
    """Six of seven pictures are of one label, and half of them are shown mirrored."""
    project = make_project(root, base, epochs=3, patience=9, balanced=True, mirror=True)
    rows = list(read_rows(project.workspace.split("train")))
    often, rare = (rows[start::2] for start in (0, 1))
    write_rows(project.workspace.split("train"), [*often, *rare[: len(often) // 6]])
    return project


class CutError(Exception):
    """What ends a training in the middle."""


def test_a_training_cut_in_the_middle_of_an_epoch_ends_the_same(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit: order, views and dropout are those of the step, not of the process."""

    def cut(_: Reporter, args: object, state: TrainerState, *__: object, **___: object) -> None:
        if state.global_step == 6:  # the second of four in the second epoch
            raise CutError

    project = lopsided(tmp_path / "cut", tiny_base)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "EVERY", 0.0)
        patch.setattr(Reporter, "on_step_end", cut)
        with pytest.raises(CutError):
            train(project)
    resumed = trained(project)
    whole = trained(lopsided(tmp_path / "whole", tiny_base))
    assert resumed["train"] == whole["train"]
    assert resumed["val"] == whole["val"]
