"""Does MIND with 1,000 images rank generators as the Fréchet distance does with 10,000?

``python docs/benchmarks/judging/ranking.py``: Fashion-MNIST, its 10,000 test rows, in the features
of a neutral judge; generators of many qualities, ours among them.
"""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from _report import write as _write

# The report sets the threads before numpy reads them.
# isort: split
import numpy as np
from _references import GaussianPerClass, MixturePerClass, RowsOf
from scipy.stats import spearmanr

from skinvert import InputOptimizationGenerator, metrics
from skinvert.datasets import split_fashion_mnist

write = partial(_write, Path(__file__).parent / "results")
SEEDS = (0, 1, 2)
N_FEW, N_MANY = 1_000, 10_000
OURS = ((0.003, 256), (0.03, 64), (1.0, 64))  # λ and candidates


def generators(parts):
    X, y = parts.train
    yield "training rows", RowsOf().fit(X, y)
    yield "Gaussian per class", GaussianPerClass().fit(X, y)
    for n_components in (1, 5):
        for n_dimensions in (10, 30, 100):
            name = f"mixture of {n_components}, PCA({n_dimensions})"
            yield name, MixturePerClass(n_components, n_dimensions).fit(X, y)
    ours = InputOptimizationGenerator(random_state=0).fit(X, y)
    for weight, n_candidates in OURS:
        ours.set_params(prior_weight=weight, n_candidates=n_candidates)
        yield f"ours, λ = {weight}", ours


def main():
    parts = split_fashion_mnist()
    judge = metrics.NeutralJudge(random_state=0, device="cpu").fit(*parts.judge)
    real = judge.transform(parts.test[0])
    few_real = [np.random.default_rng(s).choice(len(real), N_FEW, replace=False) for s in SEEDS]
    asked = np.tile(np.arange(10), N_MANY // 10)
    names, rows = [], []
    for name, generator in generators(parts):
        features = judge.transform(generator.generate(asked, random_state=0))
        distance = metrics.frechet_distance(features, real)
        # Nested blocks hold every class equally often.
        blocks = [slice(seed * N_FEW, (seed + 1) * N_FEW) for seed in SEEDS]
        minds = [
            metrics.mind(features[block], real[some], random_state=seed)
            for seed, block, some in zip(SEEDS, blocks, few_real, strict=True)
        ]
        few = [
            metrics.frechet_distance(features[block], real[some])
            for block, some in zip(blocks, few_real, strict=True)
        ]
        names.append(name)
        rows.append([distance, *minds, *few])
        print(name, *(f"{value:.3f}" for value in rows[-1]), flush=True)
    table = np.array(rows)
    by_mind = [spearmanr(table[:, 0], table[:, 1 + k]).statistic for k in range(3)]
    by_few = [spearmanr(table[:, 0], table[:, 4 + k]).statistic for k in range(3)]
    cells = [
        [
            name,
            f"{line[0]:.2f}",
            " ".join(f"{value:.2f}" for value in line[1:4]),
            " ".join(f"{value:.2f}" for value in line[4:]),
        ]
        for name, line in zip(names, table, strict=True)
    ]
    correlation = [" ".join(f"{value:.3f}" for value in values) for values in (by_mind, by_few)]
    write(
        "ranking",
        "Ranking generators with 1,000 images",
        ["generator", "fd, n = 10,000", "MIND, n = 1,000", "fd, n = 1,000"],
        [*cells, ["Spearman's ρ with fd, n = 10,000", "", *correlation]],
        notes=[
            "Fashion-MNIST in the 128 features of a neutral judge; three draws of 1,000 images "
            "and of 1,000 test rows each."
        ],
    )


if __name__ == "__main__":
    main()
