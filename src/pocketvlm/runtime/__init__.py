"""llama.cpp behind one small interface."""

from pocketvlm.runtime.llama import Answer, Runtime
from pocketvlm.runtime.loading import identity

__all__ = ["Answer", "Runtime", "identity"]
