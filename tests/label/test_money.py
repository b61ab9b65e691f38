"""What a call costs: never more than its worst case, and to the cent what the server accounts."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from pocketvlm.config import Config, commented_yaml, load_config, parse_config
from pocketvlm.errors import ConfigError
from pocketvlm.label import label
from pocketvlm.label.client import encode_picture
from pocketvlm.label.money import Tariff, price_of, shrunk, usd_words
from pocketvlm.label.reply import read_reply
from pocketvlm.prices import FREE, KNOWN, Fixed, Mistral, OpenAITiles, Price
from pocketvlm.project import Project
from pocketvlm.teachers import Teacher
from pocketvlm.workspace import read_rows
from simulated import Settings, serve

from .billing import PRICE, collect_sizes, command, priced
from .conftest import answers
from .server import GOOD

pytestmark = pytest.mark.usefixtures("no_page")

SIDES = st.integers(1, 700)
RATED = {"input_usd": 2, "output_usd": 8, "source": "https://a.b", "date": "2026-11-25"}
LARGEST = {"rule": "fixed", "tokens": 85 + 170 * 8}
"""The most that a simulated teacher counts for a picture that it has not looked at."""


def tariff(price: Price, **teacher: Any) -> Tariff:
    """One teacher's, at a price."""
    config = parse_config(
        {
            "teachers": [{"model": "m"} | teacher],
            "prices": {"m": price.model_dump(mode="json")},
        }
    )
    return Tariff.of(config, config.teachers[0])


@given(SIDES, SIDES, st.integers(64, 300))
@example(1, 700, 64)
@example(700, 1, 64)
def test_a_picture_is_priced_at_the_size_in_which_it_is_sent(
    width: int, height: int, side: int
) -> None:
    picture = Image.new("1", (width, height))
    picture.thumbnail((side, side))
    assert shrunk((width, height), side) == picture.size


def test_the_size_is_that_of_the_encoder(tmp_path: Path) -> None:
    path = tmp_path / "odd.png"
    Image.new("RGB", (1237, 331)).save(path)
    assert encode_picture(path, 512)[1] == shrunk((1237, 331), 512)


@given(
    st.sampled_from([*KNOWN.values(), PRICE]),
    st.tuples(SIDES, SIDES),
    st.sampled_from([None, "none", "low", "high"]),
    st.integers(64, 4000),
    st.booleans(),
)
def test_the_usual_is_never_above_the_worst(
    price: Price, size: tuple[int, int], effort: Any, most: int, structured: bool
) -> None:
    one = tariff(price, reasoning_effort=effort, max_tokens=most, structured=structured)
    assert 0 < price.usd(*one.tokens(size)) <= one.worst(size)
    if price.batch:
        assert one.worst(size, batch=True) == pytest.approx(price.batch * one.worst(size))


def test_the_worst_case_knows_that_a_picture_may_be_turned() -> None:
    """Mistral counts a break a row: on its side the same picture takes more."""
    price = Price.model_validate(RATED | {"image": Mistral().model_dump()})
    assert price.image.count(280, 1400) > price.image.count(1400, 280)
    one = tariff(price, max_side=2048)
    assert one.worst((280, 1400)) == one.worst((1400, 280))


def test_thoughts_may_fill_an_answer() -> None:
    usual = tariff(PRICE, max_tokens=2000).tokens((100, 100))
    thinking = tariff(PRICE, max_tokens=2000, reasoning_effort="low").tokens((100, 100))
    assert usual[1] < 200
    assert thinking == (usual[0], 2000)


# What comes back.


