"""What every stage is given: the configuration, the device contract and the folder."""

from dataclasses import dataclass
from pathlib import Path

from pocketvlm.config import Config, load_config
from pocketvlm.contract import Contract
from pocketvlm.workspace import Workspace


@dataclass(frozen=True)
class Project:
    """A configuration file and the workspace it lies in."""

    config: Config
    contract: Contract
    workspace: Workspace

    @classmethod
    def load(cls, path: Path, overrides: tuple[str, ...] = ()) -> "Project":
        """Read `pocketvlm.yaml`; ConfigError names each mistake."""
        return cls.of(load_config(path, overrides), path.resolve().parent)

    @classmethod
    def of(cls, config: Config, root: Path) -> "Project":
        """A project from a configuration made in memory."""
        return cls(config, Contract.of(config), Workspace(root))

    def path(self, given: Path) -> Path:
        """A path of the configuration: relative ones are meant from the workspace."""
        return self.workspace.root / given.expanduser()
