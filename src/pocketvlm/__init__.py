"""PocketVLM: teach a phone-sized vision-language model one job, and prove the phone does it."""

__version__ = "0.1.0"
