"""`bundle --check`: the checksums, then the golden pictures in llama.cpp."""

from pathlib import Path

from pocketvlm.bundle.golden import App, read_golden, replay
from pocketvlm.errors import GateMissed, PocketError
from pocketvlm.layout import Layout
from pocketvlm.runtime.predict import open_bundle
from pocketvlm.workspace import Row, read_record, sha256_file

CHECKSUMS = "SHA256SUMS"


def check_bundle(folder: Path) -> Row:
    """Figures: `files` with right checksums, golden `pictures` replayed.

    PocketError when a file is missing, new or altered, GateMissed that names the first level at
    which a golden picture parts."""
    files = check_sums(folder)
    contract, pair = open_bundle(folder)
    layout = Layout.read(read_record(folder / "contract.json"))
    golden = read_golden(folder, contract)
    app = App(contract.open, contract.prompt, pair, contract.tiles)
    found = replay(folder, golden, app, contract, layout)
    total = len(golden)
    figures = {"files": files, "pictures": total, "parted": found}
    if found:
        first = found[0]
        raise GateMissed(
            f"{len(found)} of {total} golden pictures are not what they were, first at the level "
            f"{first['level']!r} on {first['picture']}: {first['note']}. This llama.cpp is another "
            "than the bundle's (contract.json, runtime), or its processor rounds otherwise",
            figures,
        )
    return figures


def check_sums(folder: Path) -> int:
    """Number of files; PocketError names one that is not as SHA256SUMS says."""
    path = folder / CHECKSUMS
    if not path.is_file():
        raise PocketError(f"{path} does not exist: {folder} is no bundle")
    lines = path.read_bytes().decode(errors="replace").splitlines()
    wanted = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    files = inside(folder)
    files.pop(CHECKSUMS)
    for name in sorted({*wanted, *files}):
        if name not in files or sha256_file(files[name]) != wanted.get(name):
            raise PocketError(
                f"{folder / name} is missing, new or altered (SHA256SUMS): copy the bundle again"
            )
    return len(files)


def inside(folder: Path) -> dict[str, Path]:
    """Every file below a folder, by its name as README and checksums write it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in files}
