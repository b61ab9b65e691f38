"""What the probe says of files, and of a build without files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketvlm.config import parse_config
from pocketvlm.contract import Contract
from pocketvlm.errors import ConfigError
from pocketvlm.export import resize_vision
from pocketvlm.pictures import Bitmap
from pocketvlm.project import Project
from pocketvlm.runtime import Runtime
from pocketvlm.runtime.probe import Subject, ask_build, photograph, probe, sentences
from pocketvlm.runtime.resize import FILTERS, distances, preprocessed_side, set_preprocessed_side

Pair = tuple[Path, Path]


def test_stock_metadata_makes_17_tiles_of_64_tokens() -> None:
    figures = ask_build(None, None, None, None)
    as_is = figures["as_is"]
    assert (as_is["tiles"], as_is["tile_tokens"], as_is["image_tokens"]) == (17, 64, 1088)
    assert {side: row["image_tokens"] for side, row in figures["at"].items()} == {
        512: 128,
        384: 72,
        256: 32,
    }
    assert all(row["tiles"] == 2 for row in figures["at"].values())
    assert figures["resize"]["by"] == "Lanczos, antialiased"
    said = sentences(figures)
    assert "17 tiles, 1,088 image tokens" in said
    assert "whose times say nothing" in said
    assert "pixels are resized on the way, nearest to Lanczos" in said


def test_files_at_the_contracts_side_are_not_resized(pair: Pair, contract: Contract) -> None:
    figures = probe(Subject(*pair, contract, photograph()))
    assert figures["resize"]["by"] is None
    assert figures["as_is"]["tiles"] == 2
    assert figures["as_is"]["vision_ms"] > 0 and figures["as_is"]["text_ms"] > 0
    assert figures["files"] == {path.name: path.stat().st_size for path in pair}
    assert "not resized on the way" in sentences(figures)


def test_a_bitmap_of_the_towers_side_is_resized_all_the_same(
    pair: Pair, contract: Contract, tmp_path: Path
) -> None:
    """With stock metadata it is enlarged and shrunk again."""
    stock = Path(shutil.copy(pair[1], tmp_path))
    set_preprocessed_side(stock, 512)
    figures = probe(Subject(pair[0], stock, contract, photograph()))
    assert figures["as_is"]["tiles"] == 17
    assert "a filter that this cannot tell" in sentences(figures)


def test_a_configuration_that_is_missing_is_not_passed_over(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from pocketvlm.cli import app

    missing = CliRunner().invoke(app, ["probe", "-c", str(tmp_path / "typo.yaml")])
    assert isinstance(missing.exception, ConfigError)


def test_a_picture_of_ones_own_is_shown(pair: Pair, tmp_path: Path) -> None:
    Image.new("RGB", (30, 90)).save(tmp_path / "tall.png")
    assert ask_build(None, *pair, tmp_path / "tall.png")["as_is"]["tokens"] > 8


def test_a_project_without_files_is_probed_by_a_skeleton_of_its_base(
    model: Path, tmp_path: Path
) -> None:
    settings = {"base": {"model": str(model)}, "device": {"side": 192}}
    figures = ask_build(Project.of(parse_config(settings), tmp_path), None, None, None)
    assert (figures["tower_side"], figures["as_is"]["image_tokens"]) == (192, 18)
    assert f"a skeleton of {model} at 192 px" in sentences(figures)


def test_one_file_alone_is_refused(pair: Pair) -> None:
    with pytest.raises(ConfigError, match="give --model and --mmproj together"):
        ask_build(None, pair[0], None, None)


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_is_recognised_by_its_embeddings(exact: Runtime, name: str) -> None:
    picture = photograph()[:300, :400]
    seen = exact.embeddings(FILTERS[name](picture, exact.side, exact.side))[-1]
    found = distances(exact, picture, seen)
    assert next(iter(found)) == name
    assert found.pop(name) < 1e-6 < min(found.values())


def test_a_resized_vision_file_is_the_one_that_would_have_been_exported(
    model: Path, pair: Pair, pictures: list[Bitmap], tmp_path: Path
) -> None:
    from pocketvlm.export import export_vision

    export_vision(model, tmp_path / "real.gguf", "Q8_0", 64)
    resize_vision(pair[1], tmp_path / "made.gguf", 64)
    small = np.ascontiguousarray(pictures[0][::2, ::2])
    seen = []
    for name in ("real", "made"):
        with Runtime(pair[0], tmp_path / f"{name}.gguf", threads=1) as runtime:
            assert runtime.side == 64
            seen.append(runtime.embeddings(small))
    np.testing.assert_array_equal(seen[0], seen[1])


def test_a_side_that_does_not_divide_is_refused(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="100 is no multiple of 64"):
        resize_vision(pair[1], tmp_path / "no.gguf", 100)
    assert list(tmp_path.iterdir()) == []


def test_the_preprocessed_side_is_written_in_place(pair: Pair, tmp_path: Path) -> None:
    file = Path(shutil.copy(pair[1], tmp_path))
    assert preprocessed_side(file) == 128
    set_preprocessed_side(file, 2048)
    assert preprocessed_side(file) == 2048
    assert file.stat().st_size == pair[1].stat().st_size
