"""Figure 17: accuracy of a classifier that is trained on originals and generated rows.

Shares from 0 (generated rows alone) to 200 % (as many generated rows as originals beside them), and
the gain with 5 % of the labels, on 3,000 rows of Fashion-MNIST unless ``--rows`` says otherwise.
``python docs/reproductions/regene/augmentation.py``.
"""

import matplotlib.pyplot as plt
import numpy as np
from _common import Lab, arguments, save, summary, write
from scipy.stats import t
from sklearn.model_selection import train_test_split

from skinvert.augmentation import GenerativeSampler
from skinvert.models.classifiers import ConvClassifier
from skinvert.models.training import TrainingNet

N_ROWS = 3000
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
FEW, N_SHOWN = 0.05, 45_000


def accuracy(lab, rows, y):
    """Of a net trained on so many rows in all, without random views: only the rows count."""
    net = TrainingNet(
        ConvClassifier,
        module__image_shape=(1, 28, 28),
        module__n_classes=10,
        max_epochs=max(1, N_SHOWN // len(rows)),
        seed=lab.seed,
    ).fit(rows.reshape(-1, 1, 28, 28), y)
    return float(np.mean(net.predict(lab.real.reshape(-1, 1, 28, 28)).argmax(1) == lab.real_y))


def shares(lab, sampler):
    """Accuracy at every share of Figure 17."""
    generator, _ = lab.fitted()
    generated = generator.set_params(sampler=sampler).generate(lab.y)
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


def picture(found, flags):
    means = [np.mean(values) for values in found.values()]
    least, most = ([edge(values) for values in found.values()] for edge in (min, max))
    figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
    ax.plot([100 * share for share in found], means, "o-")
    ax.fill_between([100 * share for share in found], least, most, alpha=0.2)
    ax.set(xlabel="originals in %; above 100, generated rows beside them", ylabel="accuracy")
    save(figure, "augmentation", flags)


def main():
    flags = arguments(__doc__, data="fashion")
    flags.rows = flags.rows or N_ROWS
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
    half = t.ppf(0.975, len(gains) - 1) * np.std(gains, ddof=1) / len(gains) ** 0.5
    rows.append(["gain", summary(gains, 4)])
    rows.append(["its 95 % interval, over seeds", f"{np.mean(gains):.4f} ± {half:.4f}"])
    picture(found, flags)
    write(
        "augmentation",
        f"Figure 17: training on originals and generated rows ({flags.data})",
        ["originals (above 100 %: and generated rows)", "accuracy"],
        rows,
        flags,
    )


if __name__ == "__main__":
    main()
