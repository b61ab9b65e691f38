"""What tells learning from luck."""

from pocketvlm.validate.controls.controls import controls, majority

__all__ = ["controls", "majority"]
