"""What each page supposes that its reader has: the folder in which its commands are run."""

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.docs.world import World, clone

Start = Callable[[World, Path, Path], None]
"""Makes what a page supposes in a new folder; the third is a finished project."""


def with_photos(world: World, folder: Path, finished: Path) -> None:
    """A checkout, and photographs beside it."""
    clone(folder, world)
    world.pictures(folder / "photos")


def with_pictures(world: World, folder: Path, finished: Path) -> None:
    """A photograph, and pictures where the page says that they are put by hand."""
    world.pictures(folder / "my-project" / "pictures")
    shutil.copy(folder / "my-project/pictures/photo.jpg", folder)


def with_project(world: World, folder: Path, finished: Path) -> None:
    """A finished project, another one, a photograph, and other pictures in class folders."""
    for name in ("my-project", "other-project"):
        shutil.copytree(finished, folder / name)
    shutil.copy(finished / "pictures/photo.jpg", folder)
    world.labelled(folder / "holiday-photos")


def with_labels(world: World, folder: Path, finished: Path) -> None:
    """Labelled pictures as a list and in class folders, and a project for each."""
    small = (world.folder / "small.yaml").read_text()
    for name, more in (("listed", "prepare: {custom: mine/labels.jsonl}\n"), ("imported", "")):
        (folder / name).mkdir()
        (folder / name / "pocketvlm.yaml").write_text(small + more)
    world.labelled(folder / "listed/mine")
    world.labelled(folder / "classes")
    world.labelled(folder / "holiday-photos")


RUN: dict[str, Start] = {
    "README.md": with_photos,
    "docs/app.md": with_project,
    "docs/contract.md": with_project,
    "docs/moving-from-the-old-scripts.md": with_photos,
    "docs/pictures.md": with_project,
    "docs/server.md": with_project,
    "docs/training.md": with_project,
    "docs/troubleshooting.md": with_project,
    "docs/verdict.md": with_project,
    "docs/your-own-data-set.md": with_labels,
    "docs/your-own-task.md": with_pictures,
}
"""Pages with commands that are run, and what each supposes."""
