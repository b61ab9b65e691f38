"""The documents as a reader's program sees them: blocks, code in lines, links, headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]

NEEDS = re.compile(r"<!-- needs: (.+) -->")
"""Stands above a block that no test can run, and says why."""

REASONS = {"key", "GPU", "server", "phone", "browser", "a checkout"}

SHELL, PLAIN = {"sh", "bash"}, {"text"}
LANGUAGES = SHELL | PLAIN | {"yaml", "json", "cpp", "kotlin", "cmake"}


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    language: str
    text: str
    needs: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Page:
    """One Markdown file of the repository."""

    path: Path

    @property
    def name(self) -> str:
        """Its path in the repository."""
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def tokens(self) -> list[Token]:
        """Its parts in their order, as CommonMark with tables has them."""
        text = self.path.read_text(encoding="utf-8")
        return MarkdownIt("commonmark").enable("table").parse(text)

    def blocks(self) -> Iterator[Block]:
        """Fenced blocks, each with what the comment above it says that it needs."""
        before: Token | None = None
        for token in self.tokens:
            if token.type == "fence":
                found = NEEDS.fullmatch(before.content.strip()) if before else None
                line = token.map[0] + 1 if token.map else 0
                needs = found[1] if found else None
                yield Block(self.name, line, token.info.strip(), token.content, needs)
            before = token if token.type == "html_block" else None

    def indented(self) -> Iterator[str]:
        """Blocks by indentation alone: nothing says what they hold, so no commands."""
        return (token.content for token in self.tokens if token.type == "code_block")

    def spans(self) -> Iterator[str]:
        """Code within lines."""
        return (child.content for child in self._inner() if child.type == "code_inline")

    def links(self) -> Iterator[str]:
        """Targets of links and pictures."""
        for child in self._inner():
            if target := child.attrs.get({"link_open": "href", "image": "src"}.get(child.type, "")):
                yield str(target)

    def anchors(self) -> set[str]:
        """Names of the headings, as GitHub and the site make them."""
        found = set[str]()
        for heading, inside in zip(self.tokens, self.tokens[1:], strict=False):
            if heading.type == "heading_open":
                plain = "".join(child.content for child in inside.children or ())
                words = re.sub(r"[^\w\- ]", "", plain.lower()).strip()
                found.add(words.replace(" ", "-"))
        return found

    def _inner(self) -> Iterator[Token]:
        for token in self.tokens:
            yield from token.children or ()


def pages() -> list[Page]:
    """Everything that a newcomer is told to read."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "deploy/README.md"]
    return [Page(path) for path in found if path.is_file()]


PAGES = {page.name: page for page in pages()}
BLOCKS = [block for page in PAGES.values() for block in page.blocks()]
