"""The Kotlin that the app takes, compiled by the real compiler and run beside the contract."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from pocketvlm.bundle.golden import drawn
from pocketvlm.bundle.kotlin import device_contract_kt, golden_pictures_test_kt, literal
from pocketvlm.config import parse_config
from pocketvlm.contract import END, Contract
from pocketvlm.runtime import gbnf
from pocketvlm.workspace import Row, read_json, write_json

from .kotlin import program, run, write_argb, write_pictures

LABELS = {"água$x": "seas", '"fire"\\n': "flames", "木😀": "trees"}
QUESTION = 'Which "$one",\n${it} \\n — 木?'
LAYOUT = [{"text": list(range(50))}, {"picture": 16}, {"text": [7]}, {"picture": 16}, {"text": [8]}]
IDS = [*range(50), *[60] * 16, 7, *[60] * 16, 8]
SIDES = {"bilinear": 256, "lanczos": 192, "area": 64}

CALIBRATION = {
    "temperature": 1.5e-05 + 1.25,
    "unsure_below": 0.71,
    "sure": 0.995,
    "coverage": 0.84,
    "accuracy_when_sure": 0.962,
    "n_val": 1234567,
}
NO_THRESHOLD = {"unsure_below": None, "coverage": None, "accuracy_when_sure": None}

CALIBRATIONS = {"bilinear": CALIBRATION, "lanczos": CALIBRATION | NO_THRESHOLD, "area": None}
"""With a threshold, without one, and none."""


def contract_of(resize: str) -> Contract:
    """Labels and a question that try Kotlin's quoting."""
    settings = {"task": {"question": QUESTION, "labels": LABELS}}
    return Contract.of(
        parse_config(settings | {"device": {"side": SIDES[resize], "resize": resize}})
    )


def described(resize: str) -> Row:
    """contract.json, as far as the Kotlin is made of it."""
    calibration = CALIBRATIONS[resize]
    return (
        contract_of(resize).describe()
        | ({"calibration": calibration} if calibration else {})
        | {
            "layout": LAYOUT,
            "image_token_id": 60,
            "end_token_id": 5,
            "answers": {label: [9, 5] for label in LABELS},
            "model": "model-Q8_0.gguf",
            "mmproj": "mmproj-Q8_0.gguf",
            "grammar": gbnf(LABELS),
        }
    )


@pytest.fixture(scope="session")
def jar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All three filters and both tests in one program: compiling takes a while."""
    packages = {"pocketvlm": "bilinear", "lanczos": "lanczos", "area": "area"}
    contracts = {package: described(resize) for package, resize in packages.items()}
    return program(tmp_path_factory.mktemp("kotlin"), contracts)


def pictures() -> list[Image.Image]:
    """Every kind of size: copies, one pixel, lines, and any; every second one transparent."""
    rng = np.random.default_rng(0)
    sizes = [(1, 1), (1, 9), (9, 1), (64, 64), (192, 192), (256, 256), (255, 256), (257, 256)]
    sizes += [(512, 512), (1600, 1200), (1200, 1600), (3, 2000), (2000, 3), (90, 181), (90, 180)]
    sizes += [(int(width), int(height)) for width, height in rng.integers(1, 700, (60, 2))]
    made = []
    for at, (width, height) in enumerate(sizes):
        pixels = rng.integers(0, 256, (height, width, 4), np.uint8)
        pixels[..., :3] = pixels[..., :3] // 128 * 255 if at % 3 else pixels[..., :3]
        made.append(Image.fromarray(pixels if at % 2 else np.ascontiguousarray(pixels[..., :3])))
    alpha, value = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")  # every product
    return [*made, Image.fromarray(np.stack([value] * 3 + [alpha], 2).astype(np.uint8))]


@pytest.fixture(scope="module")
def prepared(jar: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each picture as Kotlin prepares it under each contract."""
    folder = tmp_path_factory.mktemp("prepared")
    for at, picture in enumerate(pictures()):
        write_argb(folder / f"{at}.argb", picture)
    run(jar, "bitmaps", folder)
    return folder


@pytest.mark.parametrize("resize", sorted(SIDES))
def test_kotlin_prepares_the_same_bytes(prepared: Path, resize: str) -> None:
    contract = contract_of(resize)
    for at, picture in enumerate(pictures()):
        made = np.frombuffer((prepared / f"{at}.{resize}").read_bytes(), np.uint8)
        expected = contract.bitmap(picture)
        apart = np.flatnonzero(made != expected.ravel())
        assert not len(apart), f"{picture.mode} {picture.size}: {len(apart)} bytes differ"


