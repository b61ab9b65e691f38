"""Text files of types that the runtime's quantiser makes, from an F16 file."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from tempfile import TemporaryDirectory

from gguf import GGMLQuantizationType

from pocketvlm.export.writer import Draft, stored_size, written
from pocketvlm.workspace import atomic_file

SOURCE = "F16"
"""What the quantiser reads, as in llama.cpp's own two steps."""

TICK = 0.2
"""Seconds between two looks at how long the file is."""


def quantised_sizes(source: Draft, types: Sequence[str]) -> list[int]:
    """Bytes of the files of these types, before `source` is written."""
    from pocketvlm.runtime.quantise import planned_types

    sizes = []
    with TemporaryDirectory() as folder:
        hollow = Path(folder) / "hollow.gguf"
        source.hollow(hollow)
        for type in types:
            planned = planned_types(hollow, type)
            kinds = {name: GGMLQuantizationType[kind] for name, kind in planned.items()}
            weights = sum(stored_size(one, kinds[one.name]) for one in source.tensors)
            sizes.append(len(source.head) + weights)
    return sizes


def write_quantised(source: Path, out: Path, type: str, size: int) -> None:
    """Write `out`, atomically; `size` is what was predicted, for the bar. PocketError with the
    quantiser's own reason when it fails."""
    from pocketvlm.runtime.quantise import quantise

    with (
        atomic_file(out) as partial,
        written(out.name, size) as advance,
        # This thread moves the bar. It hears Ctrl-C too, which ends it once the file is made: the
        # quantiser cannot be stopped, and must not write after the file is gone.
        ThreadPoolExecutor(1) as pool,
    ):
        work = pool.submit(quantise, source, partial, type)
        while wait([work], TICK).not_done:
            advance(partial.stat().st_size)
        work.result()
        advance(partial.stat().st_size)
