"""What can be known before anything runs: the configuration, the labels, the machine."""

import platform
import shutil
from importlib.metadata import version
from pathlib import Path

from pocketvlm.base import TOKENIZER_FILES, check_labels, find_base
from pocketvlm.collect.folder import files
from pocketvlm.config import Config, commented_yaml
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.keys import LOOPBACK, check_address, read_key
from pocketvlm.label.money import price_of, price_words
from pocketvlm.project import Project
from pocketvlm.teachers import Teacher
from pocketvlm.workspace import Row, write_text

PACKAGES = ("torch", "transformers", "peft", "gguf", "llama-cpp-python", "openai")


KEPT_OUT = (
    ".env",
    "originals",
    "labels",
    "dataset",
    "adapter",
    "merged",
    "gguf",
    "report",
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


def examine(project: Project) -> tuple[Row, list[PocketError]]:
    """Facts about this project on this machine, and everything found that would fail later."""
    facts: Row = {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "contract": project.contract.hash,
    }
    problems: list[PocketError] = []
    for check in (_runtime, _base, _layout, _pictures, _teacher, _truth, _disk):
        try:
            facts |= check(project)
        except PocketError as problem:
            problems.append(problem)
    return facts, problems


def _runtime(_: Project) -> Row:
    try:
        from pocketvlm.runtime import identity
    except (OSError, RuntimeError) as error:  # a wheel compiled for another processor or libc
        raise PocketError(
            f"llama.cpp does not load ({error}): "
            "pip install --force-reinstall --no-cache-dir llama-cpp-python"
        ) from None
    return {"runtime": identity()}


def _base(project: Project) -> Row:
    check_labels(project)
    return {
        "labels": list(project.contract.labels),
        "base": find_base(project, TOKENIZER_FILES).record,
    }


def _layout(project: Project) -> Row:
    """What this build will make of prompt and picture; a missing base or build is told already."""
    try:
        from pocketvlm.runtime import ask_layout

        folder = find_base(project, TOKENIZER_FILES).folder
    except (OSError, RuntimeError, PocketError):
        return {}
    return {"layout": ask_layout(folder, project.contract).words}


def _pictures(project: Project) -> Row:
    custom = project.config.prepare.custom
    if custom and not project.path(custom).is_file():
        raise ConfigError(f"prepare.custom: {project.path(custom)} does not exist")
    if custom or project.workspace.index.is_file():
        return {}
    settings = project.config.collect
    folder = project.path(settings.folder)
    searched = settings.searched()
    found = 0 if searched and not folder.is_dir() else sum(1 for _ in files(folder))
    if not found and not searched:
        raise ConfigError(f"collect.folder: {folder} is empty: put pictures in")
    return {"files": found} | ({"sources": _sources(project)} if searched else {})


def _sources(project: Project) -> Row:
    """How many pictures are asked of each source; the only one that needs a key has it."""
    unsplash = project.config.collect.unsplash
    if unsplash and not read_key(unsplash.api_key_env, project.workspace.root):
        raise ConfigError(
            f"no key for {unsplash.base_url}: make one at https://unsplash.com/oauth/applications "
            f"and put {unsplash.api_key_env}=... into {project.workspace.root / '.env'}"
        )
    wanted = project.config.collect.searched()
    return {source: pictures for source, (_, pictures) in wanted.items()}


def _teacher(project: Project) -> Row:
    """Key and price of each teacher; a local server needs neither."""
    if project.config.prepare.custom:
        return {}
    return {
        "teachers": [
            {
                "teacher": f"{teacher.model} at {teacher.base_url}",
                "key": _key(teacher, project.workspace.root),
                "price": price_words(price_of(project.config, teacher)),
            }
            for teacher in project.config.teachers
        ]
    }


def _key(teacher: Teacher, root: Path) -> str:
    host = check_address(teacher.base_url)
    key = read_key(teacher.api_key_env, root)
    if not key and host not in LOOPBACK:
        raise ConfigError(
            f"no key for {teacher.base_url}: put {teacher.api_key_env}=... into "
            f"{root / '.env'} or the environment"
        )
    return f"found as {teacher.api_key_env}" if key else "none, not needed on this machine"


def _truth(project: Project) -> Row:
    """What accuracy is measured against: found missing only after training, it would be late."""
    file = project.config.validate_.truth_file
    if file and not project.path(file).is_file():
        raise ConfigError(f"validate.truth_file: {project.path(file)} does not exist")
    return {"truth": project.config.validate_.truth}


def _disk(project: Project) -> Row:
    return {"free_gib": round(shutil.disk_usage(project.workspace.root).free / 2**30, 1)}
