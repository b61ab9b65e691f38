"""`predict` asks the bundle: its contract and its files only."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from pocketvlm.contract import Contract
from pocketvlm.errors import PocketError
from pocketvlm.export import export_text, export_vision
from pocketvlm.pictures import Bitmap
from pocketvlm.runtime import Runtime, lay_out
from pocketvlm.runtime.predict import Calibration, open_bundle, predict, told
from pocketvlm.workspace import Row, read_json, write_json

Says = Callable[[Bitmap, str], tuple[Path, Path]]


CALIBRATION: Row = {"temperature": 2.0, "unsure_below": None}


def put(contract: Contract, pair: tuple[Path, Path], folder: Path, **more: object) -> Path:
    """A bundle of these files, as far as `predict` reads it."""
    folder.mkdir(exist_ok=True)
    for path in pair:
        shutil.copy(path, folder)
    with Runtime(*pair) as runtime:
        record = contract.describe() | lay_out(runtime, contract.prompt).record()
    record |= {"model": pair[0].name, "mmproj": pair[1].name}
    write_json(folder / "contract.json", record | more)
    return folder


def test_each_picture_gets_its_answer(
    contract: Contract, says: Says, pictures: list[Bitmap], tmp_path: Path
) -> None:
    bundle = put(contract, says(pictures[0], "fire"), tmp_path / "bundle")
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    Image.fromarray(pictures[0]).save(paths[0])
    Image.fromarray(np.tile(pictures[1], (1, 2, 1))).save(paths[1])
    known, other = predict(bundle, paths)
    assert (known["image"], known["label"], known["text"]) == (str(paths[0]), "fire", " fire")
    assert known["ms"] > 0 and known.keys() == {"image", "label", "text", "ms"}
    bitmap = contract.bitmap(np.tile(pictures[1], (1, 2, 1)))
    _, files = open_bundle(bundle)
    with Runtime(*files) as runtime:
        expected = runtime.answer(contract.prompt, bitmap, contract.max_new_tokens)
    assert other["text"] == expected.text
    assert other["label"] == contract.label_of(expected.text)


@pytest.mark.parametrize("above", [True, False])
def test_it_says_how_sure_it_is(
    contract: Contract, says: Says, pictures: list[Bitmap], tmp_path: Path, above: bool
) -> None:
    pair = says(pictures[0], "fire")
    with Runtime(*pair) as runtime:
        answers = [contract.answer(label) for label in contract.labels]
        said = runtime.likelihoods(contract.prompt, pictures[0], answers)
    confidences = softmax(said / 2)
    best = float(confidences.max())
    least = best + (1e-3 if above else -1e-3)
    calibration = CALIBRATION | {"unsure_below": least}
    bundle = put(contract, pair, tmp_path / "bundle", calibration=calibration)
    Image.fromarray(pictures[0]).save(tmp_path / "picture.png")
    [row] = predict(bundle, [tmp_path / "picture.png"])
    assert (row["label"], row["unsure"]) == ("fire", above)
    assert row["likeliest"] == contract.labels[confidences.argmax()]
    assert row["sure"] == pytest.approx(best, abs=1e-3)


def test_without_a_threshold_nothing_is_unsure(
    contract: Contract, exact_pair: tuple[Path, Path], pictures: list[Bitmap], tmp_path: Path
) -> None:
    bundle = put(contract, exact_pair, tmp_path / "bundle", calibration=CALIBRATION)
    Image.fromarray(pictures[0]).save(tmp_path / "picture.png")
    [row] = predict(bundle, [tmp_path / "picture.png"])
    assert row["unsure"] is False and 1 / len(contract.labels) <= row["sure"] <= 1


def test_the_confidence_is_that_of_the_temperature() -> None:
    said = np.log(np.array([0.6, 0.3, 0.1]))
    row = Calibration(0.5, 0.78).judge(("a", "b", "c"), said)
    assert row == {"likeliest": "a", "sure": round(0.36 / 0.46, 4), "unsure": False}
    assert Calibration(1.0, 0.6).judge(("a", "b"), np.array([-2.0, -1000.0]))["sure"] == 1.0


@pytest.mark.parametrize(
    "damaged",
    [
        [],
        {},
        {"temperature": 1.0},
        {"temperature": 0, "unsure_below": None},
        {"temperature": float("nan"), "unsure_below": None},
        {"temperature": "hot", "unsure_below": None},
        {"temperature": 1.0, "unsure_below": "low"},
    ],
)
def test_a_damaged_calibration_is_told(damaged: object) -> None:
    with pytest.raises(PocketError, match="calibration is damaged"):
        Calibration.read({"calibration": damaged})


def test_a_row_in_words() -> None:
    row: Row = {"image": "a.jpg", "label": "fire", "text": " fire", "ms": 12.4}
    assert told(row) == "a.jpg: fire (12 ms)"
    sure = {"likeliest": "fire", "sure": 0.972, "unsure": False}
    assert told(row | sure) == "a.jpg: fire, sure: 0.97 (12 ms)"
    unsure = sure | {"sure": 0.41, "unsure": True}
    assert told(row | unsure) == "a.jpg: fire, unsure: 0.41 (12 ms)"
    other = unsure | {"label": None, "text": " a dog"}
    assert told(row | other) == "a.jpg: no label, but ' a dog', unsure of fire: 0.41 (12 ms)"


def test_files_of_another_contract_are_refused(
    contract: Contract, model: Path, tmp_path: Path
) -> None:
    pair = tmp_path / "model-F32.gguf", tmp_path / "mmproj-F32.gguf"
    export_text(model, pair[0], "F32", "another")
    export_vision(model, pair[1], "F32", contract.side, "another")
    with pytest.raises(PocketError, match="another contract"):
        list(predict(put(contract, pair, tmp_path / "bundle"), []))


def test_an_altered_contract_is_found(
    contract: Contract, exact_pair: tuple[Path, Path], tmp_path: Path
) -> None:
    bundle = put(contract, exact_pair, tmp_path / "bundle")
    record = read_json(bundle / "contract.json")
    for change in ({"prompt": record["prompt"] + " "}, {"exif": None}, {"side": 64}):
        write_json(bundle / "contract.json", record | change)
        with pytest.raises(PocketError, match=r"contract\.json is damaged"):
            list(predict(bundle, []))


def test_another_layout_than_the_bundles_is_found(
    contract: Contract, exact_pair: tuple[Path, Path], tmp_path: Path
) -> None:
    bundle = put(contract, exact_pair, tmp_path / "bundle")
    record = read_json(bundle / "contract.json")
    write_json(bundle / "contract.json", record | {"layout": record["layout"][2:]})
    with pytest.raises(PocketError, match="lays a picture out otherwise"):
        list(predict(bundle, []))


@pytest.mark.parametrize("content", ["[]", '"x"', "{}", '{"labels": 5}'])
def test_a_damaged_contract_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "contract.json").write_text(content)
    with pytest.raises(PocketError, match=r"contract\.json (is damaged|holds no JSON object)"):
        list(predict(tmp_path, []))


def test_without_a_bundle_it_says_what_to_run(
    contract: Contract, exact_pair: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(
        PocketError, match="holds no bundle: run `pocketvlm run` first, which makes"
    ):
        list(predict(tmp_path / "bundle", [tmp_path / "picture.png"]))
    bundle = put(contract, exact_pair, tmp_path / "bundle")
    (bundle / exact_pair[1].name).unlink()
    with pytest.raises(PocketError, match=r"mmproj-F32\.gguf does not exist"):
        list(predict(bundle, []))


def test_a_missing_picture_is_named_and_the_next_one_asked(
    contract: Contract, exact_pair: tuple[Path, Path], pictures: list[Bitmap], tmp_path: Path
) -> None:
    bundle = put(contract, exact_pair, tmp_path / "bundle")
    Image.fromarray(pictures[0]).save(tmp_path / "here.png")
    gone, here = predict(bundle, [tmp_path / "gone.png", tmp_path / "here.png"])
    assert "gone.png does not exist" in gone["error"]
    assert "error" not in here
