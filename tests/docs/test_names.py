"""Keys of the configuration, files and exit codes that the documents name are there."""

import re
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from pocketvlm.config import RENAMED, Config
from pocketvlm.errors import ConfigError, GateMissed, PocketError
from tests.docs.pages import PAGES, ROOT, Page

KEY = re.compile(r"(\w+)((?:\.\w+)+)(?:[=:].*)?", re.DOTALL)

FILES = re.compile(r"(?:src/pocketvlm|tests|benchmarks|deploy|docs)/[\w./-]+|\./\w+\.sh")


def models(kind: object) -> Iterator[type[BaseModel]]:
    """The sections within a field's type."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for inner in getattr(kind, "__args__", ()):
        yield from models(inner)


def sections() -> dict[str, set[str]]:
    """Section and, below it, section of a source or teacher -> keys."""
    found: dict[str, set[str]] = {}

    def add(name: str, model: type[BaseModel]) -> None:
        found[name] = set(model.model_fields)
        for key, field in model.model_fields.items():
            for inner in models(field.annotation):
                add(f"{name}.{field.alias or key}", inner)

    for name, field in Config.model_fields.items():
        for model in models(field.annotation):
            add(field.alias or name, model)
    return found


SECTIONS = sections()

FOREIGN = {"prepare.py"} | set(RENAMED)
"""Not keys of today."""

PARTS = {"baselines.py", "clock.py"}
"""Benchmarks that others start."""


@pytest.mark.parametrize(
    "page",
    [page for name, page in PAGES.items() if not name.endswith("decisions.md")],
    ids=lambda page: page.name,
)
def test_keys_exist(page: Page) -> None:
    """decisions.md also names keys of other programs and of earlier versions."""
    for span in page.spans():
        match = KEY.fullmatch(span)
        if match is None or match[1] not in SECTIONS or span in FOREIGN:
            continue
        *path, key = span.split("=")[0].split(":")[0].split(".")
        section = ".".join(part for part in path if not part.isdecimal())
        assert key in SECTIONS.get(section, set()), f"{page.name}: `{span}`"


@pytest.mark.parametrize("page", PAGES.values(), ids=lambda page: page.name)
def test_files_of_the_repository_exist(page: Page) -> None:
    for span in page.spans():
        for path in FILES.findall(span):
            assert (ROOT / path).exists(), f"{page.name}: `{path}`"


def test_exit_codes() -> None:
    (table,) = re.findall(
        r"\| exit code \|.*?\n\n", PAGES["README.md"].path.read_text() + "\n\n", re.S
    )
    told = {int(code): words for code, words in re.findall(r"\| (\d) \| (.*) \|", table)}
    assert set(told) == {0, *(kind.exit_code for kind in (PocketError, ConfigError, GateMissed))}
    assert "gate" in told[GateMissed.exit_code]
    assert "configuration" in told[ConfigError.exit_code]
    assert "failed" in told[PocketError.exit_code]


def test_the_architecture_lists_every_benchmark_and_room() -> None:
    text = PAGES["docs/architecture.md"].path.read_text()
    scripts = (ROOT / "benchmarks").glob("*.py")
    mains = {path.name for path in scripts if "__main__" in path.read_text()} - PARTS
    told = set(re.findall(r"^\| `(\w+\.py)", text, re.MULTILINE))
    assert told == mains
    rooms = {path.parent.name for path in (ROOT / "src/pocketvlm").glob("*/__init__.py")}
    assert rooms == set(re.findall(r"`(\w+)/`", text.split("## Rooms")[1].split("## Tests")[0]))
