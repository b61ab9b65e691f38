"""Conversion at full size: every type's size, time and memory, beside llama.cpp's own two steps.

    python benchmarks/convert.py [FOLDER]

FOLDER holds SmolVLM's config.json (its tokenizer.json there or one folder above); without it the
256M's and the 500M's dimensions are built in. Random weights, merged as training leaves them: in
float32. Each way runs in a process of its own, the two rivals in turns, medians of three rounds:
`pocketvlm`'s Q8_0 against convert_hf_to_gguf.py to F16 and llama_model_quantize to Q8_0, both from
llama-cpp-python's source package and library. Each ratio stands beside its target; exit code 1 when
one is missed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from safetensors.torch import load_file, save_file

from fullsize_base import TEXT, build_base
from pocketvlm.export.writer import FILE_TYPES, MIB
from pocketvlm.progress import say, track

ROUNDS = 3
TYPES = ("F32", "F16", "Q8_0", "Q5_0", "Q4_0", "Q4_K_M")
RATIO, PEAK, PREDICTED = 1.0, 1.2e9, 0.02
"""Targets: of the two steps' time, bytes of memory at 500M, error of the size that is predicted."""

CHECKED = "500M"
"""The size whose memory is judged; without a built-in size the folder's."""

ONE = """
import json, re, sys
from pathlib import Path
from pocketvlm.config import parse_config
from pocketvlm.export import convert, export_text
from pocketvlm.project import Project

what, root, *types = sys.argv[1:]
if what == "text":
    export_text(Path(root) / "merged", Path(root) / "alone.gguf", types[0])
    figures = {}
else:
    settings = {"types": types[:1], "mmproj": types[1:]}
    figures = convert(Project.of(parse_config({"export": settings}), Path(root)))
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps(figures | {"peak": 1024 * int(peak[1])}))
"""
"""Not ru_maxrss: a new process starts with that of the process that started it."""

QUANTISE = """
import ctypes, sys
import llama_cpp.llama_cpp as llama

settings = llama.llama_model_quantize_default_params()
settings.ftype = llama.LLAMA_FTYPE_MOSTLY_Q8_0
sys.exit(llama.llama_model_quantize(*(name.encode() for name in sys.argv[1:]), settings))
"""
"""llama-quantize with its own settings."""


@dataclass(frozen=True)
class Ratio:
    """A figure beside its target."""

    name: str
    value: float
    target: float

    @property
    def met(self) -> bool:
        """Whether it is no more."""
        return self.value <= self.target

    def __str__(self) -> str:
        verdict = "met" if self.met else "MISSED"
        return f"{self.name:56} {self.value:7.3f} target <= {self.target:<5g} {verdict}"


def build(source: Path | None, root: Path, size: str) -> None:
    """`root`/merged: a random base, as `merge` would save it, with what the converter reads."""
    from tests.export.converter import prepare

    merged = root / "merged"
    build_base(source, merged, size)
    weights = load_file(merged / "model.safetensors")
    weights = {name: weight.float() for name, weight in weights.items()}
    save_file(weights, merged / "model.safetensors", metadata={"format": "pt"})
    prepare(merged, 512)


def run(code: str, *arguments: str) -> tuple[float, str]:
    """Seconds and output of a Python process."""
    started = time.monotonic()
    command = [sys.executable, "-c", code, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"a process failed ({ended.returncode}):\n{ended.stderr[-3000:]}")
    return time.monotonic() - started, ended.stdout


def ours(root: Path) -> float:
    """Seconds from the merged model to the Q8_0 text file."""
    return run(ONE, "text", str(root), "Q8_0")[0]


def theirs(root: Path) -> tuple[float, float]:
    """Seconds of both official steps."""
    from tests.export.converter import command, run_converter

    between, out = root / "between.gguf", root / "theirs.gguf"
    started = time.monotonic()
    run_converter([command(root / "merged", "F16", between)])
    return time.monotonic() - started, run(QUANTISE, str(between), str(out))[0]


