"""A folder onto the Hugging Face Hub, whatever it holds."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.keys import hide, read_key
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.workspace import Row

TOKEN = "HF_TOKEN"


@dataclass(frozen=True)
class Upload:
    """A folder that a repository shall hold."""

    kind: Literal["dataset", "model"]
    folder: Path
    replaced: tuple[str, ...]
    """Files of the repository that go when the folder does not hold them."""
    message: str


def token_for(project: Project, repo_id: str) -> str:
    """The token; ConfigError where there is none, or for an impossible id."""
    token = read_key(TOKEN, project.workspace.root)
    if token is None:
        raise ConfigError(
            f"{TOKEN} is not set: make a token with write access at "
            "https://huggingface.co/settings/tokens and put it into the environment or .env"
        )
    _check_id(repo_id)
    return token


def _check_id(repo_id: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ConfigError(f"{repo_id!r} is no id of the Hub ({error}): write user/name") from None


def send(upload: Upload, repo_id: str, token: str, private: bool) -> Row:
    """Make the repository where it is not there, and upload; where it lies and at which commit.

    What has arrived is not sent again, and equal content makes no commit. PocketError when the Hub
    cannot be reached or refuses."""
    import httpx2
    from huggingface_hub import HfApi

    api: Any = HfApi(token=token)
    kind = upload.kind
    try:
        name = api.create_repo(repo_id, repo_type=kind, private=private, exist_ok=True).repo_id
        closed = bool(api.repo_info(name, repo_type=kind).private)
        if private and not closed:
            raise PocketError(
                f"{name} is there already and is public: make it private in its settings, or "
                "choose another name"
            )
        say(f"Uploading to {name} ...")
        commit = api.upload_folder(
            repo_id=name,
            repo_type=kind,
            folder_path=str(upload.folder),
            delete_patterns=list(upload.replaced),
            commit_message=upload.message,
        )
    except (httpx2.HTTPError, OSError, ValueError, RuntimeError) as error:
        raise PocketError(_failure(repo_id, error, token)) from None
    return {"repo": name, "private": closed, "url": commit.commit_url, "commit": commit.oid}


def _failure(repo_id: str, error: Exception, token: str) -> str:
    """What went wrong, and what to check."""
    import httpx2

    # What stops the upload of a large file comes wrapped in a RuntimeError
    # (huggingface_hub 2.4, _commit_api.py).
    cause = (error.__cause__ if isinstance(error, RuntimeError) else None) or error
    said = hide(" ".join(str(cause).split()), token)[:300]  # half a token is one too
    if isinstance(cause, (httpx2.TransportError, ConnectionError)):
        what, check = f"the Hub could not be reached for {repo_id}", "the network"
    else:
        what, check = f"the Hub did not take {repo_id}", f"that {TOKEN} may write there"
    return (
        f"{what} ({type(cause).__name__}: {said}): check {check}, then run the same command again: "
        "it goes on from here"
    )


def last_part(path: str) -> str:
    """The name alone of an absolute path; anything else as it is."""
    absolute = PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()
    return PureWindowsPath(path).name if absolute else path
