"""Python packages that a stage needs, and the runtime's build."""

import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from pocketvlm.base import encoder, load_tokenizer
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.export.architecture import Architecture
from pocketvlm.keys import read_key
from pocketvlm.pipeline.doctor.found import Found
from pocketvlm.project import Project

PACKAGES = ("torch", "transformers", "peft", "gguf", "llama-cpp-python", "openai")

WANDB_KEY = "WANDB_API_KEY"

TILES = 2
"""What llama.cpp makes of a picture of the tower's own side; older builds make one."""

REBUILD = "pip install --force-reinstall --no-cache-dir llama-cpp-python"


def check_packages(found: Found) -> None:
    """Versions of the packages that decide what comes out; a missing one is a problem."""
    versions = found.facts["packages"] = dict[str, str | None]()
    found.facts["python"] = platform.python_version()
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    if missing := [name for name, one in versions.items() if one is None]:
        raise PocketError(f"not installed: {', '.join(missing)}: pip install {' '.join(missing)}")


def check_tracking(found: Found) -> None:
    """What `track` names, before a training starts: each thing that is missing."""
    track, root = found.project.config.track, found.project.workspace.root
    wanted = {"tensorboard": track.tensorboard, "wandb": track.wandb != "off"}
    for package, needed in wanted.items():
        with found.going_on():
            if needed and not find_spec(package):
                raise ConfigError(
                    f'track.{package} needs a package: pip install "pocketvlm[track]"'
                )
    if track.wandb == "online" and not read_key(WANDB_KEY, root):
        raise ConfigError(
            f"track.wandb: online needs a key: put {WANDB_KEY}=... into the environment or "
            f"{root / '.env'}, or set track.wandb: offline"
        )


def check_runtime(found: Found) -> None:
    """llama.cpp loads and takes pictures: its identity is what it makes of some."""
    try:
        from pocketvlm.runtime import identity

        found.facts["runtime"] = identity() | {"pictures": True}
    except (OSError, RuntimeError, ImportError, AttributeError) as error:
        # A wheel compiled for another processor or libc, or without mtmd.
        raise PocketError(
            f"llama.cpp does not load, or not the part that takes pictures ({error}): {REBUILD}"
        ) from None


def check_layout(found: Found) -> None:
    """What this build will make of prompt and picture; a missing base or build is told already."""
    if found.model is None or "runtime" not in found.facts:
        return
    if found.before_run and surely_fits(found.model, found.project):
        return
    from pocketvlm.runtime import ask_layout

    found.facts["layout"] = ask_layout(found.model, found.project.contract).words


def surely_fits(model: Path, project: Project) -> bool:
    """Whether prompt, answer and the embeddings of twice as many tiles as any known build makes of
    such a picture are within the context; the build itself is asked by `train`."""
    from pocketvlm.runtime.loading import CONTEXT

    vision = Architecture.read(model).vision
    tile = (project.contract.side // vision.patch // vision.scale) ** 2
    tokens = len(encoder(load_tokenizer(model))(project.contract.prompt))
    return tokens + 2 * TILES * tile + project.contract.max_new_tokens < CONTEXT
