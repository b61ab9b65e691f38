"""The folder that goes into the app."""

import subprocess

import numpy as np
import pytest

from pocketvlm.bundle import bundle
from pocketvlm.contract import Contract
from pocketvlm.errors import PocketError
from pocketvlm.project import Project
from pocketvlm.runtime import Runtime
from pocketvlm.workspace import Row, read_json, read_record, sha256_file, write_json

from .conftest import figures_of

FILES = [
    "README.md",
    "SHA256SUMS",
    "android",
    "contract.json",
    "golden",
    "labels.gbnf",
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
    project.workspace.vision_gguf("Q8_0").unlink()
    with pytest.raises(PocketError, match=r"mmproj-Q8_0\.gguf does not exist: run"):
        bundle(project)
    (project.workspace.report / "metrics.json").unlink()
    with pytest.raises(
        PocketError, match=r"metrics\.json does not exist: run `pocketvlm validate`"
    ):
        bundle(project)


@pytest.mark.parametrize("missing", ["type", "mmproj_type", "model", "mmproj", "ways"])
def test_an_older_verdict_has_to_be_made_again(project: Project, missing: str) -> None:
    older = figures_of(project)
    del older[missing]
    write_json(project.workspace.report / "metrics.json", older)
    with pytest.raises(PocketError, match=r"older version.*run `pocketvlm validate` again"):
        bundle(project)


def test_the_pair_that_validate_names_ships(project: Project) -> None:
    """Not the first types, and not one type for both."""
    from pocketvlm.export import export_text

    assert project.config.export.mmproj[0] == "F16" and project.config.export.types[0] == "Q8_0"
    text = project.workspace.text_gguf("F16")
    export_text(project.workspace.merged, text, "F16")
    figures = figures_of(project)
    figures["files"] |= {text.name: sha256_file(text)}
    write_json(
        project.workspace.report / "metrics.json", figures | {"model": text.name, "type": "F16"}
    )
    shipped = bundle(project)["files"]
    assert {name for name in shipped if name.endswith(".gguf")} == {text.name, "mmproj-Q8_0.gguf"}
    contract = read_json(project.workspace.bundle / "contract.json")
    assert (contract["model"], contract["mmproj"]) == (text.name, "mmproj-Q8_0.gguf")
    assert (contract["type"], contract["mmproj_type"]) == ("F16", "Q8_0")


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


def contract_with(project: Project, **figures: object) -> Row:
    """contract.json of a verdict with other figures."""
    write_json(project.workspace.report / "metrics.json", figures_of(project) | figures)
    bundle(project)
    return read_record(project.workspace.bundle / "contract.json")


def test_calibration_is_a_fact_beside_the_contract(project: Project) -> None:
    contract = contract_with(project)
    assert contract["calibration"] == {
        "temperature": 1.25,
        "unsure_below": 0.71,
        "sure": 0.95,
        "coverage": 0.8,
        "accuracy_when_sure": 0.975,
        "n_val": 120,
    }
    without = contract_with(project, calibration=None)
    assert "calibration" not in without
    assert contract["hash"] == without["hash"] == project.contract.hash
    assert Contract.read(contract) == Contract.read(without) == project.contract


def test_the_ways_are_told_apart(project: Project) -> None:
    assert contract_with(project)["ways"] == {
        "greedy": {"accuracy": 0.9, "ms": 12.3},
        "likelihood": {"accuracy": 0.92, "ms": 14.6},
        "grammar": {"accuracy": 0.91, "ms": 12.4},
    }


def test_the_grammar_lets_labels_through_and_nothing_else(project: Project) -> None:
    """llama.cpp reads the file that ships, also a label with a bar in it."""
    contract = contract_with(project)
    text = (project.workspace.bundle / "labels.gbnf").read_text()
    assert text == contract["grammar"] and text.startswith('root ::= " water" | ')
    space = project.workspace
    files = space.text_gguf("Q8_0"), space.vision_gguf("Q8_0")
    with Runtime(*files) as runtime, runtime.grammar(text) as grammar:
        said = {
            runtime.answer(project.contract.prompt, bitmap, 8, grammar).text
            for bitmap in np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
        }
    assert said <= {f" {label}" for label in project.contract.labels}
