"""How long training takes without a GPU, by what was measured on two cores."""

from pocketvlm.pipeline.doctor.found import Found
from pocketvlm.pipeline.doctor.student_sizes import StudentSizes, count

TRAINED = 0.8
"""Share of the pictures that are in train."""

STEP = 1.7e-9
"""Seconds a picture and a number of the text layers, there and back: 0.48 s for the 500M's 315
million, 0.21 s for the 256M's 106 million, at 256 (docs/decisions.md, "What an epoch costs")."""

LOOK = 2.0e-9
"""Seconds a picture and a number of the tower, at 256: 0.17 s for 85 million."""

THERE_AND_BACK = 3
"""A tower that learns takes as many times its look, in every epoch."""


def check_duration(found: Found) -> None:
    """A fact, where the processor has to do it. A student as small as the demo's takes longer than
    this says: its steps are mostly overhead."""
    if found.model is None or found.card or isinstance(found.facts.get("gpu"), str):
        return
    student = StudentSizes.read(found.model, found.project.contract.side)
    train, pictures = found.project.config.train, round(TRAINED * found.coming.pictures)
    tower = count(tensor for tensor in student.vision if tensor.name.startswith("v.blk."))
    grown = (student.side / 256) ** 2
    look, step = tower * LOOK * grown, student.layers * STEP * grown
    shown = train.epochs * pictures
    looks = THERE_AND_BACK * shown if train.vision == "lora" else pictures * (1 + train.mirror)
    if not train.cache and train.vision != "lora":
        looks = shown
    hours = round((shown * step + looks * look) / 3600, 2)
    found.facts["training"] = {"pictures": pictures, "epochs": train.epochs, "hours": hours}
