"""What has come of a file that is fetched, and what tells whether it can be gone on with."""

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pocketvlm.errors import PocketError
from pocketvlm.workspace import LONE, Row, atomic_file, read_record, write_json

MD5 = re.compile(r'"([0-9a-f]{32})"')
RANGE = re.compile(r"bytes (\d{1,18})-\d+/(\d+|\*)")


class Part:
    """What has come of a file: `.name.part` in the folder, and `.name.part.json`, which says of
    what it is a part. One of another address, or that cannot be gone on with, is dropped."""

    def __init__(self, folder: Path, name: str, url: str) -> None:
        self.path, self.record = folder / f".{name}.part", folder / f".{name}.part.json"
        self.of = hashlib.sha256(url.encode(errors=LONE)).hexdigest()  # it may hold a key
        self.have = 0
        """Bytes that have come."""
        self.known: Row = {}
        if self.path.is_file():
            with suppress(PocketError):
                self.known = read_record(self.record)
            self.have = self.path.stat().st_size
            if self.known.get("of") != self.of or not sendable(self.known.get("validator")):
                self.discard()

    @property
    def size(self) -> int | None:
        """Bytes of the whole file; None where the server has not said."""
        return self.known.get("size")

    def request_headers(self) -> dict[str, str]:
        """Ask for the rest if the file is still the same, else for all of it (RFC 9110, 13.1.5)."""
        if not self.have or not self.known.get("validator"):
            return {}
        return {"Range": f"bytes={self.have}-", "If-Range": self.known["validator"]}

    def start(self, headers: Mapping[str, str]) -> None:
        """All of the file comes: what was there is dropped."""
        self.discard()
        length = headers.get("content-length", "")
        self.known = {
            "of": self.of,
            "validator": validator(headers),
            "size": int(length) if length.isdecimal() else None,
            "md5": stated_md5(headers),
        }
        write_json(self.record, self.known)

    def goes_on(self, headers: Mapping[str, str]) -> bool:
        """Whether a partial answer continues what is here."""
        found = RANGE.fullmatch(headers.get("content-range", ""))
        if not found or int(found[1]) != self.have:
            return False
        same_size = self.size is None or found[2] in ("*", str(self.size))
        return same_size and validator(headers) in (None, self.known["validator"])

    def discard(self) -> None:
        """Drop what is here."""
        self.path.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)
        self.have, self.known = 0, {}

    def move_to(self, target: Path) -> None:
        """Make it the file, atomically."""
        with atomic_file(target) as partial:
            self.path.replace(partial)
        self.record.unlink(missing_ok=True)


def validator(headers: Mapping[str, str]) -> str | None:
    """What If-Range takes: a strong ETag, else the date; weak ETags do not count (RFC 9110), nor
    does what no header of a request can carry."""
    etag, date = headers.get("etag", ""), headers.get("last-modified")
    if etag.startswith('"') and sendable(etag):
        return etag
    return date if sendable(date) else None


def sendable(value: object) -> bool:
    """Whether a request's header can carry it."""
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable()


def stated_md5(headers: Mapping[str, str]) -> str | None:
    """The MD5 that S3 gives as ETag, unless the object came in several pieces (there is a dash
    then) or is encrypted with the customer's or KMS's key; other servers' ETags may be anything
    (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html)."""
    kept = headers.get("x-amz-server-side-encryption", "AES256") == "AES256"
    plain = kept and "x-amz-server-side-encryption-customer-algorithm" not in headers
    found = MD5.fullmatch(headers.get("etag", ""))
    return found[1] if found and plain and headers.get("server") == "AmazonS3" else None
