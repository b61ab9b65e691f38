"""What the installed torch was built for, and whether it can use the card. torch is not loaded."""

import ast
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from pocketvlm.nvidia import Driver


def torch_build() -> tuple[str, str | None]:
    """torch's version and the CUDA that it was built for, by its file version.py; empty where it is
    not installed."""
    try:
        file = Path(str(distribution("torch").locate_file("torch/version.py")))
        lines = ast.parse(file.read_text(encoding="utf-8")).body
    except (PackageNotFoundError, OSError, SyntaxError):
        return "", None
    values: dict[str, str | None] = {}
    for line in lines:
        target = line.targets[0] if isinstance(line, ast.Assign) else None
        target = line.target if isinstance(line, ast.AnnAssign) else target
        value = line.value if isinstance(line, ast.Assign | ast.AnnAssign) else None
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
            values[target.id] = None if value.value is None else str(value.value)
    return values.get("__version__") or "", values.get("cuda")


def usable(driver: Driver | None) -> bool:
    """Whether the installed torch trains on the first card."""
    cuda = torch_build()[1]
    return driver is not None and cuda is not None and driver.cuda >= int(cuda.split(".")[0])
