"""No message shows a key: not the server's, and not ours about a configuration that holds one."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from pocketvlm.collect.hub import one_line
from pocketvlm.config import load_config
from pocketvlm.errors import ConfigError
from pocketvlm.exchange.upload import _failure
from pocketvlm.keys import check_address, hide

KEY = "sk-Ab+cd/ef=gh.0123456789"


@pytest.mark.parametrize(
    "spelt",
    [
        KEY,
        KEY.replace("/", r"\/"),
        KEY.replace("+", r"\u002B"),
        KEY.replace("+", r"\\u002b").replace("/", r"\\/"),
        "".join(f"\\u{ord(letter):04x}" for letter in KEY),
        quote(KEY, safe=""),
        quote(KEY, safe="").lower().replace("sk-ab", "sk-Ab"),
    ],
)
def test_however_it_is_spelt(spelt: str) -> None:
    text = f'{{"error": "Incorrect API key {spelt}. \\n Bye"}}'
    assert hide(text, KEY) == '{"error": "Incorrect API key ***. \\n Bye"}'


def test_a_key_with_signs_of_json() -> None:
    key = 'a"quote\\and-more'
    told = json.dumps({"said": json.dumps({"key": key})})
    assert "quote" not in hide(told, key)
    assert json.loads(json.loads(hide(told, key))["said"]) == {"key": "***"}


def test_nothing_else_is_hidden() -> None:
    text = "sk-Ab+cd/ef=gh.0123456788 sk-AbXcd/ef=gh.0123456789 \\n none"
    assert hide(text, KEY) == text
    assert hide("none is none", "none") == "none is none"


def test_half_a_token_does_not_stay_where_an_error_is_cut() -> None:
    for ahead in range(250, 301, 7):
        error = ValueError("x" * ahead + f" {KEY}")
        for said in (one_line(error, KEY), _failure("me/pictures", error, KEY)):
            assert KEY[:3] not in said


ADDRESSES = (
    "https://me:{}@host/v1",
    "https://{}@host/v1",
    "https://host/v1?api_key={}",
    "https://host/v1#{}",
    "me:{}@host/v1",
    "ftp://me:{}@host/v1",
    "https://me:{}@[host/v1",
    "https://host:{}/v1",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_with_a_key_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(ConfigError, match="base_url: ") as caught:
        check_address(address.format("Secret0123"))
    assert "Secret0123" not in str(caught.value)


MISTAKES = [
    "teachers: [{api_key: %s}]",
    "teachers: [{api_key_env: %s}]",
    "teachers: [{base_url: 'https://host/v1?api_key=%s'}]",
    "teachers: [{base_url: 'https://me:%s@host/v1'}]",
    "teachers: [%s]",
    "teachers: %s",
    "api_key: %s",
    "collect: {unsplash: {queries: {fire: [fire]}, api_key_env: %s}}",
    "collect: {unsplash: {queries: {fire: [fire]}, base_url: 'https://%s@host'}}",
    "api_key: '%s",
    'teachers:\n  - api_key: "%s\n    model: x',
    "api_key: %s: x",
    "track: {wandb: %s}",
    "%s",
]


@pytest.mark.parametrize("text", MISTAKES)
def test_a_key_in_the_configuration_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "pocketvlm.yaml").write_text(text % KEY)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "pocketvlm.yaml")
    assert KEY[:12] not in str(caught.value)
    assert KEY[12:] not in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "teachers.0.api_key_env=%s",
        "teachers.0.api_key=%s",
        "teachers.7.api_key_env=%s",
        "teachers.key=%s",
        "teachers.0.model.x=%s",
        "task.labels='%s",
        "api_key=%s",
        "device.side.x=%s",
        "%s",
    ],
)
def test_a_key_after_set_is_not_shown(tmp_path: Path, override: str) -> None:
    (tmp_path / "pocketvlm.yaml").write_text("device: {side: 256}\nteachers: [{model: x}]\n")
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "pocketvlm.yaml", (override % KEY.replace("=", "-"),))
    assert "0123456789" not in str(caught.value)
    assert "Ab+cd" not in str(caught.value)
