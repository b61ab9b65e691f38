"""A reader's folder: what the documents suppose, made small, so that every command can be run.

`pocketvlm` there is the real one. A new project gets a tiny base, the rule teacher and a training
of one epoch into its configuration, as a reader edits it; the demo draws few scenes.
"""

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pocketvlm.sections import ELEMENTS
from pocketvlm.workspace import read_rows
from tests.docs.pages import ROOT

PICTURES = 60
"""Scenes: enough that train, val and test each hold some."""

COMMAND = """#!/bin/sh
case "$1" in
demo)
    {python} -m pocketvlm "$@" --pictures 40
    code=$?
    [ $code = 3 ] || exit $code # so few scenes teach little: a missed gate is no fault of the page
    ;;
init)
    {python} -m pocketvlm "$@" && cat {small} >> "${{2:-.}}/pocketvlm.yaml" # the last one counts
    ;;
*)
    exec {python} -m pocketvlm "$@"
    ;;
esac
"""

SMALL = """
base: {{model: {base}}}
teachers: [{{base_url: "{url}", model: rule-teacher, max_side: 256}}]
train: {{epochs: 1, learning_rate: 2.0e-3}}
export: {{types: [Q8_0], mmproj: [F16]}}
gates: {{accuracy: 0}}
"""


@dataclass(frozen=True)
class World:
    """What all readers share."""

    folder: Path
    """Holds base/, scenes/, truth.jsonl, bin/pocketvlm, and small.yaml."""

    @classmethod
    def make(cls, folder: Path, url: str) -> "World":
        """With the teacher at `url`."""
        from pocketvlm.demo.scenes import write_scenes
        from pocketvlm.student.tiny import save_tiny  # torch: only where something is run

        save_tiny(folder / "base", words=ELEMENTS)
        write_scenes(folder / "scenes", folder / "truth.jsonl", PICTURES, 0)
        small = folder / "small.yaml"
        small.write_text(SMALL.format(base=folder / "base", url=url))
        command = folder / "bin" / "pocketvlm"
        command.parent.mkdir()
        command.write_text(COMMAND.format(python=sys.executable, small=small))
        command.chmod(0o755)
        return cls(folder)

    def environment(self, home: Path) -> dict[str, str]:
        """Of a reader whose home is `home`; the browser only exits well."""
        path = f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return os.environ | {"PATH": path, "HOME": str(home), "BROWSER": "true %s"}

    def pictures(self, folder: Path) -> None:
        """The scenes, under names that say nothing."""
        shutil.copytree(self.folder / "scenes", folder)
        first = next(iter(sorted(folder.iterdir())))
        Image.open(first).convert("RGB").save(folder / "photo.jpg", quality=95)

    def labelled(self, folder: Path) -> None:
        """The scenes in a folder for each label, and a list of them."""
        folder.mkdir(parents=True)
        rows = []
        for row in read_rows(self.folder / "truth.jsonl"):
            name = f"{row['label']}/{row['file']}"
            (folder / row["label"]).mkdir(exist_ok=True)
            shutil.copyfile(self.folder / "scenes" / row["file"], folder / name)
            rows.append({"image_path": name, "label": row["label"]})
        (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def clone(folder: Path, world: World) -> None:
    """A checkout whose environment is ready: `make` has nothing to set up."""
    for path in ROOT.iterdir():
        if path.name not in {".git", ".venv", "demo-workspace", "logs"}:
            (folder / path.name).symlink_to(path)
    (folder / ".venv/bin").mkdir(parents=True)
    shutil.copy(world.folder / "bin/pocketvlm", folder / ".venv/bin/pocketvlm")
    (folder / ".venv/.ready").touch()
