"""The embedded default: drawn scenes, a rule teacher, a tiny student."""
