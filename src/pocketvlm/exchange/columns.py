"""Columns that every split has, with one type: what readers of JSON Lines infer from each file.

`datasets` opens no folder whose splits differ, and they differ as soon as a value is missing in all
rows of one split (null against string) or a list is empty in all of them. Such columns are written
another way, which is recorded, so that reading gives the lines back as they were."""

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final

from pocketvlm.progress import track
from pocketvlm.workspace import Row

CHUNK = 10 << 20
"""Bytes of a file from which `datasets` takes the types (5.2.0, folder_based_builder.py)."""

NULL, ABSENT, TEXT = "null", "absent", "json"
"""Ways to write a column whose types would differ: words with "" for null, words with "" for a key
that is not there, or every value as JSON text with "" for a key that is not there."""

Columns = dict[str, str]
"""The columns that are written another way, and which."""

GONE: Final = object()
"""The value of a key that is not there."""


def unlike(splits: Mapping[str, list[Row]]) -> Columns:
    """The columns of some splits' lines that must be written another way."""
    parts = [part for rows in splits.values() if rows for part in _parts(rows)]
    names = dict.fromkeys(name for part in parts for row in part for name in row)
    ways = {
        name: _way([[row.get(name, GONE) for row in rows] for rows in parts])
        for name in track(names, "Comparing columns", len(names))
    }
    return {name: way for name, way in ways.items() if way}


def _parts(rows: list[Row]) -> list[list[Row]]:
    """All lines of a split and, where that is less, those that types are taken from."""
    size, first = 0, 0
    while first < len(rows) and size < CHUNK:
        size += len(json.dumps(rows[first])) + 1
        first += 1
    return [rows] if first == len(rows) else [rows, rows[:first]]


def _way(parts: list[list[Any]]) -> str | None:
    """None where a column is alike as it is."""
    if _alike(parts):
        return None
    values = [value for part in parts for value in part]
    for way, gap in ((NULL, None), (ABSENT, GONE)):
        words = all(value is gap or (isinstance(value, str) and value) for value in values)
        if words and _alike([[encoded(value, way) for value in part] for part in parts]):
            return way
    return TEXT


def _alike(parts: list[list[Any]]) -> bool:
    kinds = {_type(part) for part in parts}
    return len(kinds) == 1 and None not in kinds


def _type(values: list[Any]) -> str | None:
    """What Arrow infers for a column; None where it cannot, or where the column holds objects,
    whose keys would have to be alike too."""
    import pyarrow
    from pyarrow import json as reader

    rows = [{} if value is GONE else {"value": value} for value in values]
    if not any(rows):
        return None
    data = "\n".join(map(json.dumps, rows)).encode()
    whole = reader.ReadOptions(block_size=len(data) + 1)
    try:
        kind = str(reader.read_json(BytesIO(data), read_options=whole).schema.types[0])
    except pyarrow.ArrowException:
        return None
    return None if "struct" in kind else kind


def encoded(value: Any, way: str | None) -> Any:
    """A value, or GONE, as its column is written."""
    if way == TEXT:
        return "" if value is GONE else json.dumps(value)
    return "" if (way == NULL and value is None) or (way == ABSENT and value is GONE) else value


def decoded(value: Any, way: str | None) -> Any:
    """The opposite; ValueError where it is not what `encoded` writes."""
    if way is None or (way != TEXT and value != ""):
        return value
    if value == "":
        return None if way == NULL else GONE
    return json.loads(value)


def write_columns(row: Row, columns: Columns) -> Row:
    """A line with its columns as they are written."""
    return row | {name: encoded(row.get(name, GONE), way) for name, way in columns.items()}


def is_columns(columns: object) -> bool:
    """Whether an export's record of its columns is sound."""
    ways = (TEXT, NULL, ABSENT)
    return isinstance(columns, dict) and all(way in ways for way in columns.values())


def read_columns(row: Row, columns: Columns) -> Row:
    """The line that was written; ValueError where it is none."""
    known = {name: decoded(row.get(name, GONE), way) for name, way in columns.items()}
    return {name: value for name, value in (row | known).items() if value is not GONE}