@pytest.fixture(scope="module")
def constants(jar: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the compiled constants and `label` say."""
    folder = tmp_path_factory.mktemp("constants")
    run(jar, "constants", folder)
    return folder


def test_constants_are_the_contracts(constants: Path) -> None:
    told = (constants / "constants").read_bytes().decode().split("\0")[:-1]
    contract = contract_of("bilinear")
    assert told == [
        *("256", "true", contract.prompt, "<__media__>", "runtime", "32", "5", "60"),
        *("model-Q8_0.gguf", "mmproj-Q8_0.gguf", contract.hash, " ".join(map(str, IDS))),
        *(gbnf(LABELS), "1.250015", "0.71", "null", "null"),
        *LABELS,
        *(f" {label}{END}" for label in LABELS),
    ]


def test_an_answer_is_stripped_as_where_it_was_measured(constants: Path) -> None:
    contract, label = contract_of("bilinear"), next(iter(LABELS))
    white = [code for code in range(0x10000) if chr(code).isspace()]
    assert all(contract.label_of(chr(code) + label) == label for code in white)
    assert (constants / "stripped").read_text() == " ".join(map(str, white))


def test_other_answers_are_no_label(constants: Path) -> None:
    assert (constants / "others").read_text() == " ".join(["null"] * 5)


TEMPERATURES = {"pocketvlm": CALIBRATION["temperature"], "lanczos": 1.250015, "area": 1.0}

SAID = [
    [-0.1, -3.0, -4.5],
    [-700.0, -701.0, -900.0],
    [-2.0, -2.0, -2.0],
    [-4.5, -0.25, -2.25],
    [-90.0, -1e-12, -80.0],
]
"""Log-probabilities of the three labels."""


@pytest.fixture(scope="module")
def sureness(jar: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What each contract makes of SAID."""
    folder = tmp_path_factory.mktemp("sureness")
    lines = (" ".join(map(repr, row)) for row in SAID)
    (folder / "likelihoods").write_text("\n".join(lines))
    run(jar, "sureness", folder)
    return folder


@pytest.mark.parametrize("package", TEMPERATURES)
def test_confidences_are_those_of_the_calibration(sureness: Path, package: str) -> None:
    told = (sureness / package).read_bytes().decode().split("\0")
    for row, said in zip(told, SAID, strict=True):
        made = [float(value) for value in row.split("\n")[:3]]
        assert made == pytest.approx(softmax(np.array(said) / TEMPERATURES[package]), rel=1e-12)


@pytest.mark.parametrize("package", TEMPERATURES)
def test_unsure_is_what_lies_below_the_threshold(sureness: Path, package: str) -> None:
    told = [row.split("\n") for row in (sureness / package).read_bytes().decode().split("\0")]
    for confidences, (*_, sure, label) in zip(SAID, told, strict=True):
        best = max(softmax(np.array(confidences) / TEMPERATURES[package]))
        expected = package != "pocketvlm" or best >= 0.71
        assert sure == str(expected).lower()
        likeliest = list(LABELS)[int(np.argmax(confidences))]
        assert label == (likeliest if expected else "null")
    said = {row[3] for row in told}
    assert said == ({"true", "false"} if package == "pocketvlm" else {"true"})


MISTAKES = {
    "red and blue": ("bitmap, thirds: worst 255", "red and blue are swapped: the bytes are"),
    "one to the right": ("bitmap, thirds: worst 255", "lies 1 right of its place, 0 below"),
    "top left": ("bitmap, portrait: worst 255", "lies -119 right of its place, 0 below"),
    "stretched": ("bitmap, portrait: worst 255", "was stretched to fill the square"),
    "nearest": ("bitmap, small: worst", "another filter than the contract's bilinear"),
    "four bytes": ("bitmap, small: 262144 bytes instead of 196608", "four bytes a pixel"),
    "bos": ("token ids, small: 85 instead of 84, other from position 0", "add_special = false"),
    "one tile": ("token ids, small: 4 instead of 84", "cuts other tiles (0 image tokens instead"),
    "template": ("84 on (7 instead of null)", "another prompt: DeviceContract.PROMPT as it is"),
    "native": ("first token, small: the likeliest are", "on the way into mtmd_bitmap_init"),
    "other model": ("first token, small: the likeliest are", "other files than model-Q8_0.gguf"),
    "small vocabulary": ("first token, small: the likeliest are [0 -20.0", "other files than"),
    "end written out": ("answer, small: 'água-3<", "generation goes on after token 5"),
    "cut": ("answer, small: 'água' instead of 'água-3'", "generation ends before"),
    "sampled": ("answer, small: 'perhaps  água-3' instead of", "no temperature, no penalties"),
    "another device": ("skipped: use DeviceContract.bitmap", "small: worst 3, mean"),
}
"""What the app does wrong, and what the test says of it on one line: level, picture, cause."""


@pytest.fixture(scope="module")
def said(jar: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the app's test says of each mistake."""
    folder = tmp_path_factory.mktemp("golden")
    opaque = {name: one for name, one in drawn().items() if name != "transparent"}
    write_pictures(folder, contract_of("bilinear"), len(IDS), opaque)
    run(jar, "golden", folder, "none", "close call", "this device", *MISTAKES)
    return folder


def test_a_faithful_app_passes(said: Path) -> None:
    assert (said / "none.txt").read_text() == "passed"


def test_logits_that_nearly_tie_may_change_places(said: Path) -> None:
    assert (said / "close call.txt").read_text() == "passed"


def test_a_device_that_rounds_otherwise_by_one_passes(said: Path) -> None:
    assert (said / "this device.txt").read_text() == "passed"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(said: Path, mistake: str) -> None:
    message = (said / f"{mistake}.txt").read_text()
    for part in MISTAKES[mistake]:
        assert part in message


def test_transparent_golden_pictures_keep_their_colours(jar: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path, contract_of("bilinear"), len(IDS), drawn())
    run(jar, "golden", tmp_path, "none")
    assert (tmp_path / "none.txt").read_text() == "passed"


def test_golden_pictures_of_another_bundle_are_told(jar: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path, contract_of("bilinear"), len(IDS) + 1, drawn())
    run(jar, "golden", tmp_path, "none")
    assert "golden.json counts 85, DeviceContract.LAYOUT 84" in (tmp_path / "none.txt").read_text()
    index = tmp_path / "golden/golden.json"
    write_json(index, read_json(index) | {"contract": "0" * 64})
    run(jar, "golden", tmp_path, "none")
    assert "are of different bundles" in (tmp_path / "none.txt").read_text()


def test_a_changed_bitmap_is_told(jar: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path, contract_of("bilinear"), len(IDS), drawn())
    Image.new("RGB", (256, 256)).save(tmp_path / "golden/small.bitmap.png")
    run(jar, "golden", tmp_path, "none")
    assert "golden/small.bitmap.png was changed" in (tmp_path / "none.txt").read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a'b", '"a\'b"'),
        ('$a "b" \\', '"\\$a \\"b\\" \\\\"'),
        ("\n\t\x00", '"\\n\\u0009\\u0000"'),
        ("é木", '"\\u00E9\\u6728"'),
        ("😀\ud800", '"\\uD83D\\uDE00\\uD800"'),
    ],
)
def test_literals_are_ascii(text: str, expected: str) -> None:
    assert literal(text) == expected


