"""Asking the shipped files about pictures, as the phone would."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pocketvlm.contract import open_picture
from pocketvlm.errors import PocketError
from pocketvlm.project import Project
from pocketvlm.runtime.llama import Runtime
from pocketvlm.workspace import Row


def predict(project: Project, images: Sequence[Path]) -> Iterator[Row]:
    """Yield `image`, `label` (None when the answer is no label), `text` and `ms` a picture."""
    contract = project.contract
    with Runtime(*shipped(project)) as runtime:
        for image in images:
            bitmap = contract.bitmap(open_picture(image))
            answer = runtime.answer(contract.prompt, bitmap, contract.max_new_tokens)
            yield {
                "image": str(image),
                "label": contract.label_of(answer.text),
                "text": answer.text,
                "ms": round(answer.ms, 1),
            }


def shipped(project: Project) -> tuple[Path, Path]:
    """The bundle's two files, or the converted ones; PocketError when there are none."""
    kind = project.config.convert.types[0]
    converted = project.workspace.text_gguf(kind), project.workspace.vision_gguf(kind)
    bundled = tuple(project.workspace.bundle / path.name for path in converted)
    for text, vision in (bundled, converted):
        if text.is_file() and vision.is_file():
            return text, vision
    raise PocketError(f"{converted[0]} does not exist: run `pocketvlm run` first")
