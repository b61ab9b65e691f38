"""README.md of the bundle: for the person who writes the app."""

from pathlib import Path

from pocketvlm.pages import markdown_pages
from pocketvlm.workspace import Row

RESIZE = {
    "bilinear": "Half-pixel bilinear without antialiasing, rounded half up. "
    "`createScaledBitmap(bitmap, w, h, true)` is the same filter, but by Skia's source with "
    "weights in sixteenths: up to 24 of 255 away, mean 0.9 on photographs",
    "lanczos": "Pillow's `LANCZOS`, which is antialiased",
    "area": "Pillow's `BOX`: the mean of the covered pixels",
}


def readme(contract: Row, metrics: Row, sizes: dict[str, int]) -> str:
    """The page. `contract` is contract.json, `sizes` are bytes by file name."""
    page = markdown_pages(Path(__file__).parent).get_template("README.md.j2")
    return page.render(
        contract=contract,
        metrics=metrics,
        sizes=sizes,
        golden_bytes=sum(size for name, size in sizes.items() if name.startswith("golden/")),
        resize=RESIZE[contract["resize"]],
    )
