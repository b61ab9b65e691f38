"""Golden pictures name the level at which an app parts from the contract."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketvlm.bundle import bundle
from pocketvlm.bundle.check import check_bundle
from pocketvlm.bundle.golden import App, misordered, read_golden, replay
from pocketvlm.contract import Contract
from pocketvlm.errors import GateMissed, PocketError
from pocketvlm.layout import Layout
from pocketvlm.pictures import Bitmap, open_picture
from pocketvlm.project import Project
from pocketvlm.runtime.predict import open_bundle
from pocketvlm.runtime.resize import set_preprocessed_side
from pocketvlm.workspace import Row, read_json, write_json

DRAWN = {"grey", "line", "portrait", "small", "thirds", "transparent"}


@pytest.fixture
def made(project: Project) -> Path:
    bundle(project)
    return project.workspace.bundle


def found(folder: Path, **changes: object) -> list[Row]:
    """The golden pictures asked by an app that differs in these respects."""
    contract, files = open_bundle(folder)
    app = replace(App(contract.open, contract.prompt, files, contract.tiles), **changes)  # type: ignore[arg-type]
    layout = Layout.read(read_json(folder / "contract.json"))
    return replay(folder, read_golden(folder, contract), app, contract, layout)


def test_one_of_each_label_and_drawn_ones_are_kept(made: Path, project: Project) -> None:
    golden = read_json(made / "golden/golden.json")
    rows = {row["name"]: row for row in golden["pictures"]}
    assert rows.keys() == {"label-1", "label-2"} | DRAWN
    assert {row["label"] for row in rows.values()} == {*project.contract.labels, None}
    assert golden["contract"] == project.contract.hash
    for row in rows.values():
        picture = made / "golden" / row["file"]
        with Image.open(picture) as image:
            assert image.size == (row["width"], row["height"])
        with Image.open(made / "golden" / row["bitmap"]) as bitmap:
            assert (np.asarray(bitmap) == project.contract.open(picture)).all()
        assert len(row["first_tokens"]) == 5
        logits = [token["logit"] for token in row["first_tokens"]]
        assert logits == sorted(logits, reverse=True)


def test_originals_are_preferred_to_bitmaps(made: Path, project: Project) -> None:
    golden = {row["label"]: row for row in read_json(made / "golden/golden.json")["pictures"]}
    assert (golden["water"]["width"], golden["water"]["height"]) == (70, 90)
    side = project.contract.side
    assert (golden["fire|heat"]["width"], golden["fire|heat"]["height"]) == (side, side)


def test_the_bundle_proves_itself(made: Path) -> None:
    figures = check_bundle(made)
    assert figures["pictures"] == 8
    assert figures["parted"] == []
    assert figures["files"] > 20


def test_an_altered_file_is_named(made: Path) -> None:
    (made / "README.md").write_text("other")
    with pytest.raises(PocketError, match=r"README\.md is missing, new or altered"):
        check_bundle(made)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"00  model-Q8_0.gguf\n"])
def test_spoilt_checksums_prove_nothing(made: Path, content: bytes) -> None:
    (made / "SHA256SUMS").unlink()
    (made / "SHA256SUMS").write_bytes(content)
    with pytest.raises(PocketError, match="missing, new or altered"):
        check_bundle(made)


@pytest.mark.parametrize("content", ["[]", "{}", '{"pictures": 5}', '{"pictures": [{}]}'])
def test_a_damaged_golden_json_is_told(made: Path, content: str) -> None:
    (made / "golden/golden.json").write_text(content)
    with pytest.raises(PocketError, match=r"golden\.json (is damaged|holds no)"):
        read_golden(made, open_bundle(made)[0])


def test_first_tokens_keep_their_order_where_they_lie_clearly_apart() -> None:
    expected = [
        {"id": 1, "text": "a", "logit": 5.0},
        {"id": 2, "text": "b", "logit": 4.9},
        {"id": 0, "text": "c", "logit": 3.0},
    ]
    assert misordered(expected, np.array([3.0, 5.0, 4.9], np.float32)) is None
    assert misordered(expected, np.array([3.0, 4.9, 5.0], np.float32)) is None  # a tie
    assert misordered(expected, np.array([5.5, 5.0, 4.9], np.float32)) == ("c", "a")


def test_other_weights_are_named(made: Path, project: Project) -> None:
    """Same pictures, same question, another text model; random ones hardly prefer a token."""
    from pocketvlm.export import export_text
    from pocketvlm.student.tiny import save_tiny

    other = project.workspace.root / "other"
    save_tiny(other, seed=9, words=project.contract.labels, side=project.contract.side)
    export_text(other, other / "model.gguf", "Q8_0")
    _, files = open_bundle(made)
    parted = found(made, files=(other / "model.gguf", files[1]))
    assert len(parted) == 8
    assert {row["level"] for row in parted} <= {"first token", "answer"}


def test_no_bundle_is_told(tmp_path: Path) -> None:
    with pytest.raises(PocketError, match="is no bundle"):
        check_bundle(tmp_path)


def test_a_golden_picture_that_parts_misses_the_gate(made: Path) -> None:
    from pocketvlm.bundle.bundle import checksums
    from pocketvlm.bundle.check import CHECKSUMS

    path = made / "golden/golden.json"
    golden = read_json(path)
    golden["pictures"][2]["answer"] = "something else"
    write_json(path, golden)
    (made / CHECKSUMS).unlink()
    (made / CHECKSUMS).write_text(checksums(made))
    with pytest.raises(GateMissed, match=r"1 of 8 golden pictures .* level 'answer' on grey"):
        check_bundle(made)


def by_lanczos(contract: Contract) -> Callable[[Path], Bitmap]:
    return replace(contract, resize="lanczos").open


def by_swapping(contract: Contract) -> Callable[[Path], Bitmap]:
    return lambda path: np.ascontiguousarray(contract.open(path)[:, :, ::-1])


def by_an_offset(contract: Contract) -> Callable[[Path], Bitmap]:
    return lambda path: np.roll(contract.open(path), 1, axis=1)


def by_ignoring_alpha(contract: Contract) -> Callable[[Path], Bitmap]:
    def prepare(path: Path) -> Bitmap:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGBA"))[:, :, :3]
        return contract.bitmap(np.ascontiguousarray(pixels))

    return prepare


@pytest.mark.parametrize(
    ("spoil", "pictures", "note"),
    [
        (by_lanczos, {"label-2", *DRAWN}, "worst"),
        (by_swapping, {"thirds", "small", "line"}, "red and blue are swapped"),
        (by_an_offset, {"grey", "thirds", "small"}, "worst"),
        (by_ignoring_alpha, {"transparent"}, "worst"),
    ],
)
def test_other_bitmaps_are_named(
    made: Path,
    spoil: Callable[[Contract], Callable[[Path], Bitmap]],
    pictures: set[str],
    note: str,
) -> None:
    contract, _ = open_bundle(made)
    parted = found(made, prepare=spoil(contract))
    assert {row["level"] for row in parted} == {"bitmap"}
    assert pictures <= {row["picture"] for row in parted}
    assert note in parted[0]["note"]


@pytest.mark.parametrize(
    "change",
    [
        lambda prompt: prompt + " ",
        lambda prompt: prompt.replace("\n", "\r\n"),
        lambda prompt: f"<|im_start|>User:{prompt}<end_of_utterance>\nAssistant:",
    ],
    ids=["a trailing space", "CRLF", "a chat template"],
)
def test_another_prompt_is_named(made: Path, change: Callable[[str], str]) -> None:
    contract, _ = open_bundle(made)
    parted = found(made, prompt=change(contract.prompt))
    assert {row["level"] for row in parted} == {"token ids"}
    assert len(parted) == 8


def test_stock_metadata_is_named(made: Path) -> None:
    _, files = open_bundle(made)
    with files[1].open("rb") as file:
        content = file.read()
    files[1].unlink()  # a hard link
    files[1].write_bytes(content)
    set_preprocessed_side(files[1], 256)
    parted = found(made)
    assert {row["level"] for row in parted} == {"token ids"}
    assert "tokens" in parted[0]["note"]


def test_another_layout_is_named(made: Path) -> None:
    """An app that evaluates one tile, as transformers lays a picture out."""
    assert {row["level"] for row in found(made, tiles="single")} == {"token ids"}


def test_pictures_are_opened_as_files(made: Path) -> None:
    assert open_picture(made / "golden/transparent.png").shape == (60, 90, 3)
