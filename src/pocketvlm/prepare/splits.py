"""Which split a picture belongs to: its hash decides; near-duplicates follow the first of them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pocketvlm.duplicates import near_groups, perceptual_hash
from pocketvlm.errors import PocketError
from pocketvlm.parallel import in_order
from pocketvlm.pictures import open_picture
from pocketvlm.prepare.labelled import Labelled
from pocketvlm.progress import track
from pocketvlm.project import Project
from pocketvlm.workspace import read_json, read_rows

SPLITS = ("train", "val", "test")
LOOKS = "looks.json"
"""In dataset/: perceptual hashes of pictures that the index has none of, by their id."""


def split_of(picture_id: str) -> str:
    """80/10/10 by the first 32 bits of the picture's SHA-256: labels, other pictures and the
    order they came in move nothing between splits."""
    share = int(picture_id[:8], 16) / 2**32
    return "train" if share < 0.8 else "val" if share < 0.9 else "test"


def first_alike(looks: Mapping[str, str | None]) -> dict[str, str]:
    """For each picture that is like one before it, the id of the first one of its group.

    `looks` are perceptual hashes by id in the order in which pictures came. The first one decides
    for the group, so that pictures that come later move nothing that is there."""
    ids = list(looks)
    leaders = near_groups(list(looks.values()))
    return {ids[at]: ids[leader] for at, leader in enumerate(leaders) if at != leader}


Looks = dict[str, str | None]
"""Perceptual hashes by the id of the picture; None where a file cannot be read."""


def looks_of(project: Project, listed: Mapping[str, str]) -> tuple[Looks, Looks]:
    """Perceptual hashes of all pictures that were collected, labelled or not, or of those that
    a custom file lists, in the order in which they came; and those of them that are in no index,
    for the next time."""
    looks: Looks = {}
    files: dict[str, Path] = {}
    if project.config.prepare.custom is None:
        for row in read_rows(project.workspace.index):
            looks[row["sha256"]] = row.get("phash")
            if "phash" not in row:
                files[row["sha256"]] = project.workspace.originals / row["file"]
    else:
        files = {picture: Path(file) for picture, file in listed.items()}
        looks = dict.fromkeys(files)
    before = project.workspace.dataset / LOOKS
    known: Looks = read_json(before) if before.is_file() else {}
    found = {picture: known[picture] for picture in files if picture in known}
    new = {one: file for one, file in files.items() if one not in known}
    if new:
        found |= dict(_hashed(new))
    looks |= found
    return looks, found


def _hashed(files: dict[str, Path]) -> Iterator[tuple[str, str | None]]:
    def look(item: tuple[str, Path]) -> str | None:
        try:
            return perceptual_hash(open_picture(item[1]))
        except PocketError:
            return None

    done = in_order(look, files.items())
    for (picture, _), found in track(done, "Looking for near-duplicates", len(files)):
        yield picture, found


def by_split(items: Iterable[Labelled], alike: Mapping[str, str]) -> dict[str, list[Labelled]]:
    """The pictures of each split, by id; those that are like another are in that one's split."""
    splits: dict[str, list[Labelled]] = {name: [] for name in SPLITS}
    for item in sorted(items, key=lambda item: item.id):
        splits[split_of(alike.get(item.id, item.id))].append(item)
    return splits
