"""The convert stage: every type of the configuration, text and vision."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import get_args

from pocketvlm.errors import PocketError
from pocketvlm.export.about import About
from pocketvlm.export.doubts import doubts
from pocketvlm.export.header import Header, read_header
from pocketvlm.export.quantised import SOURCE, quantised_sizes, write_quantised
from pocketvlm.export.text import draft_text
from pocketvlm.export.vision import draft_vision
from pocketvlm.export.writer import FILE_TYPES, MIB, Draft
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.sections import Export
from pocketvlm.workspace import Row, Workspace

MADE = ".made."
"""How a folder begins in which files wait until all are there; a killed run leaves it behind."""


TYPES, MMPROJ = (
    get_args(get_args(Export.model_fields[name].annotation)[0]) for name in ("types", "mmproj")
)
"""All that `export.types` and `export.mmproj` can name."""


@dataclass(frozen=True)
class Job:
    """One file to be made."""

    section: str
    """`text` or `mmproj`."""
    type: str
    out: Path
    draft: Draft
    """Of the file, or of the F16 file that the quantiser makes it from."""
    size: int
    """Its bytes, before it is written."""

    @property
    def ours(self) -> bool:
        """Whether it is written here and not by the runtime's quantiser."""
        return self.type in FILE_TYPES


def convert(project: Project) -> Row:
    """Write `gguf/model-<TYPE>.gguf` for every `export.types` and `gguf/mmproj-<TYPE>.gguf` for
    every `export.mmproj`.

    The figures: `contract`, `vision_size`; in `text` and `mmproj` for each type `mib` and
    `predicted_mib` of the file, `seconds`, and `tensors`: which shares of its bytes and parameters
    are stored as which ggml type; `warnings`, of what would hurt on a device. All files take their
    places at the end, together. PocketError when the model is broken or the disk too small."""
    space, export = project.workspace, project.config.export
    project.check_contract(space.merged)
    jobs = plan(project)
    space.gguf.mkdir(parents=True, exist_ok=True)
    for left in space.gguf.glob(f"{MADE}*"):
        shutil.rmtree(left, ignore_errors=True)
    check_room(space.gguf, jobs)
    rows: Row = {"text": dict.fromkeys(export.types), "mmproj": dict.fromkeys(export.mmproj)}
    warnings: list[str] = []
    with TemporaryDirectory(prefix=MADE, dir=space.gguf) as folder:
        for job in jobs:
            _make(job, Path(folder), rows, warnings)
        for job in jobs:
            (Path(folder) / job.out.name).replace(job.out)
    remove_older(space, {job.out for job in jobs})
    side = project.contract.side
    figures = {"contract": project.contract.hash, "vision_size": side, **rows}
    return figures | {"warnings": warnings}


def remove_older(space: Workspace, made: set[Path]) -> None:
    """Remove files of types that are no longer wanted, which are an older model's, and say so.
    Only names that are written here: what else lies there is the user's."""
    ours = {space.text_gguf(type) for type in TYPES} | {space.vision_gguf(type) for type in MMPROJ}
    older = sorted(path for path in ours - made if path.is_file())
    for path in older:
        path.unlink()
    if older:
        named = ", ".join(path.name for path in older)
        say(f"{space.gguf.name}/: removed {named}: of an older model, and no longer exported")


def plan(project: Project) -> list[Job]:
    """What is to be made of the merged model, and how large it will be; nothing is written.

    PocketError or ConfigError when it cannot be made."""
    space, export, about = project.workspace, project.config.export, About.of(project)
    drafts: dict[str, Draft] = {
        type: draft_text(space.merged, type, about) for type in export.types if type in FILE_TYPES
    }
    jobs = [
        Job("text", type, space.text_gguf(type), draft, draft.size)
        for type, draft in drafts.items()
    ]
    for kind in export.mmproj:
        draft = draft_vision(space.merged, kind, project.contract.side, about)
        jobs.append(Job("mmproj", kind, space.vision_gguf(kind), draft, draft.size))
    if others := [type for type in export.types if type not in FILE_TYPES]:
        source = drafts.get(SOURCE) or draft_text(space.merged, SOURCE, about)
        sizes = zip(others, quantised_sizes(source, others), strict=True)
        jobs += [Job("text", type, space.text_gguf(type), source, size) for type, size in sizes]
    return jobs


def check_room(folder: Path, jobs: Sequence[Job]) -> None:
    """Say how much will be written; PocketError when the disk of `folder` has no room for it."""
    total, for_a_moment = sum(job.size for job in jobs), _temporary(jobs)
    free = shutil.disk_usage(folder).free
    words = f"{len(jobs)} files, {total / 1e9:.2f} GB"
    if for_a_moment:
        words += f", and {for_a_moment / 1e9:.2f} GB of F16 for a moment"
    if total + for_a_moment > free:
        raise PocketError(
            f"{folder} will take {words}, and {free / 1e9:.2f} GB are free: make room there, or "
            "name fewer types in export.types and export.mmproj"
        )
    say(f"{folder.name}/: {words}; {free / 1e9:.0f} GB are free")


def _temporary(jobs: Sequence[Job]) -> int:
    """Bytes of the F16 file when only the quantiser needs it."""
    kept = any(job.section == "text" and job.type == SOURCE for job in jobs)
    return max((job.draft.size for job in jobs if not job.ours and not kept), default=0)


def _make(job: Job, folder: Path, rows: Row, warnings: list[str]) -> None:
    """Write a file into `folder`; what the quantiser reads stays there for the next one."""
    out, source = folder / job.out.name, folder / f"model-{SOURCE}.gguf"
    if not job.ours and not source.exists():
        job.draft.write(source)
    start = monotonic()
    if not job.ours:
        write_quantised(source, out, job.type, job.size)
    elif kept := job.draft.write(out):
        few = f"{len(kept)} tensors stay F16 (rows no multiple of 32)"
        say(f"{out.name}: {few}, first {kept[0]}")
    seconds, header = monotonic() - start, read_header(out)
    rows[job.section][job.type] = {
        "mib": round(out.stat().st_size / MIB, 2),
        "predicted_mib": round(job.size / MIB, 2),
        "seconds": round(seconds, 2),
        "tensors": shares(header),
    }
    for doubt in doubts(out, header, None):
        say(f"{out.name}: {doubt}")
        warnings.append(f"{out.name}: {doubt}")


def shares(header: Header) -> Row:
    """How much of the weights is stored as which ggml type, 0..1, the most first."""
    tensors = header.tensors.values()
    all_bytes = sum(one.nbytes for one in tensors)
    all_parameters = sum(one.parameters for one in tensors)
    found: Row = {}
    for type in {one.type for one in tensors}:
        same = [one for one in tensors if one.type == type]
        found[type.name] = {
            "bytes": round(sum(one.nbytes for one in same) / all_bytes, 4),
            "parameters": round(sum(one.parameters for one in same) / all_parameters, 4),
        }
    return dict(sorted(found.items(), key=lambda row: -row[1]["parameters"]))
