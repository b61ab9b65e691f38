"""What labelling will cost, before anything is spent."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from urllib.parse import urlsplit

from pocketvlm.label.ledger import Ledger
from pocketvlm.label.money import Budget, Tariff, price_words, sizes_of, usd_words
from pocketvlm.label.plan import Plan, Question, unsure
from pocketvlm.project import Project
from pocketvlm.workspace import Row

PASSED_ON = 0.3
"""Share of the pictures that go on to the next teacher, before it is known."""

ENOUGH = 20
"""Answers from which the real tokens and the real share are taken instead."""


@dataclass
class Known:
    """What the ledger tells of one teacher under the present plan: sums."""

    answers: int = 0
    """Answers whose usage was told."""
    tokens_in: int = 0
    tokens_out: int = 0
    ruled_in: int = 0
    """Tokens in that the provider's rule gives for the same pictures."""
    usd: float = 0.0
    usd_calls: float = 0.0
    """Of all calls about the same questions, also of those that failed."""
    finished: int = 0
    """Pictures with all answers of this teacher."""
    passed: int = 0
    """Of these, the ones that go on to the next."""

    @property
    def told(self) -> bool:
        """Whether the ledger knows better than the rule."""
        return self.answers >= ENOUGH

    @property
    def share(self) -> float:
        """Of the pictures, 0 to 1, that go on to the next teacher."""
        return self.passed / self.finished if self.finished >= ENOUGH else PASSED_ON

    def tokens(self, tokens_in: int, tokens_out: int) -> tuple[float, float]:
        """What a call by the rule will probably take, in and out, corrected by what was billed."""
        if not self.told:
            return tokens_in, tokens_out
        return tokens_in * self.tokens_in / self.ruled_in, self.tokens_out / self.answers

    @property
    def calls(self) -> float:
        """What a question costs over what its answer does, 1 or more: some are asked again."""
        return max(1.0, self.usd_calls / self.usd) if self.told and self.usd else 1.0


@dataclass(frozen=True)
class Load:
    """What one teacher has still to be asked."""

    due: list[Question]
    """For certain."""
    later: list[tuple[Question, float]]
    """About pictures that the teachers before have not finished with, and how probably each."""


@dataclass(frozen=True)
class Cost:
    """What a load comes to."""

    questions: float
    tokens: float
    """In and out, one call a question."""
    usd: float
    """Probably."""
    most: float
    """USD, when every call is as dear as it can be and none has to be made again."""


class Outlook:
    """The questions that a plan has still to ask, and what they cost. ConfigError when a model's
    price is not known."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.teachers = plan, plan.config.teachers
        self.tariffs = [Tariff.of(plan.config, teacher) for teacher in self.teachers]
        self.known = self._read_known()

    def _read_known(self) -> list[Known]:
        known = [Known() for _ in self.teachers]
        for picture, opinions in self.plan.opinions():
            for row in opinions:
                if row.get("billed") == "usage":
                    self._count(known[row["teacher"]], picture, row)
            for number, one in enumerate(known):
                given = [row for row in opinions if row["teacher"] == number]
                if len(given) == self.teachers[number].repeats:
                    one.finished += 1
                    one.passed += unsure(given, number, self.plan.config)
        return known

    def _count(self, known: Known, picture: Row, answer: Row) -> None:
        known.answers += 1
        known.tokens_in += answer["tokens_in"]
        known.tokens_out += answer["tokens_out"]
        known.ruled_in += self.tariffs[answer["teacher"]].tokens(*sizes_of([picture]))[0]
        known.usd += answer["usd"]
        known.usd_calls += self.plan.ledger.places[answer["key"]].usd

    def loads(self, wanted: Callable[[Question], bool] = lambda question: True) -> list[Load]:
        """Each teacher's, of the wanted questions; without those that wait in a batch, whose cost
        is reserved already."""
        found: list[Load] = []
        coming: dict[str, tuple[Row, float]] = {}
        intents = self.plan.ledger.open.values()
        waiting = {intent["key"] for intent in intents if "batch" in intent}
        for number, known in enumerate(self.known):
            due = [question for question in self.plan.due(number) if wanted(question)]
            sure = {question.picture["sha256"]: question.picture for question in due}
            coming = {name: one for name, one in coming.items() if name not in sure}
            later = [
                (question, chance)
                for picture, chance in coming.values()
                for question in self.plan.unanswered(number, picture)
            ]
            found.append(Load([one for one in due if one.key not in waiting], later))
            coming = {name: (one, chance * known.share) for name, (one, chance) in coming.items()}
            coming |= {name: (picture, known.share) for name, picture in sure.items()}
        return found

    def cost(self, number: int, load: Load) -> Cost:
        """What one teacher's load comes to."""
        questions = tokens = usd = most = 0.0
        price = cache(partial(self._price, number))
        for question, chance in [*((question, 1.0) for question in load.due), *load.later]:
            (size,) = sizes_of([question.picture])
            batch = self.teachers[number].batch and questions > 0  # the first goes ahead online
            used, usual, worst = price(size, batch)
            questions += chance
            tokens += chance * used
            usd += chance * usual
            most += worst
        return Cost(questions, tokens, usd, most)

    def _price(self, number: int, size: tuple[int, int], batch: bool) -> tuple[float, float, float]:
        """Tokens and USD that a question will probably take, and at most."""
        tariff, known = self.tariffs[number], self.known[number]
        used = known.tokens(*tariff.tokens(size))
        usual = tariff.price.usd(*used, batch=batch) * known.calls
        return sum(used), usual, tariff.worst(size, batch)


