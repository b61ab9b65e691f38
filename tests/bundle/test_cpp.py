"""ask.hpp, the app's way to ask, against Runtime: compiled, linked with its libraries, and run."""

import math
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import files as installed
from pathlib import Path

import llama_cpp
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy.special import softmax

import pocketvlm.bundle
from pocketvlm.contract import END
from pocketvlm.pictures import Bitmap
from pocketvlm.runtime import Runtime
from pocketvlm.runtime.resize import set_preprocessed_side
from tests.runtime.conftest import SIDE, Pair, files, make_model
from tests.sdist import llama_cpp_source

LENGTH = 8
"""Tokens of an answer at most."""

PROMPTS = (
    "<__media__>\nWhich element is it?\n\nElement:",
    "Look at this: <__media__>",
    "3 dogs,\n\n33 cats: <__media__>Grüße!\n\nElement:",
    "<__media__>",
)

CONTEXT = 2048
"""Tokens of the driver's context and, unless told otherwise, of a batch."""

ANSWERS = [f" {word}{END}" for word in ("wood", "water", "Grüße", "33 cats", "w")] + [END]
"""Of one token to many; what they say does not matter."""

Asked = tuple[str, Bitmap]


@dataclass(frozen=True)
class Reply:
    """What one picture gave at each level, and what the whole process did up to here."""

    ids: list[int]
    logits: NDArray[np.float32]
    answer: str
    encodings: int
    """Runs of the vision tower."""
    evaluated: int
    """Tokens and embeddings of prompts that the text model computed."""
    likelihoods: NDArray[np.float64] | None
    """Of the answers, where some were asked about."""


@dataclass(frozen=True)
class Driver:
    """The compiled program; each call is a process of its own."""

    program: Path

    def __call__(
        self,
        pair: Pair,
        tiles: str,
        asked: Sequence[Asked],
        folder: Path,
        *,
        answers: Sequence[str] = (),
        exact: bool = False,
        batch: int = CONTEXT,
        sequences: int = 1,
        unified: bool = True,
    ) -> list[Reply | str]:
        """Replies, or the error of those that failed."""
        folders = [folder / str(at) for at in range(len(asked))]
        for each, (prompt, bitmap) in zip(folders, asked, strict=True):
            each.mkdir(parents=True)
            (each / "prompt").write_bytes(prompt.encode())
            (each / "rgb").write_bytes(bitmap.tobytes())
            (each / "answers").write_bytes("\n".join(answers).encode())
        settings = [tiles, "exact" if exact else "usual", str(batch), str(sequences)]
        settings += ["unified" if unified else "apart", str(SIDE), str(LENGTH)]
        command = [str(self.program), *map(str, pair), *settings, *map(str, folders)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [reply(each) for each in folders]


def reply(folder: Path) -> Reply | str:
    if (folder / "error").exists():
        return (folder / "error").read_text()
    encodings, evaluated = map(int, (folder / "counts").read_text().split())
    scored = folder / "likelihoods"
    return Reply(
        np.fromfile(folder / "ids", np.int32).tolist(),
        np.fromfile(folder / "logits", np.float32),
        (folder / "answer").read_bytes().decode(errors="replace"),
        encodings,
        evaluated,
        np.fromfile(scored, np.float64) if scored.exists() else None,
    )


def replies(made: Sequence[Reply | str]) -> list[Reply]:
    """All of them, none an error."""
    assert not [error for error in made if isinstance(error, str)]
    return [each for each in made if isinstance(each, Reply)]


@pytest.fixture(scope="session")
def headers() -> dict[str, Path]:
    """The headers that llama-cpp-python installed with its libraries, by name."""
    paths = [path for path in installed("llama-cpp-python") or () if path.suffix == ".h"]
    found = {path.name: Path(str(path.locate())) for path in paths}
    if "mtmd-helper.h" not in found:
        pytest.skip("no mtmd-helper.h: install llama-cpp-python from its source package")
    return found


@pytest.fixture(scope="session")
def ask(tmp_path_factory: pytest.TempPathFactory, headers: dict[str, Path]) -> Driver:
    """ask_main.cpp with ask.hpp as it ships, in the libraries that Runtime runs."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++: install a C++ compiler (package g++ or build-essential)")
    program = tmp_path_factory.mktemp("cpp") / "ask"
    libraries = Path(llama_cpp.__file__).parent / "lib"
    command = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic-errors"]
    command += ["-isystem", str(headers["mtmd.h"].parent)]
    command += ["-I", str(Path(pocketvlm.bundle.__file__).parent)]
    command += [str(Path(__file__).with_name("ask_main.cpp")), "-o", str(program)]
    command += ["-L", str(libraries), f"-Wl,-rpath,{libraries}"]
    command += [f"-l{name}" for name in ("mtmd", "llama", "ggml", "ggml-base")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Driver(program)


@pytest.fixture(scope="session")
def pictures() -> list[Bitmap]:
    """Random pixels, three times."""
    random = np.random.default_rng(3)
    return list(random.integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8))


@pytest.fixture(scope="session")
def asked(pictures: list[Bitmap]) -> list[Asked]:
    """Every prompt about every picture: the same prompt twice in a row, and others between."""
    return [(prompt, picture) for prompt in PROMPTS for picture in pictures]


@pytest.fixture(scope="session")
def exact_pair(tmp_path_factory: pytest.TempPathFactory, pictures: list[Bitmap]) -> Pair:
    """In F32; the third token of its second answer is the one that ends."""
    folder = make_model(tmp_path_factory.mktemp("ends"), ["wood"])
    with Runtime(*files(folder, folder, "F32"), threads=1) as runtime:
        said = runtime.answer(PROMPTS[0], pictures[1], LENGTH).ids[2]
        (end,) = runtime.tokens(END)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][[said, end]] = weights["lm_head.weight"][[end, said]]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return files(folder, folder, "F32")


@pytest.fixture(scope="session")
def pair(exact_pair: Pair) -> Pair:
    """The same in the phone's type."""
    return files(exact_pair[0].parent, exact_pair[0].parent, "Q8_0")


@pytest.fixture(scope="session")
def stock_pair(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """With the vision file's stock metadata: every picture is enlarged to 4x4 tiles."""
    vision = Path(shutil.copy(pair[1], tmp_path_factory.mktemp("stock")))
    set_preprocessed_side(vision, 4 * SIDE)
    return pair[0], vision


def assert_said(theirs: Sequence[Reply], runtime: Runtime, asked: Sequence[Asked]) -> None:
    """Runtime gives the same at each level, bit for bit."""
    for each, (prompt, picture) in zip(theirs, asked, strict=True):
        assert each.ids == runtime.ids(prompt, picture)
        assert np.array_equal(each.logits, runtime.logits(prompt, picture))
        assert each.answer == runtime.answer(prompt, picture, LENGTH).text


@pytest.mark.parametrize("tiles", ["runtime", "single"])
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "usual"])
def test_it_says_what_runtime_says_bit_for_bit(
    ask: Driver,
    exact_pair: Pair,
    pair: Pair,
    asked: list[Asked],
    tmp_path: Path,
    tiles: str,
    exact: bool,
) -> None:
    chosen = exact_pair if exact else pair
    theirs = replies(ask(chosen, tiles, asked, tmp_path, exact=exact))
    with Runtime(*chosen, tiles=tiles, exact=exact, threads=1) as runtime:
        assert_said(theirs, runtime, asked)
    assert len({each.answer for each in theirs}) > len(PROMPTS), "the pictures must matter"


