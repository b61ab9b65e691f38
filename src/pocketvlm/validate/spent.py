"""What the way to the verdict took: pictures, money and time, as the stages wrote them down."""

from collections import Counter

from pocketvlm.dataset import read_split
from pocketvlm.pipeline.stages import STAGES
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_record

SPLITS = ("train", "val", "test")


def counts(project: Project) -> Row:
    """Pictures of each label in each split."""
    return {
        name: dict(Counter(line.label for line in read_split(project, name)))
        for name in SPLITS
        if project.workspace.split(name).is_file()
    }


def cost(project: Project) -> Row:
    """`usd` and `answers` of the teachers, None where nothing was labelled here; `seconds` of each
    finished stage."""
    seconds: Row = {}
    label: Row = {}
    for stage in STAGES:
        path = project.workspace.manifest(stage.name)
        if path.is_file():
            manifest = read_record(path)
            seconds[stage.name] = manifest["seconds"]
            label = manifest["figures"] if stage.name == "label" else label
    answers = sum(label.get("status", {}).values()) if label else None
    return {"usd": label.get("usd"), "answers": answers, "seconds": seconds}
