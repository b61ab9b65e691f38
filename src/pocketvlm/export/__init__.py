"""From the merged model to the two files that the phone loads."""

from pocketvlm.export.convert import convert
from pocketvlm.export.resize import resize_vision
from pocketvlm.export.skeleton import export_skeleton
from pocketvlm.export.text import export_text
from pocketvlm.export.vision import export_vision

__all__ = ["convert", "export_skeleton", "export_text", "export_vision", "resize_vision"]