def row(usage: Any) -> dict[str, Any]:
    """The answer row of a reply with this usage."""
    choices = [{"message": {"content": json.dumps(GOOD)}}]
    return read_reply(json.dumps({"choices": choices, "usage": usage}), [str(GOOD["label"])])


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 100, "completion_tokens": 20}, (100, 20)),
        ({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}, (100, 20)),
        ({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 0}, (100, 20)),
        ({"prompt_tokens": 100.0, "completion_tokens": 20.0}, (100, 20)),
        # Gemini's thoughts: only the total has them (router-for-me/CLIProxyAPI issue 5733).
        ({"prompt_tokens": 21, "completion_tokens": 0, "total_tokens": 81}, (21, 60)),
    ],
)
def test_usage_as_it_is_billed(usage: object, tokens: tuple[int, int]) -> None:
    said = row(usage)
    assert (said["status"], said["tokens_in"], said["tokens_out"]) == ("ok", *tokens)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        "free",
        {},
        {"prompt_tokens": 100},
        {"completion_tokens": 20},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": 100, "completion_tokens": 0},
        {"prompt_tokens": -100, "completion_tokens": 20},
        {"prompt_tokens": "many", "completion_tokens": 20},
        {"prompt_tokens": 10**400, "completion_tokens": 20},
        {"prompt_tokens": 100, "completion_tokens": float("nan")},
    ],
)
def test_usage_that_cannot_be_true_costs_the_worst(usage: object) -> None:
    said = row(usage)
    assert said["status"] == "ok"
    assert said["tokens_in"] is said["tokens_out"] is None
    one = tariff(PRICE)
    assert one.paid(said, one.worst((40, 40))) == one.worst((40, 40))


# Where the price is from.


def test_a_server_on_this_machine_is_free_but_not_a_model_that_has_a_price() -> None:
    for url in ("http://localhost:8000/v1", "http://127.0.0.1/v1", "http://[::1]:1/v1"):
        assert price_of(Config(), Teacher(base_url=url, model="mine")) is FREE
        known = price_of(Config(), Teacher(base_url=url, model="gpt-4o"))
        assert known == KNOWN["gpt-4o"]  # a proxy may listen there
    mine = parse_config({"prices": {"gpt-4o": {**RATED, "image": LARGEST}}})
    assert price_of(mine, Teacher(model="gpt-4o")).input_usd == 2


@pytest.mark.parametrize(
    "model",
    [
        *("some/model", "vendor/model:free", "vendor:free:beta", "4", "1e3", "yes", "null"),
        *("a: b", "x #y", "[z]", "{w}", "it's", 'say "so"', "-", "modèle", "a\nb", "2026-01-31"),
        "x" * 200,
    ],
)
@pytest.mark.parametrize("known", ["gpt-4o", None])
def test_what_an_unknown_price_asks_to_paste_is_valid(
    tmp_path: Path, model: str, known: str | None
) -> None:
    """At the end of the file that `init` writes, where other models have theirs or not."""
    teacher = {"base_url": "https://api.example.org/v1", "model": model}
    given = {"teachers": [teacher, *([{"model": known}] if known else [])]}
    if not known:
        given["prices"] = {"mine": RATED | {"image": LARGEST}}  # type: ignore[assignment]
    config = parse_config(given)
    with pytest.raises(ConfigError, match="not known") as caught:
        Tariff.of(config, config.teachers[0])
    first, _, pasted = str(caught.value).partition("\n")
    assert "api.example.org" in first
    head, _, line = pasted.partition("\n")
    assert head == "prices:"
    path = tmp_path / "pocketvlm.yaml"
    written = commented_yaml(config)
    path.write_text(f"{written}{line}\n" if known else f"{written}\n{pasted}\n")
    if not known:
        assert yaml.safe_load(pasted).keys() == {"prices"}
    price = price_of(load_config(path), config.teachers[0])
    assert price.input_usd >= KNOWN["gpt-4o"].input_usd  # left as it is, rather too high
    assert price.output_usd >= KNOWN["gpt-4o"].output_usd
    assert price.image.count(1024, 1024) >= 1400


