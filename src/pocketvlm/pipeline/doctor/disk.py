"""Disk for the whole way: what goes where, and whether there is room for what is still missing.

Model files follow from the student's widths: within 1% of what the 256M and 500M have at full size,
quantised ones up to 7% above (docs/decisions.md). What depends on pictures and answers is a mean:
in a demo of 300 pictures 0.99 (originals) to 1.23 (bitmaps) of what was written; photographs of a
phone are ten times as large as those of the web, and are counted where they lie in the folder."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from pocketvlm.errors import PocketError
from pocketvlm.pipeline.doctor.found import Expected, Found
from pocketvlm.pipeline.doctor.gpu import bytes_a_number, gb
from pocketvlm.pipeline.doctor.student_sizes import StudentSizes
from pocketvlm.project import CONTRACT, Project
from pocketvlm.workspace import Row, read_record

ORIGINAL = 250_000
"""Bytes of a picture from the web: COCO's have 160 kB, Unsplash's of width 1024 up to 300."""

ANSWER = 2_500
"""Bytes of an answer in the ledger and the report; the demo's short ones have 2,300."""

PACKED = 0.6
"""A bitmap's PNG, of its pixels: 0.52 for photographs, 0.5 for the demo's scenes."""

LINES = 1_200
"""Bytes of a picture's lines in dataset/."""

LEARNT = 0.9
"""Share of the pictures that are in train and val."""

CHECKPOINTS = 4
"""Three are kept, and the oldest goes after the newest is written."""

OPTIMISER = 12
"""Bytes of a learnt number in a checkpoint: itself, and AdamW's two moments."""

PREDICTION = 1_000
"""Bytes of a test picture in the report, of which a tenth are."""

PAGE = 2_000_000
"""Bytes of the report's plots and examples, and of the bundle's golden pictures and code."""

TOO_MANY = 1.2
"""Times what will be written that may be expected: so much over what is free is no problem yet."""

LARGEST = 4
"""Parts that a message names."""


@dataclass(frozen=True)
class Part:
    """Something that a stage writes."""

    stage: str
    what: str
    folder: Path
    size: int
    """Bytes at the end of the stage."""
    how: str = ""
    """What it was computed from, in bytes; empty where the student's widths say it."""
    there: int = 0
    """Bytes of them that lie there already, and are kept."""
    passing: bool = False
    """Whether it is removed at the end of the stage."""

    @property
    def missing(self) -> int:
        """Bytes still to be written."""
        return max(0, self.size - self.there)


def check_disk(found: Found) -> None:
    """The table, and a problem for each disk without room for what goes there."""
    root = found.project.workspace.root
    with found.going_on():
        check_writable(root)
    parts = [part for part in all_parts(found) if part.stage in found.due]
    found.facts["disk"] = {
        "parts": [_row(part, root) for part in parts],
        "disks": [_judged(found, disk, on_it) for disk, on_it in by_disk(parts, root)],
    }


def check_writable(root: Path) -> None:
    """PocketError where nothing can be written into the workspace."""
    try:
        with TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise PocketError(
            f"{root} cannot be written ({error.strerror}): run `chmod u+rwx {root}`, or put the "
            "project into a folder of your own"
        ) from None


def all_parts(found: Found) -> Iterator[Part]:
    """What every stage writes, as far as it can be known."""
    project, coming = found.project, found.coming
    yield from of_pictures(project, coming)
    if found.model:
        student = StudentSizes.read(found.model, project.contract.side)
        yield from of_training(found, student)
        yield from of_files(project, student)
    tested = round(0.1 * coming.pictures * PREDICTION)
    yield Part("validate", "report", project.workspace.report, tested + PAGE)
    yield Part("bundle", "bundle (its model files are links)", project.workspace.bundle, PAGE)


def of_pictures(project: Project, coming: Expected) -> Iterator[Part]:
    """Originals, answers and bitmaps; a data set of the user's own needs the last alone."""
    space, count = project.workspace, coming.pictures
    if not project.config.prepare.custom:
        size = coming.folder + coming.searched * ORIGINAL
        how = f"{coming.folder} in the folder + {coming.searched} pictures x {ORIGINAL}"
        yield Part("collect", "originals", space.originals, size, how, used(space.originals))
        questions = count * sum(teacher.repeats for teacher in project.config.teachers)
        labels, how = space.answers.parent, f"{questions} questions x {ANSWER}"
        yield Part("label", "answers", labels, questions * ANSWER, how, used(labels))
    bitmap = round(PACKED * 3 * project.contract.side**2) + LINES
    how, there = f"{count} pictures x {bitmap}", _taken_again(project)
    yield Part("prepare", "bitmaps and splits", space.dataset, count * bitmap, how, there)


