"""README.md of the bundle: for the person who writes the app."""

from pathlib import Path

from pocketvlm.model_card import calibration_in_words, gates_in_words
from pocketvlm.pages import markdown_pages
from pocketvlm.workspace import Row

RESIZE = {
    "bilinear": "Half-pixel bilinear without antialiasing, rounded half up. "
    "`createScaledBitmap(bitmap, w, h, true)` is the same filter, but by Skia's source with "
    "weights in sixteenths: up to 24 of 255 away, mean 0.9 on photographs",
    "lanczos": "Pillow's `LANCZOS`, which is antialiased",
    "area": "Pillow's `BOX`: the mean of the covered pixels",
}

WAYS = {
    "greedy": "`Asker::answer`: the likeliest token each time. An answer may be no label",
    "likelihood": "`Asker::likelihoods` of `ANSWERS`, then `choose`: always a label, and how sure "
    "the student is of it",
    "grammar": '`llama_sampler_init_grammar(vocabulary, GRAMMAR, "root")` before each token is '
    "chosen: always a label. `ask.hpp` leaves that to the app",
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
        ways=WAYS,
        gates=gates_in_words(metrics["gates"]),
        calibrated=calibration_in_words(metrics.get("calibration")),
    )
