"""Bitmaps on the disk: the contract's pixels, in order, made once, and streamed."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pocketvlm.demo.attributes import draw
from pocketvlm.pictures import FAR, Bitmap, bilinear, open_image, open_picture
from pocketvlm.prepare.bitmaps import CHECKSUMS, Made, image_name, png, write_bitmaps
from pocketvlm.project import Project
from pocketvlm.workspace import sha256_file, write_json

from .conftest import configured, picture

SIDES = st.integers(1, 90)


def noise(width: int, height: int, seed: int = 0) -> Bitmap:
    """Neighbours as unlike as can be."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def plainly(pixels: Bitmap, width: int, height: int) -> Bitmap:
    """The contract's formula, all in doubles and all at once."""
    rows, columns = pixels.shape[:2]
    x = ((np.arange(width) + 0.5) * (columns / width) - 0.5).clip(0, columns - 1)
    y = ((np.arange(height) + 0.5) * (rows / height) - 0.5).clip(0, rows - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
    wide = pixels.astype(np.float64)
    fx, fy = (x - left)[None, :, None], (y - top)[:, None, None]
    upper = wide[top][:, left] + (wide[top][:, right] - wide[top][:, left]) * fx
    lower = wide[bottom][:, left] + (wide[bottom][:, right] - wide[bottom][:, left]) * fx
    exact: Bitmap = np.floor(upper + (lower - upper) * fy + 0.5).astype(np.uint8)
    return exact


@given(SIDES, SIDES, SIDES, SIDES)
def test_bilinear_is_the_formula_to_the_bit(
    width: int, height: int, new_width: int, new_height: int
) -> None:
    pixels = noise(width, height)
    expected = plainly(pixels, new_width, new_height)
    assert np.array_equal(bilinear(pixels, new_width, new_height), expected)
    assert np.array_equal(bilinear(Image.fromarray(pixels), new_width, new_height), expected)


@pytest.mark.parametrize(
    ("width", "height", "new_width", "new_height"),
    [
        (480, 360, 256, 192),  # weights in 32nds: singles
        (400, 300, 256, 192),
        (512, 384, 256, 192),  # in halves: a quarter of all values lie between two numbers
        (500, 333, 256, 170),  # doubles
        (64, 64, 256, 256),
        (9, 2048, 1, 256),  # single rows are taken out of a high one
        (200, FAR * 31, 25, 31),
    ],
)
def test_sizes_of_every_way_through_it(
    width: int, height: int, new_width: int, new_height: int
) -> None:
    pixels = noise(width, height)
    expected = plainly(pixels, new_width, new_height)
    assert np.array_equal(bilinear(pixels, new_width, new_height), expected)
    assert np.array_equal(bilinear(Image.fromarray(pixels), new_width, new_height), expected)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 3))
def test_a_png_gives_the_same_pixels_to_pillow(width: int, height: int, seed: int) -> None:
    bitmap = noise(width, height, seed) // (1 + 80 * seed)  # noise, and long runs
    with Image.open(BytesIO(png(bitmap))) as opened:
        assert (opened.format, opened.mode) == ("PNG", "RGB")
        opened.verify()  # every checksum
    with Image.open(BytesIO(png(bitmap))) as opened:
        assert np.array_equal(np.asarray(opened), bitmap)


def test_a_png_is_the_same_bytes_in_every_thread() -> None:
    """A run that is killed and goes on makes the dataset that an undisturbed one makes."""
    bitmaps = [draw(np.random.default_rng(seed), 128).rgb for seed in range(60)]
    here = [png(bitmap) for bitmap in bitmaps]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            assert list(pool.map(png, bitmaps)) == here


def test_a_png_of_a_smooth_picture_is_no_larger_than_pillows(tmp_path: Path) -> None:
    smooth = bilinear(noise(40, 30), 256, 256)
    theirs = BytesIO()
    Image.fromarray(smooth).save(theirs, "PNG", compress_level=1)
    assert len(png(smooth)) < 1.2 * len(theirs.getvalue())


