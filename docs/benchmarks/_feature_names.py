"""What the expressions of ``_features.py`` speak of, made in the interpreter of each library."""

import re
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path


def fails(call, error):
    """Whether the call raises this error."""
    try:
        call()
    except error:
        return True
    return False


def refuses(call):
    """Whether the call raises scikit-learn's own error of parameters."""
    from sklearn.utils._param_validation import InvalidParameterError

    return fails(call, InvalidParameterError)


def mentions(path, pattern):
    """Whether the pattern stands in a file."""
    return re.search(pattern, path.read_text()) is not None


def namespace(library, package, found):
    """Names for the expressions of a library: what it offers, and small objects made of it."""
    names = {
        "fails": fails,
        "found": found,
        "mentions": mentions,
        "refuses": refuses,
        "repository": Path(__file__).parents[2],
        "root": Path(find_spec(package).origin).parent,
        "signature": signature,
    }
    if library not in ("Captum", "dreamlens"):
        names |= _scikit_learn()
    makers = {
        "skinvert": _skinvert,
        "skorch": _skorch,
        "imbalanced-learn": _imbalanced_learn,
        "Captum": _captum,
        "dreamlens": _dreamlens,
        "ART": _art,
    }
    return names | (makers[library](names) if library in makers else {})


def _scikit_learn():
    import numpy as np
    from sklearn.base import clone
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import ConfusionMatrixDisplay
    from sklearn.model_selection import cross_validate
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils import estimator_html_repr

    X, y = load_digits(return_X_y=True)
    X, y = X[:300].astype(np.float32), y[:300]
    return {
        "ConfusionMatrixDisplay": ConfusionMatrixDisplay,
        "StandardScaler": StandardScaler,
        "X": X,
        "clone": clone,
        "cross_validate": cross_validate,
        "estimator_html_repr": estimator_html_repr,
        "forest": RandomForestClassifier(),
        "logistic": LogisticRegression(max_iter=500).fit(X, y),
        "np": np,
        "y": y,
        **_frames(),
    }


def _frames():
    """pandas and polars, where they are installed: an environment of ART has neither."""
    return {name: import_module(name) for name in ("pandas", "polars") if find_spec(name)}


def _skinvert(names):
    import torch
    from sklearn.callback import ProgressBar
    from torchvision.models import ResNet50_Weights

    import skinvert
    import skinvert.display
    import skinvert.report

    frozen = import_module("sklearn.frozen").FrozenEstimator(names["logistic"])
    generator = skinvert.InputOptimizationGenerator(frozen, random_state=0)

    def reloaded(estimator):
        skinvert.save(estimator, "a.skinvert")
        return skinvert.load("a.skinvert")

    return {
        "ProgressBar": ProgressBar,
        "ReGene": skinvert.ReGene,
        "ResNet50_Weights": ResNet50_Weights,
        "generator": generator.fit(names["X"], names["y"]),
        "reloaded": reloaded,
        "skinvert": skinvert,
        "torch": torch,
    }


def _skorch(names):
    import skorch.callbacks
    import torch
    from skorch import NeuralNetClassifier
    from skorch._doctor import SkorchDoctor
    from skorch.helper import DataFrameTransformer
    from skorch.hf import HuggingfaceTokenizer

    sklearn = import_module("sklearn")
    sklearn.set_config(enable_metadata_routing=True)  # skorch's methods of routing ask for it
    net = NeuralNetClassifier(
        torch.nn.Linear,
        module__in_features=64,
        module__out_features=10,
        criterion=torch.nn.CrossEntropyLoss,
        max_epochs=1,
        verbose=0,
    )
    return {
        "DataFrameTransformer": DataFrameTransformer,
        "HuggingfaceTokenizer": HuggingfaceTokenizer,
        "Linear": torch.nn.Linear,
        "NeuralNetClassifier": NeuralNetClassifier,
        "SkorchDoctor": SkorchDoctor,
        "net": net,
        "skorch": skorch,
        "torch": torch,
    }


def _imbalanced_learn(names):
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.pipeline import Pipeline

    sampler = RandomOverSampler(random_state=0)
    balanced = Pipeline([("sampler", sampler), ("classifier", names["logistic"])])
    return {"Pipeline": Pipeline, "balanced": balanced, "sampler": sampler}


def _captum(names):
    import torch
    from captum.attr import FeatureAblation, IntegratedGradients, visualization

    return {
        "FeatureAblation": FeatureAblation,
        "attribution": IntegratedGradients(torch.nn.Linear(64, 10)),
        "visualization": visualization,
        "x": torch.zeros(1, 64),
    }


def _dreamlens(names):
    import dreamlens
    import torch
    from dreamlens import FeatureTarget, FeatureVisualizer, MacoConfig, RenderConfig

    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    ).eval()

    def visualized():
        visualizer = FeatureVisualizer(network, quiet=True, device="cpu", normalize=False)
        config = RenderConfig(width=32, height=32, steps=1)
        target = FeatureTarget.for_channel("0", 1)
        return visualizer.visualize(target, method="maximize", config=config)

    return {
        "FeatureVisualizer": FeatureVisualizer,
        "MacoConfig": MacoConfig,
        "dreamlens": dreamlens,
        "network": network,
        "visualized": visualized,
    }


def _art(names):
    import torch
    from art.attacks.inference.model_inversion import MIFace
    from art.estimators.classification import PyTorchClassifier, SklearnClassifier
    from art.visualization import plot_3d, save_image

    torch_wrapped = PyTorchClassifier(
        torch.nn.Linear(64, 10),
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=(64,),
        nb_classes=10,
        preprocessing=(0.5, 2.0),
        device_type="cpu",
    )
    return {
        "MIFace": MIFace,
        "plot_3d": plot_3d,
        "save_image": save_image,
        "torch": torch,
        "torch_wrapped": torch_wrapped,
        "wrapped": SklearnClassifier(names["logistic"]),
    }
