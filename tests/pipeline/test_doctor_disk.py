"""Doctor: what goes where on the disk, and whether there is room for it."""

import os
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketvlm.config import parse_config
from pocketvlm.demo.demo import BASE
from pocketvlm.export import export_text, export_vision
from pocketvlm.export.checkpoint import Checkpoint
from pocketvlm.pipeline.doctor import disk
from pocketvlm.pipeline.doctor.disk import all_parts, by_disk, check_disk, still
from pocketvlm.pipeline.doctor.found import Expected, Found
from pocketvlm.pipeline.doctor.student_sizes import StudentSizes
from pocketvlm.project import Project
from pocketvlm.sections import Train
from tests.pipeline.examined import ALL, project

Usage = namedtuple("Usage", "total used free")


def needed(pictures: int = 100, searched: int = 0, **sections: Any) -> int:
    """Bytes for the whole way in a folder where nothing is."""
    made = Project.of(parse_config(sections), Path("/nonexistent"))
    found = Found(made, ALL, coming=Expected(pictures, searched=searched), model=BASE)
    return still(list(all_parts(found)))


TYPES = ("F32", "F16", "Q8_0", "Q5_0", "Q4_0", "Q4_K_M")

counts = st.integers(0, 200_000)


@settings(max_examples=60, deadline=None)
@given(counts, counts)
def test_more_pictures_never_need_less(one: int, other: int) -> None:
    few, many = sorted((one, other))
    assert needed(few) <= needed(many)
    assert needed(many, few) <= needed(many, many)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 16), st.integers(1, 16), st.sampled_from(["frozen", "connector"]))
def test_larger_pictures_never_need_less(one: int, other: int, vision: str) -> None:
    small, large = sorted((64 * one, 64 * other))
    train = {"vision": vision}
    assert needed(device={"side": small}, train=train) <= needed(
        device={"side": large}, train=train
    )


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from(TYPES), min_size=1), st.sampled_from(TYPES))
def test_another_type_never_needs_less(types: set[str], more: str) -> None:
    few = needed(export={"types": sorted(types)})
    assert few <= needed(export={"types": sorted(types | {more})})


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 256), st.integers(1, 256))
def test_a_larger_adapter_never_needs_less(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert needed(train={"rank": low}) <= needed(train={"rank": high})


@settings(max_examples=60, deadline=None)
@given(counts, st.lists(st.integers(0, 10**12), min_size=20, max_size=20))
def test_what_is_there_is_not_needed_again(pictures: int, there: list[int]) -> None:
    made = Project.of(parse_config({}), Path("/nonexistent"))
    fresh = list(all_parts(Found(made, ALL, coming=Expected(pictures), model=BASE)))
    part_there = [replace(part, there=size) for part, size in zip(fresh, there, strict=False)]
    assert 0 <= still(part_there) <= still(fresh) <= sum(part.size for part in fresh)
    assert still(fresh) >= max(part.size for part in fresh)


@pytest.mark.parametrize("side", [128, 256])
def test_file_sizes_are_those_of_the_export(tmp_path: Path, side: int) -> None:
    student = StudentSizes.read(BASE, side)
    for type in ("F32", "F16", "Q8_0"):
        text, vision = tmp_path / f"text-{type}", tmp_path / f"vision-{type}"
        export_text(BASE, text, type)
        export_vision(BASE, vision, type, side)
        assert student.text_file(type) == pytest.approx(text.stat().st_size, rel=0.02)
        assert student.vision_file(type) == pytest.approx(vision.stat().st_size, rel=0.01)


def test_parameters_are_those_of_the_checkpoint() -> None:
    tensors = Checkpoint.open(BASE).tensors
    stored = sum(tensor.data_range.size for tensor in tensors.values())
    kinds = {tensor.dtype for tensor in tensors.values()}
    width = {"F32": 4, "F16": 2, "BF16": 2}[kinds.pop()]
    assert not kinds
    assert StudentSizes.read(BASE, 256).parameters == stored // width


@pytest.mark.parametrize("vision", ["frozen", "connector", "lora"])
def test_adapter_is_the_size_of_the_trained_one(vision: Any) -> None:
    import torch
    from peft import get_peft_model

    from pocketvlm.student.load import load_model
    from pocketvlm.student.train import lora

    settings = Train(vision=vision, rank=8)
    learnt, _ = get_peft_model(
        load_model(BASE, torch.float32), lora(settings)
    ).get_nb_trainable_parameters()
    assert StudentSizes.read(BASE, 256).adapter(settings) == learnt


def test_too_little_room_is_a_problem_with_both_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, 3_000_000_000))
    made = project(tmp_path)
    found = Found(made, ALL, coming=Expected(50_000), model=BASE)
    check_disk(found)
    [problem] = found.problems
    said = str(problem)
    assert "3.0 GB are free" in said and "bitmaps and splits" in said and str(tmp_path) in said
    [row] = found.facts["disk"]["disks"]
    assert f"about {row['needed_gb']:.1f} GB" in said


@pytest.mark.parametrize(("share", "sure"), [(1.19, False), (1.21, True)])
def test_a_little_too_little_room_is_a_warning_in_megabytes(
    tmp_path: Path, share: float, sure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Found(project(tmp_path), frozenset({"bundle"}), model=BASE)
    free = round(disk.PAGE / share)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, free))
    check_disk(found)
    assert (len(found.problems), len(found.warnings)) == (sure, not sure)
    [said] = [*map(str, found.problems), *found.warnings]
    assert "about 2 MB" in said and "and 2 MB are free" in said and "links) 2 MB" in said


def test_only_the_stages_that_are_due_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, 3_000_000_000))
    found = Found(project(tmp_path), frozenset({"bundle"}), coming=Expected(50_000), model=BASE)
    check_disk(found)
    assert not found.problems
    assert [part["what"] for part in found.facts["disk"]["parts"]] == [
        "bundle (its model files are links)"
    ]


def test_a_folder_linked_to_another_disk_is_judged_there(tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one disk only")
    link = tmp_path / "merged"
    link.symlink_to(other / f"pocketvlm-{os.getpid()}")
    made = project(tmp_path)
    found = Found(made, ALL, coming=Expected(10), model=BASE)
    (here, first), (there, second) = by_disk(list(all_parts(found)), tmp_path)
    assert (here, there) == (tmp_path, other)
    assert [part.what for part in second] == ["merged model, float32"]
    assert "merged model, float32" not in [part.what for part in first]


def test_bitmaps_of_the_same_contract_are_there_already(tmp_path: Path) -> None:
    made = project(tmp_path)
    (made.workspace.dataset / "images").mkdir(parents=True)
    (made.workspace.dataset / "images" / "a.png").write_bytes(b"0" * 5000)
    made.record_contract(made.workspace.dataset)
    found = Found(made, ALL, coming=Expected(1), model=BASE)
    bitmaps = next(part for part in all_parts(found) if part.stage == "prepare")
    assert bitmaps.there == disk.used(made.workspace.dataset) > 5000


def test_a_data_set_of_ones_own_needs_no_originals(tmp_path: Path) -> None:
    found = Found(project(tmp_path, prepare={"custom": "own.jsonl"}), ALL, coming=Expected(100))
    assert not {"collect", "label"} & {part.stage for part in all_parts(found)}
