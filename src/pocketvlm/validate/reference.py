"""Files of the merged model that nobody ships, made to compare with and thrown away afterwards."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pocketvlm.errors import PocketError
from pocketvlm.project import Project

if TYPE_CHECKING:
    from pocketvlm.runtime import Files

FOLDER = "reference."
"""Below state/: a killed verdict leaves one behind, and the next one removes it."""


@contextmanager
def made_for_now(project: Project, kind: str) -> Iterator["Files"]:
    """Both files of the merged model as F32 or F16; PocketError when the disk is full."""
    from pocketvlm.export import export_text, export_vision

    state, merged = project.workspace.root / "state", project.workspace.merged
    state.mkdir(exist_ok=True)
    for left in state.glob(f"{FOLDER}*"):
        shutil.rmtree(left, ignore_errors=True)
    needed = sum(path.stat().st_size for path in merged.glob("*.safetensors"))
    free = shutil.disk_usage(state).free
    if needed > free:
        raise PocketError(
            f"the verdict writes {needed / 1e9:.1f} GB of {kind} files into {state} for a moment "
            f"and {free / 1e9:.1f} GB are free: make room there"
        )
    with TemporaryDirectory(prefix=FOLDER, dir=state) as name:
        text, vision = Path(name) / f"model-{kind}.gguf", Path(name) / f"mmproj-{kind}.gguf"
        export_text(merged, text, kind, project.contract.hash)
        export_vision(merged, vision, kind, project.contract.side, project.contract.hash)
        yield text, vision
