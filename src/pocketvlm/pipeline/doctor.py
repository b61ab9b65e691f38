"""What can be known before anything runs: the configuration, the labels, the machine."""

import platform
import shutil
from importlib.metadata import version
from pathlib import Path

from pocketvlm.base import check_labels, find_base
from pocketvlm.config import Config, commented_yaml
from pocketvlm.errors import ConfigError
from pocketvlm.project import Project
from pocketvlm.workspace import Row, write_text

PACKAGES = ("torch", "transformers", "peft", "gguf", "llama-cpp-python", "openai")


def write_config(folder: Path) -> Path:
    """Write the default configuration, never over an existing one."""
    path = folder / "pocketvlm.yaml"
    if path.exists():
        raise ConfigError(f"{path} exists already: edit it, or give another folder")
    write_text(path, commented_yaml(Config()))
    return path


def examine(project: Project) -> Row:
    """Facts about this project on this machine; the first thing that would fail is raised."""
    check_labels(project)
    free = shutil.disk_usage(project.workspace.root).free
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "labels": list(project.contract.labels),
        "contract": project.contract.hash,
        "base": find_base(project).record,
        "free_gib": round(free / 2**30, 1),
    }
