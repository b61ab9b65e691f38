"""A run that is killed or stopped is gone on with: no search and no report is made again."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pocketvlm.collect.unsplash_api import Api

from .unsplash_server import KEY, Server
from .unsplashing import environment as environment
from .unsplashing import make, names, offered
from .unsplashing import server as server

# A shell starts background jobs with SIGINT ignored, and what they start inherits that.
COMMAND = """
import json, signal, sys
from pathlib import Path
from pocketvlm.collect.unsplash import from_unsplash
from pocketvlm.config import parse_config
from pocketvlm.project import Project
signal.signal(signal.SIGINT, signal.default_int_handler)
root, settings = Path.cwd(), json.loads(sys.argv[1])
project = Project.of(parse_config({"collect": {"unsplash": settings}}), root)
kept = root / "kept"
kept.mkdir(exist_ok=True)
seen = {f"unsplash:{path.stem}" for path in kept.iterdir()}
for one in from_unsplash(project, {"water": int(sys.argv[2]) - len(seen)}, seen):
    one.path.rename(kept / one.origin.removeprefix("unsplash:"))
"""

COUNT = 32
"""Photographs: two pages of a search."""


def start(root: Path, server: Server) -> subprocess.Popen[str]:
    """A process that moves each photograph to kept/ as soon as it is offered."""
    settings = {"base_url": server.url, "queries": {"water": ["ocean"]}, "width": 64}
    command = [sys.executable, "-c", COMMAND, json.dumps(settings), str(COUNT)]
    return subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True)


def test_a_second_run_asks_nothing_that_the_first_asked(tmp_path: Path, server: Server) -> None:
    server.add("ocean", "o1", "o2", "o3")
    project = make(tmp_path, server)
    first = offered(project, water=2)
    first[0].path.unlink()  # moved away, and not in the index yet
    assert names(offered(project, water=3)) == ["o1", "o2", "o3"]
    assert server.count("search") == 1
    assert server.reports == {"o1": 1, "o2": 1, "o3": 1}
    assert [name for kind, name in server.asked if kind == "picture"] == ["o1", "o2", "o1", "o3"]


def test_kills_at_any_moment_repeat_only_what_was_under_way(tmp_path: Path, server: Server) -> None:
    server.add("ocean", *(f"o{number}" for number in range(COUNT)))
    lost = Counter[str]()
    for allowed in (1, 2, 10):  # in a search, a report, a picture
        left = iter(range(allowed - 1, -1, -1))
        process = start(tmp_path, server)

        def kill(process: subprocess.Popen[str] = process, left: Iterator[int] = left) -> None:
            if next(left, 0) == 0:
                process.kill()

        server.before_answer = kill
        _, said = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, said
        lost[server.asked[-1][0]] += 1
    assert lost == {"search": 1, "report": 1, "picture": 1}
    server.before_answer = lambda: None
    process = start(tmp_path, server)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == sorted(server.reports)
    assert len(server.reports) == COUNT
    assert server.reports.total() == COUNT + lost["report"]
    assert max(server.reports.values()) == 2
    assert server.count("search") == 2 + lost["search"]
    assert server.count("picture") <= COUNT + lost.total()


def test_ctrl_c_while_it_waits_leaves_at_once(tmp_path: Path) -> None:
    with Server(limit=4) as server:
        server.add("ocean", *(f"o{number}" for number in range(COUNT)))
        process = start(tmp_path, server)
        assert process.stderr is not None
        told = next(line for line in process.stderr if "within" in line)
        assert told.startswith(f"  Unsplash: 3 of {COUNT}; next within 60 min; about 8 h left at 4")
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert time.monotonic() - sent < 2.0
        assert said.rstrip().endswith("KeyboardInterrupt")
        assert len(list((tmp_path / "kept").iterdir())) == 3
        assert len(server.asked) == 4 + 3


def test_the_pace_is_known_across_runs(tmp_path: Path) -> None:
    journal = tmp_path / "state" / "unsplash.jsonl"
    with Server(limit=5, window=0.5) as server:
        server.add("ocean", *(f"o{number}" for number in range(9)))
        offered(make(tmp_path, server), window=0.5, water=9)
        asked = len(server.asked)
        rows = [json.loads(line) for line in journal.read_text().splitlines()]
        with Api(server.url, KEY, journal, 0.5, 9) as api:
            pace = api.pace
        assert len(server.asked) == asked
    assert (pace.limit, pace.remaining) == (5, 0)
    assert pace.opened in [row["at"] for row in rows if row["kind"] != "closed"]
    assert pace.wait(rows[-1]["at"]) > 0.4
