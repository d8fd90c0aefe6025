"""Judging a generator honestly: never by the classifier that it inverts."""

from skinvert.metrics.copies import CopyReport, find_copies
from skinvert.metrics.distribution import (
    frechet_distance,
    frechet_distance_at_infinity,
    kernel_distance,
    mind,
    sliced_wasserstein,
)
from skinvert.metrics.diversity import mode_coverage, relative_diversity
from skinvert.metrics.evaluation import Comparison, Evaluation, compare, evaluate
from skinvert.metrics.extractors import InceptionFeatures, ModuleFeatures, NeutralJudge
from skinvert.metrics.fidelity import (
    classification_accuracy_score,
    inception_score,
    judge_accuracy,
    judge_confidence,
)
from skinvert.metrics.memorization import authenticity, closest_matches, nearest_distance_ratio
from skinvert.metrics.neighbours import prdc
from skinvert.metrics.scorers import cas_scorer, make_generator_scorer
from skinvert.metrics.similarity import feature_distance, lpips, ms_ssim, psnr, ssim

__all__ = [
    "Comparison",
    "CopyReport",
    "Evaluation",
    "InceptionFeatures",
    "ModuleFeatures",
    "NeutralJudge",
    "authenticity",
    "cas_scorer",
    "classification_accuracy_score",
    "closest_matches",
    "compare",
    "evaluate",
    "feature_distance",
    "find_copies",
    "frechet_distance",
    "frechet_distance_at_infinity",
    "inception_score",
    "judge_accuracy",
    "judge_confidence",
    "kernel_distance",
    "lpips",
    "make_generator_scorer",
    "mind",
    "mode_coverage",
    "ms_ssim",
    "nearest_distance_ratio",
    "prdc",
    "psnr",
    "relative_diversity",
    "sliced_wasserstein",
    "ssim",
]
