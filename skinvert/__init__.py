"""skinvert: turn a trained classifier into an image generator, in scikit-learn's own manner."""

from skinvert.augmentation import GenerativeSampler
from skinvert.coupled import CoupledDreamer
from skinvert.deep_inversion import DeepInversion
from skinvert.delegation import generate
from skinvert.images import load_images, save_images
from skinvert.imagine import ImagineSynthesizer
from skinvert.input_optimization import InputOptimizationGenerator
from skinvert.inversion.targets import Target
from skinvert.invertible import InvertibleFlowClassifier
from skinvert.models.ranks import data_parallel
from skinvert.persistence import load, save
from skinvert.regene import ReGene

__version__ = "0.1.0.dev0"

__all__ = [
    "CoupledDreamer",
    "DeepInversion",
    "GenerativeSampler",
    "ImagineSynthesizer",
    "InputOptimizationGenerator",
    "InvertibleFlowClassifier",
    "ReGene",
    "Target",
    "data_parallel",
    "generate",
    "load",
    "load_images",
    "save",
    "save_images",
    "__version__",
]
