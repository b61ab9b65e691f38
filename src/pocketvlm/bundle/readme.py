"""README.md of the bundle: for the person who writes the app."""

import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pocketvlm.workspace import Row

RESIZE = {
    "bilinear": "Half-pixel bilinear without antialiasing, rounded half up: Android's "
    "`createScaledBitmap(bitmap, w, h, true)` to within 1 of 255",
    "lanczos": "Pillow's `LANCZOS`, which is antialiased",
    "area": "Pillow's `BOX`: the mean of the covered pixels",
}


def readme(contract: Row, metrics: Row, sizes: dict[str, int]) -> str:
    """The page. `contract` is contract.json, `sizes` are bytes by file name."""
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters["literal"] = lambda text: json.dumps(text, ensure_ascii=False)
    return pages.get_template("README.md.j2").render(
        contract=contract, metrics=metrics, sizes=sizes, resize=RESIZE[contract["resize"]]
    )
