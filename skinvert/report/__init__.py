"""A report on a trained classifier that its reader opens without Python: one HTML file."""

from skinvert.report.auditing import Audit, audit

__all__ = ["Audit", "audit"]
