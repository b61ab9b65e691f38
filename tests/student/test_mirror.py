"""Mirrored pictures: half of them where it is asked for."""

import numpy as np
import torch
from PIL import Image

from pocketvlm.contract import Bitmap
from pocketvlm.project import Project
from pocketvlm.student.data import Split


def lopsided(project: Project) -> Bitmap:
    """Make the first training picture differ from its mirror image; returns it."""
    bitmap = np.zeros((64, 64, 3), np.uint8)
    bitmap[:, :10] = 255
    Image.fromarray(bitmap).save(project.workspace.dataset / "images" / "train0.png")
    return bitmap


def test_half_of_the_pictures_are_mirrored(project: Project) -> None:
    bitmap = lopsided(project)
    split = Split(project, "train", mirror=True)
    torch.manual_seed(0)
    shown = [split[0][0] for _ in range(200)]
    mirrored = sum(bool((picture == bitmap[:, ::-1]).all()) for picture in shown)
    as_it_is = sum(bool((picture == bitmap).all()) for picture in shown)
    assert mirrored + as_it_is == 200
    assert 70 < mirrored < 130


def test_by_default_none_is(project: Project) -> None:
    bitmap = lopsided(project)
    split = Split(project, "train")
    assert all((split[0][0] == bitmap).all() for _ in range(50))
