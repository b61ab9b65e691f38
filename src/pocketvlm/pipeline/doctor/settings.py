"""A new project's configuration."""

from pathlib import Path

from pocketvlm.config import Config, commented_yaml
from pocketvlm.errors import ConfigError
from pocketvlm.workspace import write_text

KEPT_OUT = (
    ".env",
    "pictures",
    "originals",
    "labels",
    "dataset",
    "adapter",
    "merged",
    "gguf",
    "report",
    "verdicts",
    "bundle",
    "sizes",
)
"""What does not belong into a repository: the key, pictures, weights and everything derived."""


def write_config(folder: Path) -> Path:
    """Write the default configuration, never over an existing one, and a .gitignore that keeps
    keys, pictures and weights out of a repository."""
    path, ignored = folder / "pocketvlm.yaml", folder / ".gitignore"
    if path.exists():
        raise ConfigError(f"{path} exists already: edit it, or give another folder")
    write_text(path, commented_yaml(Config()))
    if not ignored.exists():
        write_text(ignored, "".join(f"/{name}\n" for name in (*KEPT_OUT, "state", "logs")))
    return path