def test_an_answer_ends_at_the_end_token_or_at_the_limit(
    ask: Driver, exact_pair: Pair, asked: list[Asked], tmp_path: Path
) -> None:
    theirs = replies(ask(exact_pair, "runtime", asked, tmp_path))
    with Runtime(*exact_pair, threads=1) as runtime:
        ours = [runtime.answer(prompt, picture, LENGTH) for prompt, picture in asked]
    assert {answer.ended for answer in ours} == {True, False}
    assert [each.answer for each in theirs] == [answer.text for answer in ours]
    assert (len(ours[1].ids), ours[1].ended) == (3, True)


@pytest.mark.parametrize("tiles", ["runtime", "single"])
def test_nothing_is_left_of_the_picture_before(
    ask: Driver, pair: Pair, asked: list[Asked], tmp_path: Path, tiles: str
) -> None:
    row = replies(ask(pair, tiles, asked, tmp_path / "row"))
    for at in range(len(asked)):
        (alone,) = replies(ask(pair, tiles, asked[at : at + 1], tmp_path / f"alone-{at}"))
        assert np.array_equal(alone.logits, row[at].logits)
        assert (alone.ids, alone.answer) == (row[at].ids, row[at].answer)


def test_equal_tiles_are_encoded_once(
    ask: Driver, pair: Pair, stock_pair: Pair, asked: list[Asked], tmp_path: Path
) -> None:
    """A reply reads the prompt twice, for the logits and for the answer; noise is asked first."""

    def encodings(pair: Pair, tiles: str) -> list[int]:
        folder = tmp_path / f"{pair[1].parent.name}-{tiles}"
        return [each.encodings for each in replies(ask(pair, tiles, asked[:3], folder))]

    assert encodings(pair, "runtime") == [2 + 2, 2 + 4, 2 + 6]
    assert encodings(pair, "single") == [2, 4, 6]
    assert encodings(stock_pair, "runtime") == [2 + 2 * 17, 2 + 4 * 17, 2 + 6 * 17]
    assert encodings(stock_pair, "single") == [2, 4, 6]


