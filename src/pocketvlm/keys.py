"""Keys and addresses of servers: a key comes from the environment or `.env`, and is never shown."""

import os
import re
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
    """A text without the key: some servers send back what they were sent."""
    return text.replace(key, "***") if len(key) >= SHORTEST_SECRET else text


def check_address(url: str) -> str:
    """The host of an endpoint's address; ConfigError when it is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"base_url: {url!r} is no address ({error})") from None
    plain = url.isascii() and url.isprintable()  # other hosts are written with xn--
    if parts.username or parts.password:
        raise ConfigError("base_url: a name or password in an address would be shown: leave it out")
    if parts.scheme not in ("http", "https") or not host or port == 0 or not plain:
        raise ConfigError(f"base_url: {url!r} must look like http://localhost:8000/v1")
    return host


def read_key(name: str, root: Path) -> str | None:
    """The key from the environment, or from `.env` beside the configuration or where one is.

    ConfigError, which never shows the key, when no HTTP header could carry it."""

    class Keys(BaseSettings):
        model_config = SettingsConfigDict(env_file=(".env", root / ".env"), extra="allow")

    try:
        extra = Keys().model_extra or {}
    except UnicodeDecodeError:
        raise ConfigError("the file .env is not UTF-8: save it in that encoding") from None
    value = str(os.environ.get(name) or extra.get(name.lower()) or "").strip()
    if not all("!" <= letter <= "~" for letter in value):
        raise ConfigError(f"{name}: the key holds a space or a sign outside ASCII: copy it again")
    return value or None
