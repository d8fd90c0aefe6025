"""Judging a generator honestly: never by the classifier that it inverts."""

from skinvert.metrics.fidelity import judge_accuracy

__all__ = ["judge_accuracy"]
