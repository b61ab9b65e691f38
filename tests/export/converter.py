"""llama.cpp's own converter, of the very build that runs the files.

It comes out of llama-cpp-python's source package (sdist.py)."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.sdist import llama_cpp_source

NAME = "PocketVLM"

RUNNER = """
import json, runpy, sys, types
from importlib.machinery import ModuleSpec

root, runs = sys.argv[1], json.loads(sys.argv[2])
sys.path[:0] = [root, root + "/gguf-py"]
# Imported for a tokenizer.model, which SmolVLM has not.
sentencepiece = types.ModuleType("sentencepiece")
sentencepiece.__spec__ = ModuleSpec("sentencepiece", None)
sentencepiece.SentencePieceProcessor = None
sys.modules["sentencepiece"] = sentencepiece
from conversion.base import TextModel
# It knows published tokenizers only, by a hash of the ids they give.
TextModel.get_vocab_base_pre = lambda self, tokenizer: "smollm"
for arguments in runs:
    sys.argv = ["convert_hf_to_gguf.py", *arguments]
    runpy.run_path(root + "/convert_hf_to_gguf.py", run_name="__main__")
"""


def command(model: Path, type: str, out: Path, *more: str) -> list[str]:
    """Arguments of convert_hf_to_gguf.py; `--mmproj` gives the vision file."""
    kind = type.lower()
    return [str(model), "--outtype", kind, "--model-name", NAME, "--outfile", str(out), *more]


def run_converter(commands: Sequence[list[str]]) -> None:
    """Run it in a process of its own; CalledProcessError when it fails."""
    arguments = [str(llama_cpp_source()), json.dumps(commands)]
    subprocess.run([sys.executable, "-c", RUNNER, *arguments], check=True, capture_output=True)


def prepare(model: Path, side: int) -> None:
    """Give a model folder what the converter reads and this project does not."""
    values = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"longest_edge": side}}
    (model / "preprocessor_config.json").write_text(json.dumps(values))
    config = json.loads((model / "config.json").read_text())
    config["text_config"]["architectures"] = ["VLlama3ForCausalLM"]
    (model / "config.json").write_text(json.dumps(config))
