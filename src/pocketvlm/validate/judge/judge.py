"""A verdict on other pictures or other files than the stage's: verdicts/<name>/.

Nothing here needs torch or a training: a folder of class folders, or the dataset's test pictures,
are asked of the project's own pair of files or of any other."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from pocketvlm.config import Config
from pocketvlm.errors import ConfigError, GateMissed
from pocketvlm.pictures import Bitmap, open_picture
from pocketvlm.progress import say, track
from pocketvlm.project import Project
from pocketvlm.validate import gates
from pocketvlm.validate.examples import Example, read_examples
from pocketvlm.validate.judge.figures import Asking, measured, predictions
from pocketvlm.validate.judge.subject import Subject, contract_for, read_subject, what_ships
from pocketvlm.validate.judge.unseen import FOLDER, class_folders, read_unseen
from pocketvlm.workspace import (
    Row,
    Workspace,
    atomic_folder,
    sha256_json,
    write_json,
    write_rows,
    write_text,
)

if TYPE_CHECKING:
    from pocketvlm.runtime import Asked, Files

SUMMARY = (
    *("accuracy", "ci", "n", "truth", "split", "majority", "macro_f1", "one_word"),
    *("ms_per_picture", "model", "mmproj"),
)


def outside(against: Path | None) -> Project:
    """Where no project is: the default contract and gates, in the present folder. ConfigError
    without a folder of pictures, because there is no dataset either."""
    if against is None:
        raise ConfigError(
            f"{Path.cwd()} holds no pocketvlm.yaml, so there are no test pictures to ask about: "
            "give --against FOLDER, or -c FILE"
        )
    return Project.of(Config(), Path.cwd())


def judge(project: Project, against: Path | None, given: "Files | None") -> Row:
    """Ask a pair of files (`given`, else what ships) about a folder of class folders (`against`,
    else the dataset's test pictures); write metrics.json, predictions.jsonl and report.html into
    verdicts/<name>/ and return the main figures.

    The labels are the contract's, never the folder's names: the question that is asked names them.
    GateMissed is raised after everything is written. ConfigError for a folder that does not fit,
    PocketError for files that do not load."""
    from pocketvlm.validate.report import render

    if against is not None:
        class_folders(project, against)
    else:
        project.check_contract(project.workspace.dataset)
    subject = read_subject(project, given or what_ships(project), own=given is None)
    target = project.workspace.root / FOLDER / name_of(project, against, subject)
    with atomic_folder(target) as folder:
        bitmaps = folder / "bitmaps"
        asking = _folder(project, against, bitmaps) if against else _dataset(project)
        said = ask(project, subject, asking.examples)
        figures = measured(project, subject, asking, said)
        rows = predictions(project, subject, asking, said, figures["calibration"])
        write_rows(folder / "predictions.jsonl", rows)
        write_json(folder / "metrics.json", figures)
        # A workspace without adapter and history: the report shows what was judged here alone.
        alone = replace(project, workspace=Workspace(folder))
        shown = [
            row | {"image": str(example.path)}
            for row, example in zip(rows, asking.examples, strict=True)
        ]
        write_text(folder / "report.html", render(alone, figures, shown))
        rmtree(bitmaps, ignore_errors=True)
    for warning in figures["warnings"]:
        say(f"  warning: {warning}")
    say(f"Wrote {target / 'report.html'}")
    return checked(figures, f"{FOLDER}/{target.name}")


def checked(figures: Row, folder: str) -> Row:
    """The main figures and the folder where all of them are; GateMissed with them when a gate is
    missed."""
    summary = {name: figures[name] for name in SUMMARY} | {"folder": folder}
    if found := gates.missed(figures):
        raise GateMissed(" Also: ".join(found), summary)
    return summary


def name_of(project: Project, against: Path | None, subject: Subject) -> str:
    """Folder and model for people; the end tells apart others of the same names."""
    asked = against.resolve() if against else project.workspace.dataset.resolve()
    places = [str(asked), *(str(file.resolve()) for file in subject.files)]
    words = asked.name[:80] or "folder", subject.files[0].stem[:80], sha256_json(places)[:6]
    return "-".join(words)


def _folder(project: Project, against: Path, bitmaps: Path) -> Asking:
    unseen = read_unseen(project, against, bitmaps)
    return Asking(f"against {unseen.name}", "known", unseen.examples, unseen.files, unseen)


def _dataset(project: Project) -> Asking:
    split, examples = read_examples(project)
    folder = project.workspace.dataset
    images = [example.path.relative_to(folder).as_posix() for example in examples]
    return Asking(split, project.config.validate_.truth, examples, images)


def ask(project: Project, subject: Subject, examples: Sequence[Example]) -> list["Asked"]:
    """What the files say of every picture, three ways."""
    from pocketvlm.runtime import ask_all

    said = ask_all(
        subject.files,
        contract_for(project, subject),
        _bitmaps(examples),
        likelihoods=True,
        grammar=True,
        stock=subject.stock,
    )
    return list(track(said, f"Asking {subject.files[0].name}", len(examples)))


def _bitmaps(examples: Sequence[Example]) -> Iterator[Bitmap]:
    for example in examples:
        yield open_picture(example.path, exif=False)
