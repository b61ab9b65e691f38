"""Stages in order, each skipped when nothing it depends on has changed."""

from pocketvlm.pipeline.run import execute, run, why
from pocketvlm.pipeline.stages import STAGES, Stage

__all__ = ["STAGES", "Stage", "execute", "run", "why"]
