"""A project with an adapter, a merged model and a verdict: real files, made without training."""

import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from pocketvlm.base import RECORD, find_base
from pocketvlm.config import parse_config
from pocketvlm.pipeline import STAGES, execute
from pocketvlm.project import Project
from pocketvlm.runtime import ask_layout
from pocketvlm.student.load import load_model
from pocketvlm.student.tiny import save_tiny
from pocketvlm.workspace import Row, write_json
from tests.validate.conftest import LABELS, SIDE, history, lines, settings

HUB = "HuggingFaceTB/SmolVLM-256M-Instruct"
COMMIT = "0123456789" * 4

TEXT = r".*text_model\.layers\.\d+\.self_attn\.[qkvo]_proj"


def modelled(root: Path, base: str = "base", **sections: Any) -> Project:
    """Pictures in three splits, and both models of the base in `root`, which is named `base`."""
    if not (root / "base").is_dir():
        save_tiny(root / "base", words=LABELS, side=4 * SIDE)
    config = settings(**{"base": {"model": base}} | sections)
    project = Project.of(parse_config(config), root)
    lines(project, "train", 9)
    lines(project, "val", 6, licence="CC-BY-4.0")
    lines(project, "test", 4, licence="CC-BY-4.0", source="mine.jsonl")
    project.record_contract(project.workspace.dataset)
    run(project, "train", adapt)
    run(project, "merge", merge)
    return project


def run(project: Project, name: str, work: Any) -> None:
    """Do a stage's work and write its manifest, as the pipeline does."""
    execute(project, next(stage for stage in STAGES if stage.name == name), work)


def adapt(project: Project) -> Row:
    """A random adapter that changes the answers, with its records."""
    torch.manual_seed(0)
    model = load_model(project.workspace.root / "base", torch.float32)
    config = LoraConfig(r=4, lora_alpha=64, target_modules=TEXT, init_lora_weights=False)
    folder = project.workspace.adapter
    get_peft_model(model, config).save_pretrained(str(folder))
    (folder / "README.md").unlink()
    record = {"model": project.config.base.model, "revision": "main", "commit": COMMIT}
    if project.path(Path(record["model"])).is_dir():
        record = find_base(project).record
    write_json(folder / RECORD, record | {"contract": project.contract.hash})
    write_json(folder / "history.json", history())
    (folder / "history.png").write_bytes(b"a plot")
    project.record_contract(folder, ask_layout(project.workspace.root / "base", project.contract))
    return {}


def merge(project: Project) -> Row:
    """The adapter folded in."""
    from peft import PeftModel

    base, folder = project.workspace.root / "base", project.workspace.merged
    model = PeftModel.from_pretrained(
        load_model(base, torch.float32), str(project.workspace.adapter)
    )
    model.merge_and_unload().save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(base / name, folder / name)
    project.record_contract(folder, ask_layout(base, project.contract))
    return {}
