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

MARGIN = 3
"""Empty pixels on both sides of what stands below a picture."""

FONT = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), 11)


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
    for place, (path, label, answer) in enumerate(rows):
        left, top = place % columns * CELL, place // columns * (CELL + CAPTION)
        with Image.open(path) as picture:
            sheet.paste(picture.convert("RGB").resize((CELL, CELL)), (left, top))
        draw.text((left + MARGIN, top + CELL + 1), caption(label), "black", FONT)
        draw.text((left + MARGIN, top + CELL + 15), caption(answer), "firebrick", FONT)
    return np.asarray(sheet)


def caption(text: str) -> str:
    """One line that stays in its cell, however the student answered."""
    line = " ".join(text.split()) or "(nothing)"
    line = "".join(sign if sign.isprintable() else "\ufffd" for sign in line)
    if _fits(line):
        return line
    while not _fits(f"{line}..."):
        line = line[:-1]
    return f"{line}..."


def _fits(line: str) -> bool:
    return FONT.getlength(line) <= CELL - 2 * MARGIN
