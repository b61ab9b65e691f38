"""The data set on the Hugging Face Hub."""

from collections import Counter
from dataclasses import replace

from pocketvlm.errors import PocketError
from pocketvlm.exchange.export import CARD, MARK, NAMES, Picture, read_pictures, write_export
from pocketvlm.exchange.licences import licences, may_be_shared
from pocketvlm.exchange.upload import Upload, last_part, send, token_for
from pocketvlm.project import CONTRACT, Project
from pocketvlm.workspace import Row

REPLACED = (*(f"{name}/*" for name in NAMES.values()), CARD, CONTRACT, MARK)
"""What an upload replaces as a whole: pictures that are no longer in the data set go."""


def push_dataset(project: Project, repo_id: str, private: bool) -> Row:
    """Upload the imagefolder form with its card; where it lies and at which commit.

    The repository is made where it is not there. An interrupted upload is gone on with: what has
    arrived is not sent again, and equal content makes no commit. ConfigError without a token or
    with an impossible `repo_id`. PocketError when the Hub cannot be reached or refuses, or when
    a licence does not let pictures be shared and `private` is false. Of origins that are absolute
    paths only the file's name goes out."""
    token = token_for(project, repo_id)
    project.check_contract(project.workspace.dataset)
    splits = {
        name: list(map(_without_path, found)) for name, found in read_pictures(project).items()
    }
    if not private:
        check_licences(licences(one.row for found in splits.values() for one in found))
    folder = project.workspace.root / "state" / "push"
    write_export(project, splits, folder, "imagefolder")
    pictures = sum(map(len, splits.values()))
    upload = Upload("dataset", folder, REPLACED, "Data set of PocketVLM")
    return {"pictures": pictures, **send(upload, repo_id, token, private)}


def _without_path(one: Picture) -> Picture:
    """A picture whose origin does not tell how the folders of this machine are called."""
    origin = str(one.row.get("origin") or "")
    name = last_part(origin)
    return one if name == origin else replace(one, row=one.row | {"origin": name})


def check_licences(found: Counter[str]) -> None:
    """PocketError with the licences that do not let pictures be shared, and how many have them."""
    closed = {name: count for name, count in found.most_common() if not may_be_shared(name)}
    if closed:
        listed = ", ".join(f"{name} ({count} pictures)" for name, count in closed.items())
        raise PocketError(
            f"these licences do not let pictures be shared: {listed}; push with --private, leave "
            "them out, or correct the licences of your own pictures (collect.licence)"
        )
