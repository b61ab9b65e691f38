"""Annotations that are not what they should be are refused with their place; nothing is fetched."""

import io
import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate, cycle, islice, pairwise
from typing import Any

import ijson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketvlm.collect.annotations import DEEPEST, read_offers, shallow
from pocketvlm.collect.coco import from_coco
from pocketvlm.errors import PocketError

from .test_coco import CocoSet, small

__all__ = ["small"]

Change = Callable[[dict[str, Any]], object]


def refused(small: CocoSet, data: bytes, name: str = "instances_x.json") -> str:
    """The message."""
    small.server.files[f"/{name}"] = data
    with pytest.raises(PocketError) as caught:
        list(from_coco(small.project(f"{small.server.url}/{name}"), {"water": 1}, ()))
    assert small.asked() == [] and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda all: all["images"][0].pop("file_name"), "images.0.file_name: Field required"),
        (lambda all: all["images"][0].pop("id"), "images.0.id: Field required"),
        (lambda all: all["images"][0].update(width=0), "images.0.width"),
        (lambda all: all["images"][0].update(height="tall"), "images.0.height"),
        (lambda all: all["images"].insert(0, None), "images.0"),
        (lambda all: all["images"].clear(), "it lists no `images`"),
        (lambda all: all.pop("images"), "it lists no `images`"),
        (lambda all: all["images"][0].update(id=9), "annotations name image 1"),
        (lambda all: all["annotations"][0].pop("bbox"), "annotations.0.bbox: Field required"),
        (lambda all: all["annotations"][0].update(bbox=[1, 2, 3]), "annotations.0.bbox"),
        (lambda all: all["annotations"][0].update(bbox={"x": 1}), "annotations.0.bbox"),
        (lambda all: all["annotations"][0].update(category_id=[]), "annotations.0.category_id"),
        (lambda all: all["annotations"].insert(0, 5), "annotations.0"),
        (lambda all: all.pop("annotations"), "it lists no `annotations`"),
        (lambda all: all.update(categories=5), "`categories` is no list"),
        (lambda all: all.update(licenses={"id": 1}), "`licenses` is no list"),
        (lambda all: all["categories"][1].pop("name"), "categories.1.name: Field required"),
        (lambda all: all["licenses"].append({"name": 5}), "licenses.2.id: Field required"),
    ],
)
def test_missing_keys_and_wrong_types(small: CocoSet, change: Change, said: str) -> None:
    small.add("1.jpg", {"boat": 0.5})
    document = json.loads(json.dumps(small.document()))
    change(document)
    assert said in refused(small, json.dumps(document).encode())


@pytest.mark.parametrize("name", ["../1.jpg", "/etc/passwd", "a/b.jpg", "a\\b", "", ".", "a\0b"])
def test_file_names_with_paths(small: CocoSet, name: str) -> None:
    small.add("1.jpg", {"boat": 0.5}, file_name=name)
    assert "no name of a file" in refused(small, json.dumps(small.document()).encode())


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/1.jpg",
        "http://images.cocodataset.org.evil.org/1.jpg",
        "http://images.cocodataset.org@evil.org/1.jpg",
        "http://farm7.staticflickr.com/1.jpg",
        "file:///etc/passwd",
        "images.cocodataset.org/1.jpg",
        "http://[",
    ],
)
def test_pictures_on_other_hosts(small: CocoSet, url: str) -> None:
    small.add("1.jpg", {"boat": 0.5}, coco_url=url)
    assert "is not allowed" in refused(small, json.dumps(small.document()).encode())


@pytest.mark.parametrize("url", ["http://farm7.evil.org/1.jpg", "http://staticflickr.com/", None])
def test_pictures_on_other_hosts_than_flickr(small: CocoSet, url: str | None) -> None:
    small.add("1.jpg", {"boat": 0.5}, coco_url=None, flickr_url=url)
    assert "is not allowed" in refused(small, json.dumps(small.document()).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"<html>", b"\xff\xfe", b'{"categories": [1e999]}'])
