"""Columns of any lines are alike in every split, and come back as they were."""

import json
from io import BytesIO
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from pyarrow import json as reader

from pocketvlm.exchange.columns import read_columns, unlike, write_columns
from pocketvlm.workspace import Row

words = some.text(max_size=4) | some.sampled_from(["", "2026-01-01", "null", '"a"', "1"])
plain = some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | words
values = plain | some.lists(plain, max_size=3) | some.dictionaries(words, plain, max_size=2)
keys = some.sampled_from(["a", "b", "c"])
mostly_words = some.dictionaries(keys, some.none() | words)
anything = some.dictionaries(keys, values)
lines = some.lists(some.builds(lambda row: {"label": "x", **row}, anything | mostly_words))
splits = some.fixed_dictionaries({"train": lines, "validation": lines, "test": lines})


def schema(rows: list[Row]) -> dict[str, Any]:
    """What Arrow makes of a split's file, as `datasets` reads it."""
    data = "\n".join(map(json.dumps, rows)).encode()
    found = reader.read_json(BytesIO(data)).schema
    return dict(zip(found.names, map(str, found.types), strict=True))


@settings(max_examples=150, deadline=None)
@given(splits)
def test_any_lines_come_back_from_files_that_are_alike(given: dict[str, list[Row]]) -> None:
    columns = unlike(given)
    made = {name: [write_columns(row, columns) for row in rows] for name, rows in given.items()}
    schemas = [schema(rows) for rows in made.values() if rows]
    assert all(one == schemas[0] for one in schemas)
    for name, rows in made.items():
        read = [read_columns(json.loads(json.dumps(row)), columns) for row in rows]
        assert read == given[name]


def test_lines_that_are_alike_are_left_alone() -> None:
    rows: list[Row] = [{"label": "a", "sure": 0.5, "seen": ["x"], "why": None}]
    assert unlike({"train": rows, "test": rows}) == {}


def test_types_are_those_of_the_part_that_datasets_looks_at() -> None:
    """A word that comes after the first 10 MB is too late to be a type."""
    long = {"reason": "x" * 1000}
    late: list[Row] = [long | {"author": None} for _ in range(11_000)] + [long | {"author": "Ada"}]
    assert unlike({"train": late}) == {"author": "null"}
    assert unlike({"train": late[-9000:]}) == {}
