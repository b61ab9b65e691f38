"""The data set on the Hugging Face Hub."""

from collections import Counter
from dataclasses import replace
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.exchange.export import CARD, MARK, NAMES, Picture, read_pictures, write_export
from pocketvlm.exchange.licences import licences, may_be_shared
from pocketvlm.keys import hide, read_key
from pocketvlm.progress import say
from pocketvlm.project import CONTRACT, Project
from pocketvlm.workspace import Row

TOKEN = "HF_TOKEN"

REPLACED = (*(f"{name}/*" for name in NAMES.values()), CARD, CONTRACT, MARK)
"""What an upload replaces as a whole: pictures that are no longer in the data set go."""


def push_dataset(project: Project, repo_id: str, private: bool) -> Row:
    """Upload the imagefolder form with its card; where it lies and at which commit.

    The repository is made where it is not there. An interrupted upload is gone on with: what has
    arrived is not sent again, and equal content makes no commit. ConfigError without a token or
    with an impossible `repo_id`. PocketError when the Hub cannot be reached or refuses, or when
    a licence does not let pictures be shared and `private` is false. Of origins that are absolute
    paths only the file's name goes out."""
    token = read_key(TOKEN, project.workspace.root)
    if token is None:
        raise ConfigError(
            f"{TOKEN} is not set: make a token with write access at "
            "https://huggingface.co/settings/tokens and put it into the environment or .env"
        )
    _check_id(repo_id)
    project.check_contract(project.workspace.dataset)
    splits = {
        name: list(map(_without_path, found)) for name, found in read_pictures(project).items()
    }
    if not private:
        check_licences(licences(one.row for found in splits.values() for one in found))
    folder = project.workspace.root / "state" / "push"
    write_export(project, splits, folder, "imagefolder")
    pictures = sum(map(len, splits.values()))
    return {"pictures": pictures, **_upload(repo_id, token, private, str(folder))}


def _without_path(one: Picture) -> Picture:
    """A picture whose origin does not tell how the folders of this machine are called."""
    origin = str(one.row.get("origin") or "")
    if not (PurePosixPath(origin).is_absolute() or PureWindowsPath(origin).is_absolute()):
        return one
    return replace(one, row=one.row | {"origin": PureWindowsPath(origin).name})


def _check_id(repo_id: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ConfigError(f"{repo_id!r} is no id of the Hub ({error}): write user/name") from None


def check_licences(found: Counter[str]) -> None:
    """PocketError with the licences that do not let pictures be shared, and how many have them."""
    closed = {name: count for name, count in found.most_common() if not may_be_shared(name)}
    if closed:
        listed = ", ".join(f"{name} ({count} pictures)" for name, count in closed.items())
        raise PocketError(
            f"these licences do not let pictures be shared: {listed}; push with --private, leave "
            "them out, or correct the licences of your own pictures (collect.licence)"
        )


def _upload(repo_id: str, token: str, private: bool, folder: str) -> Row:
    import httpx2
    from huggingface_hub import HfApi

    api: Any = HfApi(token=token)
    try:
        name = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True).repo_id
        closed = bool(api.dataset_info(name).private)
        if private and not closed:
            raise PocketError(
                f"{name} is there already and is public: make it private in its settings, or "
                "choose another name"
            )
        say(f"Uploading to {name} ...")
        commit = api.upload_folder(
            repo_id=name,
            repo_type="dataset",
            folder_path=folder,
            delete_patterns=list(REPLACED),
            commit_message="Data set of PocketVLM",
        )
    except (httpx2.HTTPError, OSError, ValueError) as error:
        said = hide(" ".join(str(error).split())[:300], token)
        raise PocketError(
            f"the Hub did not take {repo_id} ({type(error).__name__}: {said}): check that {TOKEN} "
            "may write there, then run the same command again: it goes on from here"
        ) from None
    return {"repo": name, "private": closed, "url": commit.commit_url, "commit": commit.oid}
