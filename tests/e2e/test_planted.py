"""The search for planted keys finds them: a search that finds nothing shows nothing otherwise."""

import base64
import gzip
import io
import json
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .planted import STRONG, TEACHER, WANDB, Watch, found_in, search

KEYS = {"teacher's": TEACHER, "strong teacher's": STRONG, "W&B's": WANDB}


def hidden_ways(key: str) -> dict[str, bytes]:
    """A key at places where it would not be seen."""
    text, texts = f"key={key};", PngInfo()
    texts.add_text("Comment", text, zip=True)
    png, packed = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (8, 8)).save(png, "PNG", pnginfo=texts)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("inside", gzip.compress(text.encode()))
    middle = len(key) // 2
    return {
        "plain": text.encode(),
        "half": f"{key[:middle]}******".encode(),
        "picture": png.getvalue(),
        "packed twice": packed.getvalue(),
        "coded": b"data:" + base64.b64encode(text.encode()),
        "coded 2": b"data:" + base64.b64encode(b"." + text.encode()),
        "address": quote(text).encode(),
        "JSON": json.dumps(text).replace("/", "\\/").encode(),
    }


def test_a_planted_key_is_found_wherever_it_hides(tmp_path: Path) -> None:
    for name, key in KEYS.items():
        for way, data in hidden_ways(key).items():
            (tmp_path / f"{name[0]}{way}").write_bytes(b"before" + data if way == "plain" else data)
        (tmp_path / f"of {key.replace('/', '')}").touch()
    with sqlite3.connect(tmp_path / "base") as base:
        base.execute("create table t (x)")
        base.execute("insert into t values (?)", (TEACHER,))
    found = search(tmp_path, KEYS)
    assert set(found) == {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert not search(tmp_path, {"another": "sk-another-key-that-is-nowhere"})


def test_a_key_on_a_command_line_is_seen() -> None:
    with Watch() as watch:
        child = subprocess.Popen([sys.executable, "-c", "input()", TEACHER], stdin=subprocess.PIPE)
        try:
            assert watch.looked.acquire(timeout=20) and watch.looked.acquire(timeout=20)
        finally:
            child.communicate(b"\n")
    assert found_in("\n".join(watch.seen).encode(), KEYS)
