"""llama.cpp, the phone's runtime, behind one small interface."""

from pocketvlm.runtime.asking import Files, ask_all, latency
from pocketvlm.runtime.grammar import gbnf
from pocketvlm.runtime.identity import (
    another_build,
    ask_layout,
    check_end,
    check_layout,
    identity,
    lay_out,
    named,
)
from pocketvlm.runtime.llama import Answer, Runtime
from pocketvlm.runtime.together import Asked

__all__ = [
    "Answer",
    "Asked",
    "Files",
    "Runtime",
    "another_build",
    "ask_all",
    "ask_layout",
    "check_end",
    "check_layout",
    "gbnf",
    "identity",
    "latency",
    "lay_out",
    "named",
]
