"""The GPU: what there is, and whether the installed torch can use it."""

import platform
from pathlib import Path

from pocketvlm.nvidia import Card, Driver, read_driver
from pocketvlm.pipeline.doctor.cuda import torch_build, usable
from pocketvlm.pipeline.doctor.found import Found
from pocketvlm.workspace import Row

CPUINFO = Path("/proc/cpuinfo")


def check_gpu(found: Found) -> None:
    """A card that torch cannot use is a warning; no card is a fact."""
    driver = read_driver()
    if driver is None:
        apple = platform.system() == "Darwin" and platform.machine() == "arm64"
        found.facts["gpu"] = "Apple's, through Metal" if apple else None
        return
    cards: list[Row] = [
        {"name": card.name, "memory_gb": gb(card.memory), "free_gb": gb(card.free)}
        for card in driver.cards
    ]
    version, cuda = torch_build()
    if usable(driver):
        found.card = driver.cards[0]
    found.facts["gpu"] = {
        "cards": cards,
        "driver": driver.version,
        "driver_cuda": driver.cuda,
        "torch": version,
        "torch_cuda": cuda,
        "usable": found.card is not None,
    }
    if version and not found.card:
        found.warnings.append(advice(driver, version.partition("+")[0], cuda))


def advice(driver: Driver, version: str, cuda: str | None) -> str:
    """What is in the way of the card, and the command that mends it."""
    install = f"pip install --force-reinstall torch=={version}"
    index = "pytorch.org/get-started names the index"
    if cuda is None:
        return (
            f"{driver.cards[0].name} is not used: the installed torch is a build without CUDA: "
            f"{install} with --index-url of a build for CUDA {driver.cuda} ({index})"
        )
    return (
        f"{driver.cards[0].name} is not used: torch was built for CUDA {cuda}, driver "
        f"{driver.version} runs CUDA {driver.cuda} at most: install a newer driver, or {install} "
        f"with --index-url of a build for CUDA {driver.cuda} ({index})"
    )


def bytes_a_number(card: Card | None) -> int:
    """Of the frozen weights and the kept features: half precision on a GPU, and on a processor with
    AMX tiles for it (student/precision.py)."""
    try:
        tiles = "amx_bf16" in CPUINFO.read_text(encoding="utf-8")
    except OSError:
        tiles = False
    return 2 if card or tiles else 4


def gb(size: int) -> float:
    """Bytes as GB (10^9), two places."""
    return round(size / 1e9, 2)
