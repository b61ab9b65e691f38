"""The bundle stage: the folder that goes into the app."""

import shutil
from pathlib import Path

from pocketvlm.bundle.check import CHECKSUMS, inside
from pocketvlm.bundle.kotlin import device_contract_kt, golden_pictures_test_kt
from pocketvlm.bundle.layout import device_contract
from pocketvlm.bundle.readme import readme
from pocketvlm.errors import PocketError
from pocketvlm.project import Project
from pocketvlm.workspace import (
    Row,
    atomic_folder,
    link,
    read_json,
    sha256_file,
    write_json,
    write_text,
)

ANDROID = "android"
ASK = "ask.hpp"
"""C++ for apps that call mtmd's functions themselves; it is the same for every project."""

GRAMMAR = "labels.gbnf"
"""For apps that constrain the answer."""

NAMED = ("model", "mmproj", "type", "mmproj_type")
"""Of the shipped pair, in metrics.json."""

MEASURED = ("accuracy", "ci", "n", "truth", "split")

CALIBRATED = (
    "temperature",
    "unsure_below",
    "sure",
    "coverage",
    "accuracy_when_sure",
    "n_val",
)
"""What the app needs of the calibration, and how far to trust it."""


def bundle(project: Project) -> Row:
    """Write bundle/: the two files that ship by metrics.json, contract.json, labels.gbnf, golden/,
    android/, README.md and SHA256SUMS.

    PocketError when a file is missing or validate measured something else. The figures: `files`
    with their sizes in bytes, `mib` together, `golden` pictures, `accuracy`, `contract`."""
    from pocketvlm.bundle.golden import write_golden
    from pocketvlm.runtime import Runtime

    metrics, files = measured(project)
    with atomic_folder(project.workspace.bundle) as folder:
        with Runtime(*files, tiles=project.contract.tiles) as runtime:
            runtime.check_contract(project.contract)
            contract = device_contract(project.contract, runtime) | found(metrics)
            golden = write_golden(project, runtime, folder)
        for file in files:
            link(file, folder / file.name)
        write_json(folder / "contract.json", contract)
        write_text(folder / GRAMMAR, contract["grammar"])
        write_code(contract, folder / ANDROID)
        write_text(folder / "README.md", readme(contract, metrics, sizes(folder)))
        write_text(folder / CHECKSUMS, checksums(folder))
        listed = sizes(folder)
    return {
        "files": listed,
        "mib": round(sum(listed.values()) / 2**20, 2),
        "golden": golden,
        "accuracy": metrics["accuracy"],
        "contract": project.contract.hash,
    }


def write_code(contract: Row, folder: Path) -> None:
    """The contract as code, for the app."""
    write_text(folder / "DeviceContract.kt", device_contract_kt(contract))
    write_text(folder / "GoldenPicturesTest.kt", golden_pictures_test_kt(contract))
    shutil.copyfile(Path(__file__).parent / ASK, folder / ASK)


def measured(project: Project) -> tuple[Row, tuple[Path, Path]]:
    """metrics.json and the pair that ships by it; PocketError when it is older than that, or when
    the files are missing, not those that were measured, or of another contract."""
    metrics: Row = read_json(project.workspace.report / "metrics.json")
    if not metrics.keys() >= {*NAMED, "ways"}:
        raise PocketError(
            "report/metrics.json is of an older version, which did not say which two files ship: "
            "run `pocketvlm validate` again"
        )
    space = project.workspace
    files = space.text_gguf(metrics["type"]), space.vision_gguf(metrics["mmproj_type"])
    for file in files:
        if not file.is_file():
            raise PocketError(f"{file} does not exist: run `pocketvlm convert` first")
    known = {file.name: metrics["files"].get(file.name) for file in files}
    hashes = {file.name: sha256_file(file) for file in files}
    if (known, metrics["contract"]) != (hashes, project.contract.hash):
        raise PocketError(
            f"report/metrics.json measured other files than {files[0].name} and {files[1].name} as "
            "they are now, or another contract: run `pocketvlm validate` again"
        )
    return metrics, files


def found(metrics: Row) -> Row:
    """What validate found, as contract.json says it: facts beside the contract, not in its hash.

    `calibration` is absent where there were no pictures to calibrate on."""
    facts: Row = {name: metrics[name] for name in (*NAMED, *MEASURED)}
    broken = metrics["audit"]["first_break"]
    facts["audit"] = broken["level"] if broken else "equal"
    facts["ways"] = {
        way: {"accuracy": row["accuracy"], "ms": row["ms"]} for way, row in metrics["ways"].items()
    }
    if calibration := metrics.get("calibration"):
        facts["calibration"] = {name: calibration[name] for name in CALIBRATED}
    return facts


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file, by name."""
    return {name: path.stat().st_size for name, path in inside(folder).items()}


def checksums(folder: Path) -> str:
    """Every file's SHA-256, as `sha256sum -c` reads it."""
    return "".join(f"{sha256_file(path)}  {name}\n" for name, path in inside(folder).items())
