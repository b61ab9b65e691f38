"""llama.cpp's own files, out of the source package of the llama-cpp-python that is installed.

They are kept in the user's cache; the package is 77 MB.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

CONVERTER = ("convert_hf_to_gguf.py", "conversion/", "gguf-py/gguf/")
HEADERS = ("include/", "ggml/include/", "tools/mtmd/mtmd")


def llama_cpp_source() -> Path:
    """The folder of llama.cpp with the converter and the public headers; CalledProcessError when
    the source package cannot be had."""
    release = version("llama-cpp-python").split("+")[0]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pocketvlm"
    folder = cache / f"llama.cpp-{release}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        options = ("--no-deps", "--no-binary", "llama-cpp-python", "--dest", scratch)
        package = f"llama-cpp-python=={release}"
        subprocess.run([sys.executable, "-m", "pip", "download", *options, package], check=True)
        (archive,) = Path(scratch).glob("*.tar.gz")
        _unpack(archive, Path(scratch) / "llama.cpp")
        with suppress(OSError):  # another test process was first
            (Path(scratch) / "llama.cpp").rename(folder)
    assert folder.is_dir()
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as package:
        for member in package:
            name = member.name.partition("/vendor/llama.cpp/")[2]
            if name.startswith(CONVERTER) or (name.startswith(HEADERS) and name.endswith(".h")):
                package.extract(member.replace(name=name), folder, filter="data")
