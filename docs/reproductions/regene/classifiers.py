"""Table 1, Figure 16 and Figure 15b: what the classifier's depth and loss do to the images.

``python docs/reproductions/regene/classifiers.py``, on 3,000 rows of Fashion-MNIST unless
``--rows`` says otherwise. All decoders are trained by eq. 6.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from _common import Lab, arguments, save, summary, write

from skinvert.display import LatentBarcodeDisplay, LatentMapDisplay
from skinvert.models.classifier_losses import CLASSIFIER_LOSSES
from skinvert.models.classifiers import ConvClassifier
from skinvert.models.training import TrainingNet
from skinvert.models.vgg import VGGClassifier
from skinvert.regene import ExhaustionError

N_IMAGES = 100  # a class
N_ROWS, N_EPOCHS = 3000, 10
N_MIXED, N_SHOWN = 2000, 40
KEYS = ("accuracy", "held-out MAE", "fd_judge", "image trials")
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
NETS = {
    "VGGClassifier, width 8": (VGGClassifier, {"width": 8}),
    "VGGClassifier, width 16": (VGGClassifier, {"width": 16}),
    "VGGClassifier, width 32": (VGGClassifier, {"width": 32}),
    "ConvClassifier, 32 hidden": (ConvClassifier, {"n_hidden": 32}),
}
DEFAULT = "ConvClassifier, 128 hidden"


def net(lab, module=ConvClassifier, criterion=torch.nn.CrossEntropyLoss, **module_settings):
    """The paper's plain training, without random views."""
    return TrainingNet(
        module,
        criterion=criterion,
        module__image_shape=(1, 28, 28),
        module__n_classes=10,
        max_epochs=N_EPOCHS,
        seed=lab.seed,
        **{f"module__{name}": value for name, value in module_settings.items()},
    )


def figures(lab, classifier):
    """Accuracy, reconstruction and generation through one classifier."""
    generator = lab.regene(classifier=classifier, loss="paper", n_epochs=N_EPOCHS)
    generator.fit(lab.X, lab.y)
    with torch.no_grad():
        parts = torch.from_numpy(lab.real).split(500)
        said = torch.cat([generator.classifier_(part).argmax(1) for part in parts]).numpy()
    images, y, n_trials = generated(generator)
    return {
        "accuracy": float(np.mean(said == lab.real_y)),
        "latents": generator.encoder_.n_latents,
        "variance ratio": generator.variance_ratio_,
        "share of zeros": float(np.mean(np.abs(generator.latents_) < 1e-6)),
        "held-out MAE": generator.reconstruction_error_,
        "image trials": n_trials / len(images),
        "classes": len(set(y)),
        "judge": lab.accuracy(images, y),
        "fd_judge": lab.distance(images, lab.real),
    }, generator


def generated(generator):
    """Images, labels and trials; a class of which the classifier is never sure is left out."""
    images, labels, n_trials = [], [], 0
    for label in range(10):
        try:
            found, info = generator.generate(np.full(N_IMAGES, label), return_info=True)
        except ExhaustionError:
            continue
        images.append(found)
        labels += [label] * N_IMAGES
        n_trials += info.n_image_trials.sum()
    return np.concatenate(images), np.array(labels), n_trials


def mixtures(lab, generator):
    """Figure 15b: accuracy and distance on the way from originals to reconstructions."""
    real, y = lab.real[:N_MIXED], lab.real_y[:N_MIXED]
    rebuilt = generator.reconstruct(real)
    for share in SHARES:
        rows = (1 - share) * real + share * rebuilt
        yield share, {"accuracy": lab.accuracy(rows, y), "fd_judge": lab.distance(rows, real)}


def table(name, title, found, flags):
    keys = list(next(iter(found.values()))[0])
    rows = [
        [str(what), *[summary([float(one[key]) for one in ones]) for key in keys]]
        for what, ones in found.items()
    ]
    write(name, f"{title} ({flags.data})", ["", *keys], rows, flags)


def picture(losses, mixed, flags):
    """Figure 15b and Figure 16."""
    figure, axes = plt.subplots(1, 5, figsize=(14, 2.6), layout="constrained")
    for ax, key in zip(axes, KEYS, strict=False):
        values = [[one[key] for one in ones] for ones in losses.values()]
        ax.bar([name.replace("_", "\n") for name in losses], [np.mean(one) for one in values])
        ax.set_title(key)
        ax.tick_params(axis="x", labelsize=7)
    of_share = {
        key: [np.mean([one[key] for one in ones]) for ones in mixed.values()]
        for key in ("accuracy", "fd_judge")
    }
    axes[4].plot(SHARES, of_share["fd_judge"], "o-", color="C0")
    axes[4].set(xlabel="share of reconstruction", title="distance, and accuracy (right)")
    axes[4].twinx().plot(SHARES, of_share["accuracy"], "s-", color="C1")
    save(figure, "classifiers", flags)


def latents(generators, lab, flags):
    """Figures B.18 to B.20: latents of four classifiers, as maps and as barcodes."""
    shown = np.concatenate([np.flatnonzero(lab.y == label)[:N_SHOWN] for label in range(10)])
    X, y = lab.X[shown], lab.y[shown]
    figure, axes = plt.subplots(
        2, len(generators), figsize=(14, 6), layout="constrained", height_ratios=(1, 1.2)
    )
    for (name, generator), (above, below) in zip(generators.items(), axes.T, strict=True):
        LatentMapDisplay.from_estimator(generator, X, y, ax=above)
        above.set_title(name.replace("_", " "))
        above.get_legend().set_visible(name == list(generators)[-1])
        LatentBarcodeDisplay.from_estimator(generator, X, y, ax=below)
    save(figure, "latents", flags)


def main():
    flags = arguments(__doc__, data="fashion")
    flags.rows = flags.rows or N_ROWS
    depth, losses, mixed = {}, {}, {}
    generators = {}
    for seed in range(flags.seeds):
        lab = Lab(flags, seed)
        for name, (module, settings) in NETS.items():
            found, _ = figures(lab, net(lab, module, **settings))
            depth.setdefault(name, []).append(found)
            print(seed, name, found, flush=True)
        for name, criterion in CLASSIFIER_LOSSES.items():
            found, generator = figures(lab, net(lab, criterion=criterion))
            losses.setdefault(name, []).append(found)
            generators[name] = generator
            print(seed, name, found, flush=True)
            if name == "cross_entropy":
                depth.setdefault(DEFAULT, []).append(found)
                for share, found in mixtures(lab, generator):
                    mixed.setdefault(share, []).append(found)
    picture(losses, mixed, flags)
    latents(generators, lab, flags)
    table("depth", "Table 1: classifiers and their latents", depth, flags)
    table("losses", "Figure 16: losses of the classifier", losses, flags)
    table("mixtures", "Figure 15b: shares of reconstruction in test images", mixed, flags)


if __name__ == "__main__":
    main()
