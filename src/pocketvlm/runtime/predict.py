"""Asking the bundle about pictures: its contract and its files only, as the phone would."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from pocketvlm.contract import Contract
from pocketvlm.errors import PocketError
from pocketvlm.layout import Layout
from pocketvlm.runtime.identity import check_layout
from pocketvlm.runtime.llama import Runtime
from pocketvlm.workspace import Row, read_record


@dataclass(frozen=True)
class Calibration:
    """What turns likelihoods of answers into how sure the student is, as the app does it."""

    temperature: float
    unsure_below: float | None
    """None: nothing is called unsure."""

    @classmethod
    def read(cls, record: Row) -> Self | None:
        """That of a contract.json, if it has one; PocketError when it is damaged."""
        if (known := record.get("calibration")) is None:
            return None
        try:
            temperature, least = float(known["temperature"]), known["unsure_below"]
            calibration = cls(temperature, None if least is None else float(least))
        except (KeyError, TypeError, ValueError):
            temperature = 0.0
        if not temperature > 0:
            raise PocketError(
                "contract.json: its calibration is damaged: run `pocketvlm bundle` again"
            )
        return calibration

    def judge(self, labels: Sequence[str], likelihoods: NDArray[np.float64]) -> Row:
        """`likeliest` label, `sure` (its confidence, 0..1) and `unsure`, from log-probabilities of
        the labels' answers: softmax(likelihoods / temperature)."""
        confidences = softmax(likelihoods / self.temperature)
        best = int(confidences.argmax())
        sure = float(confidences[best])
        unsure = self.unsure_below is not None and sure < self.unsure_below
        return {"likeliest": labels[best], "sure": round(sure, 4), "unsure": unsure}


def predict(bundle: Path, images: Sequence[Path]) -> Iterator[Row]:
    """Yield `image`, `label` (None when the answer is no label), `text` and `ms` a picture; where
    the bundle has a calibration also `likeliest`, `sure` and `unsure` (see Calibration). A picture
    that cannot be read gets `image` and `error`. PocketError when the bundle is incomplete."""
    contract, files = open_bundle(bundle)
    record = read_record(bundle / "contract.json")
    layout, calibration = Layout.read(record), Calibration.read(record)
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
            row: Row = {"image": str(image), "label": contract.label_of(answer.text)}
            row |= {"text": answer.text, "ms": round(answer.ms, 1)}
            if calibration:
                answers = [contract.answer(label) for label in contract.labels]
                said = runtime.likelihoods(contract.prompt, bitmap, answers)
                row |= calibration.judge(contract.labels, said)
            yield row


def told(row: Row) -> str:
    """A row of `predict` for people: what was answered, and how sure the student is."""
    said = row["label"] or f"no label, but {row['text']!r}"
    if "sure" in row:
        word = "unsure" if row["unsure"] else "sure"
        other = f" of {row['likeliest']}" if row["likeliest"] != row["label"] else ""
        said += f", {word}{other}: {row['sure']:.2f}"
    return f"{row['image']}: {said} ({row['ms']:.0f} ms)"


def open_bundle(bundle: Path) -> tuple[Contract, tuple[Path, Path]]:
    """The contract of a bundle and its two files; PocketError when something is missing."""
    if not (bundle / "contract.json").is_file():
        raise PocketError(
            f"{bundle} holds no bundle: run `pocketvlm run` first, which makes one where `gates:` "
            "are reached"
        )
    record = read_record(bundle / "contract.json")
    contract = Contract.read(record)
    if not {"model", "mmproj"} <= record.keys():
        raise PocketError(f"{bundle / 'contract.json'} names no files: make the bundle again")
    files = bundle / str(record["model"]), bundle / str(record["mmproj"])
    for file in files:
        if not file.is_file():
            raise PocketError(f"{file} does not exist: run `pocketvlm bundle` again")
    return contract, files
