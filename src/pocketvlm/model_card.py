"""README.md of a trained model, as the Hub reads it: what was taught and measured, nothing else."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pocketvlm.base import RECORD
from pocketvlm.contract import STOPS
from pocketvlm.layout import Layout
from pocketvlm.pages import markdown_pages, percent
from pocketvlm.project import CONTRACT, Project
from pocketvlm.sections import MACHINE
from pocketvlm.workspace import Row, fingerprint, read_record, read_rows

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

Model = Literal["adapter", "merged"]

LIBRARIES = {"adapter": "peft", "merged": "transformers"}

RELATIONS = {"adapter": "adapter", "merged": "finetune"}
"""What each is to its base, in the Hub's words."""

KNOWN = "HuggingFaceTB/SmolVLM"
"""How the bases begin of which licence and language are known (their own cards)."""

DATA: Row = {"dataset_type": "imagefolder", "dataset_name": "pictures of this project"}

JUDGED = ("adapter", "merged", "gguf")
"""What a verdict is about."""

SINCE = "mmproj_type"
"""A key that metrics.json has had since gates and ladder are as told here."""

GATES = {
    "accuracy": "the lower bound of accuracy",
    "worst_recall": "the worst label's recall",
    "one_word": "answers of one word",
    "agreement": "answers as the merged model's in torch",
    "mib": "MiB of both files",
    "ms": "milliseconds a picture",
}
"""Gates for people; the last two are no shares."""


@dataclass(frozen=True)
class Pictures:
    """What the data set's lines say of their pictures."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    """Pictures by split and label."""
    sources: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    reviewed: Counter[bool] = field(default_factory=Counter)

    @property
    def held_out(self) -> list[str]:
        """The splits with pictures that the student did not learn from."""
        return [split for split in ("val", "test") if self.counts[split]]


def model_card(project: Project, what: Model, folder: Path | None = None) -> str:
    """The page of `adapter` or `merged`. `folder` is where its files lie while they are being
    written: nobody can have judged them yet. PocketError when a record is missing."""
    return render(project, what, folder or home(project, what), None if folder else judged(project))


def home(project: Project, what: Model) -> Path:
    """The model's folder in the workspace."""
    return project.workspace.adapter if what == "adapter" else project.workspace.merged


def judged(project: Project) -> Row | None:
    """metrics.json, if it is about the files as they are now, by what `validate` wrote down; None
    also where an older version judged."""
    path, manifest = (
        project.workspace.report / "metrics.json",
        project.workspace.manifest("validate"),
    )
    if not (path.is_file() and manifest.is_file()):
        return None
    metrics, made = read_record(path), read_record(manifest)
    if metrics.get("contract") != project.contract.hash or SINCE not in metrics:
        return None
    known = made.get("inputs", {}) | made.get("outputs", {})
    names = ("report/metrics.json", *JUDGED)
    same = all(known.get(name) == fingerprint(project.workspace.root / name) for name in names)
    return metrics if same else None


def render(project: Project, what: Model, folder: Path, metrics: Row | None) -> str:
    """The page of the model in `folder`, with a verdict if there is one."""
    adapter = folder if what == "adapter" else project.workspace.adapter
    base, history = read_record(adapter / RECORD), read_record(adapter / "history.json")
    page = markdown_pages(Path(__file__).parent).get_template("model_card.md.j2")
    return page.render(
        head=_head(what, base, history, metrics),
        what=what,
        task=project.config.task,
        base=base,
        base_name=base_name(base),
        known=_is_known(base),
        contract=project.contract,
        layout=Layout.read(read_record(folder / CONTRACT)),
        stops=list(STOPS),
        settings=project.config.train.model_dump(mode="json", exclude=MACHINE),
        history=history,
        pictures=count_pictures(project),
        teachers=[teacher.model for teacher in project.config.teachers],
        metrics=metrics,
        gates=gates_in_words(metrics["gates"]) if metrics else "",
        calibrated=calibration_in_words(metrics["calibration"]) if metrics else "",
    )


def gates_in_words(gates: Row) -> str:
    """The gates of metrics.json in a sentence: wanted, found, and by how much one was missed."""
    told = [
        f"{GATES[name]} at {row['bound']} {_amount(name, row['wanted'])}, "
        f"found {_amount(name, row['found'])}: "
        + ("passed" if row["passed"] else f"**missed** by {_amount(name, row['by'], ' points')}")
        for name, row in gates.items()
    ]
    return f"Gates: {'; '.join(told)}." if told else "No gate was judged."


