"""The trained models on the Hugging Face Hub."""

import shutil
from pathlib import Path
from typing import Any

from pocketvlm.base import RECORD, find_base
from pocketvlm.errors import PocketError
from pocketvlm.exchange.export import CARD
from pocketvlm.exchange.upload import Upload, last_part, send, token_for
from pocketvlm.model_card import Model, base_name, home, judged, render
from pocketvlm.pipeline import STAGES, why
from pocketvlm.progress import say
from pocketvlm.project import CONTRACT, Project
from pocketvlm.workspace import (
    Row,
    atomic_folder,
    link,
    read_json,
    read_record,
    write_json,
    write_text,
)

ADAPTER_CONFIG = "adapter_config.json"

FILES: dict[Model, tuple[str, ...]] = {
    "adapter": (
        *(ADAPTER_CONFIG, "adapter_model.safetensors"),
        *(RECORD, CONTRACT, "history.json", "history.png"),
    ),
    "merged": (
        *("config.json", "generation_config.json", CONTRACT),
        *("model*.safetensors", "model.safetensors.index.json"),
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    ),
}
"""What goes out of a model's folder, and with the card what an upload replaces; nothing else of
the repository is touched."""

MAKERS: dict[Model, tuple[str, ...]] = {"adapter": ("train",), "merged": ("train", "merge")}
"""The stages that a model comes from."""


def push_model(project: Project, what: Model, repo_id: str, private: bool) -> Row:
    """Upload the adapter or the merged model with a card written now; where it lies and at which
    commit. `accuracy` is the verdict's, None where there is none of these files.

    As with the data set, what has arrived is not sent again. ConfigError without a token or with
    an impossible `repo_id`. PocketError when the Hub cannot be reached or refuses, or when the
    files are not what configuration and data make now."""
    token = token_for(project, repo_id)
    check_model(project, what)
    verdict = judged(project)
    if verdict is None:
        say("The card holds no verdict on these files: `pocketvlm validate` gives one.")
    folder = project.workspace.root / "state" / f"push-{what}"
    write_model(project, what, render(project, what, home(project, what), verdict), folder)
    upload = Upload("model", folder, (*FILES[what], CARD), f"PocketVLM: {what}")
    try:
        sent = send(upload, repo_id, token, private)
    finally:
        # Its links would keep a model that is made anew on the disk. After a failure nothing is
        # lost: the Hub knows what has arrived by its content.
        shutil.rmtree(folder)
    return {"accuracy": verdict["accuracy"] if verdict else None, **sent}


def check_model(project: Project, what: Model) -> None:
    """PocketError when the model is not there, or is not what configuration and data make now."""
    adapter, merged = project.workspace.adapter, project.workspace.merged
    if not (adapter / ADAPTER_CONFIG).is_file():
        raise PocketError(f"{adapter} holds no adapter: run `pocketvlm train` first")
    made = read_record(adapter / RECORD)
    if made.get("contract") != project.contract.hash or not _same_base(project, made):
        other = "base" if made.get("contract") == project.contract.hash else "device contract"
        raise PocketError(
            f"{adapter} was trained on another {other}, or by an older pocketvlm: run `pocketvlm "
            "train` again, or put the configuration back"
        )
    if what == "merged":
        if not (merged / "config.json").is_file():
            raise PocketError(f"{merged} holds no model: run `pocketvlm merge` first")
        project.check_contract(merged)
    for stage in STAGES:
        known = project.workspace.manifest(stage.name).is_file()  # else it is taken as it is
        if known and stage.name in MAKERS[what] and (reason := why(project, stage)):
            raise PocketError(
                f"{home(project, what)} is not what the project makes now; {stage.name} would run "
                f"{reason}: run `pocketvlm run --from {stage.name} --until {MAKERS[what][-1]}`"
            )


def _same_base(project: Project, made: Row) -> bool:
    """Whether an adapter's record names the present base. One of the Hub is not downloaded."""
    base = project.config.base
    local = project.path(Path(base.model)).is_dir()
    wanted = (
        find_base(project).record if local else {"model": base.model, "revision": base.revision}
    )
    return {name: made.get(name) for name in wanted} == wanted


def write_model(project: Project, what: Model, page: str, folder: Path) -> None:
    """Put what goes out into `folder`, linked where it can go as it is."""
    base = read_record(project.workspace.adapter / RECORD)
    with atomic_folder(folder) as partial:
        for path in (path for name in FILES[what] for path in home(project, what).glob(name)):
            record = _public(path, base)
            if record is None:
                link(path, partial / path.name)
            else:
                write_json(partial / path.name, record)
        write_text(partial / CARD, page)


def _public(path: Path, base: Row) -> Any:
    """The content of a JSON file that names a folder of this machine, with the base's name there;
    None where a file can go out as it is."""
    if path.suffix != ".json" or path.name == "tokenizer.json":
        return None
    record = read_json(path)
    public = _without_paths(record)
    if path.name == ADAPTER_CONFIG:
        public |= {"base_model_name_or_path": base_name(base), "revision": base.get("commit")}
    if path.name == RECORD:
        public |= {"model": base_name(base)}
    return None if public == record else public


def _without_paths(value: Any) -> Any:
    """JSON in which `name_or_path`, which transformers writes, does not say where folders lie."""
    if isinstance(value, list):
        return [_without_paths(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: last_part(str(one)) if one and key.endswith("name_or_path") else _without_paths(one)
        for key, one in value.items()
    }
