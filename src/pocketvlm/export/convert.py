"""The convert stage: every type of the configuration, text and vision."""

from pathlib import Path
from time import monotonic

from pocketvlm.export.text import export_text
from pocketvlm.export.vision import export_vision
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.workspace import Row

MIB = 2**20


def convert(project: Project) -> Row:
    """Write `gguf/model-<TYPE>.gguf` and `gguf/mmproj-<TYPE>.gguf` of the merged model.

    The figures: `contract`, `vision_size`, and for each type the MiB of both files, the seconds,
    and the tensors kept at F16 because their rows do not divide into blocks."""
    merged, space, side = project.workspace.merged, project.workspace, project.contract.side
    project.check_contract(merged)
    contract = project.contract.hash
    types: Row = {}
    written: set[Path] = set()
    for type in project.config.export.types:
        start = monotonic()
        text, vision = space.text_gguf(type), space.vision_gguf(type)
        kept = export_text(merged, text, type, contract)
        kept += export_vision(merged, vision, type, side, contract)
        written |= {text, vision}
        if kept:
            say(f"{type}: {len(kept)} tensors stay F16 (rows no multiple of 32), first {kept[0]}")
        types[type] = {
            "text_mib": _mib(text),
            "vision_mib": _mib(vision),
            "seconds": round(monotonic() - start, 2),
            "kept_f16": kept,
        }
    _remove_others(space.gguf, written)
    return {"contract": contract, "vision_size": side, "types": types}


def _remove_others(folder: Path, written: set[Path]) -> None:
    """Files of types no longer wanted are of an older model; hidden ones are a killed run's."""
    for pattern in ("model-*.gguf", "mmproj-*.gguf", ".m*.gguf.*"):
        for path in {*folder.glob(pattern)} - written:
            path.unlink()


def _mib(path: Path) -> float:
    return round(path.stat().st_size / MIB, 2)