def test_no_json(small: CocoSet, data: bytes) -> None:
    assert "cannot be read" in refused(small, data)


@pytest.mark.parametrize("opened", [b"[", b'{"a":', b' [ 1, "]]]\\"]" ,', b'{"[": "\\\\", "b" :['])
@pytest.mark.parametrize("closed", [True, False])
def test_json_of_great_depth_is_refused_at_once(
    small: CocoSet, opened: bytes, closed: bool
) -> None:
    """The parser alone would take minutes and gigabytes."""
    small.add("1.jpg", {"boat": 0.5})
    end = b"]" if opened[:1] in b" [" else b"}" if opened.endswith(b":") else b"]}"
    deep = opened * 200_000 + b"1" + end * 200_000 * closed
    data = b'{"more": ' + deep + b", " + json.dumps(small.document()).encode()[1:]
    assert "nested too deeply" in refused(small, data)


JSON = st.recursive(
    st.integers() | st.text('[]{}"\\,x', max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[]{}"\\:'), inner),
)


@given(value=JSON, sizes=st.lists(st.integers(1, 9), min_size=1))
def test_brackets_in_words_are_not_counted_wherever_a_block_ends(
    value: object, sizes: list[int]
) -> None:
    """Many unbalanced ones, in a document that is not deep."""
    data = json.dumps([value, ["[{[" * 40, '\\"[' * 40, "]}" * 40, "\\" * 41] * 3]).encode()
    ends = [*accumulate(islice(cycle(sizes), len(data)))]
    blocks = [data[first:last] for first, last in pairwise([0, *ends])]
    assert b"".join(shallow(iter(blocks))) == data


@given(depth=st.integers(1, 90), size=st.integers(1, 99))
def test_depth_is_counted_over_all_blocks(depth: int, size: int) -> None:
    data = b'[{"a[\\"": ' * depth + b"1" + b"}]" * depth
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    if 2 * depth <= DEEPEST:
        assert b"".join(shallow(iter(blocks))) == data
    elif depth > DEEPEST:
        with pytest.raises(ijson.JSONError):
            list(shallow(iter(blocks)))


@pytest.mark.parametrize("data", [b"[]", b"5", b"{}", b'{"categories": []}'])
def test_no_categories(small: CocoSet, data: bytes) -> None:
    assert "it lists no `categories`" in refused(small, data)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_cut_json(small: CocoSet, share: float) -> None:
    small.add("1.jpg", {"boat": 0.5})
    data = json.dumps(small.document()).encode()
    assert "cannot be read" in refused(small, data[: int(len(data) * share)])


def packed(small: CocoSet, name: str) -> bytes:
    """A zip with the annotations under a name."""
    small.add("1.jpg", {"boat": 0.5})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr(name, json.dumps(small.document()))
    return buffer.getvalue()


def test_a_zip_without_documents(small: CocoSet) -> None:
    said = refused(small, packed(small, "captions_val2017.json"), "a.zip")
    assert "no instances_*.json, only captions_val2017.json" in said


@pytest.mark.parametrize("place", [80, -90])
def test_a_damaged_zip(small: CocoSet, place: int) -> None:
    """In a document or in the list of documents."""
    data = bytearray(packed(small, "instances_val2017.json"))
    data[place : place + 10] = bytes(10)
    assert "cannot be read" in refused(small, bytes(data), "a.zip")


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), zipped=st.booleans())
def test_any_damage_is_a_pocket_error_or_none(
    small: CocoSet, data: st.DataObject, zipped: bool
) -> None:
    """Bytes changed anywhere: never another exception."""
    small.images.clear()
    small.annotations.clear()
    whole = packed(small, "instances_val2017.json")
    if not zipped:
        whole = json.dumps(small.document()).encode()
    damaged = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=5)):
        damaged[place] = data.draw(st.integers(0, 255))
    path = small.root / "damaged"
    path.write_bytes(damaged)
    hosts = frozenset({small.server.host})
    with suppress(PocketError):
        read_offers.__wrapped__(path, (0, 0), frozenset({"boat"}), hosts)
