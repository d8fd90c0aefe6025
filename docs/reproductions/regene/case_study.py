"""Section 4: an autoencoder and ReGene of one size, side by side.

Both have the encoder of the small classifier and the decoder of ReGene; only what they were trained
for differs. ``python docs/reproductions/regene/case_study.py``.
"""

import numpy as np
import torch
from _common import Lab, arguments, summary, write
from sklearn.linear_model import LogisticRegression
from torch import nn

from skinvert.models.classifiers import ConvClassifier
from skinvert.models.decoders import make_decoder
from skinvert.models.training import TrainingNet

N_PAIRS, RATIOS = 20, np.linspace(0, 1, 11)


class Autoencoder(nn.Module):
    """The small classifier without its last layer, and ReGene's decoder."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(*list(ConvClassifier((1, 28, 28), 10))[:-1])
        rows = np.zeros((2, 784), dtype=np.float32)
        self.decoder, _ = make_decoder("conv", 128, rows, image_shape=(1, 28, 28))

    def forward(self, images):
        return self.decoder(self.encoder(images))


class ReconstructionNet(TrainingNet):
    """Mean absolute error against the images themselves, as section 4 trains it."""

    def get_loss(self, y_pred, y_true, X=None, training=False):
        return (y_pred - X.to(y_pred.device)).abs().mean()


def as_images(rows):
    return torch.from_numpy(rows.reshape(-1, 1, 28, 28))


def autoencoder(lab, n_epochs):
    """Functions from rows to latents and back."""
    net = ReconstructionNet(
        Autoencoder().to(memory_format=torch.channels_last),
        seed=lab.seed,
        max_epochs=n_epochs,
        lr=2e-3,
    )
    net.fit(lab.X.reshape(-1, 1, 28, 28), lab.y)
    module = net.module_.eval().requires_grad_(False)
    return (
        lambda rows: module.encoder(as_images(rows)).numpy(),
        lambda latents: module.decoder(torch.from_numpy(latents)).numpy().reshape(-1, 784),
    )


def figures(lab, encode, decode):
    """Accuracy on latents, error of reconstructions, and purity of the ways between images."""
    probe = LogisticRegression(max_iter=300).fit(encode(lab.X), lab.y)
    latents = encode(lab.real)
    seen_right = lab.judge.predict(lab.real) == lab.real_y
    told_right = probe.predict(latents) == lab.real_y
    return {
        "accuracy on latents": probe.score(latents, lab.real_y),
        "reconstruction MAE": float(np.abs(decode(latents) - lab.real).mean()),
        "purity": purity(lab, latents, decode, seen_right),
        "purity, both latents told": purity(lab, latents, decode, seen_right & told_right),
    }


def purity(lab, latents, decode, admitted):
    """Share of the images on ways between admitted test rows that keep the class of both ends."""
    right, rng = [], np.random.default_rng(lab.seed)
    for label in range(10):
        of_class = np.flatnonzero((lab.real_y == label) & admitted)
        for a, b in rng.choice(of_class, (N_PAIRS, 2)):
            way = np.outer(1 - RATIOS, latents[a]) + np.outer(RATIOS, latents[b])
            right.append(lab.judge.predict(decode(way.astype(np.float32))) == label)
    return float(np.mean(right))


def main():
    flags = arguments(__doc__)
    found = {"autoencoder": [], "ReGene": []}
    for seed in range(flags.seeds):
        lab = Lab(flags, seed)
        regene, _ = lab.fitted()
        # As many epochs as ReGene's decoder has.
        coder = autoencoder(lab, len(regene.history_["decoder_loss"]))
        found["autoencoder"].append(figures(lab, *coder))
        found["ReGene"].append(figures(lab, regene.transform, regene.inverse_transform))
        print(seed, found["autoencoder"][-1], found["ReGene"][-1], flush=True)
    rows = [
        [name, *[summary([one[key] for one in ones], 4) for key in ones[0]]]
        for name, ones in found.items()
    ]
    rows.insert(0, ["the paper: autoencoder", "0.95", "0.0134", "", ""])
    rows.insert(1, ["the paper: ReGene", "0.99", "0.0273", "", ""])
    write(
        "case_study",
        f"Section 4: autoencoder against ReGene ({flags.data})",
        ["", *found["ReGene"][0]],
        rows,
        flags,
        [
            "Purity is the share of 11 images on the way between two test images of a class, ends "
            "included, that the judge gives that class: it is right about the originals of both "
            f"ends. {N_PAIRS} pairs a class. The last column takes ends whose latents a linear "
            "classifier, trained on the latents of the training rows, gives their class: Lemma 1 "
            "is about no others.",
        ],
    )


if __name__ == "__main__":
    main()
