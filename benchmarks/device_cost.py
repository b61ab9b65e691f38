"""What one picture costs on the device, at full size: stock tiling against every cheaper way.

    python benchmarks/device_cost.py [FOLDER]

FOLDER holds SmolVLM's config.json (its tokenizer.json there or one folder above); without it the
500M's dimensions are built in. Random weights, Q8_0 files, one run on this machine: prompt and
first token, medians of interleaved rounds (stock tiling once). Each ratio stands beside its target;
exit code 1 when one is missed.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from fullsize_base import build_base
from pocketvlm.config import parse_config
from pocketvlm.contract import Contract
from pocketvlm.export import export_text, export_vision, resize_vision
from pocketvlm.export.architecture import Architecture
from pocketvlm.layout import runs
from pocketvlm.pictures import Bitmap
from pocketvlm.progress import track
from pocketvlm.runtime import Runtime
from pocketvlm.runtime.probe import photograph
from pocketvlm.runtime.resize import set_preprocessed_side

ROUNDS = 5
STOCK = "stock tiling, 17 tiles of 512"
PLAIN = "256, as a stock app"


@dataclass(frozen=True)
class Way:
    """One way to ask, and how it must compare with a stock app at 256."""

    name: str
    side: int
    target: str
    met: Callable[[float], bool]
    tiles: str = "runtime"
    stock: bool = True
    prompt: str = "{marker}\n{question}\n\nElement:"
    vision: str = ""

    @property
    def contract(self) -> Contract:
        """What the app does."""
        device = {"side": self.side, "tiles": self.tiles, "prompt": self.prompt}
        return Contract.of(parse_config({"device": device}))


WAYS = (
    Way(STOCK, 256, ">= 30", lambda ratio: ratio >= 30, vision="stock"),
    Way("512, as a stock app", 512, ">= 3.5", lambda ratio: ratio >= 3.5),
    Way("384, as a stock app", 384, ">= 1.8", lambda ratio: ratio >= 1.8),
    Way(PLAIN, 256, "= 1", lambda ratio: ratio == 1),
    Way("256, encoded once", 256, "<= 0.75", lambda ratio: ratio <= 0.75, stock=False),
    Way(
        "256, encoded once, question first",
        256,
        "<= 0.7",
        lambda ratio: ratio <= 0.7,
        stock=False,
        prompt="{question}\n{marker}\nElement:",
    ),
    Way("256, single tile", 256, "<= 0.7", lambda ratio: ratio <= 0.7, "single", False),
    Way(
        "256, single tile, question first",
        256,
        "<= 0.6",
        lambda ratio: ratio <= 0.6,
        "single",
        False,
        "{question}\n{marker}\nElement:",
    ),
)


def write_files(folder: Path, base: Path) -> dict[str, tuple[Path, Path]]:
    """The text file with a vision file for each side, and one with stock metadata."""
    text = folder / "model.gguf"
    export_text(base, text, "Q8_0")
    stock = folder / "stock.gguf"
    export_vision(base, stock, "Q8_0", 512)
    files = {"stock": (text, stock)}
    for side in (512, 384, 256):
        files[str(side)] = text, folder / f"{side}.gguf"
        resize_vision(stock, files[str(side)][1], side)
    set_preprocessed_side(stock, 2048)
    return files


def _files(files: dict[str, tuple[Path, Path]], way: Way) -> tuple[Path, Path]:
    return files[way.vision or str(way.side)]


def measure(way: Way, files: tuple[Path, Path], rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds in all and in the tower, a round each; the first picture warms up."""
    contract = way.contract
    bitmap: Bitmap = contract.bitmap(photograph())
    with Runtime(*files, tiles=way.tiles, stock=way.stock) as runtime:
        if rounds > 1:
            runtime.answer(contract.prompt, bitmap, 1)
        answers = [runtime.answer(contract.prompt, bitmap, 1) for _ in range(rounds)]
    return [answer.ms for answer in answers], [answer.vision_ms for answer in answers]


def operations(base: Path, way: Way, tiles: int, tokens: int) -> float:
    """Multiplications and additions of the matrices, 1e9: tower, projector and text model."""
    sizes = Architecture.read(base)
    text, vision, side = sizes.text, sizes.vision, 512 if way.vision else way.side
    patches = (side // vision.patch) ** 2
    layer = vision.width * (4 * vision.width + 2 * vision.feed_forward) + 2 * patches * vision.width
    tile = patches * (vision.layers * layer + vision.width * text.width)
    heads = 2 * (text.heads + text.key_value_heads) * text.head_width
    layer = text.width * (heads + 3 * text.feed_forward)
    read = tokens * text.layers * layer + text.vocabulary * text.width
    return 2e-9 * (tiles * tile + read)


def matmul_rate() -> float:
    """What torch reaches here in float32, 1e9 operations a second: the best of ten."""
    a = torch.rand(1024, 1024)
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
    return 2e-9 * 1024**3 / best


def evaluated(way: Way, files: tuple[Path, Path]) -> tuple[int, int]:
    """How many tiles the tower runs on, and how many tokens the text model reads, a picture."""
    contract = way.contract
    with Runtime(*files, tiles=way.tiles, stock=way.stock) as runtime:
        ids = runtime.ids(contract.prompt, contract.bitmap(photograph()))
        layout = runs(ids, runtime.image_id)
    kept = 0 if way.stock else len(layout[0]["text"])
    tiles = sum("picture" in run for run in layout)
    return tiles if way.stock else 1, len(ids) - kept


def main() -> int:
    """Print a line a way; the exit code."""
    source = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    spent: dict[str, tuple[list[float], list[float]]] = {way.name: ([], []) for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_base(source, folder / "base")
        files = write_files(folder, folder / "base")
        for number in track(range(ROUNDS), "Rounds", ROUNDS):
            for way in WAYS:
                if way.name == STOCK and number:
                    continue
                rounds = 1 if way.name == STOCK else 3
                total, vision = measure(way, _files(files, way), rounds)
                spent[way.name][0].extend(total)
                spent[way.name][1].extend(vision)
        work = {
            way.name: operations(folder / "base", way, *evaluated(way, _files(files, way)))
            for way in WAYS
        }
    plain, rate = median(spent[PLAIN][0]), matmul_rate()
    missed = 0
    print(
        f"float32 matrices of 1024 in torch: {rate:.0f} GFLOP/s; the floor is the operations at "
        "that rate\n"
        f"{'way':36} {'s':>7} {'tower s':>8} {'GFLOP':>7} {'floors':>7} {'ratio':>7} target"
    )
    for way in WAYS:
        seconds, tower = (median(values) / 1000 for values in spent[way.name])
        ratio = 1000 * seconds / plain
        missed += not way.met(ratio)
        verdict = "met" if way.met(ratio) else "MISSED"
        floors = seconds / (work[way.name] / rate)
        print(
            f"{way.name:36} {seconds:7.2f} {tower:8.2f} {work[way.name]:7.0f} {floors:7.1f} "
            f"{ratio:7.2f} {way.target:8} {verdict}"
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
