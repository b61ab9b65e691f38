"""The house's pages. HTML: one file each, one look, readable on a phone, light and dark, nothing
loaded from elsewhere. Markdown: what stands beside files that people get."""

import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

STYLE = Path(__file__).with_suffix(".css")


def html_pages(folder: Path) -> Environment:
    """The HTML templates of a folder; what is put into them is escaped, `style` is the look."""
    pages = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["percent"] = percent
    pages.globals["style"] = Markup(STYLE.read_text(encoding="utf-8"))
    return pages


def markdown_pages(folder: Path) -> Environment:
    """The Markdown templates of a folder; nothing is escaped unless a template asks for it: `cell`
    is text in a table or a line, `literal` is JSON."""
    pages = Environment(
        loader=FileSystemLoader(folder),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters["cell"] = lambda text: " ".join(str(text).split()).replace("|", "\\|")
    pages.filters["literal"] = lambda value: json.dumps(value, ensure_ascii=False)
    pages.filters["percent"] = percent
    return pages


def percent(share: float | None, digits: int = 1) -> str:
    """A share as people write it; an unknown one as a dash."""
    return "–" if share is None else f"{share * 100:.{digits}f}%"  # noqa: RUF001
