"""The packages of the program, as they are installed here."""

import re
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from pocketvlm.remote.pins import differences, pins


def test_every_package_of_the_program_is_pinned_as_it_is_here() -> None:
    found = {pin.partition("==")[0]: pin for pin in pins()}
    assert {"torch", "llama-cpp-python", "pydantic-core", "typer"} <= set(found)
    assert not {"pocketvlm", "pytest", "wandb", "trl", "ruff"} & set(found)
    for name, pin in found.items():
        assert pin == f"{name}=={version(name).partition('+')[0]}"


def test_pins_are_requirements_without_local_labels() -> None:
    assert all(Requirement(pin).specifier for pin in pins())
    assert not [pin for pin in pins() if "+" in pin]


def test_an_extra_brings_its_packages() -> None:
    more = set(pins(["track"])) - set(pins())
    assert {pin.partition("==")[0] for pin in more} >= {"wandb", "tensorboard", "werkzeug"}


def test_what_is_not_installed_here_is_asked_for_as_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import pocketvlm.remote.pins as module

    pinned = module._pinned
    monkeypatch.setattr(module, "_pinned", lambda name: None if name == "wandb" else pinned(name))
    wandb = [pin for pin in pins(["track"]) if pin.startswith("wandb")]
    assert re.fullmatch(r"wandb[<>=.,\d]+", wandb[0])


def test_what_a_python_lacks_or_has_otherwise() -> None:
    lines = [f"numpy=={version('numpy')}", "numpy==1.0", "none-such==1.0", "no-such<3,>=2", ""]
    missing, other = differences(lines)
    assert missing == ["none-such==1.0", "no-such<3,>=2"]
    assert other == [f"numpy=={version('numpy')} (here 1.0)"]


def test_local_labels_make_no_difference() -> None:
    assert differences([f"torch=={version('torch').partition('+')[0]}"]) == ([], [])
