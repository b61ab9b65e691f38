"""Everything that is known before anything runs, asked at once."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.pipeline.doctor.base import READERS, check_base
from pocketvlm.pipeline.doctor.disk import check_disk
from pocketvlm.pipeline.doctor.duration import check_duration
from pocketvlm.pipeline.doctor.found import Found
from pocketvlm.pipeline.doctor.gpu import check_gpu
from pocketvlm.pipeline.doctor.memory import check_memory
from pocketvlm.pipeline.doctor.packages import (
    check_layout,
    check_packages,
    check_runtime,
    check_tracking,
)
from pocketvlm.pipeline.doctor.pictures import check_pictures
from pocketvlm.pipeline.doctor.teachers import check_teachers
from pocketvlm.pipeline.stages import STAGES, Stage
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.workspace import Row


def check_truth(found: Found) -> None:
    """What accuracy is measured against: found missing only after training, it would be late."""
    project = found.project
    file: Path | None = project.config.validate_.truth_file
    if file and not project.path(file).is_file():
        raise ConfigError(f"validate.truth_file: {project.path(file)} does not exist")
    found.facts["truth"] = project.config.validate_.truth


ALL = tuple(stage.name for stage in STAGES)

CHECKS: tuple[tuple[Callable[[Found], None], tuple[str, ...]], ...] = (
    (check_packages, ALL),
    (check_pictures, ALL),
    (check_runtime, ("train", "convert", "validate", "bundle")),
    (check_base, (*READERS, "convert")),
    (check_layout, ("train",)),
    (check_teachers, ("label",)),
    (check_truth, ("validate",)),
    (check_tracking, ("train",)),
    (check_gpu, READERS),
    (check_duration, ("train",)),
    (check_memory, (*READERS, "convert")),
    (check_disk, ALL),
)
"""What is asked, and for which stages. A check may use what those before it have found."""


def examine(project: Project, stages: Sequence[Stage] = STAGES) -> tuple[Row, list[PocketError]]:
    """Facts about this project on this machine, and everything found that would fail later; of the
    facts, `warnings` are sentences about what may fail."""
    found = asked(project, stages, before_run=False)
    return found.facts | {"warnings": found.warnings}, found.problems


def asked(project: Project, stages: Sequence[Stage], before_run: bool) -> Found:
    """Every check that these stages need."""
    found = Found(project, frozenset(stage.name for stage in stages), before_run)
    found.facts["contract"] = project.contract.hash
    for check, of in CHECKS:
        if found.any_due(*of):
            with found.going_on():
                check(found)
    return found


def check_ready(project: Project, stages: Sequence[Stage]) -> None:
    """Say what may go wrong in these stages; raise one error that lists all that would, with the
    highest of their exit codes."""
    if not stages:
        return
    found = asked(project, stages, before_run=True)
    for warning in found.warnings:
        say(f"WARNING: {warning}")
    told = [str(problem) for problem in found.problems]
    if not told:
        return
    wrong = any(problem.exit_code == ConfigError.exit_code for problem in found.problems)
    message = "\n  ".join([f"{len(told)} things are missing:", *told]) if told[1:] else told[0]
    raise ConfigError(message) if wrong else PocketError(message)
