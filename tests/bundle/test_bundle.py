"""The folder that goes into the app."""

import subprocess

import pytest

from pocketvlm.bundle import bundle
from pocketvlm.errors import PocketError
from pocketvlm.project import Project
from pocketvlm.workspace import read_json, sha256_file, write_json

from .conftest import figures_of

FILES = [
    "README.md",
    "SHA256SUMS",
    "android",
    "contract.json",
    "golden",
    "mmproj-Q8_0.gguf",
    "model-Q8_0.gguf",
]


def test_the_folder_holds_the_shipped_files(project: Project) -> None:
    figures = bundle(project)
    folder = project.workspace.bundle
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert sha256_file(folder / FILES[-1]) == sha256_file(project.workspace.text_gguf("Q8_0"))
    inside = [path for path in folder.rglob("*") if path.is_file()]
    assert figures["files"] == {
        path.relative_to(folder).as_posix(): path.stat().st_size for path in inside
    }
    assert figures["accuracy"] == 0.9


def test_checksums_are_what_sha256sum_reads(project: Project) -> None:
    bundle(project)
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(check, cwd=project.workspace.bundle, capture_output=True, text=True)
    assert done.returncode == 0
    listed = sum(path.is_file() for path in project.workspace.bundle.rglob("*")) - 1
    assert done.stdout.count(": OK") == listed > 20


def test_files_that_were_not_measured_do_not_ship(project: Project) -> None:
    with project.workspace.text_gguf("Q8_0").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(PocketError, match="measured other files"):
        bundle(project)
    assert not project.workspace.bundle.exists()


def test_figures_of_another_contract_are_refused(project: Project) -> None:
    other = figures_of(project) | {"contract": "0" * 64}
    write_json(project.workspace.report / "metrics.json", other)
    with pytest.raises(PocketError, match="another contract"):
        bundle(project)


def test_missing_files_and_figures_are_named(project: Project) -> None:
    (project.workspace.report / "metrics.json").unlink()
    with pytest.raises(PocketError, match=r"metrics\.json does not exist"):
        bundle(project)
    project.workspace.vision_gguf("Q8_0").unlink()
    with pytest.raises(PocketError, match=r"mmproj-Q8_0\.gguf does not exist: run"):
        bundle(project)


def test_a_second_bundle_takes_the_place_of_the_first(project: Project) -> None:
    bundle(project)
    (project.workspace.bundle / "old.gguf").write_bytes(b"old")
    bundle(project)
    assert sorted(path.name for path in project.workspace.bundle.iterdir()) == FILES


def test_converting_again_leaves_the_bundle_as_it_was(project: Project) -> None:
    """Hard links share bytes: the converter must replace its file, not write into it."""
    from pocketvlm.export import export_text

    bundle(project)
    before = sha256_file(project.workspace.bundle / "model-Q8_0.gguf")
    export_text(project.workspace.merged, project.workspace.text_gguf("Q8_0"), "F16")
    assert sha256_file(project.workspace.text_gguf("Q8_0")) != before
    assert sha256_file(project.workspace.bundle / "model-Q8_0.gguf") == before


def test_contract_json_names_everything_the_app_needs(project: Project) -> None:
    bundle(project)
    contract = read_json(project.workspace.bundle / "contract.json")
    assert project.contract.describe().items() <= contract.items()
    assert {name: contract[name] for name in ("accuracy", "n", "truth", "split")} == {
        "accuracy": 0.9,
        "n": 100,
        "truth": "known",
        "split": "test",
    }
    assert contract["runtime"]["package"].startswith("llama-cpp-python")
    assert (contract["tile_count"], contract["tile_tokens"]) == (2, 1)
