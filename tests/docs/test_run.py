"""Every page's commands, word for word and in their order, in one folder a page."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import BLOCKS, SHELL
from tests.docs.readers import RUN
from tests.docs.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """With a teacher that answers as long as the tests run."""
    from pocketvlm.demo.teacher import serve

    with serve() as url:
        yield World.make(tmp_path_factory.mktemp("world"), url)


@pytest.fixture(scope="module")
def finished(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has gone the whole way."""
    folder = tmp_path_factory.mktemp("finished")
    world.pictures(folder / "my-project" / "pictures")
    script = "pocketvlm init my-project && pocketvlm run -c my-project/pocketvlm.yaml"
    execute(script, world, folder)
    return folder / "my-project"


def execute(script: str, world: World, folder: Path) -> None:
    """As a reader's shell does; a failing line ends it."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=world.environment(folder.parent),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_run(
    page: str, world: World, finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    RUN[page](world, folder, finished)
    blocks = [one for one in BLOCKS if one.page == page and one.language in SHELL]
    assert any(block.needs is None for block in blocks), f"{page} has nothing to run"
    for block in blocks:
        if block.needs is None:
            execute(block.text, world, folder)
