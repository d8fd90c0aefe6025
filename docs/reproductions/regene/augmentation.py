"""Figure 17: accuracy of a classifier that is trained on originals and generated rows.

Shares from 0 (generated rows alone) to 200 % (as many generated rows as originals beside them), and
the gain with 5 % of the labels. ``python docs/reproductions/regene/augmentation.py``.
"""

import numpy as np
from _common import Lab, arguments, summary, write
from sklearn.model_selection import train_test_split

from skinvert.augmentation import GenerativeSampler
from skinvert.metrics.extractors import NeutralJudge

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
FEW = 0.05


def accuracy(lab, rows, y):
    """Of a net trained without random views, so that only the rows count."""
    net = NeutralJudge(augmentation=None, random_state=lab.seed).fit(rows, y)
    return net.score(lab.real, lab.real_y)


def shares(lab, sampler):
    """Accuracy at every share of Figure 17."""
    generator = lab.regene(sampler=sampler).fit(lab.X, lab.y)
    generated = generator.generate(lab.y)
    order = np.random.default_rng(lab.seed).permutation(len(lab.y))
    for share in SHARES:
        n_real = round(min(share, 1.0) * len(order))
        n_made = round((1 - share if share <= 1 else share - 1) * len(order))
        real, made = order[:n_real], order[::-1][:n_made]
        rows = np.concatenate([lab.X[real], generated[made]])
        yield share, accuracy(lab, rows, np.concatenate([lab.y[real], lab.y[made]]))


def few_labels(lab, sampler):
    """Accuracy with 5 % of the training rows, alone and with ten times as many generated ones."""
    few, _ = train_test_split(
        np.arange(len(lab.y)), train_size=FEW, stratify=lab.y, random_state=lab.seed
    )
    X, y = lab.X[few], lab.y[few]
    regene = lab.regene(sampler=sampler, validation_fraction=0.0, max_trials=1000)
    more = GenerativeSampler(regene, sampling_strategy=10.0, random_state=lab.seed)
    return accuracy(lab, X, y), accuracy(lab, *more.fit_resample(X, y))


def main():
    flags = arguments(__doc__)
    found, few = {}, []
    for seed in range(flags.seeds):
        lab = Lab(flags, seed)
        for share, value in shares(lab, "convex_matched"):
            found.setdefault(share, []).append(value)
            print(seed, share, value, flush=True)
        few.append(few_labels(lab, "convex_matched"))
        print(seed, "5 %", few[-1], flush=True)
    rows = [[f"{share:.0%}", summary(values, 4)] for share, values in found.items()]
    plain, grown = map(list, zip(*few, strict=True))
    rows.append(["5 % of the labels", summary(plain, 4)])
    rows.append(["… and ten times as many generated", summary(grown, 4)])
    gains = [after - before for before, after in few]
    rows.append(["gain", summary(gains, 4)])
    write(
        "augmentation",
        f"Figure 17: training on originals and generated rows ({flags.data})",
        ["originals (above 100 %: and generated rows)", "accuracy"],
        rows,
        flags,
    )


if __name__ == "__main__":
    main()
