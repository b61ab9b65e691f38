"""Labelling: every picture without an answer is asked about, the cheapest teacher first."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.label.agreed import check_agreed
from pocketvlm.label.ask import Asker
from pocketvlm.label.batch import Batches
from pocketvlm.label.batchfile import sweep
from pocketvlm.label.batchrows import intents_of, is_to, open_batches
from pocketvlm.label.client import Client
from pocketvlm.label.decisions import decide_all
from pocketvlm.label.ledger import Ledger
from pocketvlm.label.money import Budget, Tariff
from pocketvlm.label.outcome import finish, write_report
from pocketvlm.label.plan import Plan, Question
from pocketvlm.label.streak import ENDURANCE
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.workspace import Row


def label(project: Project) -> Row:
    """Ask the teachers about every collected picture that has no answer under the present prompt,
    models and sampling; the figures count all of them."""
    ledger = Ledger(project.workspace.answers)
    plan = Plan(project, ledger)
    check_agreed(plan, project.agreed)
    try:
        asked = asyncio.run(ask_all(project, plan))
    except ConfigError:
        raise  # before anything was asked
    except PocketError:
        write_report(project, plan, decide_all(plan))  # what is answered can be looked at
        raise
    return finish(project, plan, asked)


async def ask_all(project: Project, plan: Plan) -> int:
    """Teacher after teacher; how many questions were asked."""
    budget, asked = Budget(project.config.label.budget_usd, plan.ledger), 0
    teachers = project.config.teachers
    sweep(project.workspace)
    check_orphans(project, plan)
    tariffs = [Tariff.of(project.config, teacher) for teacher in teachers]
    clients = [Client(project.config, teacher, project.workspace.root) for teacher in teachers]
    for number, (client, tariff) in enumerate(zip(clients, tariffs, strict=True)):
        try:
            asked += await _ask_one(project, plan, number, client, tariff, budget)
        finally:
            await client.close()
    return asked


def check_orphans(project: Project, plan: Plan) -> None:
    """Batches of teachers that the configuration no longer has: nobody fetches them. ConfigError
    where their questions would be asked again and nobody has agreed to pay twice."""
    teachers = project.config.teachers
    for row in open_batches(plan.ledger):
        if any(is_to(row, teacher) for teacher in teachers):
            continue
        waiting = {intent["key"] for intent in intents_of(row, plan.ledger)}
        hashes = [picture["sha256"] for picture in plan.pictures]
        planned = {k for at in range(len(teachers)) for sha in hashes for k in plan.keys(at, sha)}
        what = (
            f"a batch of {row['model']} at {row['base_url']} is not fetched yet: put that teacher "
            "back to get its answers"
        )
        if waiting & planned and not project.agreed:
            raise ConfigError(f"{what}, or give --yes to pay for the same questions elsewhere")
        say(what)


async def _ask_one(
    project: Project, plan: Plan, number: int, client: Client, tariff: Tariff, budget: Budget
) -> int:
    """One teacher: in batches where that is wanted, the rest online."""
    due = plan.due(number)
    batches = Batches(project, client, tariff, plan.ledger, budget, plan.prompt)
    asker = partial(Asker, project, client, tariff, plan.ledger, budget, plan.prompt)
    if due or batches.open():
        say(f"{client.teacher.model} at {client.teacher.base_url}: {len(due)} questions")
    await batches.adopt()
    done: set[str] = set()
    if client.teacher.batch:
        done = await _in_batches(batches, asker, due)
    elif batches.open():
        await batches.run([])
    if batches.useless():
        say("too few answers of the batches can be used: the others are left to the next run")
        done |= batches.again
    declined = [q for q in due if q.key in batches.again and plan.ledger.answered(q.key)]
    questions = [q for q in plan.due(number) + declined if q.key not in done]
    if questions:
        await asker(asked=batches.again).run(questions)
    return len(due)


async def _in_batches(
    batches: Batches, asker: Callable[[], Asker], due: Sequence[Question]
) -> set[str]:
    """Ask through the Batch API. The first question goes online: it shows that key and model are
    right and what parameters the model takes, before thousands meet the same error in a day. Where
    it has no answer that can be used, so many follow that an asker would give up. The keys of the
    questions that went online."""
    waiting, done = batches.waiting(), set[str]()
    fresh = [question for question in due if question.key not in waiting]
    for count in (1, ENDURANCE):
        first, fresh = fresh[:count], fresh[count:]
        if not batches.budget.allows(batches.worst(first)):
            await batches.run([])  # what comes back frees what it had reserved
        if not first or not batches.budget.allows(batches.worst(first)):
            break
        await asker().run(first)
        done |= {question.key for question in first}
        if any(batches.ledger.answered(question.key) for question in first):
            break
    await batches.run([question for question in due if question.key not in done])
    return done
