"""A folder of pictures, searched recursively. Labels are never taken from file names."""

import os
from collections.abc import Iterator
from pathlib import Path

from pocketvlm.collect.candidate import Candidate, Skipped
from pocketvlm.errors import ConfigError
from pocketvlm.project import Project


def from_folder(project: Project) -> list[Candidate | Skipped]:
    """Every file below the folder in a stable order; ConfigError when it is missing and no other
    source is named, or holds the workspace itself."""
    settings = project.config.collect
    folder = project.path(settings.folder)
    if project.workspace.originals.is_relative_to(folder.resolve()):
        raise ConfigError(
            f"collect.folder: {folder} holds the workspace itself, whose pictures would be "
            "collected again: put yours into a folder of their own"
        )
    if not folder.is_dir() and (settings.coco or settings.unsplash or settings.hub):
        return []
    found: list[Candidate | Skipped] = []
    for path in files(folder):
        origin = path.relative_to(folder).as_posix()
        if path.is_dir():
            found.append(Skipped(origin, "this folder cannot be opened: allow it to be read"))
        else:
            found.append(Candidate(path, origin, "folder", settings.licence))
    return found


def files(folder: Path) -> Iterator[Path]:
    """All files below a folder in a stable order, hidden ones left out; also the folders in it
    that cannot be opened."""
    if not folder.is_dir():
        raise ConfigError(f"collect.folder: {folder} does not exist; make it and put pictures in")
    closed: list[Path] = []

    def note(error: OSError) -> None:
        closed.append(Path(os.fsdecode(error.filename)))

    found = []
    for place, folders, names in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place) / name for name in names if not name.startswith(".")]
    yield from sorted([path for path in found if path.is_file()] + closed)
