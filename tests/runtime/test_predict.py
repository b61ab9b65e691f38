"""`predict` asks the bundle: its contract and its files only."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketvlm.contract import Contract
from pocketvlm.errors import PocketError
from pocketvlm.export import export_text, export_vision
from pocketvlm.pictures import Bitmap
from pocketvlm.runtime import Runtime, lay_out
from pocketvlm.runtime.predict import open_bundle, predict
from pocketvlm.workspace import read_json, write_json

Says = Callable[[Bitmap, str], tuple[Path, Path]]


def put(contract: Contract, pair: tuple[Path, Path], folder: Path) -> Path:
    """A bundle of these files, as far as `predict` reads it."""
    folder.mkdir(exist_ok=True)
    for path in pair:
        shutil.copy(path, folder)
    with Runtime(*pair) as runtime:
        record = contract.describe() | lay_out(runtime, contract.prompt).record()
    record |= {"model": pair[0].name, "mmproj": pair[1].name}
    write_json(folder / "contract.json", record)
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
    assert known["ms"] > 0
    bitmap = contract.bitmap(np.tile(pictures[1], (1, 2, 1)))
    _, files = open_bundle(bundle)
    with Runtime(*files) as runtime:
        expected = runtime.answer(contract.prompt, bitmap, contract.max_new_tokens)
    assert other["text"] == expected.text
    assert other["label"] == contract.label_of(expected.text)


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
    with pytest.raises(PocketError, match="holds no bundle: run `pocketvlm run` first"):
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
