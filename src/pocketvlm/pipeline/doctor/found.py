"""What an examination has found so far: facts, what would fail, what may."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pocketvlm.errors import PocketError
from pocketvlm.nvidia import Card
from pocketvlm.project import Project
from pocketvlm.workspace import Row


@dataclass(frozen=True)
class Expected:
    """Pictures of the way, and bytes of their files."""

    pictures: int
    folder: int = 0
    """Bytes of the files in `collect.folder`."""
    searched: int = 0
    """Pictures that other sources will give."""


@dataclass
class Found:
    """One project on this machine, for the stages that are due. Each check adds what it sees, and
    none ends the examination."""

    project: Project
    due: frozenset[str]
    """Names of the stages."""
    before_run: bool = False
    """Whether these stages are about to run, and wait: what takes a second is left out where it
    surely is right."""
    facts: Row = field(default_factory=dict)
    problems: list[PocketError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    coming: Expected = Expected(0)
    model: Path | None = None
    """The folder whose config.json says how large the student is, once it is known."""
    card: Card | None = None
    """The GPU that the student goes onto."""
    to_download: int = 0
    """Bytes of the base that the hub's cache has not yet."""

    def any_due(self, *stages: str) -> bool:
        """Whether one of these stages is due."""
        return not self.due.isdisjoint(stages)

    @contextmanager
    def going_on(self, sure: bool = True) -> Iterator[None]:
        """What fails inside the block is a problem, or a warning where it is not `sure` to be in
        the way; the examination goes on."""
        try:
            yield
        except PocketError as problem:
            self._add(problem, sure)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            what = f"{where}{error.strerror or error}: allow it, or copy it again"
            self._add(PocketError(what), sure)

    def _add(self, problem: PocketError, sure: bool) -> None:
        """Two checks may meet the same: a .env that others can read."""
        if not sure:
            self.warnings.append(str(problem))
        elif str(problem) not in map(str, self.problems):
            self.problems.append(problem)
