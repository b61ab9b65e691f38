"""The app's code in the documents compiles with what the bundle holds."""

import os
import shutil
import subprocess
from importlib.metadata import files as installed
from pathlib import Path

import pytest

import pocketvlm.bundle
from tests.docs.pages import BLOCKS

IMPORTS = ("android.graphics.BitmapFactory", "java.io.InputStream")


def joined(language: str) -> str:
    """All blocks of a language, as one file of an app."""
    return "\n".join(block.text for block in BLOCKS if block.language == language)


def compile_app(command: list[str], **environment: str) -> None:
    """Raise what the compiler says."""
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr


def test_cpp(tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++: install a C++ compiler (package g++ or build-essential)")
    found = [path for path in installed("llama-cpp-python") or () if path.name == "mtmd-helper.h"]
    if not found:
        pytest.skip("no mtmd-helper.h: install llama-cpp-python from its source package")
    app = tmp_path / "student.cpp"
    app.write_text(joined("cpp"))
    places = ["-isystem", str(Path(str(found[0].locate())).parent)]
    places += ["-I", str(Path(pocketvlm.bundle.__file__).parent)]
    strict = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    compile_app([compiler, *strict, *places, str(app)])


@pytest.mark.slow
def test_kotlin(tmp_path: Path) -> None:
    from pocketvlm.bundle.kotlin import device_contract_kt, golden_pictures_test_kt
    from tests.bundle.kotlin import ANDROID, kotlinc
    from tests.bundle.test_kotlin import described

    compiler, contract = kotlinc(), described("bilinear")
    app = "\n".join(["package pocketvlm", *(f"import {name}" for name in IMPORTS)])
    for name, text in {
        "DeviceContract.kt": device_contract_kt(contract),
        "GoldenPicturesTest.kt": golden_pictures_test_kt(contract),  # declares Student
        "App.kt": f"{app}\n{joined('kotlin')}",
    }.items():
        (tmp_path / name).write_text(text)
    programs = {"Main.kt", "FakeStudent.kt"}
    android = [str(path) for path in ANDROID.glob("*.kt") if path.name not in programs]
    sources = [*android, *map(str, tmp_path.glob("*.kt"))]
    quick = "-Xmx1g -XX:TieredStopAtLevel=1"
    compile_app([compiler, "-d", str(tmp_path / "app.jar"), *sources], JAVA_OPTS=quick)
