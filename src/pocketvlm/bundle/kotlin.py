"""The Kotlin that the app takes: the device contract as code, and the golden pictures' test."""

import textwrap
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pocketvlm.pages import percent
from pocketvlm.workspace import Row


def device_contract_kt(contract: Row) -> str:
    """DeviceContract.kt: constants, the picture's preparation and the answer's reading.

    `contract` is contract.json."""
    return _render("DeviceContract.kt.j2", contract)


def golden_pictures_test_kt(contract: Row) -> str:
    """GoldenPicturesTest.kt: the app's instrumented test, level by level, on its own device.

    `contract` is contract.json."""
    return _render("GoldenPicturesTest.kt.j2", contract)


def literal(text: str) -> str:
    """A Kotlin string literal of the same text.

    Pure ASCII: no editor, encoding or invisible character can change the prompt's bytes."""
    units = text.encode("utf-16-be", "surrogatepass")
    codes = (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    return f'"{"".join(map(_escaped, codes))}"'


def _escaped(code: int) -> str:
    """One UTF-16 unit; `$` would begin a template."""
    character = chr(code)
    if character in '"\\$':
        return "\\" + character
    if character == "\n":
        return "\\n"
    return character if " " <= character <= "~" else f"\\u{code:04X}"


def _double(value: float) -> str:
    """A Kotlin literal of the same double: Python's shortest form, which may end in e-05."""
    return repr(float(value))


def _layout(runs: list[Row]) -> str:
    """The token layout as a sum of arrays: the image tokens are counted, not repeated."""
    return " +\n".join(
        f"image({run['picture']})" if "picture" in run else _array(run["text"]) for run in runs
    )


def _array(ids: list[int]) -> str:
    """An IntArray of any length within the line's length."""
    listed = textwrap.fill(", ".join(map(str, ids)), 84)
    if len(listed) < 75:
        return f"intArrayOf({listed})"
    return f"intArrayOf(\n{textwrap.indent(listed, '    ')},\n)"


def _render(name: str, contract: Row) -> str:
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # Kotlin: every text goes through `literal`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters |= {
        "literal": literal,
        "double": _double,
        "layout": _layout,
        "percent": percent,
    }
    return pages.get_template(name).render(contract=contract)