def every_type(root: Path) -> dict[str, Any]:
    """Figures of each type, made alone: the stage's own, and the peak of its process."""
    found = {}
    for type in track(TYPES, "Types", len(TYPES)):
        vision = type if type in FILE_TYPES else "F16"
        figures = json.loads(run(ONE, "all", str(root), type, vision)[1])
        found[f"model-{type}"] = figures["text"][type] | {"peak": figures["peak"]}
        if type in FILE_TYPES:
            found[f"mmproj-{type}"] = figures["mmproj"][type] | {"peak": figures["peak"]}
    return found


def table(rows: dict[str, Any]) -> str:
    """A line a file."""
    lines = [f"{'file':14} {'MiB':>8} {'said':>8} {'s':>6} {'peak GB':>8}  of the parameters"]
    for name, row in rows.items():
        shares = ", ".join(f"{v['parameters']:.0%} {k}" for k, v in row["tensors"].items())
        sizes = f"{row['mib']:8.1f} {row['predicted_mib']:8.1f}"
        lines.append(f"{name:14} {sizes} {row['seconds']:6.1f} {row['peak'] / 1e9:8.2f}  {shares}")
    return "\n".join(lines)


def rates(root: Path) -> tuple[float, float]:
    """Bytes a second that this disk gives (of what was just written: from memory, if there is
    room) and takes, forced to it."""
    source = root / "merged" / "model.safetensors"
    started = time.monotonic()
    with source.open("rb") as file:
        while file.read(MIB):
            pass
    read = source.stat().st_size / (time.monotonic() - started)
    block, started = os.urandom(MIB), time.monotonic()
    with (root / "written").open("wb") as file:
        for _ in range(256):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return read, 256 * MIB / (time.monotonic() - started)


def compare(root: Path, size: str) -> Ratio:
    """Both ways in turns; says the floor and how far both are from it."""
    spent: list[float] = []
    steps: list[tuple[float, float]] = []
    for _ in track(range(ROUNDS), "Rounds", ROUNDS):
        steps.append(theirs(root))
        spent.append(ours(root))
    first, second = (median(step) for step in zip(*steps, strict=True))
    official, own = median(map(sum, steps)), median(spent)
    read, write = rates(root)
    text = (root / "between.gguf").stat().st_size * 2  # in float32
    floor = text / read + (root / "alone.gguf").stat().st_size / write
    print(
        f"{size} to Q8_0, processes included: {own:.1f} s, the two official steps {official:.1f} s "
        f"({first:.1f} + {second:.1f})\n"
        f"the floor is {floor:.2f} s ({text / 1e9:.2f} GB read at {read / 1e9:.1f} GB/s, the file "
        f"written at {write / 1e9:.2f} GB/s): {own / floor:.1f} floors, the official steps "
        f"{official / floor:.1f}"
    )
    return Ratio(f"{size}: time, of the two official steps'", own / official, RATIO)


def measure(source: Path | None, root: Path, size: str) -> list[Ratio]:
    """Build one size, print its table, and give the figures that are judged."""
    say(f"Building {size}.")
    build(source, root, size)
    rows = every_type(root)
    print(f"\n{size}\n{table(rows)}")
    off = max(abs(row["predicted_mib"] / row["mib"] - 1) for row in rows.values())
    figures = [compare(root, size), Ratio(f"{size}: error of the predicted sizes", off, PREDICTED)]
    if size == CHECKED:
        peak = max(row["peak"] for row in rows.values())
        figures.append(Ratio(f"{size}: peak memory of any type, GB", peak / 1e9, PEAK / 1e9))
    return figures


def main() -> int:
    """Print each size's table and what is judged."""
    sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests/, which runs the converter
    source = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    figures: list[Ratio] = []
    for size in [CHECKED] if source else sorted(TEXT):
        with tempfile.TemporaryDirectory() as name:
            figures += measure(source, Path(name), size)
    print()
    for figure in figures:
        print(figure)
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
