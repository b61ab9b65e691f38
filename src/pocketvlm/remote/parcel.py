"""What a project's run needs on the server: the configuration, what it names, what is finished."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pocketvlm.errors import ConfigError
from pocketvlm.keys import read_key
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.remote.transfer import Sending
from pocketvlm.workspace import sha256_file

KEPT = {"collect": "originals", "prepare": "dataset", "train": "adapter"}
"""Stages whose results are sent: to have them again costs hours or other people's bandwidth. What
merge and convert make of the adapter weighs gigabytes and is made again in a minute."""

LEDGERS = ("labels/answers.jsonl", "labels/reviews.jsonl")
"""Append-only on both sides."""


@dataclass(frozen=True)
class Named:
    """A path of the configuration that lies on this machine."""

    key: str
    given: str
    files: tuple[Path, ...]
    """The file or folder itself first, then what it names in its turn."""


def named(project: Project) -> Iterator[Named]:
    """Everything the configuration names that a run reads; ConfigError where it must be there."""
    config = project.config
    custom, truth, base = config.prepare.custom, config.validate_.truth_file, config.base.model
    if custom:
        file = _needed(project, "prepare.custom", custom)
        yield Named("prepare.custom", str(custom), (file, *_pictures(file)))
    else:
        yield from _sources(project)
    if truth:
        file = _needed(project, "validate.truth_file", truth)
        yield Named("validate.truth_file", str(truth), (file,))
    if (folder := _plain(project, base)).is_dir():
        yield Named("base.model", base, (folder,))


def _sources(project: Project) -> Iterator[Named]:
    """Where pictures come from, as far as it is here."""
    collect, space = project.config.collect, project.workspace
    folder = _plain(project, str(collect.folder))
    if space.root.is_relative_to(folder.resolve()):
        raise ConfigError(f"collect.folder: {folder} holds the project itself: name another one")
    have = space.index.is_file() or space.split("train").is_file() or collect.searched()
    if folder.is_dir() or not have:
        _needed(project, "collect.folder", collect.folder)
        yield Named("collect.folder", str(collect.folder), (folder,))
    others = {
        "collect.coco.annotations": collect.coco and collect.coco.annotations,
        "collect.hub.dataset": collect.hub and collect.hub.dataset,
    }
    for key, given in others.items():
        if given and (path := _plain(project, given)).exists():
            yield Named(key, given, (path,))


def _plain(project: Project, given: str) -> Path:
    """Absolute, without `..`; links stay, because they are followed when it is sent."""
    return Path(os.path.normpath(project.path(Path(given))))


def _needed(project: Project, key: str, given: Path) -> Path:
    path = _plain(project, str(given))
    if not path.exists():
        raise ConfigError(f"{key}: {path} does not exist: correct the path")
    return path


def _pictures(custom: Path) -> list[Path]:
    """The pictures that a file of labels names, as far as they are here."""
    from pocketvlm.prepare.source import is_file, read_any_json

    images = [str(row.get("image_path")) for row in read_any_json(custom)]
    found = [image for image in images if is_file(custom.parent / image)]
    if absolute := [image for image in found if Path(image).is_absolute()]:
        raise ConfigError(
            f"prepare.custom: {custom} names pictures by absolute paths ({absolute[0]}), which the "
            "server has not: write them relative to the file"
        )
    return [Path(os.path.normpath(custom.parent / image)) for image in found]


def pack(project: Project, config: Path) -> tuple[list[Sending], list[str]]:
    """What is sent in any case, and the `--set` that say where it lies there. What lies outside of
    the project's folder goes below `outside/`."""
    root = project.workspace.root
    inside, outside, overrides = [config.name], list[Sending](), list[str]()
    for one in named(project):
        if all(file.is_relative_to(root) for file in one.files):
            base, there = root, ""
            inside += [file.relative_to(root).as_posix() for file in one.files]
        else:
            base = Path(os.path.commonpath([file.parent for file in one.files]))
            there = f"outside/{one.key}/"
            names = tuple(file.relative_to(base).as_posix() for file in one.files)
            outside.append(Sending(base, names, there.rstrip("/")))
        place = f"{there}{one.files[0].relative_to(base).as_posix()}"
        if there or Path(one.given).expanduser().is_absolute():
            overrides.append(f"{one.key}={json.dumps(place)}")
    return [Sending(root, tuple(dict.fromkeys(inside))), *outside], overrides


def finished(project: Project, holds: Mapping[str, str]) -> list[str]:
    """Results of stages and their manifests, unless the server has made its own since: `holds` are
    the SHA-256 of the manifests there."""
    root, names = project.workspace.root, list[str]()
    for stage, folder in KEPT.items():
        if stage == "collect" and project.config.prepare.custom:
            continue
        if _theirs(project, stage, holds):
            if (root / folder).is_dir():
                say(f"{folder}/: the server has its own and keeps it")
            continue
        records = [f"state/{stage}.json"] + (["state/base.json"] if stage == "train" else [])
        names += [name for name in (folder, *records) if (root / name).exists()]
    if not _theirs(project, "label", holds):
        labels = ("labels/report.html", "state/label.json")
        names += [name for name in labels if (root / name).exists()]
    return names


def _theirs(project: Project, stage: str, holds: Mapping[str, str]) -> bool:
    """Whether the server has run the stage since it was sent, or has it from elsewhere."""
    there, ours = holds.get(f"state/{stage}.json"), project.workspace.manifest(stage)
    return there is not None and not (ours.is_file() and sha256_file(ours) == there)


def keys(project: Project) -> dict[str, str]:
    """The keys that the run may ask for, by their names, as far as they are here; they are never
    sent as files."""
    config = project.config
    names: list[str] = []
    if not config.prepare.custom:
        names += [teacher.api_key_env for teacher in config.teachers]
        names += [config.collect.unsplash.api_key_env] if config.collect.unsplash else []
    if config.collect.hub or not project.path(Path(config.base.model)).is_dir():
        names.append("HF_TOKEN")
    if config.track.wandb == "online":
        names.append("WANDB_API_KEY")
    found = {name: read_key(name, project.workspace.root) for name in dict.fromkeys(names)}
    return {name: key for name, key in found.items() if key}
