"""What the ledger holds of batches: submissions, calls that wait, and answers at the batch's
price."""

from collections.abc import Sequence

from pocketvlm.label.batchfile import Result
from pocketvlm.label.calls import failed
from pocketvlm.label.client import LONGEST_SAID, Client
from pocketvlm.label.ledger import Ledger, now
from pocketvlm.label.money import Tariff
from pocketvlm.label.plan import Question
from pocketvlm.label.reply import read_reply
from pocketvlm.teachers import Teacher
from pocketvlm.workspace import Row


def open_batches(ledger: Ledger) -> list[Row]:
    """Submissions whose answers are not in the ledger yet."""
    return [row for row in ledger.batches.values() if row["state"] != "done"]


def intents_of(row: Row, ledger: Ledger) -> list[Row]:
    """The calls of a submission without an answer."""
    return [one for one in ledger.open.values() if one.get("batch") == row["submission"]]


def is_to(row: Row, teacher: Teacher) -> bool:
    """Whether a submission went to this teacher."""
    address = str(row["base_url"]).rstrip("/")
    return (address, row["model"]) == (teacher.base_url.rstrip("/"), teacher.model)


def submission_row(client: Client, submission: str, file: str, requests: int) -> Row:
    """A batch that is about to be made of an uploaded file. Its answers are read with the labels of
    today, whatever becomes of the configuration."""
    teacher, labels = client.teacher, list(client.task.labels)
    row: Row = {"kind": "batch", "submission": submission, "state": "submitting"}
    row |= {"base_url": teacher.base_url, "model": teacher.model, "file": file}
    return row | {"requests": requests, "labels": labels}


def intent_row(question: Question, model: str, prompt: str) -> Row:
    """What a call is about; the draft adds its name and price."""
    picture = question.picture["sha256"]
    row = {"key": question.key, "picture": picture, "model": model}
    return row | {"prompt": prompt, "at": now()}


def answer_row(
    intent: Row, result: Result, labels: Sequence[str], client: Client, tariff: Tariff
) -> Row:
    """The answer to a call: as online, at the batch's price."""
    if result.reply is None:
        return failed_row(intent, client.hide(result.error)[:LONGEST_SAID], "nothing")
    answer = read_reply(client.hide(result.reply), labels)
    told = None not in (answer["tokens_in"], answer["tokens_out"])
    usd = tariff.paid(answer, intent["reserved_usd"], batch=True)
    cost = {"usd": usd, "billed": "usage" if told else "unknown", "at": now()}
    return _first_fields(intent) | answer | cost


def failed_row(intent: Row, why: str, billed: str) -> Row:
    """The row of a call without an answer; where nobody knows what it cost, the worst counts."""
    usd = 0.0 if billed == "nothing" else intent["reserved_usd"]
    cost = {"usd": usd, "billed": billed, "at": now()}
    return _first_fields(intent) | failed("batch", why) | cost


def _first_fields(intent: Row) -> Row:
    """Nobody knows how long a batch took for a single call."""
    names = {name: intent[name] for name in ("key", "call", "picture", "model", "batch")}
    return {"kind": "answer"} | names | {"seconds": None}