@pytest.fixture
def project(tmp_path: Path, base: Path) -> Project:
    return configured(tmp_path / "project", base)


def target(project: Project, name: str) -> Path:
    """An empty dataset folder."""
    folder = project.workspace.root / name
    (folder / "images").mkdir(parents=True)
    return folder


def pictures(tmp_path: Path, number: int) -> list[tuple[str, Path]]:
    """Some picture files by id."""
    return [(f"id{at}", picture(tmp_path / f"{at}.png", at)) for at in range(number)]


def test_each_file_is_the_contracts_bitmap_and_its_hash(tmp_path: Path, project: Project) -> None:
    items, folder = pictures(tmp_path, 12), target(project, "new")
    made = list(write_bitmaps(items, folder, project))
    assert [one.id for one in made] == [name for name, _ in items]
    for (name, source), one in zip(items, made, strict=True):
        file = folder / image_name(name)
        assert np.array_equal(open_picture(file), project.contract.open(source))
        assert one == Made(name, hashlib.sha256(file.read_bytes()).hexdigest())


def test_what_cannot_be_read_has_a_reason_and_no_file(tmp_path: Path, project: Project) -> None:
    items, folder = pictures(tmp_path, 3), target(project, "new")
    items[1][1].write_bytes(b"no picture")
    items.append(("gone", tmp_path / "gone.png"))
    made = list(write_bitmaps(items, folder, project))
    assert [one.sha256 is None for one in made] == [False, True, False, True]
    assert "1.png is no picture that can be read" in str(made[1].reason)
    assert "gone.png does not exist" in str(made[3].reason)
    assert {path.name for path in (folder / "images").iterdir()} == {"id0.png", "id2.png"}


def test_endless_pictures_are_taken_one_after_another(tmp_path: Path, project: Project) -> None:
    source, folder = picture(tmp_path / "a.png", 1), target(project, "new")
    endless = ((f"id{number}", source) for number in count())
    made = list(islice(write_bitmaps(endless, folder, project), 50))
    assert [one.id for one in made] == [f"id{number}" for number in range(50)]


def finished(project: Project, items: list[tuple[str, Path]]) -> dict[str, str]:
    """A dataset as `prepare` leaves it; the bitmaps' hashes by name."""
    folder = target(project, "dataset")
    made = write_bitmaps(items, folder, project)
    hashes = {image_name(one.id): str(one.sha256) for one in made}
    project.record_contract(folder)
    write_json(folder / CHECKSUMS, hashes)
    return hashes


def test_unchanged_bitmaps_are_linked_and_altered_ones_made_anew(
    tmp_path: Path, project: Project
) -> None:
    items = pictures(tmp_path, 4)
    hashes = finished(project, items)
    old, folder = project.workspace.dataset, target(project, "new")
    (old / image_name("id1")).write_bytes(b"damaged")
    (old / image_name("id2")).unlink()
    made = list(write_bitmaps(items, folder, project))
    assert {image_name(one.id): one.sha256 for one in made} == hashes
    linked = [(folder / name).samefile(old / name) for name in hashes if (old / name).is_file()]
    assert linked == [True, False, True]
    assert all(sha256_file(folder / name) == sha256 for name, sha256 in hashes.items())


def test_another_contract_links_nothing(tmp_path: Path, project: Project) -> None:
    items = pictures(tmp_path, 2)
    finished(project, items)
    record = json.loads((project.workspace.dataset / "contract.json").read_text())
    write_json(project.workspace.dataset / "contract.json", record | {"hash": "another"})
    folder = target(project, "new")
    for one in write_bitmaps(items, folder, project):
        name = image_name(one.id)
        assert not (folder / name).samefile(project.workspace.dataset / name)


def test_an_image_holds_what_the_array_holds(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", 7)
    assert np.array_equal(np.asarray(open_image(path)), open_picture(path))
