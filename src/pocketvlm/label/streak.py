"""When asking makes no sense any more: nobody is there, nothing that comes back can be used, or the
server wants to be left alone for hours."""

from pocketvlm.errors import PocketError
from pocketvlm.label.calls import FORBIDS
from pocketvlm.teachers import Teacher
from pocketvlm.workspace import Row

PATIENCE = 3
"""Questions without a connection, after their retries and with no answer between, before it
stops."""

ENDURANCE = 10
"""Questions failed otherwise in a row before it stops, or twice the calls in flight if that is
more."""

LONGEST_PAUSE = 3600.0
"""Seconds: a server that asks to wait longer means a daily limit, and somebody should know."""


class Streak:
    """What goes wrong in a row, each question after its retries. Every method may raise
    PocketError: asking stops, and says why."""

    def __init__(self, teacher: Teacher, now: float) -> None:
        self.teacher = teacher
        self.failed = self.unreachable = self.forbidden = 0
        self.answers, self.heard = 0, now
        """Calls that were answered, and when the last one was, seconds."""

    def answered(self, now: float) -> None:
        """A call came back with a reply that is no limit and no trouble."""
        self.answers += 1
        self.heard = now

    def paused(self, now: float, until: float) -> None:
        """The server wants to be left alone until then, or refuses without saying how long."""
        if until - now > LONGEST_PAUSE:
            raise PocketError(
                f"{self.teacher.base_url} asks to wait {(until - now) / 3600:.1f} hours (a daily "
                "limit?): run the same command then; what is answered is kept"
            )
        if now - self.heard > LONGEST_PAUSE:
            raise PocketError(
                f"{self.teacher.base_url} has refused every call for {(now - self.heard) / 60:.0f} "
                "minutes (a daily limit?): run the same command later; what is answered is kept"
            )

    def see(self, answer: Row, in_flight: int, expected: bool = False) -> None:
        """Count a question's last row. A malformed one may have been paid for; where the same
        question has failed before, that was to be `expected`, and says nothing of the server."""
        error, most = str(answer.get("error", "")), max(ENDURANCE, 2 * in_flight)
        if error.startswith("unreachable"):
            return self._missed(error)
        if answer["status"] != "failed":
            self.unreachable = 0
        self.forbidden = self.forbidden + 1 if error.startswith(FORBIDS) else 0
        if answer["status"] not in ("failed", "malformed"):
            self.failed = 0
        elif not expected:
            self.failed += 1
        if self.forbidden >= most:
            raise PocketError(
                f"{self.teacher.base_url} declined {self.forbidden} pictures in a row, the last "
                f"with {error}: check that the key in {self.teacher.api_key_env} is still allowed "
                "to ask; what is answered is kept, run the same command to go on"
            )
        if self.failed >= most:
            raise PocketError(
                f"{self.failed} calls in a row failed, the last with {error}; "
                "what is answered is kept, run the same command to go on"
            )

    def _missed(self, error: str) -> None:
        self.unreachable += 1
        if self.unreachable >= PATIENCE:
            said = error.removeprefix("unreachable: ")
            raise PocketError(f"{said}: check base_url of that teacher and that the server runs")
