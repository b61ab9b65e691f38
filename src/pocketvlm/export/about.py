"""What a file says of itself, so that a person who finds it knows what it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gguf import GGUFWriter

from pocketvlm.base import RECORD
from pocketvlm.contract import GGUF_KEY
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_record

NAME = "PocketVLM"

NAMED = 6
"""Labels that a name has room for."""

HUB = "https://huggingface.co/"


@dataclass(frozen=True)
class About:
    """Standard keys of GGUF where there are such (ggml/docs/gguf.md), `pocketvlm.*` else; what is
    not known is left out."""

    contract: str = ""
    """Hash of the device contract that the file is made under."""
    name: str = NAME
    task: str = ""
    """The question that it answers."""
    licence: str = ""
    base: Row | None = None
    """The record of the base (`state/base.json`)."""
    pictures: Mapping[str, int] = field(default_factory=dict)
    """How many by split."""
    teachers: Sequence[str] = ()

    @classmethod
    def of(cls, project: Project) -> "About":
        """From what the workspace holds; a merged model that was put there by hand has no more than
        the configuration. PocketError when a record is broken."""
        from pocketvlm.model_card import KNOWN, base_name, count_pictures

        record = project.workspace.adapter / RECORD
        base = read_record(record) if record.is_file() else None
        counts = {name: row.total() for name, row in count_pictures(project).counts.items()}
        known = base and "commit" in base and str(base["model"]).startswith(KNOWN)
        return cls(
            contract=project.contract.hash,
            name=_name(base_name(base) if base else "SmolVLM", project.contract.labels),
            task=project.config.task.question,
            licence="apache-2.0" if known else "",
            base=base,
            pictures={split: count for split, count in counts.items() if count},
            teachers=_teachers(project),
        )

    def add_to(self, writer: GGUFWriter) -> None:
        """As keys of a GGUF file."""
        writer.add_name(self.name)
        writer.add_description(self.task)
        writer.add_license(self.licence)
        if self.base:
            _add_base(writer, self.base)
        writer.add_string(GGUF_KEY, self.contract)
        for split, count in self.pictures.items():
            writer.add_uint32(f"pocketvlm.pictures.{split}", count)
        writer.add_array("pocketvlm.teachers", self.teachers)


def _teachers(project: Project) -> list[str]:
    """Those of the configuration, if any was asked: a data set of the user's own has none."""
    asked = project.workspace.answers.is_file()
    return [teacher.model for teacher in project.config.teachers] if asked else []


def _name(base: str, labels: Sequence[str]) -> str:
    more = [f"and {len(labels) - NAMED} more"] if len(labels) > NAMED else []
    return f"{base.rpartition('/')[2]}: {', '.join([*labels[:NAMED], *more])}"


def _add_base(writer: GGUFWriter, base: Row) -> None:
    """Of a folder its name, not the way there: that is this machine's own affair."""
    from pocketvlm.model_card import base_name

    owner, _, name = base_name(base).rpartition("/")
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, name)
    if "commit" in base:
        writer.add_base_model_organization(0, owner)
        writer.add_base_model_version(0, str(base["commit"]))
        writer.add_base_model_repo_url(0, HUB + str(base["model"]))
