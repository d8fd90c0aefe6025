"""What a step costs: against a bare pass, against the loop users write, and with early stopping.

Run alone on an idle machine: ``python docs/benchmarks/input_optimization/speed.py``.
"""

import copy
import statistics

import numpy as np
import torch
from _common import Stopwatch, as_images, write
from sklearn.datasets import load_digits

from skinvert import InputOptimizationGenerator, metrics
from skinvert.datasets import split_mnist_5k
from skinvert.inversion.loop import Problem, optimize
from skinvert.inversion.optimizers import Adam
from skinvert.models.classifiers import ConvClassifier
from skinvert.models.frozen import FrozenClassifier

BATCH, N_STEPS, N_REPEATS = 256, 10, 21
BUDGETS = (200, 1000)  # most steps a row may take
N_LOOP_STEPS, N_LOOP_ROWS = 300, 32


def generator_for(net, X, y, **settings):
    settings = {
        "prior": "mean",
        "init": "zeros",
        "n_steps": N_STEPS,
        "batch_size": BATCH,
    } | settings
    return InputOptimizationGenerator(net, random_state=0, device="cpu", **settings).fit(X, y)


def bare_passes(frozen, images, columns):
    """Forward and input gradient of the same frozen net, nothing else."""
    for _ in range(N_STEPS):
        images = images.detach().requires_grad_()
        loss = torch.nn.functional.cross_entropy(frozen(images), columns, reduction="sum")
        torch.autograd.grad(loss, images)


def naive_loop(net, mean, columns):
    """The loop that users write: backward(), weights not frozen, a forward pass to look on."""
    images = torch.zeros(len(columns), 1, 28, 28, requires_grad=True)
    optimizer = torch.optim.Adam([images], lr=0.05)
    for _ in range(N_STEPS):
        optimizer.zero_grad()
        logits = net(images)
        distance = (images - mean).flatten(1).norm(dim=1)
        loss = torch.nn.functional.cross_entropy(logits, columns, reduction="sum")
        (loss + distance.sum()).backward()
        optimizer.step()
        with torch.no_grad():
            images.clamp_(0, 1)
            torch.softmax(net(images), 1)[range(len(columns)), columns].mean().item()


def interleaved(*blocks):
    """Median processor and wall seconds of each block, run by turns."""
    records = [([], []) for _ in blocks]
    for _ in range(N_REPEATS):
        for block, (cpu, wall) in zip(blocks, records, strict=True):
            with Stopwatch() as watch:
                block()
            cpu.append(watch.cpu)
            wall.append(watch.wall)
    return [(statistics.median(cpu), statistics.median(wall)) for cpu, wall in records]


def step_costs():
    X, y = split_mnist_5k().train
    torch.manual_seed(0)
    net = ConvClassifier((1, 28, 28), 10)
    generator = generator_for(net, X, y)
    asked = np.arange(BATCH) % 10
    columns = torch.from_numpy(asked)
    frozen = FrozenClassifier(copy.deepcopy(net), (1, 28, 28))
    mean = torch.from_numpy(as_images(generator.mean_image_[None]).copy())
    ours, bare, naive = interleaved(
        lambda: generator.generate(asked),
        lambda: bare_passes(frozen, torch.zeros(BATCH, 1, 28, 28), columns),
        lambda: naive_loop(net, mean, columns),
    )
    return [
        ["one step of 256 images ÷ one bare forward + input gradient, wall", ours[1] / bare[1]],
        ["the same, processor time", ours[0] / bare[0]],
        ["naive loop ÷ skinvert, same images, processor time", naive[0] / ours[0]],
        ["the same, wall", naive[1] / ours[1]],
    ]


def waiting_in_vain():
    """Times of rows that are watched for convergence and never converge, over unwatched ones."""
    X, y = split_mnist_5k().train
    torch.manual_seed(0)
    net = ConvClassifier((1, 28, 28), 10)
    asked = np.arange(BATCH) % 10
    # Ten steps are fewer than the loop's patience.
    watched, unwatched = (generator_for(net, X, y, tol=tol) for tol in (1e-3, None))
    ours, plain = interleaved(lambda: watched.generate(asked), lambda: unwatched.generate(asked))
    return [
        ["tol that no row meets ÷ no tol, same steps, wall", ours[1] / plain[1]],
        ["the same, processor time", ours[0] / plain[0]],
    ]


def loop_overhead():
    """Milliseconds that a step of the loop takes beyond a loop of plain torch with its Adam."""
    net = torch.nn.Linear(784, 10).requires_grad_(False)
    columns = torch.arange(N_LOOP_ROWS) % 10
    entropy = torch.nn.functional.cross_entropy
    problem = Problem(
        start=lambda row, noise: (torch.zeros(1, 784),),
        objective=lambda params, rows, steps, noise: {
            "entropy": entropy(net(params[0]), columns, reduction="none")
        },
        render=lambda params: params[0],
    )

    def ours():
        rows = range(N_LOOP_ROWS)
        options = {"batch_size": N_LOOP_ROWS, "n_steps": N_LOOP_STEPS, "optimizer": Adam(0.05)}
        optimize(problem, rows, **options)

    def plain():
        images = torch.zeros(N_LOOP_ROWS, 784, requires_grad=True)
        optimizer = torch.optim.Adam([images], lr=0.05)
        for _ in range(N_LOOP_STEPS):
            optimizer.zero_grad()
            entropy(net(images), columns, reduction="sum").backward()
            optimizer.step()

    taken, least = interleaved(ours, plain)
    names = "processor time", "wall"
    return [
        [
            f"loop beyond plain torch, ms a batch of {N_LOOP_ROWS}, {name}",
            1000 * (a - b) / N_LOOP_STEPS,
        ]
        for name, a, b in zip(names, taken, least, strict=True)
    ]


def early_stopping():
    """Sample-steps with and without `tol`, on digits, beside the judge's word."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    half = len(X) // 2
    settings = {"prior_weight": 0.3, "batch_size": 32}
    base = InputOptimizationGenerator(random_state=0, device="cpu").fit(X[:half], y[:half])
    asked = np.repeat(np.arange(10), 26)[:256]
    rows = []
    for budget in BUDGETS:
        for tol in (None, 1e-3):
            generator = generator_for(
                base.classifier_, X[:half], y[:half], tol=tol, n_steps=budget, **settings
            )
            with Stopwatch() as watch:
                images, info = generator.generate(asked, return_info=True)
            judged = metrics.classification_accuracy_score(X[half:], y[half:], images, asked)
            steps = int(info.n_sample_steps)
            saved = f"{rows[-1][2] / steps:.1f}" if tol else ""
            rows.append(
                [budget, tol or "none", steps, saved, round(judged, 3), round(watch.cpu, 1)]
            )
    return rows


def main():
    figures = [*step_costs(), *waiting_in_vain(), *loop_overhead()]
    costs = [[name, f"{figure:.2f}"] for name, figure in figures]
    write(
        "speed_steps",
        "Cost of a step (28 × 28, default CNN, batch 256)",
        ["what", "figure"],
        costs,
        notes=[
            f"Median of {N_REPEATS} interleaved repeats of {N_STEPS} steps; of the loop alone, on "
            f"a linear network, {N_LOOP_STEPS}."
        ],
    )
    write(
        "speed_early_stopping",
        "Early stopping and slot refill on digits, 256 images",
        ["budget", "tol", "sample-steps", "times fewer", "judge accuracy", "CPU s"],
        early_stopping(),
        notes=["Padded and idle slots are counted; batches of 32."],
    )


if __name__ == "__main__":
    main()
