"""Table 1, Figure 16 and Figure 15b: what the classifier's depth and loss do to the images.

``python docs/reproductions/regene/classifiers.py``; ``--data fashion`` for the larger set.
"""

import numpy as np
import torch
from _common import Lab, arguments, balanced, summary, write

from skinvert.models.classifier_losses import CLASSIFIER_LOSSES
from skinvert.models.classifiers import ConvClassifier
from skinvert.models.training import TrainingNet
from skinvert.models.vgg import VGGClassifier

N_IMAGES = 100  # a class
N_EPOCHS = 15
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
NETS = {
    "VGGClassifier, width 8": (VGGClassifier, {"width": 8}),
    "VGGClassifier, width 16": (VGGClassifier, {"width": 16}),
    "VGGClassifier, width 32": (VGGClassifier, {"width": 32}),
    "ConvClassifier, 32 hidden": (ConvClassifier, {"n_hidden": 32}),
    "ConvClassifier, 128 hidden": (ConvClassifier, {"n_hidden": 128}),
}


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
    generator = lab.regene(classifier=classifier, max_trials=1000).fit(lab.X, lab.y)
    probabilities = generator.classifier_(torch.from_numpy(lab.real)).argmax(1).numpy()
    images, info = generator.generate(balanced(N_IMAGES), return_info=True)
    return {
        "accuracy": float(np.mean(probabilities == lab.real_y)),
        "latents": generator.encoder_.n_latents,
        "variance ratio": generator.variance_ratio_,
        "share of zeros": float(np.mean(np.abs(generator.latents_) < 1e-6)),
        "held-out MAE": generator.reconstruction_error_,
        "image trials": info.n_image_trials.sum() / len(images),
        "judge": lab.accuracy(images, balanced(N_IMAGES)),
        "fd_judge": lab.distance(images, lab.real),
    }, generator


def mixtures(lab, generator):
    """Figure 15b: accuracy and distance on the way from originals to reconstructions."""
    rebuilt = generator.reconstruct(lab.real)
    for share in SHARES:
        rows = (1 - share) * lab.real + share * rebuilt
        yield (
            share,
            {"accuracy": lab.accuracy(rows, lab.real_y), "fd_judge": lab.distance(rows, lab.real)},
        )


def table(name, title, found, flags):
    keys = list(next(iter(found.values()))[0])
    rows = [
        [str(what), *[summary([float(one[key]) for one in ones]) for key in keys]]
        for what, ones in found.items()
    ]
    write(name, f"{title} ({flags.data})", ["", *keys], rows, flags)


def main():
    flags = arguments(__doc__)
    depth, losses, mixed = {}, {}, {}
    for seed in range(flags.seeds):
        lab = Lab(flags, seed)
        for name, (module, settings) in NETS.items():
            found, generator = figures(lab, net(lab, module, **settings))
            depth.setdefault(name, []).append(found)
            print(seed, name, found, flush=True)
        for share, found in mixtures(lab, generator):
            mixed.setdefault(share, []).append(found)
        for name, criterion in CLASSIFIER_LOSSES.items():
            found, _ = figures(lab, net(lab, criterion=criterion))
            losses.setdefault(name, []).append(found)
            print(seed, name, found, flush=True)
    table("depth", "Table 1: classifiers and their latents", depth, flags)
    table("losses", "Figure 16: losses of the classifier", losses, flags)
    table("mixtures", "Figure 15b: shares of reconstruction in test images", mixed, flags)


if __name__ == "__main__":
    main()
