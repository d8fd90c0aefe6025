"""Pictures of what generators make, in scikit-learn's Display convention.

Every display is made from a fitted estimator (``from_estimator``) or from arrays
(``from_images``, ``from_history``), and draws itself at once; `plot` draws it again elsewhere.
Images are rows or channels-first arrays, all of a display share one scale, and matplotlib is
imported when something is drawn.
"""

from skinvert.display.comparisons import CombinationDisplay, CounterfactualDisplay
from skinvert.display.curves import LossCurveDisplay
from skinvert.display.grids import ImageGridDisplay
from skinvert.display.latents import LatentBarcodeDisplay, LatentMapDisplay
from skinvert.display.series import InterpolationDisplay, SweepDisplay
from skinvert.display.triplets import TripletDisplay

__all__ = [
    "ImageGridDisplay",
    "SweepDisplay",
    "InterpolationDisplay",
    "TripletDisplay",
    "CombinationDisplay",
    "CounterfactualDisplay",
    "LossCurveDisplay",
    "LatentBarcodeDisplay",
    "LatentMapDisplay",
]
