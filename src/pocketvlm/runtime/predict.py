"""Asking the bundle about pictures: its contract and its files only, as the phone would."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pocketvlm.contract import Contract
from pocketvlm.errors import PocketError
from pocketvlm.layout import Layout
from pocketvlm.runtime.identity import check_layout
from pocketvlm.runtime.llama import Runtime
from pocketvlm.workspace import Row, read_record


def predict(bundle: Path, images: Sequence[Path]) -> Iterator[Row]:
    """Yield `image`, `label` (None when the answer is no label), `text` and `ms` a picture; one
    that cannot be read gets `image` and `error`. PocketError when the bundle is incomplete."""
    contract, files = open_bundle(bundle)
    layout = Layout.read(read_record(bundle / "contract.json"))
    with Runtime(*files, tiles=contract.tiles) as runtime:
        runtime.check_contract(contract)
        check_layout(runtime, contract, layout)
        for image in images:
            try:
                bitmap = contract.open(image)
            except PocketError as error:
                yield {"image": str(image), "error": str(error)}
                continue
            answer = runtime.answer(contract.prompt, bitmap, contract.max_new_tokens)
            yield {
                "image": str(image),
                "label": contract.label_of(answer.text),
                "text": answer.text,
                "ms": round(answer.ms, 1),
            }


def open_bundle(bundle: Path) -> tuple[Contract, tuple[Path, Path]]:
    """The contract of a bundle and its two files; PocketError when something is missing."""
    if not (bundle / "contract.json").is_file():
        raise PocketError(f"{bundle} holds no bundle: run `pocketvlm run` first")
    record = read_record(bundle / "contract.json")
    contract = Contract.read(record)
    if not {"model", "mmproj"} <= record.keys():
        raise PocketError(f"{bundle / 'contract.json'} names no files: make the bundle again")
    files = bundle / str(record["model"]), bundle / str(record["mmproj"])
    for file in files:
        if not file.is_file():
            raise PocketError(f"{file} does not exist: run `pocketvlm bundle` again")
    return contract, files
