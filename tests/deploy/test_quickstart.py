"""quickstart.sh: from a clean clone to a run, with what is missing said on the way."""

from pathlib import Path

import pytest

from tests.deploy.scripts import Checkout
from tests.docs.commands import check

CONFIG = ["-c", "my-project/pocketvlm.yaml"]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Set up, without a project; pictures lie beside it."""
    (tmp_path / "my pictures").mkdir()
    return Checkout(tmp_path)


def test_nothing_at_hand_shows_the_demo_and_the_next_step(checkout: Checkout) -> None:
    done = checkout.run("quickstart.sh")
    assert done.returncode == 0, done.stderr
    assert checkout.told == [["init", "my-project"], ["demo", "--folder", "demo-workspace"]]
    assert "./quickstart.sh FOLDER_OF_PICTURES" in done.stdout


def test_pictures_become_those_of_the_project(checkout: Checkout, tmp_path: Path) -> None:
    done = checkout.run("quickstart.sh", "my pictures")
    assert done.returncode == 0, done.stderr
    assert checkout.told == [["init", "my-project"]]
    assert "name your labels" in done.stdout  # nobody pays for the five elements
    assert (tmp_path / "my-project" / "pictures").resolve() == tmp_path / "my pictures"
    for words in checkout.told:
        check(words, tmp_path)


def test_again_it_goes_on(checkout: Checkout) -> None:
    checkout.run("quickstart.sh", "my pictures")
    for words in ([], ["my pictures"]):
        done = checkout.run("quickstart.sh", *words)
        assert done.returncode == 0, done.stderr
        assert checkout.told[-2:] == [["doctor", *CONFIG], ["run", *CONFIG]]
    assert len(checkout.told) == 5


def test_pictures_that_are_there_are_not_replaced(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "other" / "pictures").mkdir(parents=True)
    done = checkout.run("quickstart.sh", "my pictures", PROJECT="other")
    assert done.returncode == 2
    assert "other has pictures already" in done.stderr
    assert not (tmp_path / "other" / "pictures").is_symlink()


def test_what_the_doctor_finds_stops_it(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, fails="doctor")
    (tmp_path / "pictures").mkdir()
    assert checkout.run("quickstart.sh", "pictures").returncode == 0
    assert checkout.run("quickstart.sh").returncode == 2
    assert [words[0] for words in checkout.told] == ["init", "doctor"]


def test_a_folder_that_is_none_makes_no_project(checkout: Checkout, tmp_path: Path) -> None:
    done = checkout.run("quickstart.sh", "photos")
    assert done.returncode == 2
    assert done.stderr.startswith("error: photos is no folder")
    assert checkout.told == []
