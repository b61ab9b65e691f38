"""What labelling has still to ask, before a run: where that is nothing, no teacher is needed."""

import sys
from typing import Literal

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.journal import plainly
from pocketvlm.label.agreed import check_agreed
from pocketvlm.label.batchrows import open_batches
from pocketvlm.label.ledger import Ledger
from pocketvlm.label.plan import Plan
from pocketvlm.pipeline.doctor.found import Found
from pocketvlm.pipeline.doctor.pictures import adds_pictures
from pocketvlm.workspace import NOTE, read_record

Asking = Literal["nothing", "perhaps", "surely"]
"""`perhaps`: pictures may come that nobody has seen yet."""


def look_ahead(found: Found) -> Asking:
    """Whether labelling will ask a teacher anything. A price that nobody has agreed to pay again is
    a problem now, where nobody can be asked: in the background."""
    plan = _plan(found) if found.before_run else None
    if plan is None:
        return "surely"
    if sys.stdin is None or not sys.stdin.isatty():  # in a terminal `label` asks
        with found.going_on():
            check_agreed(plan, found.project.agreed)
    if open_batches(plan.ledger) or any(map(plan.due, range(len(plan.config.teachers)))):
        with found.going_on():
            check_elsewhere(found)
        return "surely"
    if not found.any_due("collect"):
        return "nothing"
    return "surely" if adds_pictures(found.project) else "perhaps"


def _plan(found: Found) -> Plan | None:
    """Of the pictures that are there; None where none are, or their list is broken: `collect` mends
    the line that a kill has torn, and any other stage says what is wrong. The ledger may be mended
    here: the run has the folder to itself."""
    try:
        return Plan(found.project, Ledger(found.project.workspace.answers))
    except PocketError:
        return None


def check_elsewhere(found: Found) -> None:
    """ConfigError where a server was sent to ask these questions: its answers are paid already."""
    path = found.project.workspace.root / NOTE
    if path.is_file() and not found.project.agreed:
        note = read_record(path)
        raise ConfigError(
            f"{note['host']} was sent to label these pictures ({plainly(note['at'])}): fetch its "
            f"answers with `{note['how']}`, or give --yes to ask, and pay, here too"
        )
