"""Every block is run by a test, read by one, or says why it cannot be."""

import json

import pytest
import yaml

from pocketvlm.config import parse_config
from tests.docs.commands import arguments, simple_commands
from tests.docs.pages import BLOCKS, LANGUAGES, PAGES, REASONS, SHELL, Block, Page
from tests.docs.readers import RUN


def of(language: str) -> list[Block]:
    """The blocks in a language that nothing stands above."""
    return [block for block in BLOCKS if block.language == language and not block.needs]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_says_what_it_is(block: Block) -> None:
    assert block.language in LANGUAGES, f"{block}: ```{block.language}"
    assert block.needs is None or block.needs in REASONS, f"{block}: needs {block.needs!r}"
    if block.language in SHELL and block.needs is None:
        assert block.page in RUN, f"{block} is run by no test: name what it needs above it"
    if block.language == "text":
        assert "pocketvlm " not in block.text, f"{block} holds commands: ```sh"


@pytest.mark.parametrize("page", PAGES.values(), ids=lambda page: page.name)
def test_no_command_hides_in_an_indented_block(page: Page) -> None:
    for text in page.indented():
        for words in simple_commands(text.replace("'", "").replace('"', "")):
            assert arguments(words) is None, f"{page.name}: put this into a fence: {text}"


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_yaml_is_a_configuration(block: Block) -> None:
    parse_config(yaml.safe_load(block.text), str(block))


@pytest.mark.parametrize("block", of("json"), ids=str)
def test_json_is_lines_of_objects(block: Block) -> None:
    assert all(isinstance(json.loads(line), dict) for line in block.text.splitlines())
