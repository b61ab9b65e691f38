"""One file looked at: size, hash and looks of a sound picture, or why it is none."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from pocketvlm.duplicates import perceptual_hash
from pocketvlm.errors import PocketError
from pocketvlm.pictures import BROKEN, FORMATS, open_picture
from pocketvlm.sources import Collect
from pocketvlm.workspace import Row, sha256_file


def check(path: Path, settings: Collect) -> Row | str:
    """Size from the header first, so that a decompression bomb is never decoded; then all of it.

    What the index says of the picture, or the reason why it is not collected."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            width, height, suffix = *picture.size, f".{(picture.format or 'bin').lower()}"
    except UnidentifiedImageError:
        return "not a picture"
    except BROKEN as error:
        return f"unreadable header: {error}"
    if width * height > settings.max_megapixels * 1e6:
        return f"{width}x{height} pixels is more than collect.max_megapixels allows"
    if min(width, height) < settings.min_side:
        return f"{width}x{height} is smaller than collect.min_side"
    try:
        pixels = open_picture(path)
    except PocketError as error:
        return str(error)
    sha256 = sha256_file(path)
    return {
        "sha256": sha256,
        "file": f"{sha256}{suffix}",
        "width": width,
        "height": height,
        "bytes": path.stat().st_size,
        "phash": perceptual_hash(pixels),
    }