@pytest.mark.parametrize("tiles", ["runtime", "single"])
def test_it_follows_a_vision_file_that_enlarges(
    ask: Driver, stock_pair: Pair, asked: list[Asked], tmp_path: Path, tiles: str
) -> None:
    theirs = replies(ask(stock_pair, tiles, asked[:3], tmp_path))
    with Runtime(*stock_pair, tiles=tiles, threads=1) as runtime:
        assert_said(theirs, runtime, asked[:3])


@pytest.mark.parametrize("tiles", ["runtime", "single"])
def test_the_text_before_the_picture_is_computed_once(
    ask: Driver, pair: Pair, pictures: list[Bitmap], tmp_path: Path, tiles: str
) -> None:
    """A reply reads the prompt twice."""
    asked = [(PROMPTS[2], picture) for picture in pictures]
    made = replies(ask(pair, tiles, asked, tmp_path))
    with Runtime(*pair, tiles=tiles, threads=1) as runtime:
        start = made[0].ids.index(runtime.image_id)
    rest = len(made[0].ids) - start
    assert start > 10
    assert [each.evaluated for each in made] == [start + 2 * n * rest for n in (1, 2, 3)]


def test_a_context_may_take_smaller_batches(
    ask: Driver, exact_pair: Pair, asked: list[Asked], tmp_path: Path
) -> None:
    whole = replies(ask(exact_pair, "runtime", asked, tmp_path / "whole", exact=True))
    parts = replies(ask(exact_pair, "runtime", asked, tmp_path / "parts", exact=True, batch=3))
    for one, other in zip(whole, parts, strict=True):
        assert (one.ids, one.answer) == (other.ids, other.answer)
        assert np.abs(one.logits - other.logits).max() < 1e-4


def likelihoods(made: Sequence[Reply | str]) -> NDArray[np.float64]:
    """Of all replies, shape (replies, answers)."""
    return np.stack([each.likelihoods for each in replies(made) if each.likelihoods is not None])


@pytest.fixture(scope="session")
def expected(exact_pair: Pair, asked: list[Asked]) -> NDArray[np.float64]:
    """What Runtime gives each answer."""
    with Runtime(*exact_pair, exact=True, threads=1) as runtime:
        return np.stack([runtime.likelihoods(*each, ANSWERS) for each in asked])


@pytest.mark.parametrize(
    ("sequences", "unified"),
    [(1, True), (2, True), (len(ANSWERS), True), (64, True), (2, False), (len(ANSWERS), False)],
)
def test_whole_answers_are_as_likely_as_runtime_says(
    ask: Driver,
    exact_pair: Pair,
    asked: list[Asked],
    expected: NDArray[np.float64],
    tmp_path: Path,
    sequences: int,
    unified: bool,
) -> None:
    """One after the other, a few at a time, and all in one batch."""
    said = ask(
        exact_pair,
        "runtime",
        asked,
        tmp_path,
        answers=ANSWERS,
        exact=True,
        sequences=sequences,
        unified=unified,
    )
    made = likelihoods(said)
    assert np.abs(made - expected).max() < 1e-4
    assert np.ptp(expected, axis=0).min() > 0.1, "the pictures must matter"


@pytest.mark.parametrize("tiles", ["runtime", "single"])
@pytest.mark.parametrize("sequences", [1, 64])
def test_likelihoods_of_the_phones_type_are_runtimes(
    ask: Driver, pair: Pair, asked: list[Asked], tmp_path: Path, tiles: str, sequences: int
) -> None:
    said = ask(pair, tiles, asked, tmp_path, answers=ANSWERS, sequences=sequences)
    with Runtime(*pair, tiles=tiles, threads=1) as runtime:
        ours = np.stack([runtime.likelihoods(*each, ANSWERS) for each in asked])
    assert np.abs(likelihoods(said) - ours).max() < 1e-4


def test_likelihoods_may_take_small_batches(
    ask: Driver,
    exact_pair: Pair,
    asked: list[Asked],
    expected: NDArray[np.float64],
    tmp_path: Path,
) -> None:
    said = ask(
        exact_pair,
        "runtime",
        asked,
        tmp_path,
        answers=ANSWERS,
        exact=True,
        sequences=3,
        batch=3,
    )
    made = likelihoods(said)
    assert np.abs(made - expected).max() < 1e-4


