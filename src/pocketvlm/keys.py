"""Keys and addresses of servers: a key comes from the environment or `.env`, and is never shown."""

import os
import re
import shlex
from functools import lru_cache
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pocketvlm.errors import ConfigError

LONGEST_NAME = 40
"""Characters of an environment variable's name; what is longer may be the key itself."""

SHORTEST_SECRET = 8
"""Characters of a key worth hiding; shorter ones are placeholders such as `none` or `EMPTY`."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Hosts that no proxy of the environment can reach."""


def _a_name(name: str) -> str:
    """Never shown where it is none: it may be the key."""
    one_case = re.fullmatch(r"[A-Z_][A-Z0-9_]*|[a-z_]+", name)
    if not one_case or len(name) > LONGEST_NAME:
        raise ValueError(
            "this is no name of an environment variable (shown nowhere, it may be the key "
            "itself): put the key into the environment or .env, and its name here"
        )
    return name


KeyName = Annotated[str, AfterValidator(_a_name)]
"""Name of the environment variable, or of the line of .env, that holds a key."""


def hide(text: str, key: str) -> str:
    """A text without the key: some servers send back what they were sent, and JSON and addresses
    may spell it otherwise (.NET writes + as \\u002B, PHP / as \\/)."""
    return _spellings(key).sub("***", text) if len(key) >= SHORTEST_SECRET else text


@lru_cache
def _spellings(key: str) -> re.Pattern[str]:
    """Each letter as it is, behind backslashes (JSON within JSON), or by its number."""
    letters = (
        rf"(?:\\{{0,8}}{re.escape(one)}|(?:\\{{1,8}}u00|%)(?i:{ord(one):02x}))" for one in key
    )
    return re.compile("".join(letters))


def _an_address(url: str) -> str:
    """Never shown where it is none: a key may stand in it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, 0
    plain = url.isascii() and url.isprintable()  # other hosts are written with xn--
    if not host or port == 0 or not plain or parts.scheme not in ("http", "https"):
        raise ValueError("this is no address: write one like http://localhost:8000/v1")
    if "@" in url or parts.query or parts.fragment:
        raise ValueError(
            "a name or password, or a query, in an address would be shown: leave it out, and name "
            "the key in api_key_env"
        )
    return url


Address = Annotated[str, AfterValidator(_an_address)]
"""An endpoint's address: it stands in messages, records and reports, so no secret stands in it."""


def check_address(url: str) -> str:
    """The host of an endpoint's address; ConfigError when it is none."""
    try:
        return urlsplit(_an_address(url)).hostname or ""
    except ValueError as error:
        raise ConfigError(f"base_url: {error}") from None


def read_key(name: str, root: Path) -> str | None:
    """The key from the environment, else from `.env` beside the configuration, else from the one
    where the command is called.

    ConfigError, which never shows the key, when no HTTP header could carry it, and when it comes
    from a file that others may read."""
    files = (root / ".env", Path(".env"))
    found = (_line(file, name) for file in files if file.exists() and not file.is_dir())
    value = os.environ.get(name, "").strip() or next(filter(None, found), "")
    if not all("!" <= letter <= "~" for letter in value):
        raise ConfigError(f"{name}: the key holds a space or a sign outside ASCII: copy it again")
    return value or None


def _line(file: Path, name: str) -> str:
    """What a .env says of a name; empty where it says nothing."""
    try:
        said = _Lines(_env_file=file).model_extra or {}
    except UnicodeDecodeError:
        raise ConfigError(f"the file {file} is not UTF-8: save it in that encoding") from None
    key = str(said.get(name.lower()) or "").strip()
    if key:
        _check_private(file, name)
    return key


class _Lines(BaseSettings):
    """All lines of a file, by their names in lower case."""

    model_config = SettingsConfigDict(extra="allow")


def _check_private(file: Path, name: str) -> None:
    """ConfigError where group or others may open a file with a key, as ssh has it.

    A file that holds no key we ask for is not our business: a .env of another program may lie where
    the command is called. Nor is its owner: with such permissions only root can read another's, as
    in a container where the folder comes from outside."""
    mode = file.stat().st_mode & 0o777
    if os.name == "posix" and mode & 0o077:
        raise ConfigError(
            f"{file} holds {name}, and others on this machine may open it (mode {mode:03o}): run "
            f"`chmod 600 {shlex.quote(str(file))}`, or put the key into the environment"
        )