def _amount(gate: str, value: float, unit: str = "%") -> str:
    """A gate's figure or its distance, as people write it."""
    if gate in ("mib", "ms"):
        return f"{value:,.1f}"
    return percent(value).replace("%", unit)


def calibration_in_words(calibration: Row | None) -> str:
    """When the app does better to say `unsure`, and what that brings, in one or two sentences."""
    if calibration is None:
        return "How sure the student is was not calibrated: there were no pictures for it."
    wanted = f"{calibration['sure'] * 100:g}%"
    fitted = (
        f"{calibration['n_val']} pictures of val (temperature {calibration['temperature']:.2f})"
    )
    if calibration["unsure_below"] is None:
        return f"On {fitted} no confidence makes answers right {wanted} of the time: no `unsure`."
    right = calibration["accuracy_when_sure"]
    return (
        f"Below a confidence of {calibration['unsure_below']:.3f} an answer is `unsure`, chosen on "
        f"{fitted} for {wanted} of the others to be right. Measured: "
        f"{percent(calibration['coverage'])} of the pictures are answered"
        + (f", {percent(right)} of these right." if right is not None else ".")
    )


def base_name(base: Row) -> str:
    """The base's hub id, or the name of its folder without the way there."""
    return str(base["model"]) if "commit" in base else Path(base["model"]).name or "base"


def count_pictures(project: Project) -> Pictures:
    """Pictures of each split; a data set of the user's own may have none for test."""
    found = Pictures()
    for split in ("train", "val", "test"):
        path = project.workspace.split(split)
        labels = found.counts[split] = Counter()
        for row in read_rows(path) if path.is_file() else ():
            labels[str(row.get("label") or row.get("element"))] += 1
            found.sources[str(row.get("source") or "unknown")] += 1
            found.licences[str(row.get("licence") or "unknown")] += 1
            found.reviewed[row.get("reviewed") is True] += 1
    return found


def _is_known(base: Row) -> bool:
    return "commit" in base and str(base["model"]).startswith(KNOWN)


def _head(what: Model, base: Row, history: Row, metrics: Row | None) -> str:
    """The card's metadata as YAML; of a base that is nobody's on the Hub nothing is said."""
    from huggingface_hub import ModelCardData

    results = [*_learnt(history), *_shipped(metrics)]
    hub = "commit" in base
    data = ModelCardData(
        base_model=base_name(base) if hub else None,
        base_model_relation=RELATIONS[what] if hub else None,
        license="apache-2.0" if _is_known(base) else None,
        language="en" if _is_known(base) else None,
        library_name=LIBRARIES[what],
        pipeline_tag="image-text-to-text",
        tags=["pocketvlm", "smolvlm", "image-classification", *(["lora"] * (what == "adapter"))],
        metrics=list(dict.fromkeys(result["metric_type"] for result in results)) or None,
        model_name=f"{base_name(base).split('/')[-1]} ({what})" if results else None,
        eval_results=_results(results) or None,
    )
    return str(data.to_yaml())


def _results(rows: list[Row]) -> list["EvalResult"]:
    from huggingface_hub import EvalResult

    return [EvalResult(task_type="image-text-to-text", **DATA, **row) for row in rows]


def _learnt(history: Row) -> list[Row]:
    """What was measured after the best epoch."""
    if not (best := history.get("best")):
        return []
    return [_result("val", "accuracy", best["accuracy"], "accuracy in torch, best epoch")]


def _shipped(metrics: Row | None) -> list[Row]:
    """What llama.cpp answered."""
    if metrics is None:
        return []
    where = f"in llama.cpp ({metrics['type']}), truth: {metrics['truth']}"
    return [
        _result(metrics["split"], "accuracy", metrics["accuracy"], f"accuracy {where}"),
        _result(metrics["split"], "f1", metrics["macro_f1"], f"macro F1 {where}"),
    ]


def _result(split: str, kind: str, value: float, name: str) -> Row:
    return {
        "dataset_split": split,
        "metric_type": kind,
        "metric_value": value,
        "metric_name": name,
    }
