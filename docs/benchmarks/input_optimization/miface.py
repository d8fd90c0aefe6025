"""The same classifier, starts and labels given to MIFace (adversarial-robustness-toolbox).

``python docs/benchmarks/input_optimization/miface.py RIVAL_PYTHON``, the interpreter of an
environment with ``pip install adversarial-robustness-toolbox==1.20.1 packaging torch``. Run alone.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from _common import Judge, Stopwatch, as_images, plain_net, write
from quality import PAPER, PAPER_EPOCHS, network_maker, zeros_and_noise

from skinvert import InputOptimizationGenerator
from skinvert.datasets import split_mnist_5k

N_PER_CLASS = 3


def rival(folder, python, net, starts, y):
    """Images and seconds of every MIFace run."""
    probabilities = torch.nn.Sequential(net, torch.nn.Softmax(dim=1)).eval()
    torch.jit.trace(probabilities, torch.zeros(2, 1, 28, 28)).save(folder / "net.pt")
    np.save(folder / "starts.npy", starts)
    np.save(folder / "y.npy", y)
    script = Path(__file__).with_name("miface_rival.py")
    subprocess.run([python, script, folder], check=True)
    seconds = json.loads((folder / "miface.json").read_text())
    return {
        name: (np.load(folder / f"miface_{name.replace(' ', '_')}.npy"), *times)
        for name, times in seconds.items()
    }


def main(python):
    parts = split_mnist_5k()
    X, y = parts.train
    net = plain_net(0).set_params(max_epochs=PAPER_EPOCHS).fit(as_images(X), y)
    judge = Judge(*parts.judge, 0, network_maker(*parts.judge))
    asked = np.repeat(np.arange(10), N_PER_CLASS)
    starts = zeros_and_noise(len(asked), 0)
    settings = PAPER | {"init": starts, "batch_size": len(asked)}
    generator = InputOptimizationGenerator(net.module_, random_state=0, **settings).fit(X, y)
    generator.generate(asked)
    with Stopwatch() as watch:
        images = generator.generate(asked)
    ours = [judge.accuracy(images, asked), watch.wall, watch.cpu]
    rows = [["skinvert, paper's objective, 100 steps", *[f"{v:.3g}" for v in ours], "1"]]
    with tempfile.TemporaryDirectory() as folder:
        found = rival(Path(folder), python, net.module_, as_images(starts), asked)
    for name, (images, wall, cpu) in found.items():
        judged = judge.accuracy(images.reshape(len(asked), -1).astype(np.float32), asked)
        figures = [f"{value:.3g}" for value in (judged, wall, cpu)]
        rows.append([f"MIFace, {name}", *figures, f"{wall / ours[1]:.1f}"])
    write(
        "miface",
        "MIFace of adversarial-robustness-toolbox 1.20.1",
        ["run", "judge accuracy", "wall s", "CPU s", "wall ÷ skinvert's"],
        rows,
        notes=[
            f"{len(asked)} images, {N_PER_CLASS} a class, from the same starts near zero, "
            "one batch; MIFace's defaults are 10,000 iterations."
        ],
    )


if __name__ == "__main__":
    main(sys.argv[1])
