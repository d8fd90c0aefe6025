"""skinvert: turn a trained classifier into an image generator, in scikit-learn's own manner."""

__version__ = "0.1.0.dev0"
