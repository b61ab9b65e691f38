"""Nobody pays twice without having been asked: questions that have an answer to another wording."""

import sys

from pocketvlm.errors import ConfigError
from pocketvlm.label.estimate import Outlook, total
from pocketvlm.label.money import usd_words
from pocketvlm.label.plan import Plan, Question
from pocketvlm.progress import ask, say


def check_agreed(plan: Plan, agreed: bool) -> None:
    """Before money is spent on pictures that have answers to another wording: ask a person;
    ConfigError where nobody can be asked. A question that was begun has been agreed to."""
    before = set() if agreed else plan.answered_otherwise()
    if not before:
        return
    begun = {intent["key"] for intent in plan.ledger.open.values()} | plan.ledger.places.keys()

    def again(question: Question) -> bool:
        return question.picture["sha256"] in before and question.key not in begun

    outlook = Outlook(plan)
    loads = outlook.loads(again)
    cost = total([outlook.cost(number, load) for number, load in enumerate(loads)])
    if not cost.most:
        return
    pictures = {question.picture["sha256"] for load in loads for question in load.due}
    what = (
        f"{len(pictures):,} pictures were answered before under other definitions, another prompt, "
        f"model or sampling. Asking again takes about {cost.questions:,.0f} questions and "
        f"{usd_words(cost.usd)}, at most {usd_words(cost.most)}"
    )
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError(f"{what}: give --yes to agree, or take the change back; both are kept")
    say(f"{what}. The old answers are kept.")
    if not ask("Ask again?"):
        raise ConfigError("nothing was asked; take the change back to use the answers there are")
