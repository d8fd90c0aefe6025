"""Judging a generator honestly: never by the classifier that it inverts."""

from skinvert.metrics.distribution import frechet_distance
from skinvert.metrics.fidelity import judge_accuracy
from skinvert.metrics.memorization import authenticity, relative_diversity

__all__ = ["authenticity", "frechet_distance", "judge_accuracy", "relative_diversity"]
