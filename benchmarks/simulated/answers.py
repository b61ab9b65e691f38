"""How a simulated teacher is, and what it says: a function of the picture's bytes alone."""

import base64
import hashlib
import io
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

from pocketvlm.prices import ImageTokens
from pocketvlm.sections import ELEMENTS
from simulated.limits import Kind

Fate = Literal["answer", "malformed", "refused", "none", "error", "cut"]

SEEN = (
    "waves",
    "a shore",
    "rock faces",
    "dry soil",
    "flames",
    "a glow",
    "bark",
    "foliage",
    "rivets",
)
COLOURS = ("blue", "grey", "brown", "orange", "green", "silver", "white", "black")
TEXTURES = ("smooth", "grainy", "rippled", "fibrous", "glossy", "rough")

DOUBT = 0.2
"""Share of pictures that a teacher is not sure of: the only ones where two models may differ."""

LETTERS = 4
"""Bytes a token of what is asked."""

LETTERS_OUT = 3.4
"""Bytes a token of what is answered: JSON is denser, these answers come to 3.4 in OpenAI's
cl100k_base."""


@dataclass(frozen=True)
class Settings:
    """A simulated teacher. Shares are of all calls and are drawn by hash: the same run meets the
    same trouble. `refused` and `none` are a picture's own; `malformed`, `errors` (500) and `cut`
    (half a reply, then a reset) are drawn anew at each try."""

    seconds: float = 0.0
    """Mean time that an answer takes."""
    jitter: float = 0.0
    """Each answer takes up to so much more or less, seconds; always the same for a picture."""
    limit: Kind = "none"
    limit_seconds: float = 1.0
    """A bucket's capacity in seconds' worth, or a window's length."""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    """Tokens in and out of the answer, counted when the call is let in."""
    headers: Literal["openai", "none"] = "openai"
    retry_after: bool = True
    slots: int | None = None
    """Answers made at a time; the others queue."""
    malformed: float = 0.0
    refused: float = 0.0
    none: float = 0.0
    errors: float = 0.0
    cut: float = 0.0
    image: ImageTokens | None = None
    """How the tokens of a picture are counted, once it has been looked at; without, by its hash."""
    seed: int = 0
    labels: tuple[str, ...] = tuple(ELEMENTS)
    batch_seconds: float = 1.0
    """From a batch's creation to its end."""
    batch_end: Literal["completed", "failed", "expired"] = "completed"
    """An expired batch has answered about half of its requests."""
    lose_first_batch: bool = False
    """The first batch is made, but the reply that says so is cut."""


@dataclass(frozen=True)
class Question:
    """What of a request decides about its answer."""

    picture: str
    """SHA-256 of the data URL."""
    model: str
    text: int
    """Bytes around the picture."""
    size: tuple[int, int] | None = None
    """Width and height of the picture, pixels, where somebody has looked."""


@dataclass(frozen=True)
class Said:
    """One answer, and what it takes."""

    fate: Fate
    completion: dict[str, Any]
    tokens: tuple[int, int]
    seconds: float


def read_question(body: bytes | memoryview, look: bool = False) -> tuple[Question, dict[str, Any]]:
    """A request's question, and all of it but the picture. ValueError, KeyError or TypeError when
    it is none. The picture is found by its quotes, never parsed: it is nearly all of the body. To
    `look` at it is to read its size."""
    raw = bytes(body)
    start = raw.find(b'"data:image/')
    if start < 0:
        raise ValueError("no picture in the request")
    end = raw.index(b'"', start + 1)
    rest = raw[: start + 1] + raw[end:]
    request = json.loads(rest)
    asked = request.get("body", request)  # a line of a batch holds its request inside
    url = memoryview(raw)[start + 1 : end]
    picture = hashlib.sha256(url).hexdigest()
    size = size_of(bytes(url)) if look else None
    return Question(picture, str(asked["model"]), len(rest), size), request


def size_of(url: bytes) -> tuple[int, int]:
    """Width and height of the picture in a data URL, pixels; ValueError when it is none."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(url.partition(b",")[2]))) as picture:
            return picture.size
    except OSError as wrong:
        raise ValueError(str(wrong)) from None


def draw(*seeds: object) -> float:
    """A number from 0 to 1 that the seeds decide."""
    text = "|".join(map(str, seeds)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8]) / 2**64


def pick(words: Sequence[str], *seeds: object) -> str:
    """One of some words, that the seeds decide."""
    return words[int(draw(*seeds) * len(words))]


def say(settings: Settings, question: Question, attempt: int) -> Said:
    """What the teacher says of a picture at the n-th try."""
    fate = choose(settings, question, attempt)
    content = express(settings, question, fate)
    if settings.image and question.size:
        picture = settings.image.count(*question.size)
    else:
        picture = 85 + 170 * (1 + int(8 * draw("tiles", question.picture)))
    tokens = question.text // LETTERS + picture, max(1, int(len(content) / LETTERS_OUT))
    off = settings.jitter * (2 * draw("seconds", question.picture) - 1)
    seconds = max(0.0, settings.seconds + off)
    return Said(fate, completion(question.model, fate, content, tokens), tokens, seconds)


def choose(settings: Settings, question: Question, attempt: int) -> Fate:
    """What becomes of a call."""
    now = draw(settings.seed, "now", question.picture, question.model, attempt)
    passing: dict[Fate, float] = {
        "cut": settings.cut,
        "error": settings.errors,
        "malformed": settings.malformed,
    }
    always = draw(settings.seed, "always", question.picture, question.model)
    own: dict[Fate, float] = {"refused": settings.refused, "none": settings.none}
    for at, shares in ((now, passing), (always, own)):
        for fate, share in shares.items():
            if at < share:
                return fate
            at -= share
    return "answer"


def express(settings: Settings, question: Question, fate: Fate) -> str:
    """The assistant's words."""
    seed, picture = settings.seed, question.picture
    if fate == "refused":
        return "I can't help with that picture."
    doubt = draw(seed, "doubt", picture) < DOUBT
    view = question.model if doubt else ""
    label = pick(settings.labels, seed, "label", picture, view)
    other = next(word for word in settings.labels if word != label) if doubt else None
    least, most = (0.4, 0.75) if doubt else (0.85, 0.99)
    confidence = least + (most - least) * draw(seed, "confidence", picture, question.model)
    answer = {
        "visual_features": [pick(SEEN, picture, number) for number in range(4)],
        "colours": [pick(COLOURS, picture, number) for number in range(2)],
        "texture": pick(TEXTURES, picture),
        "reason": f"The dominant area is what is called {label} by the definitions, and it is the "
        "subject of the picture; what lies around it only frames it.",
        "ambiguity": f"A part of it could be {other}, which is in sharp focus." if other else None,
        "alternative": other,
        "confidence": round(confidence, 3),
        "label": "none" if fate == "none" else label,
    }
    text = json.dumps(answer)
    return text[: len(text) // 2] if fate == "malformed" else text


def completion(model: str, fate: Fate, content: str, tokens: tuple[int, int]) -> dict[str, Any]:
    """OpenAI's chat completion object."""
    refused = fate == "refused"
    message = {
        "role": "assistant",
        "content": None if refused else content,
        "refusal": content if refused else None,
    }
    return {
        "id": f"chatcmpl-{time.time_ns()}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "finish_reason": "stop", "message": message, "logprobs": None}],
        "usage": {
            "prompt_tokens": tokens[0],
            "completion_tokens": tokens[1],
            "total_tokens": sum(tokens),
        },
    }
