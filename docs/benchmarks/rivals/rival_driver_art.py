"""MIFace of adversarial-robustness-toolbox."""

import logging

import numpy as np
import torch
from _rig import Rig
from art.attacks.inference.model_inversion import MIFace
from art.estimators.classification import PyTorchClassifier


def infer(rig):
    # Asked for logits, it would stop on a cost of one minus a logit.
    probabilities = torch.nn.Sequential(rig.classifier, torch.nn.Softmax(dim=1)).eval()
    classifier = PyTorchClassifier(
        probabilities,
        loss=torch.nn.NLLLoss(),
        input_shape=rig.shape,
        nb_classes=rig.request["n_classes"],
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    # Left alone, it ends after a pass where the class has less than a hundredth of probability.
    budget = {} if rig.n_passes is None else {"max_iter": rig.n_passes, "threshold": 1.0}
    labels = np.array(rig.labels)
    images = np.zeros((len(labels), *rig.shape), dtype=np.float32)
    if rig.n_passes is not None:
        # From its own zeros all images of a class are one.
        images += np.random.default_rng(rig.seed).normal(0, 0.01, images.shape)
    # It goes backward once for every class among its rows: one class at a time is its best batch.
    for label in np.unique(labels):
        asked = labels == label
        attack = MIFace(classifier, batch_size=int(asked.sum()), verbose=False, **budget)
        images[asked] = attack.infer(images[asked], labels[asked])
    return images


if __name__ == "__main__":
    logging.disable(logging.INFO)
    rig = Rig()
    rig.run(lambda: infer(rig))
