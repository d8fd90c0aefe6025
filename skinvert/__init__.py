"""skinvert: turn a trained classifier into an image generator, in scikit-learn's own manner."""

from skinvert.augmentation import GenerativeSampler
from skinvert.delegation import generate
from skinvert.input_optimization import InputOptimizationGenerator
from skinvert.inversion.targets import Target
from skinvert.invertible import InvertibleFlowClassifier
from skinvert.regene import ReGene

__version__ = "0.1.0.dev0"

__all__ = [
    "GenerativeSampler",
    "InputOptimizationGenerator",
    "InvertibleFlowClassifier",
    "ReGene",
    "Target",
    "generate",
    "__version__",
]
