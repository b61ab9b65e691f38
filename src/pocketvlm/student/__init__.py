"""The student: load, inputs, train, merge (the only room that imports torch)."""

from pocketvlm.student.load import load_adapter, load_base, load_merged
from pocketvlm.student.merge import merge
from pocketvlm.student.ranks import launch
from pocketvlm.student.student import Student
from pocketvlm.student.train import train

__all__ = ["Student", "launch", "load_adapter", "load_base", "load_merged", "merge", "train"]
