"""contract.json: what the app does, in the shipped files' own token ids."""

from itertools import groupby
from typing import TYPE_CHECKING

from pocketvlm.contract import Bitmap, Contract
from pocketvlm.errors import PocketError
from pocketvlm.workspace import Row

if TYPE_CHECKING:
    from pocketvlm.runtime import Runtime


def device_contract(contract: Contract, runtime: "Runtime", bitmap: Bitmap) -> Row:
    """The contract with the runtime's layout of `bitmap` (its pixels do not matter).

    PocketError when the shipped file would not stop at the end token."""
    layout = runs(runtime.ids(contract.prompt, bitmap), runtime.image_id)
    pictures = [run["picture"] for run in layout if "picture" in run]
    ends = runtime.tokens(contract.describe()["end"])
    if len(ends) != 1 or ends[0] not in runtime.end_ids:
        raise PocketError(
            f"the text file does not stop at {contract.describe()['end']}: convert again"
        )
    return {
        **contract.describe(),
        "layout": layout,
        "image_token_id": runtime.image_id,
        "tiles": len(pictures),
        "tile_tokens": pictures[0],
        "answers": {label: runtime.tokens(contract.answer(label)) for label in contract.labels},
        "end_token_id": ends[0],
    }


def runs(ids: list[int], image_id: int) -> list[Row]:
    """Token ids as runs of text and counts of image embeddings, in order."""
    return [
        {"picture": len(list(run))} if is_image else {"text": list(run)}
        for is_image, run in groupby(ids, key=lambda token: token == image_id)
    ]
