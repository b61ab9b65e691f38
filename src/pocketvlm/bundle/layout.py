"""contract.json: what the app does, in the shipped files' own token ids."""

from typing import TYPE_CHECKING

from pocketvlm.contract import Contract
from pocketvlm.workspace import Row

MEASURED = {"kv_cache": "F16", "flash_attention": "auto"}
"""llama.cpp's own defaults, under which the files were measured (runtime/loading.py)."""

if TYPE_CHECKING:
    from pocketvlm.runtime import Runtime


def device_contract(contract: Contract, runtime: "Runtime") -> Row:
    """The contract with the runtime's layout and identity.

    PocketError when the shipped file would not stop at the end token."""
    from pocketvlm.runtime import check_end, lay_out
    from pocketvlm.runtime.grammar import gbnf

    layout = lay_out(runtime, contract.prompt)
    return {
        **contract.describe(),
        **layout.record(),
        "tile_count": len(layout.tiles),
        "tile_tokens": layout.tiles[0],
        "grammar": gbnf(contract.labels),
        "answers": {label: runtime.tokens(contract.answer(label)) for label in contract.labels},
        "end_token_id": check_end(runtime),
        "context": MEASURED,
    }
