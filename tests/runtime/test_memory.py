"""Memory stays flat over many pictures and many openings, measured in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

MEASURE = """
import os, resource, subprocess, sys
from pathlib import Path
import numpy as np
from pocketvlm.runtime import Runtime

text, vision = map(Path, sys.argv[1:3])
bitmap = np.zeros((128, 128, 3), np.uint8)
prompt = "<__media__>\\nWhich?"
statm = Path("/proc/self/statm")

def resident():
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20
    kib = subprocess.check_output(["ps", "-o", "rss=", "-p", str(os.getpid())])
    return int(kib) / 2**10

def picture(runtime):
    runtime.answer(prompt, bitmap, 3)
    runtime.likelihoods(prompt, bitmap, [" water<end_of_utterance>", " fire"])
    runtime.embeddings(bitmap)
    runtime.text_logits(np.zeros((40, runtime.hidden), np.float32))
    runtime.ids(prompt, bitmap)

def opening():
    with Runtime(text, vision, threads=1) as runtime:
        runtime.answer(prompt, bitmap, 3)

def growth(step, before, after):
    for _ in range(before):
        step()
    start = resident()
    for _ in range(after):
        step()
    return resident() - start

print(growth(opening, 5, 20))
with Runtime(text, vision, threads=1) as runtime:
    print(growth(lambda: picture(runtime), 20, 200))
"""

GIVE_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
"""glibc then hands freed buffers back to the system, so that what stays is what leaks."""


def test_memory_is_flat_over_pictures_and_openings(pair: tuple[Path, Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, pair)],
        env=os.environ | GIVE_BACK,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    openings, pictures = map(float, done.stdout.split())
    assert openings < 2, "MiB over 20 openings"
    assert pictures < 0.5, "MiB over 200 pictures"
