"""What the teacher is asked, built from the task's definitions."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from pocketvlm.sections import Task
from pocketvlm.workspace import sha256_json

NONE = "none"
"""The teacher's word when no label fits: recorded, counted, never taught."""

TEMPLATE = "prompt.txt.j2"
"""The text around the task's definitions. Its first line counts its versions; what names a question
is the hash of the whole text."""


@cache
def template() -> Template:
    """The template, read once."""
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template(TEMPLATE)


def build_prompt(task: Task) -> str:
    """The whole text that goes with every picture."""
    choices = " or ".join(f'"{label}"' for label in [*task.labels, NONE])
    return template().render(labels=task.labels, no_label=NONE, choices=choices)


def prompt_hash(task: Task) -> str:
    """Names the prompt in the ledger."""
    return sha256_json(build_prompt(task))[:16]


def answer_schema(task: Task) -> dict[str, Any]:
    """The answer as strict JSON schema (OpenAI's structured outputs): reasons before the label, so
    that the label follows from them."""
    words = {"type": "array", "items": {"type": "string"}}
    properties: dict[str, Any] = {
        "visual_features": words,
        "colours": words,
        "texture": {"type": "string"},
        "reason": {"type": "string"},
        "ambiguity": {"type": ["string", "null"]},
        "alternative": {"type": ["string", "null"], "enum": [*task.labels, None]},
        "confidence": {"type": "number"},
        "label": {"type": "string", "enum": [*task.labels, NONE]},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
