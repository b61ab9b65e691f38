"""The verdict: the shipped files measured in llama.cpp, with the way there in torch."""

from pocketvlm.validate.validate import validate

__all__ = ["validate"]
