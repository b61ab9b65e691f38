"""The real Kotlin compiler, and the generated code as one program with stand-ins for Android."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pocketvlm.bundle.kotlin import device_contract_kt, golden_pictures_test_kt
from pocketvlm.contract import Contract
from pocketvlm.pictures import open_picture
from pocketvlm.workspace import Row, write_json

ROOT = Path(__file__).parents[2]
ANDROID = Path(__file__).parent / "android"
INSTALLED = ROOT / ".kotlin/node_modules/kotlin-compiler/bin/kotlinc"
INSTALL = "npm install --prefix .kotlin kotlin-compiler@2.4.20"
CONNECT = 'TODO("return the Student that calls the app\'s native code")'
"""The one place that an app's developer changes."""

Words = NDArray[np.uint32]
"""ARGB pixels, shape (height, width)."""


def kotlinc() -> str:
    """The compiler; the test is skipped where it or Java is missing."""
    if shutil.which("java") is None:
        pytest.skip("Java 17 is missing: install openjdk-17-jre-headless")
    found = str(INSTALLED) if INSTALLED.is_file() else shutil.which("kotlinc")
    if found is None:
        pytest.skip(f"the Kotlin compiler is missing: `{INSTALL}`, or put kotlinc on PATH")
    return found


def program(folder: Path, contracts: dict[str, Row]) -> Path:
    """A jar of each contract's code in a package of its name, `pocketvlm` as it ships, its test
    connected to FakeStudent. Warnings are errors."""
    compiler = kotlinc()
    for package, contract in contracts.items():
        (folder / package).mkdir()
        test = golden_pictures_test_kt(contract)
        if package == "pocketvlm":
            assert test.count(CONNECT) == 1
            test = test.replace(CONNECT, "FakeStudent()")
        sources = {"DeviceContract.kt": device_contract_kt(contract), "GoldenPicturesTest.kt": test}
        for name, text in sources.items():
            moved = text.replace("package pocketvlm", f"package {package}")
            (folder / package / name).write_text(moved, encoding="ascii")
    jar = folder / "program.jar"
    sources_of = [ANDROID, *(folder / package for package in contracts)]
    command = [compiler, "-Werror", "-include-runtime", "-d", jar, *sources_of]
    quick = {"JAVA_OPTS": "-Xmx1g -XX:TieredStopAtLevel=1"}  # half the time for so little code
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=os.environ | quick
    )
    assert done.returncode == 0, done.stderr
    return jar


def run(jar: Path, task: str, folder: Path, *more: str) -> None:
    """One start of Main.kt."""
    command = ["java", "-cp", str(jar), "MainKt", task, str(folder), *more]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def write_argb(path: Path, picture: Image.Image) -> None:
    """What Bitmap.getPixels gives, as Main.kt reads it: width, height, pixels."""
    red, green, blue, alpha = np.moveaxis(np.asarray(picture.convert("RGBA"), np.uint32), 2, 0)
    words: Words = alpha << 24 | red << 16 | green << 8 | blue
    path.write_bytes(np.array(picture.size, ">u4").tobytes() + words.astype(">u4").tobytes())


def write_pictures(
    folder: Path, contract: Contract, tokens: int, pictures: dict[str, Image.Image]
) -> None:
    """golden/ for the fake student: each picture has first tokens of its own."""
    golden = folder / "golden"
    golden.mkdir()
    rows = []
    for at, (name, picture) in enumerate(pictures.items()):
        picture.save(golden / f"{name}.png")
        bitmap = contract.bitmap(open_picture(golden / f"{name}.png"))
        Image.fromarray(bitmap).save(golden / f"{name}.bitmap.png")
        ranked = [(40 + at, 9.5), (41 + at, 9.4), (10, 3.0), (11, 2.0), (12, -1.5)]
        row: Row = {"name": name, "file": f"{name}.png", "bitmap": f"{name}.bitmap.png"}
        row |= {"bitmap_sha256": hashlib.sha256(bitmap.tobytes()).hexdigest(), "tokens": tokens}
        row |= {"width": picture.width, "height": picture.height, "label": None}
        row |= {"first_tokens": [{"id": i, "text": f"\n{i}", "logit": v} for i, v in ranked]}
        rows.append(row | {"answer": f" água-{at}", "answer_ids": [40 + at, 5]})
    write_json(golden / "golden.json", {"contract": contract.hash, "pictures": rows})