def of_training(found: Found, student: StudentSizes) -> Iterator[Part]:
    """The base, what is kept of each picture, checkpoints, adapter, and the merged model."""
    space, train = found.project.workspace, found.project.config.train
    if found.to_download:
        from huggingface_hub.constants import HF_HUB_CACHE

        yield Part("train", "base, hub cache", Path(HF_HUB_CACHE), found.to_download)
    state, learnt = space.root / "state", student.adapter(train)
    kept = student.kept(train) * bytes_a_number(found.card)
    rows = round(found.coming.pictures * LEARNT * (2 if train.mirror else 1))
    features, how = state / "features", f"{rows} pictures in train and val x {kept}"
    yield Part("train", "features of the pictures", features, rows * kept, how, used(features))
    size, how = CHECKPOINTS * OPTIMISER * learnt, f"{CHECKPOINTS} x {OPTIMISER} x {learnt} learnt"
    yield Part("train", "checkpoints", state / "checkpoints", size, how, passing=True)
    yield Part("train", "adapter", space.adapter, 4 * learnt, f"4 x {learnt} learnt")
    size, how = 4 * student.parameters + student.tokenizer, f"4 x {student.parameters} parameters"
    yield Part("merge", "merged model, float32", space.merged, size, how)


def of_files(project: Project, student: StudentSizes) -> Iterator[Part]:
    """GGUF files, and those that are made to be read once."""
    space, export = project.workspace, project.config.export
    for type in export.types:
        path = space.text_gguf(type)
        yield Part("convert", path.name, space.gguf, student.text_file(type))
    for kind in export.mmproj:
        path = space.vision_gguf(kind)
        yield Part("convert", path.name, space.gguf, student.vision_file(kind))
    if "F16" not in export.types and {*export.types} - {"F32", "Q8_0"}:
        source = student.text_file("F16")
        yield Part("convert", "F16 for the quantiser", space.gguf, source, passing=True)
    exact = student.text_file("F32") + student.vision_file("F32")
    yield Part("validate", "F32 for the audit", space.root / "state", exact, passing=True)


def _taken_again(project: Project) -> int:
    """Bytes of the bitmaps that were made under the present contract: `prepare` links them."""
    folder = project.workspace.dataset
    made = read_record(folder / CONTRACT) if (folder / CONTRACT).is_file() else {}
    return used(folder) if made.get("hash") == project.contract.hash else 0


def used(folder: Path) -> int:
    """Bytes of the files below a folder; 0 where none is."""
    inside = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return sum(path.lstat().st_size for path in inside)


def by_disk(parts: Sequence[Part], root: Path) -> list[tuple[Path, list[Part]]]:
    """The parts on each file system, under one folder of it; the workspace's comes first. A link to
    a larger disk stays one."""
    disks: dict[int, tuple[Path, list[Part]]] = {}
    for folder, part in [(root, None), *((part.folder, part) for part in parts)]:
        place = _existing(folder)
        _, on_it = disks.setdefault(place.stat().st_dev, (place, []))
        on_it += [part] if part else []
    return list(disks.values())


def _existing(folder: Path) -> Path:
    folder = folder.resolve()
    return next(place for place in (folder, *folder.parents) if place.exists())


def still(parts: Sequence[Part]) -> int:
    """Bytes that a disk must have free: all that stays, and what passes by stage, at its most."""
    stays = sum(part.missing for part in parts if not part.passing)
    stages = {part.stage for part in parts}
    passing = [sum(p.missing for p in parts if p.passing and p.stage == one) for one in stages]
    return stays + max(passing, default=0)


def _judged(found: Found, disk: Path, parts: Sequence[Part]) -> Row:
    free, needed = shutil.disk_usage(disk).free, still(parts)
    if free < needed:
        largest = sorted(parts, key=lambda part: -part.missing)[:LARGEST]
        named = ", ".join(f"{part.what} {size_words(part.missing)}" for part in largest)
        with found.going_on(sure=needed > TOO_MANY * free):
            raise PocketError(
                f"{disk}: about {size_words(needed)} are still to be written and "
                f"{size_words(free)} are free: make room there ({named})"
            )
    return {"folder": str(disk), "needed_gb": gb(needed), "free_gb": gb(free)}


def size_words(size: int) -> str:
    """Bytes for people: GB (10^9), or whole MB where it is less than one."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _row(part: Part, root: Path) -> Row:
    inside = part.folder.is_relative_to(root)
    return {
        "stage": part.stage,
        "what": part.what,
        "folder": str(part.folder.relative_to(root) if inside else part.folder),
        "bytes": part.size,
        "how": part.how,
        "missing": part.missing,
        "passing": part.passing,
    }
