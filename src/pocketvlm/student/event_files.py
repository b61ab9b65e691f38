"""A training as TensorBoard's event files."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import yaml
from PIL import Image, ImageDraw, ImageFont

from pocketvlm.pictures import Bitmap
from pocketvlm.project import Project
from pocketvlm.workspace import Row

COLUMNS, CELL, CAPTION = 8, 128, 32
"""Pictures in a row of the sheet, the side of each, and the height below it, pixels."""

LETTERS = 20
"""Letters of a label or an answer below a picture."""


class EventFiles:
    """One folder of event files a training, below logs/tensorboard/."""

    name = "TensorBoard"

    def __init__(self, project: Project, run: str, step: int, settings: Row) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        folder = project.workspace.logs / "tensorboard" / run
        # What was done after the last checkpoint is done again: TensorBoard forgets it.
        self.writer: Any = SummaryWriter(str(folder), purge_step=step + 1, flush_secs=10)
        for title, value in settings.items():
            text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
            self.writer.add_text(title, "".join(f"    {line}\n" for line in text.splitlines()))

    def figures(self, values: dict[str, float], step: int) -> None:
        """One point a figure."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def mistakes(self, rows: Sequence[tuple[Path, str, str]], step: int) -> None:
        """One picture of them all, with label and answer below each."""
        self.writer.add_image("val/mistakes", contact_sheet(rows), step, dataformats="HWC")

    def close(self, finished: bool) -> None:
        """Write what is not written yet."""
        self.writer.close()


def contact_sheet(rows: Sequence[tuple[Path, str, str]]) -> Bitmap:
    """Pictures side by side, below each its label and the answer: uint8 (height, width, 3)."""
    columns = min(COLUMNS, len(rows))
    height = math.ceil(len(rows) / columns) * (CELL + CAPTION)
    sheet = Image.new("RGB", (columns * CELL, height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), 11)
    for place, (path, label, answer) in enumerate(rows):
        left, top = place % columns * CELL, place // columns * (CELL + CAPTION)
        with Image.open(path) as picture:
            sheet.paste(picture.convert("RGB").resize((CELL, CELL)), (left, top))
        draw.text((left + 3, top + CELL + 1), _short(label), "black", font)
        draw.text((left + 3, top + CELL + 15), _short(answer), "firebrick", font)
    return np.asarray(sheet)


def _short(text: str) -> str:
    """One line, however the student answered."""
    line = " ".join(text.split()) or "(nothing)"
    return line if len(line) <= LETTERS else f"{line[: LETTERS - 3]}..."
