"""A folder of pictures, searched recursively. Labels are never taken from file names."""

import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.pictures import BROKEN, FORMATS, open_picture
from pocketvlm.progress import say, track
from pocketvlm.project import Project
from pocketvlm.sources import Collect
from pocketvlm.workspace import Row, atomic_file, read_rows, sha256_file, write_rows

READERS = 4
"""Pictures decoded at a time; Pillow leaves Python's lock while it decodes."""


@dataclass(frozen=True)
class Skipped:
    """A file that is not collected, and why."""

    reason: str


def collect(project: Project) -> Row:
    """Copy every sound picture into originals/ under its hash; list the others with a reason.

    Pictures collected before are kept, also when their source is gone; those found again get the
    licence of the present configuration."""
    workspace, folder = project.workspace, project.path(project.config.collect.folder)
    if workspace.originals.is_relative_to(folder.resolve()):
        raise ConfigError(
            f"collect.folder: {folder} holds the workspace itself, whose pictures would be "
            "collected again: put yours into a folder of their own"
        )
    known = {row["sha256"]: row for row in read_rows(workspace.index)} if has_index(project) else {}
    before, twice, skipped = len(known), 0, []
    for path, found in examined(folder, project.config.collect):
        origin = path.relative_to(folder).as_posix()
        if isinstance(found, Skipped):
            skipped.append({"origin": origin, "reason": found.reason})
            continue
        row = found | {"origin": origin, "licence": project.config.collect.licence}
        keep(path, workspace.originals / row["file"])
        first = known.setdefault(row["sha256"], row)
        first["licence"] = row["licence"]
        twice += first["origin"] != origin
    write_rows(workspace.originals / "skipped.jsonl", skipped)
    for item in skipped[:5]:
        say(f"  skipped {item['origin']}: {item['reason']}")
    if len(skipped) > 5:
        say(f"  and {len(skipped) - 5} more: {workspace.originals / 'skipped.jsonl'}")
    if not known:
        raise PocketError(f"{folder} holds no picture that can be read, only {len(skipped)} files")
    write_rows(workspace.index, known.values())
    new = len(known) - before
    return {"pictures": len(known), "new": new, "duplicates": twice, "skipped": len(skipped)}


def examined(folder: Path, settings: Collect) -> Iterator[tuple[Path, Row | Skipped]]:
    """Every file below a folder with what was found in it, several at a time, in a stable order."""
    files = list(candidates(folder))
    with warnings.catch_warnings(), ThreadPoolExecutor(READERS) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # max_megapixels decides
        try:
            checked = pool.map(lambda path: check(path, settings), files)
            yield from zip(files, track(checked, "Collecting", len(files)), strict=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def has_index(project: Project) -> bool:
    """Whether something was collected before."""
    return project.workspace.index.is_file()


def candidates(folder: Path) -> Iterator[Path]:
    """All files below a folder in a stable order, hidden ones left out."""
    if not folder.is_dir():
        raise ConfigError(f"collect.folder: {folder} does not exist; make it and put pictures in")
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def check(path: Path, settings: Collect) -> Row | Skipped:
    """Size from the header first, so that a decompression bomb is never decoded; then all of it."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            width, height, suffix = *picture.size, f".{(picture.format or 'bin').lower()}"
    except UnidentifiedImageError:
        return Skipped("not a picture")
    except BROKEN as error:
        return Skipped(f"unreadable header: {error}")
    if width * height > settings.max_megapixels * 1e6:
        size = f"{width}x{height} pixels"
        return Skipped(f"{size} is more than collect.max_megapixels allows")
    if min(width, height) < settings.min_side:
        return Skipped(f"{width}x{height} is smaller than collect.min_side")
    try:
        open_picture(path)
    except PocketError as error:
        return Skipped(str(error))
    sha256 = sha256_file(path)
    return {"sha256": sha256, "file": f"{sha256}{suffix}", "width": width, "height": height}


def keep(source: Path, target: Path) -> None:
    """Copy a picture; one that lies there already is the same, because its name is its hash."""
    if not target.is_file():
        with atomic_file(target) as partial:
            shutil.copyfile(source, partial)
