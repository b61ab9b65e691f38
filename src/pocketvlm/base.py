"""The pre-trained student as files: found in a folder or on the hub, its tokenizer read."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer

from pocketvlm.contract import END, IMAGE, Encode
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_json, sha256_file, write_json

RECORD = "base.json"
"""In state/ the base at its first load, beside the adapter the one it was trained on."""

TOKENIZER_FILES = ("config.json", "generation_config.json", "tokenizer*.json")
MODEL_FILES = (*TOKENIZER_FILES, "special_tokens_map.json", "*.safetensors", "*.index.json")

LARGE = 2**24
"""Bytes from which on a hash is remembered: reading so many takes longer than a tick of the file
system's clock (4 ms), so that a file that changes after it was read has another time."""


class BaseUnreachable(PocketError):
    """Neither the hub nor its cache on this disk gave the base."""


@dataclass(frozen=True)
class Base:
    """Where the base lies on this disk and what it is."""

    folder: Path
    record: Row
    """`model`, `revision`, and `commit` (hub) or `sha256` of the files (local folder)."""


def find_base(project: Project, files: Sequence[str] = MODEL_FILES) -> Base:
    """The base's folder, downloaded at need; `revision: main` is resolved to a commit.

    The commit of the first load is recorded and used from then on, so that a moved branch can
    neither change the base between two stages nor put an adapter onto another one. ConfigError
    or PocketError name what is missing."""
    base = project.config.base
    local = project.path(Path(base.model))
    if local.is_dir():
        found = sorted(path for pattern in MODEL_FILES for path in local.glob(pattern))
        hashes = {path.name: _sha256(path) for path in found}
        return Base(local, {"model": base.model, "revision": None, "sha256": hashes})
    wanted = {"model": base.model, "revision": base.revision}
    commit = _known_commit(project, wanted)
    folder = _download(base.model, commit or base.revision, files, local)
    record = wanted | {"commit": folder.name}
    if commit is None:
        write_json(project.workspace.root / "state" / RECORD, record)
    return Base(folder, record)


def _sha256(path: Path) -> str:
    """Hash of a file, read once a process: every stage asks several times about a gigabyte.

    The time of the last change (ctime) counts too: copying tools put the modification time back.
    Nothing is kept for the next process, whose hash is the proof that the weights are the same."""
    facts = path.stat()
    if facts.st_size < LARGE:
        return sha256_file(path)
    return _remembered(path, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


@cache
def _remembered(path: Path, *_: int) -> str:
    return sha256_file(path)


def _known_commit(project: Project, wanted: Row) -> str | None:
    """The commit of the adapter, else of the first load in this workspace."""
    for folder in (project.workspace.adapter, project.workspace.root / "state"):
        if (folder / RECORD).is_file():
            known = read_json(folder / RECORD)
            if {name: known.get(name) for name in wanted} == wanted:
                return str(known["commit"])
    return None


def _download(model: str, revision: str, files: Sequence[str], local: Path) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(files)))
    except HFValidationError:
        raise ConfigError(
            f"base.model: {model!r} is neither a folder ({local}) nor a hub id"
        ) from None
    except LocalEntryNotFoundError:
        raise BaseUnreachable(
            f"the base {model} is not in the hub's cache and the hub cannot be reached: "
            "connect once, or set base.model to a local folder"
        ) from None
    except HfHubHTTPError as error:
        raise PocketError(
            f"the hub refused {model} at {revision} ({type(error).__name__}): check base.model "
            "and base.revision; a gated model needs HF_TOKEN in the environment"
        ) from None


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer as its file says; PocketError when it is not of SmolVLM's kind.

    transformers 5.23's AutoTokenizer rebuilds SmolVLM's pre-tokenizer and loses its digits rule
    ("a\\n\\n3" becomes other tokens than in llama.cpp), so the file is read as it is."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise PocketError(f"{path} does not exist: {folder} is no complete model folder")
    try:
        tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing narrower
        raise PocketError(f"{path} is no tokenizer ({error}): copy it again") from None
    for token in (IMAGE, END):
        if tokenizer.token_to_id(token) is None:
            raise PocketError(f"{path} has no token {token}: it is not SmolVLM's tokenizer")
    return tokenizer


def encoder(tokenizer: Tokenizer) -> Encode:
    """Text to token ids: special tokens parsed, none added."""

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    return encode


def check_labels(project: Project) -> None:
    """ConfigError when the base's tokenizer cannot tell the labels' answers apart."""
    folder = find_base(project, TOKENIZER_FILES).folder
    project.contract.check_answers(encoder(load_tokenizer(folder)))
