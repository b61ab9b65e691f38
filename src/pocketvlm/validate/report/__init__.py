"""The report, for people."""

from pocketvlm.validate.report.report import SECTIONS, TRUTH, render

__all__ = ["SECTIONS", "TRUTH", "render"]
