"""llama.cpp, the phone's runtime, behind one small interface."""

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

__all__ = [
    "Answer",
    "Runtime",
    "another_build",
    "ask_layout",
    "check_end",
    "check_layout",
    "identity",
    "lay_out",
    "named",
]
