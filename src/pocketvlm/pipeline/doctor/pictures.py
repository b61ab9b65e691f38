"""How many pictures there will be, and how much of them lies here already."""

import warnings
from pathlib import Path

from pocketvlm.errors import ConfigError
from pocketvlm.keys import read_key
from pocketvlm.pipeline.doctor.found import Expected, Found
from pocketvlm.pipeline.stages import STAGES
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_json, read_rows, sha256_file

SPLITS = ("train", "val", "test")


def check_pictures(found: Found) -> None:
    """Whether there is anything to work on: what `collect` or `prepare` would find missing."""
    project, found.coming = found.project, expected(found)
    custom = project.config.prepare.custom
    if custom:
        if found.any_due("prepare") and not project.path(custom).is_file():
            raise ConfigError(f"prepare.custom: {project.path(custom)} does not exist")
        return
    collected = project.workspace.index.is_file()
    if not found.any_due("collect") or (collected and not found.before_run):
        return
    files, searched = _files(project), project.config.collect.searched()
    if not (files or searched or collected):
        folder = project.path(project.config.collect.folder)
        raise ConfigError(f"collect.folder: {folder} is empty: put pictures in")
    found.facts["files"] = len(files)
    if searched:
        found.facts["sources"] = _sources(project)


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


def _files(project: Project) -> list[Path]:
    """Files of `collect.folder`; ConfigError where it is missing and no other source is named."""
    from pocketvlm.collect.folder import files

    folder = project.path(project.config.collect.folder)
    if project.config.collect.searched() and not folder.is_dir():
        return []
    return list(files(folder))


def expected(found: Found) -> Expected:
    """Pictures that the stages which are due will see. What is not there yet counts as asked for;
    what cannot be read counts, too, so this is rather too many."""
    project, space = found.project, found.project.workspace
    custom = project.config.prepare.custom
    if custom and found.any_due("prepare"):
        path = project.path(custom)
        return Expected(_lines(path) if path.is_file() else 0)
    if not found.any_due("collect", "label", "prepare"):
        return Expected(sum(_lines(space.split(name)) for name in SPLITS))
    collected = _lines(space.index)
    if not found.any_due("collect"):
        return Expected(collected)
    files = _files(project) if project.path(project.config.collect.folder).is_dir() else []
    sizes = sum(path.stat().st_size for path in files)
    searched = sum(count for _, count in project.config.collect.searched().values())
    return Expected(max(collected, len(files) + searched), sizes, searched)


def adds_pictures(project: Project) -> bool:
    """Whether `collect` may find pictures that the index has not. Files of a name and size that it
    has are not read: a copied folder is told from a new one in no time."""
    from PIL import Image

    from pocketvlm.collect.check import check

    settings, rows = project.config.collect, list(read_rows(project.workspace.index))
    if settings.searched() and not _sought_before(project):
        return True
    names = {(row.get("origin"), row.get("bytes")) for row in rows}
    sizes, hashes = {row.get("bytes") for row in rows}, {row["sha256"] for row in rows}

    def is_new(path: Path) -> bool:
        size = path.stat().st_size
        if (path.relative_to(folder).as_posix(), size) in names:
            return False
        if size in sizes and sha256_file(path) in hashes:
            return False
        seen = check(path, settings)
        return not isinstance(seen, str) and seen["sha256"] not in hashes

    folder = project.path(settings.folder)
    files = _files(project) if folder.is_dir() else []
    with warnings.catch_warnings():  # collect.max_megapixels decides
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return any(is_new(path) for path in files if path.is_file())


def _sought_before(project: Project) -> bool:
    """Whether `collect` has ended under the present settings: its sources have no more to give."""
    manifest = project.workspace.manifest("collect")
    before = read_json(manifest).get("settings") if manifest.is_file() else None
    return bool(before == STAGES[0].values(project))


def _lines(path: Path) -> int:
    """Lines of a JSON Lines file, or entries of a JSON list; 0 where no file is."""
    if not path.is_file():
        return 0
    if path.suffix == ".jsonl":
        with path.open("rb") as file:
            return sum(1 for line in file if line.strip())
    from pocketvlm.prepare.source import read_any_json

    return sum(1 for _ in read_any_json(path))
