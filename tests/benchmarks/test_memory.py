"""Thousands of questions take no more memory than hundreds, and leave nothing open."""

import asyncio
import os
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from pocketvlm.config import parse_config
from pocketvlm.label.ask import Asker
from pocketvlm.label.client import Client
from pocketvlm.label.ledger import Ledger
from pocketvlm.label.money import Budget, Tariff
from pocketvlm.label.plan import Plan, Question
from pocketvlm.project import Project
from pocketvlm.workspace import Row, write_rows
from simulated import Settings, serve

WARM, MANY, PICTURES = 300, 3000, 50
MOST_GROWTH = 12_000_000
"""Bytes: 3,000 pictures of 30 kB kept by mistake would be 90 MB."""


def make(root: Path, url: str) -> Project:
    """A workspace of a few pictures, each listed many times: what differs is their names."""
    teacher = {"base_url": url, "model": "one", "concurrency": 32, "retries": 5}
    project = Project.of(parse_config({"teachers": [teacher]}), root)
    originals = project.workspace.originals
    originals.mkdir()
    noise = np.random.default_rng(0)
    for number in range(PICTURES):
        pixels = noise.integers(0, 256, (160, 160, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(originals / f"{number}.png")
    rows: list[Row] = [
        {"sha256": f"{number:064x}", "file": f"{number % PICTURES}.png", "origin": f"{number}"}
        for number in range(WARM + MANY)
    ]
    write_rows(project.workspace.index, [row | {"width": 160, "height": 160} for row in rows])
    return project


@pytest.mark.slow
def test_memory_stays_flat_and_nothing_stays_open(tmp_path: Path) -> None:
    trouble = Settings(malformed=0.02, refused=0.02, errors=0.01, cut=0.01)
    me = psutil.Process(os.getpid())
    with serve(trouble) as (url, stats):
        project = make(tmp_path, url)
        (teacher,) = project.config.teachers
        ledger = Ledger(project.workspace.answers)
        plan = Plan(project, ledger)
        tariff, budget = Tariff.of(project.config, teacher), Budget(None, ledger)
        questions = plan.due(0)

        async def ask(client: Client, some: list[Question]) -> int:
            await Asker(project, client, tariff, ledger, budget, plan.prompt).run(some)
            assert len(asyncio.all_tasks()) == 1
            return int(me.memory_info().rss)

        async def both() -> tuple[int, int, int]:
            client = Client(project.config, teacher, tmp_path)
            before = await ask(client, questions[:WARM])
            after = await ask(client, questions[WARM:])
            kept = len(connections(me, url))
            await client.close()
            await asyncio.sleep(0)
            return before, after, kept

        before, after, kept = asyncio.run(both())
        told = stats()["total"]
        assert not connections(me, url)
    assert after - before < MOST_GROWTH
    assert kept <= 32 + 8
    assert len(ledger.places) == WARM + MANY
    assert not ledger.open
    assert told["sent"] + told["errors"] + told["lost"] == told["asked"]
    rows = project.workspace.answers.read_bytes().count(b'"kind": "answer"')
    assert rows == told["asked"]


def connections(process: psutil.Process, url: str) -> list[object]:
    """Open ones to a server."""
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    return [
        one
        for one in process.net_connections("tcp")
        if one.raddr and one.raddr.port == port and one.status == psutil.CONN_ESTABLISHED
    ]
