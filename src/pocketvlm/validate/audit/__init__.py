"""Torch against llama.cpp, level by level."""

from pocketvlm.validate.audit.audit import audit, audit_warnings, check_audit, sentence, table

__all__ = ["audit", "audit_warnings", "check_audit", "sentence", "table"]
