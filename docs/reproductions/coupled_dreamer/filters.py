"""Figure 8: filters of two depths, and how strongly their images excite them.

``python docs/reproductions/coupled_dreamer/filters.py [--data fashion] [--tune] [--quick]``
"""

import numpy as np
import torch
from _common import SHAPE, VARIANTS, Lab, arguments, save_sheet, summary, write

from skinvert import Target
from skinvert.coupled import CoupledDreamer

LAYERS = {"first convolution": "2", "second convolution": "5"}  # after their ReLU
N_FILTERS = 10


def main():
    flags = arguments(__doc__)
    n_filters = 2 if flags.quick else N_FILTERS
    found = {}
    for seed in range(flags.seeds):
        lab = Lab(flags, seed)
        for variant in VARIANTS:
            dreamer = lab.fit(CoupledDreamer(generator=variant))
            for depth, layer in LAYERS.items():
                strongest = activations(dreamer, layer, lab.X).max(0)
                alive = np.flatnonzero(strongest > 0)[:n_filters]
                images = dreamer.generate(target=Target(alive.tolist(), layer=layer))
                reached = activations(dreamer, layer, images)[np.arange(len(alive)), alive]
                ratios = reached / strongest[alive]
                found.setdefault((depth, variant), []).append(
                    (float(np.median(ratios)), float(np.mean(ratios >= 1.5)))
                )
                print(seed, variant, depth, ratios.round(2), flush=True)
                if seed == 0:
                    name = f"filters_{flags.data}_{variant}_{layer}"
                    save_sheet(images, name, flags, n_columns=len(alive))
    write(
        f"filters_{flags.data}",
        f"Filters of two depths ({flags.data})",
        ["depth", "variant", "reached ÷ largest real", "filters at 1.5 or more"],
        [
            [*case, summary([a for a, _ in runs], 2), summary([b for _, b in runs], 2)]
            for case, runs in found.items()
        ],
        flags,
        [
            f"Medians over {n_filters} filters a layer; the activation is the channel's mean, and "
            "the largest is that over all training images."
        ],
    )


def activations(dreamer, layer, rows):
    """Mean activation of every channel of a layer, (n, n_channels)."""
    with torch.no_grad():
        parts = torch.as_tensor(np.asarray(rows, np.float32)).reshape(-1, *SHAPE).split(256)
        maps = [dreamer.classifier_.with_activations(part, (layer,))[1][layer] for part in parts]
    return torch.cat([part.mean((2, 3)) for part in maps]).numpy()


if __name__ == "__main__":
    main()
