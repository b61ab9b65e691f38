"""The layout comes from the runtime, and the build is known by what it does."""

from pathlib import Path

import pytest

from pocketvlm.config import parse_config
from pocketvlm.contract import FAKE, GRID_TILE, OVERVIEW, Contract
from pocketvlm.errors import ConfigError
from pocketvlm.runtime import Runtime, another_build, ask_layout, identity, lay_out, named
from pocketvlm.runtime.identity import behaviour


def test_the_skeleton_is_asked_as_the_student_will_be(
    model: Path, runtime: Runtime, contract: Contract
) -> None:
    asked = ask_layout(model, contract)
    real = lay_out(runtime, contract.prompt)
    assert asked == real
    assert asked.tiles == (4, 4)
    assert asked.words.startswith(f"{FAKE}{GRID_TILE}[4]\n\n{FAKE}{OVERVIEW}[4]{FAKE}\n")
    assert asked.runtime == identity()


@pytest.mark.parametrize("side", [64, 192, 256])
def test_the_side_decides_how_many_embeddings_a_tile_is(model: Path, side: int) -> None:
    contract = Contract.of(parse_config({"device": {"side": side}}))
    assert ask_layout(model, contract).tiles == ((side // 64) ** 2,) * 2


def test_a_single_tile_lies_between_the_texts_of_the_app(model: Path) -> None:
    device = {"side": 128, "tiles": "single", "prompt": "{question} {marker} Element:"}
    contract = Contract.of(parse_config({"device": device, "task": {"question": "What?"}}))
    asked = ask_layout(model, contract)
    assert asked.words == f"What? {FAKE}{OVERVIEW}[4]{FAKE} Element:"


def test_more_than_the_context_holds_is_refused_before_training(model: Path) -> None:
    contract = Contract.of(parse_config({"device": {"side": 2048}}))
    with pytest.raises(ConfigError, match=r"device\.side.* need 2\d+ tokens"):
        ask_layout(model, contract)


def test_behaviour_names_tiles_and_filter() -> None:
    found = behaviour()
    assert found["native"]["64x64"].count("[1]") == 2
    assert found["stock"]["64x64"].count("[1]") == 17
    assert found["stock"]["128x64"].count("[1]") == 9
    assert found["filter"] == "Lanczos, antialiased"


def test_another_build_is_named_and_what_it_means() -> None:
    here = identity()
    assert another_build(here, dict(here)) is None
    newer = here | {"package": "llama-cpp-python 9.9"}
    alike = another_build(newer, here)
    assert alike and "llama-cpp-python 9.9" in alike and "treat pictures alike" in alike
    other = another_build(newer | {"behaviour": "0" * 16}, here)
    assert other and "treat pictures differently" in other
    assert "0" * 16 in other and named(here) in other
