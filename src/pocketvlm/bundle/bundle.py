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


def bundle(project: Project) -> Row:
    """Write bundle/: the first type's two files, contract.json, golden/, android/, README.md and
    SHA256SUMS.

    PocketError when a file is missing or validate measured something else. The figures: `files`
    with their sizes in bytes, `mib` together, `golden` pictures, `accuracy`, `contract`."""
    from pocketvlm.bundle.golden import write_golden
    from pocketvlm.runtime import Runtime

    kind = project.config.export.types[0]
    files = project.workspace.text_gguf(kind), project.workspace.vision_gguf(kind)
    metrics = measured(project, files)
    audited = metrics["audit"]
    with atomic_folder(project.workspace.bundle) as folder:
        with Runtime(*files, tiles=project.contract.tiles) as runtime:
            runtime.check_contract(project.contract)
            contract = device_contract(project.contract, runtime)
            golden = write_golden(project, runtime, folder)
        contract |= {"model": files[0].name, "mmproj": files[1].name}
        contract |= {name: metrics[name] for name in ("accuracy", "ci", "n", "truth", "split")}
        contract |= {"audit": broken["level"] if (broken := audited["first_break"]) else "equal"}
        for file in files:
            link(file, folder / file.name)
        write_json(folder / "contract.json", contract)
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


def measured(project: Project, files: tuple[Path, Path]) -> Row:
    """metrics.json, if it is about these files under this contract; else PocketError."""
    for file in files:
        if not file.is_file():
            raise PocketError(f"{file} does not exist: run `pocketvlm convert` first")
    metrics: Row = read_json(project.workspace.report / "metrics.json")
    hashes = {file.name: sha256_file(file) for file in files}
    if (metrics.get("files"), metrics.get("contract")) != (hashes, project.contract.hash):
        raise PocketError(
            f"report/metrics.json measured other files than {files[0].name} and {files[1].name} as "
            "they are now, or another contract: run `pocketvlm validate` again"
        )
    return metrics


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file, by name."""
    return {name: path.stat().st_size for name, path in inside(folder).items()}


def checksums(folder: Path) -> str:
    """Every file's SHA-256, as `sha256sum -c` reads it."""
    return "".join(f"{sha256_file(path)}  {name}\n" for name, path in inside(folder).items())
