"""Asking the shipped files about pictures, as the phone would."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pocketvlm.contract import open_picture
from pocketvlm.errors import PocketError
from pocketvlm.project import Project
from pocketvlm.runtime.llama import Runtime
from pocketvlm.workspace import Row


def predict(project: Project, images: Sequence[Path]) -> Iterator[Row]:
    """Yield `image`, `label` (None when the answer is no label), `text` and `ms` a picture; one
    that cannot be read gets `image` and `error`. PocketError when the files are of another
    contract."""
    contract = project.contract
    with Runtime(*shipped(project)) as runtime:
        runtime.check_contract(contract)
        for image in images:
            try:
                bitmap = contract.bitmap(open_picture(image))
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


def shipped(project: Project) -> tuple[Path, Path]:
    """The converted files, or the bundle's where nothing else was kept; PocketError when there
    are none."""
    kind, space = project.config.convert.types[0], project.workspace
    converted = space.text_gguf(kind), space.vision_gguf(kind)
    if all(path.is_file() for path in converted):
        return converted
    text, vision = (space.bundle / path.name for path in converted)
    if not (text.is_file() and vision.is_file()):
        raise PocketError(f"{converted[0]} does not exist: run `pocketvlm run` first")
    return text, vision
