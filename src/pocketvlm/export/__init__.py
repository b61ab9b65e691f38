"""From the merged model to the two files that the phone loads."""

from pocketvlm.export.convert import convert
from pocketvlm.export.text import export_text
from pocketvlm.export.vision import export_vision

__all__ = ["convert", "export_text", "export_vision"]
