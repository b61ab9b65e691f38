"""Pictures that the training never saw: a folder of class folders, whose names are the truth."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pocketvlm.collect.folder import files
from pocketvlm.dataset import read_split
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.parallel import in_order
from pocketvlm.prepare.bitmaps import png
from pocketvlm.progress import track
from pocketvlm.project import Project
from pocketvlm.validate.examples import Example
from pocketvlm.workspace import Row, read_rows, sha256_file

TAUGHT = ("train", "val")
"""Splits that the student learned from or was chosen by."""

FOLDER = "verdicts"
"""Where judgements are written, below the workspace."""

OWN = ("state", FOLDER)
"""What a judgement leaves in a workspace, which may be the folder of pictures itself."""

NAMED = 5
"""Files that a sentence names."""


@dataclass(frozen=True)
class Unread:
    """A file of the folder without a bitmap."""

    reason: str


@dataclass
class Unseen:
    """What a folder gives: pictures to ask about, and what was left out of it."""

    name: str
    examples: list[Example] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    """The file of each example, relative to the folder."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """File to reason."""
    known: list[str] = field(default_factory=list)
    """Files that the project has collected or trained on."""
    repeated: int = 0
    """Files whose bytes were there before, under the same label."""
    stray: int = 0
    """Files outside of the class folders."""
    empty: list[str] = field(default_factory=list)
    """Labels of the task without a picture."""

    def row(self) -> Row:
        """What metrics.json says of the folder."""
        return {
            "folder": self.name,
            "asked": len(self.examples),
            "unreadable": self.unreadable,
            "known": len(self.known),
            "repeated": self.repeated,
            "stray": self.stray,
            "empty": self.empty,
        }

    def warnings(self) -> list[str]:
        """What was left out, in sentences."""
        found = []
        if self.known:
            found.append(
                f"{_left_out(len(self.known), self.name)}, because the project has "
                f"collected or learned from the same files ({_first(self.known)}): they would "
                "say nothing about new pictures"
            )
        if self.unreadable:
            named = _first([f"{file}: {reason}" for file, reason in self.unreadable.items()])
            found.append(f"{_left_out(len(self.unreadable), self.name)} as unreadable ({named})")
        if self.stray:
            found.append(
                f"{_left_out(self.stray, self.name)} without a label, beside the class folders"
            )
        if self.empty:
            found.append(
                f"{self.name} holds no picture of {', '.join(self.empty)}: what the files do with "
                "them is not known"
            )
        return found


def class_folders(project: Project, folder: Path) -> dict[str, list[Path]]:
    """The files below the folder of each label, in a stable order, at any depth; hidden ones are
    left out, and what pocketvlm itself puts into a workspace that is judged. ConfigError when
    there are none, or when a folder that holds files is no label: what is in it would be missing
    from the verdict without a word."""
    labels = project.contract.labels
    if not folder.is_dir():
        raise ConfigError(f"--against {folder} is no folder: name one that holds class folders")
    there = {
        path.name: list(files(path))
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".")
    }
    here = folder.resolve() == project.workspace.root.resolve()
    known = {*labels, *(OWN if here else ())}
    if strange := [name for name, inside in there.items() if inside and name not in known]:
        raise ConfigError(
            f"--against {folder}: {', '.join(strange)} {_are(strange)} not in task.labels "
            f"({', '.join(labels)}): rename {_it(strange)}, or move {_it(strange)} elsewhere"
        )
    found = {label: there[label] for label in labels if there.get(label)}
    if not found:
        raise ConfigError(
            f"--against {folder} holds no class folders with pictures: make one for each label "
            f"({folder / labels[0]}/*.jpg, ...)"
        )
    return found


def read_unseen(project: Project, folder: Path, bitmaps: Path) -> Unseen:
    """Prepare every picture as the device does and write its bitmap into `bitmaps`.

    Left out, and counted: what cannot be read, what the project has collected or learned from, and
    a second file of the same bytes. PocketError when one picture lies under two labels, or when
    none is left."""
    classes = class_folders(project, folder)
    found = Unseen(folder.resolve().name or "folder")
    found.empty = [label for label in project.contract.labels if label not in classes]
    found.stray = sum(not p.name.startswith(".") for p in folder.iterdir() if p.is_file())
    used = known_pictures(project)
    bitmaps.mkdir()

    def make(item: tuple[str, Path]) -> str | Unread:
        """The file's SHA-256, or why it is no picture; one that is known gets no bitmap."""
        try:
            sha256 = sha256_file(item[1])
            if sha256 in used:
                return sha256
            bitmap = project.contract.open(item[1])
        except (OSError, PocketError) as error:
            return Unread(str(error).removeprefix(f"{item[1]} "))
        (bitmaps / f"{sha256}.png").write_bytes(png(bitmap))
        return sha256

    items = [(label, path) for label, paths in classes.items() for path in paths]
    seen: dict[str, tuple[str, str]] = {}
    for (label, path), made in track(in_order(make, items), "Preparing", len(items)):
        file = path.relative_to(folder).as_posix()
        if isinstance(made, Unread):
            found.unreadable[file] = made.reason
        elif made in used:
            found.known.append(file)
        elif made in seen:
            _check_label(file, label, *seen[made])
            found.repeated += 1
        else:
            seen[made] = file, label
            found.files.append(file)
            found.examples.append(_example(made, label, bitmaps, found.name))
    if not found.examples:
        raise PocketError(
            f"{folder} leaves no picture to ask about: " + "; ".join(found.warnings())
        )
    return found


def _example(sha256: str, label: str, bitmaps: Path, source: str) -> Example:
    """The folder's name for it is both truth and label; there is no teacher to doubt it."""
    return Example(
        id=sha256,
        path=bitmaps / f"{sha256}.png",
        truth=label,
        teacher=label,
        confidence=1.0,
        reason="",
        source=source,
        reviewed=False,
    )


def _check_label(file: str, label: str, before: str, other: str) -> None:
    if label != other:
        raise PocketError(
            f"{before} and {file} are the same picture under two labels: remove the wrong one"
        )


def known_pictures(project: Project) -> set[str]:
    """SHA-256 of the files that the project has collected or put into its dataset, its test
    pictures excepted: no training reads those."""
    space = project.workspace
    known: set[str] = set()
    if space.index.is_file():
        known |= {str(row.get("sha256")) for row in read_rows(space.index)}
    for name in (*TAUGHT, "test"):
        if space.split(name).is_file():
            ids = {line.id for line in read_split(project, name)}
            known = known - ids if name == "test" else known | ids
    return known


def _first(files: Sequence[str]) -> str:
    more = ["..."] if len(files) > NAMED else []
    return "; ".join([*files[:NAMED], *more])


def _left_out(count: int, folder: str) -> str:
    return f"{count} {'file' if count == 1 else 'files'} of {folder} left out"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _it(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"