def test_the_way_of_the_tiles_and_the_orientation_are_said() -> None:
    other = described("bilinear") | {"tiles": "single", "exif": False}
    text = device_contract_kt(other)
    assert 'TILES = "single"' in text
    assert "Only the overview is evaluated" in text
    assert "EXIF = false" in text
    assert "The app does not turn pictures by their EXIF orientation" in text


def test_a_threshold_that_no_test_picture_reached_is_said() -> None:
    none = CALIBRATION | {"coverage": 0.0, "accuracy_when_sure": None}
    text = device_contract_kt(described("bilinear") | {"calibration": none})
    assert text.isascii() and "Measured: 0.0% of the pictures answered.\n" in text


def test_only_the_bilinear_contract_is_compared_with_createscaledbitmap() -> None:
    assert "fun createScaledBitmap" in golden_pictures_test_kt(described("bilinear"))
    assert "fun createScaledBitmap" not in golden_pictures_test_kt(described("area"))


@pytest.mark.parametrize("resize", sorted(SIDES))
@pytest.mark.parametrize("made", [device_contract_kt, golden_pictures_test_kt])
def test_the_code_is_easy_to_read(made: Callable[[Row], str], resize: str) -> None:
    """No line runs out of the window, save those of the project's own texts."""
    text = made(described(resize))
    assert not [line for line in text.splitlines() if len(line) > 100 and "const val" not in line]
    assert "\n\n\n" not in text
    assert text.endswith("}\n")
