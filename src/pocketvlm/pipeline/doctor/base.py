"""The base: its tokenizer and sizes now, its weights where training will look for them."""

from pathlib import Path

from pocketvlm.base import RECORD, TOKENIZER_FILES, encoder, find_base, load_tokenizer
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.export.checkpoint import INDEX, SINGLE
from pocketvlm.pipeline.doctor.found import Found
from pocketvlm.pipeline.doctor.gpu import gb
from pocketvlm.pipeline.doctor.student_sizes import StudentSizes
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_record

WANTED = ("config.json", "generation_config.json", "tokenizer.json")
"""Of the hub's cache; a base without one of them is asked for."""

PATIENCE = 5
"""Seconds in which the hub says which files a model has."""

READERS = ("train", "merge", "validate")
"""Stages that load the base."""


def check_base(found: Found) -> None:
    """Labels, sizes and weights of the base; nothing but tokenizer and config is downloaded."""
    if not found.any_due(*READERS):
        merged = found.project.workspace.merged
        if found.any_due("convert") and (merged / "config.json").is_file():
            found.model = merged
        return
    folder, record = _folder(found)
    StudentSizes.read(folder, found.project.contract.side)  # another architecture ends it here
    found.model, found.facts["base"] = folder, record
    with found.going_on():
        record["weights"] = _weights(found, folder, record)
    found.project.contract.check_answers(encoder(load_tokenizer(folder)))
    found.facts["labels"] = list(found.project.contract.labels)


def _folder(found: Found) -> tuple[Path, Row]:
    """Where config and tokenizer lie, and what is known of the base."""
    base = found.project.config.base
    local = found.project.path(Path(base.model))
    if local.is_dir():
        return local, {"model": base.model}
    if cached := in_cache(found.project):
        return cached, {"model": base.model, "commit": cached.name}
    given = find_base(found.project, TOKENIZER_FILES)
    return given.folder, dict(given.record)


def _weights(found: Found, folder: Path, record: Row) -> str:
    """Whether they are there, in words; PocketError or ConfigError where they cannot be had."""
    if "commit" not in record:
        return f"complete, {gb(check_weights(folder))} GB"
    try:
        return f"in the hub's cache, {gb(check_weights(folder))} GB"
    except PocketError:
        found.to_download = to_download(str(record["model"]), str(record["commit"]))
    return f"on the hub, {gb(found.to_download)} GB to download"


def check_weights(folder: Path) -> int:
    """Bytes of a folder's weights; PocketError where a file is missing, cut short or none."""
    from safetensors import SafetensorError, safe_open

    total = 0
    for name in weight_files(folder):
        path = folder / name
        try:
            with safe_open(path, "numpy"):
                total += path.stat().st_size
        except FileNotFoundError:
            raise PocketError(
                f"{path} does not exist: {folder} is no complete model folder, copy it again"
            ) from None
        except SafetensorError as error:
            raise PocketError(f"{path} is cut short or damaged ({error}): copy it again") from None
    return total


def weight_files(folder: Path) -> list[str]:
    """Names of the files that hold a model's weights: one, or those of its index."""
    if not (folder / INDEX).is_file():
        return [SINGLE]
    weights = read_record(folder / INDEX).get("weight_map")
    names = set(weights.values()) if isinstance(weights, dict) else set()
    if not names or not all(isinstance(name, str) for name in names):
        raise PocketError(f"{folder / INDEX} names no files: copy it again")
    return sorted(names)


def in_cache(project: Project) -> Path | None:
    """The base's folder in the hub's cache when all of it is there, weights too: then nobody is
    asked."""
    from huggingface_hub import try_to_load_from_cache

    base, record = project.config.base, project.workspace.root / "state" / RECORD
    known = read_record(record) if record.is_file() else {}
    same = (known.get("model"), known.get("revision")) == (base.model, base.revision)
    revision = str(known["commit"]) if same else base.revision
    try:
        found = [try_to_load_from_cache(base.model, name, revision=revision) for name in WANTED]
    except ValueError:  # no id of the hub: whoever asks for it says so
        return None
    paths = [Path(path) for path in found if isinstance(path, str)]
    if len(paths) < len(WANTED):
        return None
    folder = paths[0].parent
    try:
        check_weights(folder)
    except PocketError:
        return None
    return folder


def to_download(model: str, commit: str) -> int:
    """Bytes of the weights that the cache has not. PocketError when the hub refuses or cannot be
    reached, ConfigError when it has none."""
    import httpx2
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    try:
        info = HfApi().model_info(model, revision=commit, files_metadata=True, timeout=PATIENCE)
    except HfHubHTTPError as error:
        raise PocketError(
            f"the hub does not show the files of {model} ({type(error).__name__}): check "
            "base.model; a gated model needs HF_TOKEN in the environment"
        ) from None
    except (httpx2.HTTPError, OSError) as error:
        raise PocketError(
            f"the weights of {model} are not in the hub's cache and the hub cannot be reached "
            f"({type(error).__name__}): connect, or set base.model to a local folder"
        ) from None
    sizes = {one.rfilename: one.size or 0 for one in info.siblings or ()}
    if not {SINGLE, INDEX} & sizes.keys():
        raise ConfigError(
            f"base.model: {model} has neither {SINGLE} nor its index: name a SmolVLM with weights"
        )
    weights = [name for name in sizes if name.endswith(".safetensors")]
    cached = {
        name
        for name in weights
        if isinstance(try_to_load_from_cache(model, name, revision=commit), str)
    }
    return sum(sizes[name] for name in weights if name not in cached)
