"""Pictures as a browser shows them: the device's bitmap, the photograph, a thumbnail that is made
once."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

from pocketvlm.errors import PocketError
from pocketvlm.parallel import workers
from pocketvlm.pictures import BROKEN, FORMATS, rgb, srgb
from pocketvlm.project import Project
from pocketvlm.workspace import atomic_file

THUMBNAIL, PHOTO = 256, 1280
"""Longer sides, pixels."""

LOCKS = 64
"""So many different thumbnails can be made at a time; the same one is made once."""


class Pictures:
    """The collected pictures, by SHA-256; a name from the network never becomes a path."""

    def __init__(self, project: Project, files: Mapping[str, str]) -> None:
        self.contract = project.contract
        self.originals = project.workspace.originals
        self.folder = project.workspace.root / "state" / "thumbnails"
        self.files = files
        """Each picture's file in originals/, by its SHA-256."""
        self.made = 0
        """Thumbnails that were not there before."""
        self._decoders = threading.BoundedSemaphore(workers())  # photographs are large in memory
        self._locks = [threading.Lock() for _ in range(LOCKS)]

    def path(self, sha256: str) -> Path:
        """The picture's file; PocketError for a file that lies elsewhere, or for none."""
        with suppress(OSError, RuntimeError):  # links in a circle
            path = (self.originals / self.files[sha256]).resolve()
            if path.is_relative_to(self.originals.resolve()) and path.is_file():
                return path
        raise PocketError(f"{self.files[sha256]} is not in originals/: run `pocketvlm collect`")

    def phone(self, sha256: str) -> bytes:
        """The device's bitmap, every pixel of it (PNG)."""
        with self._decoders:
            return encoded(Image.fromarray(self.contract.open(self.path(sha256))), "PNG")

    def photo(self, sha256: str) -> bytes:
        """The photograph as a person sees it (JPEG)."""
        with self._decoders:
            return encoded(reduced(self.path(sha256), PHOTO), "JPEG")

    def thumbnail(self, sha256: str) -> Path:
        """A small copy (JPEG) below state/thumbnails/, made when it is not there yet."""
        target = self.folder / sha256[:2] / f"{sha256}.jpg"
        with self._locks[int(sha256[:8], 16) % LOCKS]:
            if not target.is_file():
                with self._decoders:
                    data = encoded(reduced(self.path(sha256), THUMBNAIL), "JPEG")
                with atomic_file(target) as partial:
                    partial.write_bytes(data)
                self.made += 1
        return target


def reduced(path: Path, side: int) -> Image.Image:
    """A picture turned upright, in sRGB, within a square; PocketError when it cannot be read.

    JPEG decoders skip what a smaller picture does not need: four times as fast for photographs."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            picture.draft("RGB", (side, side))
            upright = rgb(srgb(ImageOps.exif_transpose(picture)))
            upright.thumbnail((side, side), Image.Resampling.LANCZOS)
            return upright
    except BROKEN as error:
        raise PocketError(f"{path.name} cannot be decoded ({error})") from None


def encoded(picture: Image.Image, kind: str) -> bytes:
    """A picture file; without the camera's notes."""
    out = BytesIO()
    picture.save(out, kind, quality=85, compress_level=1)
    return out.getvalue()
