"""Every command and flag that a document shows exists, also where nothing can be run."""

import re
from pathlib import Path

import pytest

from tests.docs.commands import (
    GROUP,
    arguments,
    check,
    check_named,
    commands_of,
    simple_commands,
)
from tests.docs.pages import BLOCKS, PAGES, ROOT, SHELL, Block, Page

SCRIPTS = [block for block in BLOCKS if block.language in SHELL]


@pytest.mark.parametrize("block", SCRIPTS, ids=str)
def test_the_commands_of_a_block_exist(block: Block, tmp_path: Path) -> None:
    for words in simple_commands(block.text):
        if (given := arguments(words)) is not None:
            check(given, tmp_path)
        elif words[0] == "make":
            targets = re.findall(r"^([\w.$()/-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            known = {*targets, ".venv/.ready"}
            assert set(words[1:]) <= known, words
        for word in words:
            if re.fullmatch(r"\./\w+\.sh", word):
                assert (ROOT / word).is_file(), f"{block}: {word} is not there"


@pytest.mark.parametrize("page", PAGES.values(), ids=lambda page: page.name)
def test_the_commands_within_lines_exist(page: Page, tmp_path: Path) -> None:
    for given in commands_of(page.spans()):
        check_named(given, tmp_path)


def test_the_readme_lists_every_command() -> None:
    (table,) = re.findall(r"## Commands\n(.*?)\n## ", PAGES["README.md"].path.read_text(), re.S)
    listed = {span.split(" ")[0] for span in re.findall(r"`([a-z][\w -]*)`", table)}
    assert set(GROUP.commands) - listed == set()
    assert listed - set(GROUP.commands) == set()


def test_a_flag_that_is_gone_is_found(tmp_path: Path) -> None:
    """The check can fail."""
    for wrong in (
        ["run", "--detatch"],
        ["runn"],
        ["export", "folder", "--as", "parquet"],
        ["export"],
        ["remote", "user@host", "start"],
    ):
        with pytest.raises(AssertionError):
            check(wrong, tmp_path)


def test_a_key_that_is_gone_is_found(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="unknown key"):
        check(["run", "--set", "train.batch_sise=1"], tmp_path)
    check(["run", "--set", "train.batch_size=1"], tmp_path)


def test_commands_are_found_in_a_script() -> None:
    script = "mkdir -p logs && (A=1 .venv/bin/pocketvlm run \\\n  --force > log 2>&1) # pocketvlm x"
    found = [arguments(words) for words in simple_commands(script)]
    assert [given for given in found if given is not None] == [["run", "--force"]]