def estimate(project: Project) -> Row:
    """Questions and USD a teacher and in all, expected and at most; nothing is asked, nothing is
    spent, nothing is written. ConfigError when a model's price is not known."""
    plan = Plan(project, Ledger(project.workspace.answers, repair=False))
    outlook = Outlook(plan)
    loads = outlook.loads()
    costs = [outlook.cost(number, load) for number, load in enumerate(loads)]
    budget = Budget(project.config.label.budget_usd, plan.ledger)
    return {
        "pictures": len(plan.pictures),
        "teachers": [
            _teacher(outlook, number, load, cost)
            for number, (load, cost) in enumerate(zip(loads, costs, strict=True))
        ],
        "usd": round(sum(cost.usd for cost in costs), 6),
        "at_most_usd": round(sum(cost.most for cost in costs), 6),
        "spent_usd": round(plan.ledger.spent, 6),
        "reserved_usd": round(budget.possible, 6),
        "budget_usd": budget.cap,
        "left_usd": None if budget.cap is None else round(budget.left, 6),
    }


def _teacher(outlook: Outlook, number: int, load: Load, cost: Cost) -> Row:
    teacher, known = outlook.teachers[number], outlook.known[number]
    limits = [
        (cost.questions, teacher.requests_per_minute),
        (cost.tokens, teacher.tokens_per_minute),
    ]
    minutes = [amount / limit for amount, limit in limits if limit and not teacher.batch]
    return {
        "model": teacher.model,
        "base_url": teacher.base_url,
        "questions": round(cost.questions),
        "at_most_questions": len(load.due) + len(load.later),
        "usd": round(cost.usd, 6),
        "at_most_usd": round(cost.most, 6),
        "usd_each": round(cost.usd / cost.questions, 9) if cost.questions else 0.0,
        "tokens_from": "the ledger" if known.told else "the provider's rule",
        "passed_on": round(known.share, 4) if number + 1 < len(outlook.teachers) else None,
        "passed_on_from": "the ledger" if known.finished >= ENOUGH else "a guess",
        "batch": teacher.batch,
        "minutes": round(max(minutes), 1) if minutes else None,
        "price": price_words(outlook.tariffs[number].price),
    }


def table(figures: Row) -> str:
    """The estimate for people."""
    spent = usd_words(figures["spent_usd"])
    lines = [f"{_many(figures['pictures'], 'picture')}, {spent} spent so far"]
    if figures["reserved_usd"]:
        reserved = usd_words(figures["reserved_usd"])
        lines.append(f"Calls and batches without an answer may cost up to {reserved}.")
    for row in figures["teachers"]:
        lines += ["", *_lines(row)]
    if any(row["at_most_questions"] for row in figures["teachers"]):
        worst = f"at most {usd_words(figures['at_most_usd'])}, when no call has to be made again"
        end = [f"In all about {usd_words(figures['usd'])}; {worst}.", _budget_words(figures)]
    else:
        end = ["Nothing is left to ask."]
    return "\n".join([*lines, "", *end])


def _lines(row: Row) -> Iterator[str]:
    """One teacher."""
    host = urlsplit(row["base_url"]).netloc
    count, most = row["questions"], row["at_most_questions"]
    many = _many(most, "question")
    many = many if count == most else f"about {count:,} of {many}"
    yield f"{row['model']} at {host}: {many}{' by the Batch API' if row['batch'] else ''}"
    yield f"  price: {row['price']}"
    if row["at_most_usd"]:
        yield (
            f"  about {usd_words(row['usd'])}, at most {usd_words(row['at_most_usd'])} "
            f"({usd_words(1000 * row['usd_each'])} a thousand by {row['tokens_from']})"
        )
    if row["passed_on"] is not None:
        guess = "" if row["passed_on_from"] == "the ledger" else ", as a guess"
        yield f"  {row['passed_on']:.0%} of the pictures go on to the next teacher{guess}"
    if row["batch"] and most:
        yield "  answered within a day"
    elif row["minutes"]:
        yield f"  at least {_duration(row['minutes'])} at the configured limit"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _duration(minutes: float) -> str:
    if minutes < 2:
        return f"{max(1, round(60 * minutes))} seconds"
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def _budget_words(figures: Row) -> str:
    """What the budget makes of it."""
    if figures["budget_usd"] is None:
        return "No budget is set: label.budget_usd is a hard cap."
    left, usd, most = (figures[name] for name in ("left_usd", "usd", "at_most_usd"))
    words = f"Budget, a hard cap: {figures['budget_usd']:g} USD, {usd_words(left)} left: "
    if most <= left:
        return words + "enough in any case."
    if usd <= left:
        return words + "probably enough."
    return words + f"asking will stop after about {left / usd:.0%} of the above."


def total(costs: Sequence[Cost]) -> Cost:
    """Several loads together."""
    names = ("questions", "tokens", "usd", "most")
    return Cost(*(sum(getattr(cost, name) for cost in costs) for name in names))
