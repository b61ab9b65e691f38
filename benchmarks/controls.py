"""Whether the controls catch a student that was trained on noise, and leave a healthy one alone.

    python benchmarks/controls.py [FOLDER]

The demo's scenes, labelled by its rule teacher; beside them the same data set with the labels of
every split dealt out anew among its pictures, as a file does whose lines were shuffled by
themselves. Both students are trained and converted in FOLDER (default: a temporary one; an
interrupted run goes on), and asked in llama.cpp. Each is judged twice: by the known truth, and by
the labels themselves, as where no truth is known. Last, the healthy student with a truth file that
was shuffled. Some ten minutes on 2 cores.

Exit code 1 when a broken one is not caught by the controls named here, or the healthy one is
accused by any.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pocketvlm.config import Config
from pocketvlm.demo.demo import TRUTH, demo_config, draw
from pocketvlm.demo.teacher import serve
from pocketvlm.pictures import open_picture
from pocketvlm.pipeline import run
from pocketvlm.prepare.splits import SPLITS
from pocketvlm.progress import track
from pocketvlm.project import Project
from pocketvlm.runtime import Asked, ask_all
from pocketvlm.sections import Export, Validate
from pocketvlm.validate.controls import controls
from pocketvlm.validate.examples import Example, read_examples
from pocketvlm.workspace import Row, atomic_folder, link, read_rows, write_rows

PICTURES, SEED = 1500, 0
TEXT, VISION = "Q8_0", "F16"


@dataclass(frozen=True)
class Case:
    """One judgement, and the controls that must speak; of a healthy student none."""

    name: str
    rows: list[Row]
    caught_by: tuple[str, ...]

    @property
    def failed(self) -> list[str]:
        """The controls that did not pass."""
        return [row["name"] for row in self.rows if row["passed"] is False]

    @property
    def met(self) -> bool:
        """Whether those that must speak do; where none must, none does."""
        if not self.caught_by:
            return not self.failed
        return set(self.caught_by) <= set(self.failed)

    def __str__(self) -> str:
        wanted = " and ".join(self.caught_by) or "none"
        lines = [f"\n{self.name}: must fail {wanted}: {'met' if self.met else 'MISSED'}"]
        for row in self.rows:
            verdict = {True: "passed", False: "FAILED", None: "not judged"}[row["passed"]]
            lines.append(f"  {row['name']:16} {verdict:10} {row['words']}")
            if row["passed"] is False:
                lines.append(f"  {'':27} {row['sentence']}")
        return "\n".join(lines)


def healthy(root: Path) -> Project:
    """The demo up to its files for the phone."""
    draw(root, SEED, PICTURES)
    with serve() as url:
        export = Export(types=(TEXT,), mmproj=(VISION,))
        config = demo_config(url, SEED).model_copy(update={"export": export})
        project = Project.of(config, root)
        run(project, last="convert")
    return project


def shuffled(project: Project, root: Path) -> Project:
    """The same with labels that have nothing to do with the pictures."""
    other = Project.of(project.config, root)
    if not other.workspace.dataset.is_dir():
        root.mkdir(parents=True, exist_ok=True)
        copy_shuffled(project.workspace.dataset, other.workspace.dataset)
        write_rows(root / TRUTH, read_rows(project.workspace.root / TRUTH))
    run(other, "train", "convert")
    return other


def copy_shuffled(source: Path, target: Path) -> None:
    """A data set whose labels are dealt out anew within each split."""
    rng = np.random.default_rng(SEED)
    with atomic_folder(target) as folder:
        (folder / "images").mkdir()
        for path in sorted((source / "images").iterdir()):
            link(path, folder / "images" / path.name)
        for name in ("contract.json", "originals.json"):
            link(source / name, folder / name)
        for name in SPLITS:
            rows = list(read_rows(source / f"{name}.jsonl"))
            write_rows(folder / f"{name}.jsonl", relabelled(rows, rng))


def relabelled(rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
    """The rows with each other's labels."""
    order = rng.permutation(len(rows))
    return [row | {"label": rows[at]["label"]} for row, at in zip(rows, order, strict=True)]


def ask(project: Project, examples: Sequence[Example]) -> list[Asked]:
    """What the files for the phone say."""
    bitmaps = (open_picture(one.path) for one in examples)
    asked = ask_all(files_of(project), project.contract, bitmaps)
    return list(track(asked, "Asking llama.cpp", len(examples)))


def files_of(project: Project) -> tuple[Path, Path]:
    """Text and vision."""
    return project.workspace.text_gguf(TEXT), project.workspace.vision_gguf(VISION)


def by_labels(project: Project) -> Project:
    """The project where nothing better than the labels is known."""
    config: Config = project.config.model_copy(update={"validate_": Validate()})
    return replace(project, config=config)


def by_wrong_truth(project: Project) -> Project:
    """The project with a truth file whose labels were dealt out anew."""
    root = project.workspace.root
    rows = list(read_rows(root / TRUTH))
    write_rows(root / "wrong.jsonl", relabelled(rows, np.random.default_rng(SEED)))
    truth = Validate(truth="known", truth_file=Path("wrong.jsonl"))
    return replace(project, config=project.config.model_copy(update={"validate_": truth}))


def judge(name: str, project: Project, said: Sequence[Asked], *caught_by: str) -> Case:
    """The controls of one project, whose files said `said` of its test split."""
    print(f"\n== {name}", file=sys.stderr)
    _, examples = read_examples(project)
    return Case(name, controls(project, files_of(project), examples, said), caught_by)


def main(root: Path) -> int:
    """Print the controls of all cases; the exit code."""
    good = healthy(root / "healthy")
    bad = shuffled(good, root / "shuffled")
    right, wrong = (ask(one, read_examples(one)[1]) for one in (good, bad))
    cases = [
        judge("healthy, by the known truth", good, right),
        judge("healthy, by the labels", by_labels(good), right),
        judge("shuffled labels, by the known truth", bad, wrong, "labels", "teacher"),
        judge("shuffled labels, by the labels", by_labels(bad), wrong, "labels", "majority"),
        judge("healthy, by a shuffled truth", by_wrong_truth(good), right, "labels", "majority"),
    ]
    print("\n".join(map(str, cases)))
    met = all(case.met for case in cases)
    print(
        "\nall as they must be"
        if met
        else "\nMISSED: " + ", ".join(case.name for case in cases if not case.met)
    )
    return 0 if met else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as made:
        sys.exit(main(Path(made)))
