"""What the untrained tower sees, pooled for a linear probe."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pocketvlm.errors import PocketError
from pocketvlm.project import Project
from pocketvlm.student import load_base
from pocketvlm.student.data import Split, read_bitmap
from pocketvlm.student.frozen import affordable, pooled_states
from pocketvlm.student.inputs import pixel_values, tower_states
from pocketvlm.student.student import BATCH


def paths_of(project: Project, count: int) -> list[Path]:
    """The first pictures of train."""
    split = Split(project, "train")
    return [split.path(at) for at in range(count)]


def test_mean_and_maximum_over_the_patches(project: Project) -> None:
    student = load_base(project)
    (path,) = paths_of(project, 1)
    with torch.no_grad():
        states = tower_states(student.model, pixel_values([read_bitmap(path, 64)]))[0].numpy()
    (pooled,) = pooled_states(student, [path])
    assert pooled.dtype == np.float32
    assert np.allclose(pooled, np.concatenate([states.mean(0), states.max(0)]), atol=1e-6)


def test_batches_change_nothing(project: Project) -> None:
    """More pictures than a batch, in order, each as if it were alone."""
    student = load_base(project)
    paths = paths_of(project, BATCH + 3)
    together = pooled_states(student, paths)
    assert together.shape == (BATCH + 3, 2 * student.model.config.vision_config.hidden_size)
    for at in (0, BATCH - 1, BATCH + 2):
        assert np.allclose(together[at], pooled_states(student, [paths[at]])[0], atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 0.01


def test_of_no_picture_no_row(project: Project) -> None:
    student = load_base(project)
    assert len(pooled_states(student, [])) == 0


def test_a_bitmap_of_another_side_is_named(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("RGB", (128, 128)).save(path)
    with pytest.raises(PocketError, match=r"large\.png is 128x128"):
        pooled_states(load_base(project), [path])


def test_on_a_processor_time_is_counted(project: Project) -> None:
    """A tower of SmolVLM's size at 256 pixels looks at some hundred pictures in minutes."""
    student = load_base(project)
    tower = student.model.model.vision_model
    weights, patches = sum(value.numel() for value in tower.parameters()), 16
    tiny, full_size = affordable(student), 93e6 * 256
    assert student.model.device.type != "cpu" or (tiny is not None and tiny > 100_000)
    if tiny is not None:
        assert 300 < tiny * weights * patches / full_size < 3000
