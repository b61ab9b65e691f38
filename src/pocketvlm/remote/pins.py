"""The packages of the program as they are installed here, so that the server has the same.

Also a program: `python -m pocketvlm.remote.pins FILE` on the server says what a Python lacks."""

import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from pocketvlm.errors import PocketError

LINUX = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
"""The server's side of environment markers."""


def pins(extras: Iterable[str] = ()) -> list[str]:
    """`name==version` of everything that pocketvlm needs, sorted; of an extra that is not installed
    here the requirement as it stands. PocketError when pocketvlm itself is not installed."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, str] = {}
    waiting = [("pocketvlm", frozenset(extras))]
    seen = set(waiting)
    while waiting:
        name, wanted = waiting.pop()
        for line in _requires(name):
            need = Requirement(line)
            if (marker := need.marker) and not any(
                marker.evaluate(LINUX | {"extra": extra}) for extra in ("", *wanted)
            ):
                continue
            key = canonicalize_name(need.name)
            if pinned := _pinned(key):
                found[key] = pinned
            elif name == "pocketvlm":
                found[key] = f"{key}{need.specifier}"
            if pinned and (step := (key, frozenset(need.extras))) not in seen:
                seen.add(step)
                waiting.append(step)
    return [found[key] for key in sorted(found)]


def _requires(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        raise PocketError(
            f"{name} is not installed here, so its packages are not known: pip install it, or make "
            "the checkout's .venv with `make .venv/.ready`"
        ) from None


def _pinned(name: str) -> str | None:
    """Without the local label (+cpu): the server takes the build for its GPU."""
    try:
        return f"{name}=={version(name).partition('+')[0]}"
    except PackageNotFoundError:  # for another system, or an extra nobody asked for
        return None


def differences(lines: Iterable[str]) -> tuple[list[str], list[str]]:
    """Of pins, those whose package this Python lacks, and those of which it has another version."""
    missing, other = [], []
    for pin in filter(None, map(str.strip, lines)):
        name, exact, wanted = pin.partition("==")
        has = _pinned(name if exact else name.partition("<")[0].partition(">")[0])
        if has is None:
            missing.append(pin)
        elif exact and has.partition("==")[2] != wanted:
            other.append(f"{has} (here {wanted})")
    return missing, other


def main(file: str) -> None:
    """Say what this Python lacks; exit code 1 when it lacks anything."""
    missing, other = differences(Path(file).read_text(encoding="utf-8").splitlines())
    if other:
        print(f"Other versions than where this was sent from: {', '.join(other)}")
    if missing:
        print(
            f"error: {sys.executable} lacks {', '.join(missing)}: install them there with "
            f"`{sys.executable} -m pip install -r {Path(file).resolve()}`, or leave --python out"
        )
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
