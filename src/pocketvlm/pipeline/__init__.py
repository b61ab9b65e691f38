"""Stages in order, each skipped when nothing it depends on has changed."""

from pocketvlm.pipeline.run import alone, execute, run, why
from pocketvlm.pipeline.stages import STAGES, Stage

__all__ = ["STAGES", "Stage", "alone", "execute", "run", "why"]