@pytest.mark.parametrize("sequences", [1, 64])
def test_likelihoods_read_the_picture_once_and_leave_nothing(
    ask: Driver, pair: Pair, asked: list[Asked], tmp_path: Path, sequences: int
) -> None:
    """A reply reads the prompt three times then; noise is asked first."""
    paths = tmp_path / "plain", tmp_path / "scored"
    plain = replies(ask(pair, "runtime", asked, paths[0], sequences=sequences))
    made = replies(ask(pair, "runtime", asked, paths[1], answers=ANSWERS, sequences=sequences))
    assert [each.encodings for each in made] == [2 + 3 * n for n in range(1, len(asked) + 1)]
    for one, other in zip(plain, made, strict=True):
        assert np.array_equal(one.logits, other.logits)
        assert (one.ids, one.answer) == (other.ids, other.answer)


def test_failed_likelihoods_do_no_harm(
    ask: Driver, pair: Pair, asked: list[Asked], tmp_path: Path
) -> None:
    """One answer is longer than the context: when that shows, the further sequences are there."""
    paths = tmp_path / "failed", tmp_path / "plain"
    long = [*ANSWERS, "no " * CONTEXT]
    failed = ask(pair, "runtime", asked[:2], paths[0], answers=long, sequences=64)
    assert all("the context is full" in str(each) for each in failed)
    _, second = replies(ask(pair, "runtime", asked[:2], paths[1], sequences=64))
    after = np.fromfile(tmp_path / "failed/1/logits", np.float32)
    assert np.array_equal(after, second.logits)


def choose(ask: Driver, *given: float) -> tuple[int, float, bool]:
    """Temperature, threshold, likelihoods; what choose makes of them."""
    command = [str(ask.program), "choose", *map(repr, given)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    label, confidence, unsure = done.stdout.split()
    return int(label), float(confidence), unsure == "1"


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_choice_is_the_likeliest_at_its_temperature(ask: Driver, temperature: float) -> None:
    said = [-3.5, -0.25, -700.0, -1.0]
    label, confidence, unsure = choose(ask, temperature, 0.0, *said)
    assert (label, unsure) == (1, False)
    assert math.isclose(confidence, softmax(np.array(said) / temperature).max(), rel_tol=1e-12)


def test_the_choice_is_unsure_below_its_threshold(ask: Driver) -> None:
    said = [-2000.0, -2000.0 - math.log(3)]  # three to one, both next to impossible
    assert choose(ask, 1.0, 0.76, *said)[2] and not choose(ask, 1.0, 0.74, *said)[2]
    assert not choose(ask, 1.0, 1.0, -5.0)[2], "as sure as the threshold is sure enough"


@pytest.mark.parametrize(("temperature", "said"), [("0", ["-1"]), ("nan", ["-1"]), ("1", [])])
def test_nothing_to_choose_from_is_an_error(ask: Driver, temperature: str, said: list[str]) -> None:
    command = [str(ask.program), "choose", temperature, "0", *said]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "choose needs answers and a temperature" in done.stderr


def test_an_error_names_its_cause_and_does_no_harm(
    ask: Driver, pair: Pair, pictures: list[Bitmap], tmp_path: Path
) -> None:
    good = (PROMPTS[2], pictures[0])
    causes = {
        "What is it?": "must hold <__media__> once",
        "<__media__> or <__media__>?": "must hold <__media__> once",
        PROMPTS[2] + "?" * CONTEXT: "the context is full",
        "?" * CONTEXT + PROMPTS[2]: "the context is full",
    }
    asked = [good]
    for prompt in causes:
        asked += [(prompt, pictures[1]), good]
    made = ask(pair, "runtime", asked, tmp_path)
    first, *others = replies(made[::2])
    for each in others:
        assert np.array_equal(each.logits, first.logits)
        assert each.answer == first.answer
    for error, cause in zip(made[1::2], causes.values(), strict=True):
        assert isinstance(error, str)
        assert cause in error


@pytest.mark.parametrize(
    ("tiles", "text", "reason"),
    [
        ("both", None, "tiles must be runtime or single, not both"),
        ("runtime", "missing.gguf", "the text file or the vision file is not open"),
    ],
)
def test_it_cannot_be_made_wrong(
    ask: Driver, pair: Pair, tmp_path: Path, tiles: str, text: str | None, reason: str
) -> None:
    files = [str(tmp_path / text) if text else str(pair[0]), str(pair[1])]
    settings = [tiles, "usual", "2048", "1", "unified", str(SIDE), "8"]
    command = [str(ask.program), *files, *settings]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert reason in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_headers_are_those_of_the_source_package(headers: dict[str, Path]) -> None:
    try:
        source = llama_cpp_source()
    except subprocess.CalledProcessError:
        pytest.skip("the source package of llama-cpp-python cannot be downloaded: go online")
    theirs = {path.name: path for path in source.rglob("*.h")}
    for name in ("llama.h", "mtmd.h", "mtmd-helper.h", "ggml.h", "ggml-backend.h"):
        assert headers[name].read_bytes() == theirs[name].read_bytes()
