"""The bundle stage: the folder that goes into the app."""

from pathlib import Path

import numpy as np

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

CHECKSUMS = "SHA256SUMS"


def bundle(project: Project) -> Row:
    """Write bundle/: the first type's two files, contract.json, README.md and SHA256SUMS.

    PocketError when a file is missing or validate measured something else. The figures: `files`
    with their sizes in bytes, `mib` together, `accuracy`, `contract`."""
    from pocketvlm.runtime import Runtime, identity

    kind = project.config.convert.types[0]
    files = project.workspace.text_gguf(kind), project.workspace.vision_gguf(kind)
    metrics = measured(project, files)
    black = np.zeros((project.contract.side, project.contract.side, 3), np.uint8)
    with Runtime(*files) as runtime:
        runtime.check_contract(project.contract)
        contract = device_contract(project.contract, runtime, black)
    contract |= {"runtime": identity(), "model": files[0].name, "mmproj": files[1].name}
    contract |= {name: metrics[name] for name in ("accuracy", "ci", "n", "truth", "split")}
    with atomic_folder(project.workspace.bundle) as folder:
        for file in files:
            link(file, folder / file.name)
        write_json(folder / "contract.json", contract)
        write_text(folder / "README.md", readme(contract, metrics, sizes(folder)))
        write_text(folder / CHECKSUMS, checksums(folder))
        listed = sizes(folder)
    return {
        "files": listed,
        "mib": round(sum(listed.values()) / 2**20, 2),
        "accuracy": metrics["accuracy"],
        "contract": project.contract.hash,
    }


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
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def checksums(folder: Path) -> str:
    """Every file's SHA-256, as `sha256sum -c` reads it."""
    return "".join(f"{sha256_file(path)}  {path.name}\n" for path in sorted(folder.iterdir()))
