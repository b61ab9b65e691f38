"""The task for SkyPilot: keys it knows, no secret's value, and SkyPilot's own word where it is
installed (in an environment of its own: its pins are not ours)."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.scripts import ROOT

FILE = ROOT / "deploy" / "skypilot.yaml"
TASK = yaml.safe_load(FILE.read_text())

KNOWN = {"name", "resources", "secrets", "envs", "workdir", "file_mounts", "setup", "run"}
RESOURCES = {"accelerators", "cpus", "memory", "disk_size", "autostop", "use_spot", "infra"}
"""As in https://docs.skypilot.co/en/latest/reference/yaml-spec.html: what such a task needs."""

READ = """
import sys, jsonschema, sky, yaml
from sky.utils import schemas
task = yaml.safe_load(open(sys.argv[1]))
jsonschema.validate(task, schemas.get_task_schema())
jsonschema.validate(task["resources"], schemas.get_resources_schema())
(resources,) = sky.Task.from_yaml(sys.argv[1]).resources
print(resources.accelerators, resources.disk_size)
"""


def test_its_keys_are_known() -> None:
    assert set(TASK) <= KNOWN
    assert set(TASK["resources"]) <= RESOURCES
    assert TASK["resources"]["accelerators"] == "L40S:1"


def test_secrets_have_names_only() -> None:
    assert TASK["secrets"]
    assert set(TASK["secrets"].values()) == {None}


def test_what_it_mounts_is_what_it_runs() -> None:
    targets = set(TASK["file_mounts"])
    assert {"~/project/pocketvlm.yaml", "~/project/pictures"} <= targets
    assert "-c ~/project/pocketvlm.yaml" in TASK["run"]


def test_sky_reads_it(tmp_path: Path) -> None:
    sky = shutil.which("sky")
    if sky is None:
        pytest.skip("sky is not on PATH: pip install skypilot, in an environment of its own")
    python = Path(sky).resolve().with_name("python")
    for source in TASK["file_mounts"].values():
        (tmp_path / source).mkdir(parents=True)
    done = subprocess.run(
        [python, "-c", READ, FILE],
        cwd=tmp_path,
        env=os.environ | {"HOME": str(tmp_path), "OPENAI_API_KEY": "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == "{'L40S': 1} 100"
