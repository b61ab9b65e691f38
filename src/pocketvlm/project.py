"""What every stage is given: the configuration, the device contract and the folder."""

from dataclasses import dataclass
from pathlib import Path

from pocketvlm.config import Config, load_config
from pocketvlm.contract import Contract
from pocketvlm.errors import PocketError
from pocketvlm.layout import Layout
from pocketvlm.progress import say
from pocketvlm.workspace import WRITERS, Workspace, read_json, write_json

CONTRACT = "contract.json"
"""The record of the contract in a folder that was made under it."""

ORIGINALS = "originals.json"
"""In dataset/: the file that each bitmap was prepared from, relative to the workspace."""


@dataclass(frozen=True)
class Project:
    """A configuration file and the workspace it lies in."""

    config: Config
    contract: Contract
    workspace: Workspace
    agreed: bool = False
    """Whether the user has agreed (`--yes`) to pay for questions that were answered before in
    another wording."""

    @classmethod
    def load(cls, path: Path, overrides: tuple[str, ...] = (), agreed: bool = False) -> "Project":
        """Read `pocketvlm.yaml`; ConfigError names each mistake."""
        return cls.of(load_config(path, overrides), path.resolve().parent, agreed)

    @classmethod
    def of(cls, config: Config, root: Path, agreed: bool = False) -> "Project":
        """A project from a configuration made in memory."""
        return cls(config, Contract.of(config), Workspace(root), agreed)

    def path(self, given: Path) -> Path:
        """A path of the configuration: relative ones are meant from the workspace."""
        return self.workspace.root / given.expanduser()

    def record_contract(self, folder: Path, layout: Layout | None = None) -> None:
        """Write down in `folder` under which contract it is made, and under which token layout."""
        record = self.contract.describe() | (layout.record() if layout else {})
        write_json(folder / CONTRACT, record)

    def check_contract(self, folder: Path) -> None:
        """PocketError when a folder of the workspace was made under another contract."""
        path = folder / CONTRACT
        if not path.is_file():
            if folder.is_dir():
                say(f"{path} is missing: {folder.name} is taken as made for this contract.")
        elif read_json(path).get("hash") != self.contract.hash:
            raise PocketError(
                f"{folder} was made for another device contract: run `pocketvlm "
                f"{WRITERS[folder.name]}` again"
            )
