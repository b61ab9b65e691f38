"""What the base's tower sees before anything was taught: what a linear probe is taught on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pocketvlm.progress import track
from pocketvlm.student.data import read_bitmap
from pocketvlm.student.inputs import pixel_values, tower_states
from pocketvlm.student.student import BATCH, Student

OPERATIONS = 4e13
"""What a look at all pictures may take on a processor: minutes at 100 to 200 GFLOP/s."""


@torch.inference_mode()
def pooled_states(student: Student, paths: Sequence[Path]) -> NDArray[np.float32]:
    """The tower's last states of each bitmap, before the connector, as mean and maximum over its
    patches: shape (n, 2 x vision hidden).

    The mean tells what fills the picture, the maximum what is somewhere in it. On 115 of the
    demo's scenes a probe of both is right on 90%, of the mean alone on 84%."""
    rows = [np.empty((0, 2 * student.model.config.vision_config.hidden_size), np.float32)]
    starts = range(0, len(paths), BATCH)
    for start in track(starts, "Looking with the untrained tower", len(starts)):
        part = [read_bitmap(path, student.contract.side) for path in paths[start : start + BATCH]]
        states = tower_states(student.model, pixel_values(part).to(student.model.device))
        pooled = torch.cat([states.mean(dim=1), states.amax(dim=1)], dim=1)
        rows.append(pooled.float().cpu().numpy())
    return np.concatenate(rows)


def affordable(student: Student) -> int | None:
    """How many pictures the tower looks at in minutes; None: as many as you like."""
    if student.model.device.type != "cpu":
        return None
    tower = student.model.model.vision_model
    weights = sum(value.numel() for value in tower.parameters())
    patches = (student.contract.side // student.model.config.vision_config.patch_size) ** 2
    return int(OPERATIONS / (2 * weights * patches))
