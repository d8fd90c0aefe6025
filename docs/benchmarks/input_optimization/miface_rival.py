"""MIFace of adversarial-robustness-toolbox on given nets and starts; runs in its own environment.

``python miface_rival.py FOLDER``: reads ``net.pt`` (TorchScript, probabilities), ``starts.npy`` and
``y.npy``; writes ``miface_<run>.npy`` and ``miface.json``.
"""

import json
import logging
import os
import sys
import time
from pathlib import Path

N_THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))

import numpy as np
import torch
from art.attacks.inference.model_inversion import MIFace
from art.estimators.classification import PyTorchClassifier

RUNS = {"equal steps": {"max_iter": 100}, "defaults": {}}


def main(folder):
    torch.set_num_threads(N_THREADS)
    logging.disable(logging.INFO)
    net = torch.jit.load(folder / "net.pt").eval()
    starts, y = np.load(folder / "starts.npy"), np.load(folder / "y.npy")
    classifier = PyTorchClassifier(
        net,
        loss=torch.nn.NLLLoss(),
        input_shape=(1, 28, 28),
        nb_classes=10,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    seconds = {}
    for name, settings in RUNS.items():
        attack = MIFace(classifier, batch_size=len(y), verbose=False, **settings)
        began = time.perf_counter(), time.process_time()
        images = attack.infer(starts.copy(), y)
        seconds[name] = [time.perf_counter() - began[0], time.process_time() - began[1]]
        np.save(folder / f"miface_{name.replace(' ', '_')}.npy", images)
    (folder / "miface.json").write_text(json.dumps(seconds))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