def test_an_unknown_price_is_exit_code_2_and_its_line_arrives_unharmed(tmp_path: Path) -> None:
    """`:free:` is an emoji to the library that prints."""
    project = priced(tmp_path, "https://api.example.org/v1", model="vendor:free:beta")
    done = command("estimate", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    found = re.search(r"^prices:\n  'vendor:free:beta': \{.*\}$", done.stderr, re.MULTILINE)
    assert found
    with pytest.raises(ConfigError, match="is not known"):
        label(project)
    path = tmp_path / "pocketvlm.yaml"
    path.write_text(path.read_text() + "\n" + found[0] + "\n")
    assert price_of(load_config(path), project.config.teachers[0]).input_usd > 0


def test_batches_without_a_price_are_an_error_before_anything_is_asked() -> None:
    price = Price.model_validate(RATED | {"batch": None, "image": LARGEST})
    with pytest.raises(ConfigError, match=r"no price is known for batches of 'm'.*batch: false"):
        tariff(price, batch=True)
    free = Price.model_validate({"input_usd": 0, "output_usd": 0, "batch": None, "image": LARGEST})
    assert tariff(free, batch=True).worst((40, 40), batch=True) == 0


@pytest.mark.parametrize(
    ("usd", "words"),
    [
        (0, "0.00 USD"),
        (1e-12, "0.00 USD"),
        (0.0003, "0.0003 USD"),
        (0.000123456, "0.000123 USD"),
        (0.0312, "0.0312 USD"),
        (0.09999, "0.10 USD"),
        (0.42, "0.42 USD"),
        (12.345, "12.35 USD"),
        (1234567, "1,234,567.00 USD"),
    ],
)
def test_amounts_for_people(usd: float, words: str) -> None:
    assert usd_words(usd) == words


# Against the server's own accounts.


TROUBLE = Settings(errors=0.04, cut=0.04, malformed=0.05, refused=0.05, none=0.03)
PRICES = {
    "cheap": RATED | {"input_usd": 0.1, "output_usd": 0.5, "image": LARGEST},
    "dear": RATED | {"image": LARGEST},
}


def accounted(told: dict[str, Any], prices: dict[str, Price]) -> float:
    """USD that a simulated teacher's accounts come to."""
    return sum(
        prices[line["model"]].usd(line["prompt_tokens"], line["completion_tokens"], line["batch"])
        for line in told["rows"]
    )


def test_300_pictures_cost_what_the_servers_accounts_say(tmp_path: Path) -> None:
    """Errors, cut connections, malformed answers and refusals among them; two teachers. What was
    cut has no bill that anybody knows: it counts as its worst case, apart from the rest."""
    with serve(TROUBLE) as (url, stats):
        teachers = [
            {"base_url": url, "model": name, "concurrency": 32, "retries": 0} for name in PRICES
        ]
        project = Project.of(parse_config({"teachers": teachers, "prices": PRICES}), tmp_path)
        (tmp_path / "originals").mkdir()
        collect_sizes(project, [(33 + at, 40) for at in range(300)])
        while (figures := label(project))["unanswered"]:  # what failed is asked again
            pass
        told = stats()
    assert told["pictures"] == 300
    rows = answers(project)
    billed = Counter(line["billed"] for line in rows)
    assert billed["usage"] == told["total"]["sent"]
    assert billed["nothing"] == told["total"]["errors"] > 5
    assert billed["unknown"] == told["total"]["lost"] > 5
    assert {line["status"] for line in rows} >= {"ok", "none", "refused", "malformed", "failed"}
    by_usage = sum(line["usd"] for line in rows if line["billed"] == "usage")
    assert by_usage == pytest.approx(accounted(told, project.config.prices), abs=1e-9)
    unknown = sum(line["usd"] for line in rows if line["billed"] == "unknown")
    assert figures["usd"] == pytest.approx(by_usage + unknown, abs=1e-6)
    assert sum(figures["status"].values()) == 300
    check_reserved(project)


def check_reserved(project: Project) -> None:
    """No answer cost more than its call had reserved."""
    rows = list(read_rows(project.workspace.answers))
    reserved = {line["call"]: line["reserved_usd"] for line in rows if line["kind"] == "intent"}
    assert all(0 <= line["usd"] <= reserved[line["call"]] for line in rows if "usd" in line)


@pytest.mark.parametrize("image", [OpenAITiles(), Fixed(tokens=1120), Mistral(), PRICE.image])
def test_the_worst_case_bounds_what_a_provider_bills(tmp_path: Path, image: Any) -> None:
    """Where the provider counts by the rule, whatever the shape of the picture."""
    sizes = [(40, 40), (700, 90), (90, 700), (640, 480), (2000, 33), (1025, 1023)]
    price = RATED | {"image": image.model_dump()}
    with serve(Settings(image=image)) as (url, stats):
        config = {"prices": {"stand-in": price}}
        project = priced(tmp_path, url, config=config, max_side=600, concurrency=4)
        collect_sizes(project, sizes)
        figures = label(project)
        told = stats()
    assert figures["usd"] == pytest.approx(accounted(told, project.config.prices), abs=1e-6)
    check_reserved(project)
