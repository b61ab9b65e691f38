"""A text model's file and its vision file: which ones, of what type, and how they are asked."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gguf import LlamaFileType

from pocketvlm.contract import GGUF_KEY, Contract
from pocketvlm.errors import ConfigError
from pocketvlm.export.header import Header, read_header
from pocketvlm.layout import Layout
from pocketvlm.progress import say
from pocketvlm.project import CONTRACT, Project
from pocketvlm.workspace import read_record, sha256_file

if TYPE_CHECKING:
    from pocketvlm.runtime import Files


@dataclass(frozen=True)
class Subject:
    """Two files and how they are asked."""

    files: "Files"
    type: str
    mmproj_type: str
    stock: bool
    """As a stock app would, because they were not made under the project's contract."""
    side: int
    """Of their tower, pixels."""

    @property
    def step(self) -> str:
        """Its rung on the ladder."""
        return f"llama.cpp {self.type}"


def both(model: Path | None, mmproj: Path | None) -> "Files | None":
    """The two files that were given, or None; ConfigError for one alone."""
    if model and mmproj:
        return model, mmproj
    if model or mmproj:
        raise ConfigError("give --model and --mmproj together: one is no use without the other")
    return None


def what_ships(project: Project) -> "Files":
    """The pair that the last verdict chose, where the configuration still asks for it and the
    files are still those; else the first of each type, and that is said."""
    space, export = project.workspace, project.config.export
    usual = space.text_gguf(export.types[0]), space.vision_gguf(export.mmproj[0])
    path = space.report / "metrics.json"
    if not path.is_file():
        return usual
    metrics = read_record(path)
    if metrics.get("type") == export.types[0] and metrics.get("mmproj_type") in export.mmproj:
        chosen = usual[0], space.vision_gguf(metrics["mmproj_type"])
        if all(file.is_file() for file in chosen) and metrics.get("files") == hashes(chosen):
            return chosen
    say(
        f"the verdict in {path} is of other types or of other files, so the first of export.types "
        f"and export.mmproj are asked: {usual[0].name} and {usual[1].name}"
    )
    return usual


def hashes(files: "Files") -> dict[str, str]:
    """What metrics.json writes down of a pair: each name with its SHA-256."""
    return {file.name: sha256_file(file) for file in files}


def read_subject(project: Project, files: "Files", own: bool) -> Subject:
    """Open two files and see what they are; `own` are the project's.

    PocketError when they do not load, when the project's own are of another contract, or when this
    build asks files of the contract otherwise than they were taught."""
    from pocketvlm.runtime import Runtime, check_layout

    contract, record = project.contract, project.workspace.adapter / CONTRACT
    heads = [read_header(file) for file in files]
    made_under = {head.text(GGUF_KEY) for head in heads}
    with Runtime(*files, tiles=contract.tiles, stock=True) as runtime:
        if own:
            runtime.check_contract(contract)
        side = runtime.side
        ours = made_under == {contract.hash} and side == contract.side
        if ours and record.is_file():
            check_layout(runtime, contract, Layout.read(read_record(record)))
    text, vision = (file_type(head) for head in heads)
    return Subject(files, text, vision, stock=not ours, side=side)


def file_type(head: Header) -> str:
    """The quantisation that a GGUF file names, such as Q8_0; `unnamed` where it names none."""
    number = head.whole("general.file_type")
    try:
        named = "unnamed" if number is None else LlamaFileType(number).name
    except ValueError:
        return "unnamed"
    return named.removeprefix("MOSTLY_").removeprefix("ALL_")


def contract_for(project: Project, subject: Subject) -> Contract:
    """A stock app evaluates whatever tiles the runtime makes."""
    return replace(project.contract, tiles="runtime") if subject.stock else project.contract
