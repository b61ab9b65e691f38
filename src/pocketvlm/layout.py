"""The token layout: what a runtime makes of a prompt and a picture, asked once and recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Self

from pocketvlm.errors import PocketError
from pocketvlm.workspace import Row


@dataclass(frozen=True)
class Layout:
    """Token ids of a whole prompt, and which llama.cpp laid them out so."""

    ids: tuple[int, ...]
    """`image_id` where an image embedding goes."""
    image_id: int
    words: str
    """The ids as text, each tile's embeddings as one `[count]`."""
    runtime: Row
    """The build's identity (`pocketvlm.runtime.identity`)."""

    @property
    def tiles(self) -> tuple[int, ...]:
        """Embeddings of each tile, in order; text lies between any two."""
        return tuple(run["picture"] for run in runs(self.ids, self.image_id) if "picture" in run)

    def record(self) -> Row:
        """As it lies in contract.json: runs of token ids and picture slots, and who said so."""
        return {
            "layout": runs(self.ids, self.image_id),
            "layout_words": self.words,
            "image_token_id": self.image_id,
            "runtime": self.runtime,
        }

    @classmethod
    def read(cls, record: Row) -> Self:
        """From contract.json; PocketError when it holds none."""
        try:
            if "package" not in record["runtime"]:
                raise KeyError("runtime")
            image_id, ids = int(record["image_token_id"]), list[int]()
            for run in record["layout"]:
                ids += run["text"] if "text" in run else [image_id] * run["picture"]
            return cls(tuple(ids), image_id, record["layout_words"], record["runtime"])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise PocketError(
                "contract.json holds no token layout: it is damaged, or was made by an older "
                "pocketvlm; run `pocketvlm run --from train --force`"
            ) from None


def shortened(line: str, most: int = 400) -> str:
    """A long line without its middle."""
    return line if len(line) <= most else f"{line[: most // 2]} ... {line[-most // 2 :]}"


def runs(ids: Sequence[int], image_id: int) -> list[Row]:
    """Token ids as runs of text and counts of image embeddings, in order."""
    return [
        {"picture": len(list(run))} if is_image else {"text": list(run)}
        for is_image, run in groupby(ids, key=lambda token: token == image_id)
    ]
