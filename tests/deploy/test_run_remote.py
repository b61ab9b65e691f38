"""run_remote.sh: the old variables become today's keys, and nothing else is touched."""

from pathlib import Path

import pytest

from pocketvlm.config import load_config
from tests.deploy.scripts import Checkout
from tests.docs.commands import check

SOURCES = """
collect:
  folder: pictures
  coco: {categories: {water: [boat]}}
  unsplash:
    queries: {fire: [campfire]}
  hub: null
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """With a project that names two sources."""
    (tmp_path / "my-project").mkdir()
    (tmp_path / "my-project" / "pocketvlm.yaml").write_text(SOURCES)
    return Checkout(tmp_path)


def settings(words: list[str]) -> list[str]:
    """What follows each --set."""
    return [words[at + 1] for at, word in enumerate(words) if word == "--set"]


def test_nothing_set_changes_nothing(checkout: Checkout, tmp_path: Path) -> None:
    done = checkout.run("run_remote.sh", NUM_EPOCHS="")
    assert done.returncode == 0, done.stderr
    config = ["-c", "my-project/pocketvlm.yaml"]
    assert checkout.told == [["doctor", *config], ["run", *config]]


def test_each_variable_reaches_its_key(checkout: Checkout, tmp_path: Path) -> None:
    variables = {"NUM_IMAGES": "301", "MIN_CONFIDENCE": ".8", "BATCH_SIZE": "4"}
    variables |= {"GRAD_ACCUM": "8", "NUM_EPOCHS": "5", "LEARNING_RATE": "1e-4", "LORA_R": "32"}
    done = checkout.run("run_remote.sh", **variables)
    assert done.returncode == 0, done.stderr
    doctor, run = checkout.told
    assert doctor[1:] == run[1:]
    config = load_config(tmp_path / "my-project" / "pocketvlm.yaml", tuple(settings(run)))
    assert config.collect.coco and config.collect.coco.pictures == 151
    assert config.collect.unsplash and config.collect.unsplash.pictures == 151
    assert config.prepare.min_confidence == 0.8
    train = config.train
    assert (train.batch_size, train.effective_batch, train.epochs) == (4, 32, 5)
    assert (train.learning_rate, train.rank, train.alpha) == (1e-4, 32, 64)
    for words in checkout.told:  # without the settings, which an empty configuration has not
        check(words[:3], tmp_path)


def test_a_batch_size_alone_leaves_the_step_as_it_is(checkout: Checkout) -> None:
    checkout.run("run_remote.sh", BATCH_SIZE="2")
    assert settings(checkout.told[-1]) == ["train.batch_size=2"]


@pytest.mark.parametrize(
    "name, value",
    [
        ("NUM_EPOCHS", "five"),
        ("NUM_EPOCHS", "0"),
        ("NUM_EPOCHS", "2.5"),
        ("LORA_R", "-8"),
        ("LEARNING_RATE", "1e"),
        ("LEARNING_RATE", "2e-4; rm"),
        ("MIN_CONFIDENCE", "."),
    ],
)
def test_what_is_no_number_is_refused(checkout: Checkout, name: str, value: str) -> None:
    done = checkout.run("run_remote.sh", **{name: value})
    assert done.returncode == 2
    assert done.stderr == f"error: {name}={value} is no such number: see ./run_remote.sh --help\n"
    assert checkout.told == []


def test_half_a_product_is_refused(checkout: Checkout) -> None:
    done = checkout.run("run_remote.sh", GRAD_ACCUM="4")
    assert done.returncode == 2
    assert "GRAD_ACCUM needs BATCH_SIZE" in done.stderr


def test_a_folder_has_no_number_of_pictures(checkout: Checkout, tmp_path: Path) -> None:
    config = tmp_path / "my-project" / "pocketvlm.yaml"
    config.write_text("collect:\n  folder: pictures\n  coco: null\n  # hub: {}\n")
    done = checkout.run("run_remote.sh", NUM_IMAGES="300")
    assert done.returncode == 2
    assert "names no source" in done.stderr
    assert checkout.told == []


def test_no_project_says_how_one_is_made(checkout: Checkout) -> None:
    done = checkout.run("run_remote.sh", PROJECT="other")
    assert done.returncode == 2
    assert "other/pocketvlm.yaml does not exist: run `" in done.stderr


def test_without_the_program_it_says_how_it_is_set_up(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin" / "pocketvlm").unlink()
    done = checkout.run("run_remote.sh", PATH="/usr/bin:/bin")
    assert done.returncode == 2
    assert done.stderr == f"error: no pocketvlm here: run `make -C {tmp_path} .venv/.ready`\n"


def test_what_the_doctor_finds_stops_it(tmp_path: Path) -> None:
    (tmp_path / "my-project").mkdir()
    (tmp_path / "my-project" / "pocketvlm.yaml").touch()
    checkout = Checkout(tmp_path, fails="doctor")
    assert checkout.run("run_remote.sh").returncode == 2
    assert [words[0] for words in checkout.told] == ["doctor"]


def test_help_is_the_comment(checkout: Checkout) -> None:
    said = checkout.run("run_remote.sh", "--help").stdout
    assert said.startswith("The whole way") and "GRAD_ACCUM" in said and "set -e" not in said
