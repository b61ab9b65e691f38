"""Memory: what each stage takes at the very least, and what it usually takes.

Merging a 256M took 1.59 GB at its peak and a 500M 2.61; computed are 1.63 and 2.63."""

from dataclasses import dataclass
from pathlib import Path

import psutil

from pocketvlm.errors import PocketError
from pocketvlm.pipeline.doctor.base import READERS
from pocketvlm.pipeline.doctor.found import Found
from pocketvlm.pipeline.doctor.gpu import bytes_a_number, gb
from pocketvlm.pipeline.doctor.student_sizes import StudentSizes

LIBRARIES = 600_000_000
"""Bytes of a process that has loaded torch and transformers."""

BARE = 300_000_000
"""Of them not read from files, and so not to be had back."""

LEARNT = 16
"""Bytes of a learnt number: itself, its gradient, and AdamW's two moments."""

CONVERT = 250_000_000
"""Bytes that `convert` takes, whatever the student (docs/decisions.md)."""

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Need:
    """Bytes that a stage takes."""

    least: int
    """What is computed and must be kept: with less it cannot work. Weights that lie in a file as
    they are used are mapped, and can be read again."""
    usual: int


def check_memory(found: Found) -> None:
    """A stage that cannot work is a problem; one that will be tight, and slow, a warning."""
    if found.model is None:
        return
    student = StudentSizes.read(found.model, found.project.contract.side)
    needs = {stage: need for stage, need in needed(found, student).items() if stage in found.due}
    free = available()
    rows = {
        stage: {"least_gb": gb(need.least), "usual_gb": gb(need.usual)}
        for stage, need in needs.items()
    }
    found.facts["memory"] = {"free_gb": gb(free), "stages": rows}
    for stage, need in needs.items():
        if need.usual > free:
            sentence = (
                f"{stage} takes about {need.usual / 1e9:.1f} GB of memory, {need.least / 1e9:.1f} "
                f"at the very least, and {free / 1e9:.1f} GB are free: close other programs, or "
                "take a smaller base.model"
            )
            if need.least > free + psutil.swap_memory().free:
                found.problems.append(PocketError(sentence))
            else:
                found.warnings.append(sentence)
    _check_card(found, needs)


def needed(found: Found, student: StudentSizes) -> dict[str, Need]:
    """By stage, on a processor; a GPU takes the same of its own memory.

    Training adds what the forward pass keeps, for at least one picture: `batch_size: auto` then
    fills what is free."""
    learnt = LEARNT * student.adapter(found.project.config.train)
    frozen, whole = student.parameters * bytes_a_number(found.card), 4 * student.parameters
    return {
        "train": Need(BARE + learnt, LIBRARIES + frozen + learnt + one_picture(student)),
        "merge": Need(BARE + 4 * student.layers, LIBRARIES + whole),
        "convert": Need(CONVERT, CONVERT),
        "validate": Need(BARE, LIBRARIES + whole + student.text_file("F16")),
    }


def one_picture(student: StudentSizes) -> int:
    """Bytes that the layers keep of one picture in float32: about ten vectors of the width and
    three of the inner width a token, of two tiles and the prompt."""
    text, vision = student.architecture.text, student.architecture.vision
    tokens = 2 * (student.side // vision.patch // vision.scale) ** 2 + 64
    return 4 * tokens * text.layers * (10 * text.width + 3 * text.feed_forward)


def available() -> int:
    """Bytes that a new process can have: of the machine, and of the container that this one is in
    (Linux, cgroup v2), where cached files give way."""
    free = int(psutil.virtual_memory().available)
    try:
        most = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
        stat = (CGROUP / "memory.stat").read_text().split()
        cached = int(stat[stat.index("inactive_file") + 1])
        return free if most == "max" else min(free, max(0, int(most) - used + cached))
    except (OSError, ValueError):  # no container, or another kind
        return free


def _check_card(found: Found, needs: dict[str, Need]) -> None:
    """The same of the card, where another program may hold some."""
    card = found.card
    for stage, need in needs.items():
        taken = need.usual - LIBRARIES
        if card and stage in READERS and taken > card.free:
            found.warnings.append(
                f"{stage} takes about {taken / 1e9:.1f} GB of {card.name}, which has "
                f"{card.free / 1e9:.1f} GB free: end what else uses it"
            )
