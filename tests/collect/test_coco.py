"""COCO's annotations decide which pictures are candidates for a label; only those are fetched."""

import io
import json
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pocketvlm.collect import coco, collect
from pocketvlm.collect.annotations import License, Offer, licence_of, read_offers
from pocketvlm.collect.candidate import Candidate, Skipped
from pocketvlm.collect.coco import Choice, from_coco
from pocketvlm.config import parse_config
from pocketvlm.errors import ConfigError
from pocketvlm.project import Project

from .server import Files, quick

CATEGORIES = {1: "boat", 2: "surfboard", 3: "bench", 4: "person"}
LABELS = {"water": ["boat", "surfboard"], "wood": ["bench"]}
SIZE = (48, 40)
BY = {"id": 1, "name": "Attribution License", "url": "http://creativecommons.org/licenses/by/2.0/"}
FREE = {"id": 7, "name": "No known copyright restrictions", "url": "http://flickr.com/commons/u/"}


def jpeg(seed: int) -> bytes:
    """A picture of its own."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


class CocoSet:
    """A small COCO data set on a server, and a project that collects of it."""

    def __init__(self, server: Files, root: Path) -> None:
        self.server, self.root = server, root
        self.images: list[Any] = []
        self.annotations: list[Any] = []

    def add(self, name: str, shares: Mapping[str, float], **changed: object) -> None:
        """A picture with a box of each category, and how much of it that takes."""
        number = len(self.images) + 1
        self.server.files[f"/val2017/{name}"] = jpeg(number)
        address = {"coco_url": f"{self.server.url}/val2017/{name}", "flickr_url": "http://f.org/p"}
        size = {"width": SIZE[0], "height": SIZE[1], "license": 1}
        self.images.append({"id": number, "file_name": name} | address | size | changed)
        ids = {name: number for number, name in CATEGORIES.items()}
        for category, share in shares.items():
            box = [0, 0, SIZE[0] * share, SIZE[1]]
            row = {"image_id": number, "category_id": ids[category], "bbox": box, "iscrowd": 0}
            self.annotations.append(row | {"id": len(self.annotations), "segmentation": [[1.5]]})

    def document(self) -> dict[str, Any]:
        """In the order of the official files."""
        categories = [{"id": number, "name": name} for number, name in CATEGORIES.items()]
        return {
            "info": {"year": 2017},
            "licenses": [BY, FREE],
            "images": self.images,
            "annotations": self.annotations,
            "categories": categories,
        }

    def serve(self, document: object = None) -> str:
        """The address of its annotations."""
        path = "/annotations/instances_val2017.json"
        self.server.files[path] = json.dumps(document or self.document()).encode()
        return self.server.url + path

    def project(self, annotations: str, labels: Mapping[str, list[str]] = LABELS) -> Project:
        """Where it is collected."""
        section = {"annotations": annotations, "categories": labels}
        return Project.of(parse_config({"collect": {"coco": section}}), self.root)

    def found(self, wanted: Mapping[str, int], *seen: str) -> list[Candidate | Skipped]:
        """What comes of its present annotations."""
        return list(from_coco(self.project(self.serve()), wanted, seen))

    def names(self, wanted: Mapping[str, int], *seen: str) -> list[str]:
        """The file names of what comes."""
        return [one.origin.removeprefix("coco:val2017/") for one in self.found(wanted, *seen)]

    def asked(self) -> list[str]:
        """The pictures that were asked for."""
        paths = [asked.target for asked in self.server.asked]
        return sorted(path.removeprefix("/val2017/") for path in paths if "/val2017/" in path)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CocoSet]:
    """An empty set."""
    quick(monkeypatch, 1)
    with Files() as server:
        yield CocoSet(server, tmp_path)


def test_a_candidate_says_where_it_comes_from(small: CocoSet) -> None:
    small.add("1.jpg", {"boat": 0.5})
    (one,) = small.found({"water": 1})
    assert isinstance(one, Candidate)
    assert one.path.read_bytes() == jpeg(1)
    assert one.path.is_relative_to(small.root / "state" / "downloads")
    assert (one.origin, one.source, one.sought) == ("coco:val2017/1.jpg", "coco", "water")
    assert (one.licence, one.author, one.url) == ("CC-BY-2.0", None, "http://f.org/p")
    assert one.fetched


def test_a_picture_without_a_page_is_credited_by_its_address(small: CocoSet) -> None:
    small.add("1.jpg", {"boat": 0.5}, flickr_url=None, license=7)
    small.add("2.jpg", {"boat": 0.4}, flickr_url="javascript:alert(1)", license=99)
    first, second = small.found({"water": 2})
    assert isinstance(first, Candidate) and isinstance(second, Candidate)
    assert first.url == f"{small.server.url}/val2017/1.jpg"
    assert second.url == f"{small.server.url}/val2017/2.jpg"
    named = "No known copyright restrictions (http://flickr.com/commons/u/)"
    assert (first.licence, second.licence) == (named, "unknown")


def test_only_what_is_chosen_is_fetched(small: CocoSet) -> None:
    for number in range(30):
        small.add(f"{number}.jpg", {"boat": number / 30, "person": 0.1})
    assert small.names({"water": 3}) == ["29.jpg", "28.jpg", "27.jpg"]
    assert small.asked() == ["27.jpg", "28.jpg", "29.jpg"]


def test_what_belongs_to_one_label_alone_is_preferred(small: CocoSet) -> None:
    small.add("both.jpg", {"boat": 0.9, "bench": 0.1})
    small.add("with a person.jpg", {"boat": 0.3, "person": 0.7})
    small.add("alone.jpg", {"boat": 0.2})
    assert small.names({"water": 3}) == ["with a person.jpg", "alone.jpg", "both.jpg"]


def test_the_boxes_of_a_category_count_together(small: CocoSet) -> None:
    small.add("one.jpg", {"boat": 0.5})
    small.add("two.jpg", {"boat": 0.3})
    small.annotations.append(small.annotations[-1])
    small.add("negative.jpg", {"boat": -9})
    assert small.names({"water": 3}) == ["two.jpg", "one.jpg", "negative.jpg"]


def test_labels_and_their_categories_come_in_turn(small: CocoSet) -> None:
    for number in range(4):
        small.add(f"boat{number}.jpg", {"boat": 0.9 - number / 10})
        small.add(f"bench{number}.jpg", {"bench": 0.9 - number / 10})
    small.add("surf.jpg", {"surfboard": 0.1})
    expected = ["boat0", "bench0", "surf", "bench1", "boat1", "boat2"]
    assert small.names({"water": 4, "wood": 2}) == [f"{name}.jpg" for name in expected]


def test_what_was_seen_does_not_come_again(small: CocoSet) -> None:
    for number in range(6):
        small.add(f"{number}.jpg", {"boat": 0.9 - number / 10})
    assert small.names({"water": 2}) == ["0.jpg", "1.jpg"]
    seen = ["coco:val2017/0.jpg", "coco:val2017/1.jpg", "coco:val2017/3.jpg"]
    assert small.names({"water": 2}, *seen) == ["2.jpg", "4.jpg"]


def test_too_few_pictures_are_said(small: CocoSet, capsys: pytest.CaptureFixture[str]) -> None:
    small.add("1.jpg", {"boat": 0.5})
    figures = collect(small.project(small.serve()))
    assert figures["pictures"] == 1
    assert "coco has no more: 249 for water, 250 for wood not found" in capsys.readouterr().err


def test_a_label_without_categories_gets_none(small: CocoSet) -> None:
    small.add("1.jpg", {"boat": 0.5})
    assert small.names({"fire": 3, "water": 1}) == ["1.jpg"]


def test_an_unknown_category_is_named_with_close_ones(small: CocoSet) -> None:
    small.add("1.jpg", {"boat": 0.5})
    project = small.project(small.serve(), {"water": ["boats", "boat"]})
    with pytest.raises(ConfigError, match=r"no 'boats'; did you mean boat\? .*val2017.json"):
        list(from_coco(project, {"water": 1}, ()))


def test_the_annotations_are_fetched_once(small: CocoSet) -> None:
    small.add("1.jpg", {"boat": 0.5})
    project = small.project(small.serve())
    for _ in range(2):
        assert len(list(from_coco(project, {"water": 1}, ()))) == 1
    assert len(small.server.asked) == 2  # the annotations and one picture


def test_a_zip_of_several_documents(small: CocoSet) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as pack:
        for split in ("train2017", "val2017"):
            small.images, small.annotations = [], []
            small.add(f"{split}.jpg", {"boat": 0.5})
            pack.writestr(f"annotations/instances_{split}.json", json.dumps(small.document()))
        pack.writestr("annotations/captions_train2017.json", "no JSON")
    small.server.files["/all.zip"] = buffer.getvalue()
    found = from_coco(small.project(f"{small.server.url}/all.zip"), {"water": 9}, ())
    origins = [one.origin for one in found]
    assert origins == ["coco:train2017/train2017.jpg", "coco:val2017/val2017.jpg"]


def test_a_local_file_leads_to_the_official_host_alone(small: CocoSet) -> None:
    small.add("1.jpg", {"boat": 0.5}, coco_url="http://images.cocodataset.org/val2017/1.jpg")
    (small.root / "instances_val2017.json").write_text(json.dumps(small.document()))
    offers = read_offers(
        small.root / "instances_val2017.json", (0, 0), frozenset({"boat"}), frozenset({coco.HOST})
    )
    assert [(one.origin, one.shares) for one in offers] == [("coco:val2017/1.jpg", {"boat": 0.5})]


def test_outlines_are_never_held(small: CocoSet) -> None:
    """30 MB of annotations in a few MB of memory."""
    for number in range(1000):
        small.add(f"{number}.jpg", {"boat": 0.5})
    outline = "7" * 30_000
    for row in small.annotations:
        row["segmentation"] = {"counts": outline, "size": [40, 48]}
    path = small.root / "instances_large.json"
    path.write_text(json.dumps(small.document()))
    assert path.stat().st_size > 30e6
    tracemalloc.start()
    hosts = frozenset({coco.HOST, small.server.host})
    offers = read_offers(path, (2, 2), frozenset({"boat"}), hosts)
    assert len(offers) == 1000 and tracemalloc.get_traced_memory()[1] < 6e6
    tracemalloc.stop()


@pytest.mark.parametrize("annotations", ["none.json", "../none.zip", "file:///etc/passwd"])
def test_a_file_that_does_not_exist(small: CocoSet, annotations: str) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        list(from_coco(small.project(annotations), {"water": 1}, ()))


def test_pictures_on_flickr_alone(small: CocoSet) -> None:
    url = "http://farm7.staticflickr.com/6116/1_z.jpg"
    small.add("1.jpg", {"boat": 0.5}, coco_url=None, flickr_url=url)
    (small.root / "a.json").write_text(json.dumps(small.document()))
    hosts = frozenset({coco.HOST})
    (one,) = read_offers(small.root / "a.json", (1, 1), frozenset({"boat"}), hosts)
    assert (one.url, one.credit) == (url, url)


@pytest.mark.parametrize(
    ("url", "name", "licence"),
    [
        ("http://creativecommons.org/licenses/by-nc-sa/2.0/", "x", "CC-BY-NC-SA-2.0"),
        ("http://creativecommons.org/licenses/by-nc-nd/2.0/", "x", "CC-BY-NC-ND-2.0"),
        ("https://creativecommons.org/licenses/by/4.0", "x", "CC-BY-4.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "x", "CC0-1.0"),
        (
            "http://creativecommons.org/licenses/by/2.0/fr/",
            "Attribution",
            "Attribution (http://creativecommons.org/licenses/by/2.0/fr/)",
        ),
        (
            "http://www.usa.gov/copyright.shtml",
            "US\n Work",
            "US Work (http://www.usa.gov/copyright.shtml)",
        ),
        ("", "Mine", "Mine"),
        ("", "", "unknown"),
    ],
)
def test_licences_are_spdx_ids_where_there_is_one(url: str, name: str, licence: str) -> None:
    assert licence_of(License(id=1, name=name, url=url)) == licence


def iter_of(choice: Choice) -> Iterator[tuple[str, Offer]]:
    """All that it chooses."""
    while chosen := choice.next():
        yield chosen


NAMES = list(CATEGORIES.values())
SHARES = st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1), min_size=1)


@given(
    shown=st.lists(SHARES, max_size=30),
    labels=st.dictionaries(
        st.sampled_from(["water", "wood", "fire"]),
        st.lists(st.sampled_from(NAMES), min_size=1),
        min_size=1,
    ),
    wanted=st.dictionaries(st.sampled_from(["water", "wood", "fire", "air"]), st.integers(0, 9)),
)
def test_any_choice(
    shown: list[dict[str, float]], labels: dict[str, list[str]], wanted: dict[str, int]
) -> None:
    """Each picture once, for a label to which one of its categories belongs, no more than wanted;
    fewer only where every such picture was taken."""
    offers = [
        Offer(f"{number}", "", "", "", "", SIZE, shares) for number, shares in enumerate(shown)
    ]
    choice = Choice(offers, labels, wanted)
    taken = list(iter_of(choice))
    counts = Counter(label for label, _ in taken)
    origins = {one.origin for _, one in taken}
    assert len(origins) == len(taken)
    for label, one in taken:
        assert set(labels[label]) & set(one.shares)
    for label in wanted.keys() & labels.keys():
        assert counts[label] + choice.missing[label] == wanted[label]
        if choice.missing[label]:
            fit = {one.origin for one in offers if set(labels[label]) & set(one.shares)}
            assert fit <= origins
    assert set(counts) <= wanted.keys()
