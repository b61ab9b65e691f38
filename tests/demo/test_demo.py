"""The demo's folder: drawn once, never mixed with another demo's scenes."""

from pathlib import Path

import pytest

from pocketvlm.demo.demo import BASE, TRUTH, demo_config, draw
from pocketvlm.errors import ConfigError
from pocketvlm.workspace import read_rows, write_text


def test_scenes_are_drawn_once(tmp_path: Path) -> None:
    draw(tmp_path, 0, 10)
    first = (tmp_path / TRUTH).stat().st_mtime_ns
    draw(tmp_path, 0, 10)
    assert (tmp_path / TRUTH).stat().st_mtime_ns == first
    assert len(list(read_rows(tmp_path / TRUTH))) == 10


def test_other_scenes_need_another_folder(tmp_path: Path) -> None:
    draw(tmp_path, 0, 10)
    with pytest.raises(ConfigError, match="another --folder"):
        draw(tmp_path, 1, 10)


@pytest.mark.parametrize("name", ["pictures/mine.jpg", "notes.txt"])
def test_nothing_of_the_users_is_written_over(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "mine")
    with pytest.raises(ConfigError, match="is not empty and no demo"):
        draw(tmp_path, 0, 10)
    assert (tmp_path / name).read_text() == "mine"


def test_a_drawing_that_was_killed_is_done_again(tmp_path: Path) -> None:
    draw(tmp_path, 0, 10)
    (tmp_path / TRUTH).unlink()
    draw(tmp_path, 0, 10)
    assert len(list(read_rows(tmp_path / TRUTH))) == 10


def test_the_base_is_small_and_in_the_package() -> None:
    assert (BASE / "model.safetensors").stat().st_size <= 6_000_000
    assert Path(demo_config("http://127.0.0.1:1/v1", 0).base.model) == BASE
