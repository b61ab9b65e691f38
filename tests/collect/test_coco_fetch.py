"""Pictures of COCO that are not to be had are replaced, or left for another run."""

import pytest

from pocketvlm.collect import coco
from pocketvlm.collect.candidate import Candidate, Skipped
from pocketvlm.collect.coco import from_coco
from pocketvlm.errors import ConfigError, PocketError

from .server import Files, Reply
from .test_coco import CocoSet, small
from .test_skipped import png_of

__all__ = ["small"]

BUSY = [Reply(503)] * 2


def filled(small: CocoSet, count: int) -> CocoSet:
    """Pictures 0.jpg, 1.jpg ... of boats, the best first."""
    for number in range(count):
        small.add(f"{number}.jpg", {"boat": 0.9 - number / 100})
    return small


def skipped(small: CocoSet, wanted: int) -> dict[str, str]:
    """The reasons by name; so many pictures came all the same."""
    found = small.found({"water": wanted})
    assert sum(isinstance(one, Candidate) for one in found) == wanted
    assert len({one.origin for one in found}) == len(found)
    return {one.origin: one.reason for one in found if isinstance(one, Skipped)}


def kept(small: CocoSet) -> set[str]:
    """The files among the downloads, annotations left out."""
    return {path.name for path in (small.root / "state" / "downloads").glob("*.*")}


def test_another_picture_takes_the_place_of_one_that_is_gone(small: CocoSet) -> None:
    filled(small, 5)
    del small.server.files["/val2017/0.jpg"]
    assert skipped(small, 3) == {"coco:val2017/0.jpg": "status 404"}
    assert small.asked() == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]


def test_a_picture_of_another_size_is_skipped(small: CocoSet) -> None:
    filled(small, 3).images[0]["width"] = 32
    assert skipped(small, 2) == {"coco:val2017/0.jpg": "48x40 pixels, but annotated as 32x40"}
    assert kept(small) == {"coco-val2017-1.jpg", "coco-val2017-2.jpg"}


def test_what_is_no_picture_is_skipped(small: CocoSet) -> None:
    filled(small, 3).server.files["/val2017/0.jpg"] = b"<html>"
    assert skipped(small, 2) == {"coco:val2017/0.jpg": "not a picture that can be read"}
    assert "coco-val2017-0.jpg" not in kept(small)


def test_a_picture_that_leads_elsewhere_is_skipped(small: CocoSet) -> None:
    with Files() as other:
        small.server.plant("/val2017/0.jpg", Reply(302, b"", {"Location": other.url}))
        (reason,) = skipped(filled(small, 2), 1).values()
        assert "not allowed" in reason and other.asked == []


def test_a_busy_moment_is_left_for_another_run(
    small: CocoSet, capsys: pytest.CaptureFixture[str]
) -> None:
    small.server.plant("/val2017/1.jpg", *BUSY)
    assert filled(small, 5).names({"water": 3}) == ["0.jpg", "2.jpg"]
    assert "left for another run: 1" in capsys.readouterr().err
    assert small.names({"water": 1}, "coco:val2017/0.jpg", "coco:val2017/2.jpg") == ["1.jpg"]


def test_a_host_that_gives_nothing_at_all_is_an_error(small: CocoSet) -> None:
    filled(small, 40)
    for number in range(40):
        small.server.plant(f"/val2017/{number}.jpg", *BUSY)
    with pytest.raises(PocketError, match=r"status 503.*run the same command") as caught:
        small.found({"water": 40})
    assert caught.value.exit_code == 1
    assert len(set(small.asked())) <= coco.HOPELESS + coco.AHEAD


def test_a_host_that_stops_giving_is_left(small: CocoSet) -> None:
    filled(small, 40)
    for number in range(2, 40):
        small.server.plant(f"/val2017/{number}.jpg", *BUSY)
    assert small.names({"water": 40}) == ["0.jpg", "1.jpg"]
    assert len(set(small.asked())) < 40


def test_a_run_that_is_broken_off_keeps_what_came(small: CocoSet) -> None:
    offered = from_coco(filled(small, 40).project(small.serve()), {"water": 40}, ())
    first = next(iter(offered))
    offered.close()  # type: ignore[attr-defined]
    assert isinstance(first, Candidate) and first.path.is_file()
    came = {name for name in kept(small) if not name.startswith(".")}
    small.server.asked.clear()
    small.found({"water": 40})
    assert came and not {f"coco-val2017-{name}" for name in small.asked()} & came


def test_the_order_is_stable_whatever_comes_first(small: CocoSet) -> None:
    filled(small, 30)
    for number in (0, 3, 7):
        small.server.plant(f"/val2017/{number}.jpg", Reply(503))
    expected = [f"{number}.jpg" for number in range(20)]
    assert small.names({"water": 20}) == expected


def test_annotations_that_are_cut_are_gone_on_with(small: CocoSet) -> None:
    url = filled(small, 3).serve()
    path = url.removeprefix(small.server.url)
    small.server.plant(path, *[Reply(stop=100)] * 2)
    project = small.project(url)
    with pytest.raises(PocketError, match="run the same command again to go on") as caught:
        list(from_coco(project, {"water": 1}, ()))
    assert not isinstance(caught.value, ConfigError)
    assert len(list(from_coco(project, {"water": 1}, ()))) == 1
    assert small.server.sent[path] == len(small.server.files[path])


def test_annotations_that_are_not_there(small: CocoSet) -> None:
    with pytest.raises(ConfigError, match=r"annotations: .*status 404: check the address"):
        list(from_coco(small.project(f"{small.server.url}/none.json"), {"water": 1}, ()))


def test_a_decompression_bomb_is_not_decoded(small: CocoSet) -> None:
    filled(small, 2).server.files["/val2017/0.jpg"] = png_of(50_000, 50_000)
    assert list(skipped(small, 1)) == ["coco:val2017/0.jpg"]
