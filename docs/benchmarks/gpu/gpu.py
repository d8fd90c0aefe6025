"""What a GPU makes of it: precisions and compiling, ResNet-50 inverted, and what share is used.

``python docs/benchmarks/gpu/gpu.py [--weights FILE] [--seconds 500] [--quick]``. Needs torchvision;
FILE is a state dict of its ResNet-50, without which the network is untrained: the cost is the same,
the images mean nothing. What no longer fits into the seconds is left out. ``--quick`` runs on any
device, in small counts, and writes nothing.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _report import write

# The report sets the threads before numpy reads them.
# isort: split
import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet50

from skinvert import DeepInversion, InputOptimizationGenerator
from skinvert.models.acceleration import pick_acceleration
from skinvert.models.frozen import FrozenClassifier

RESULTS = Path(__file__).parent / "results"
NORMALIZE = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
ACCELERATIONS = (None, "bfloat16", "compile", "bfloat16+compile")
N_CURVE = 200  # steps over which the loss curves of both precisions are compared


def now(device):
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds_of(call, device, n_warm, n_timed):
    """Median seconds of a call."""
    taken = []
    for k in range(n_warm + n_timed):
        began = now(device)
        call()
        if k >= n_warm:
            taken.append(now(device) - began)
    return float(np.median(taken))


def matrix_rate(device, dtype, side):
    """FLOP/s of a product of two square matrices: what the machine can do."""
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / seconds_of(lambda: one @ other, device, 5, 20)


def small_network():
    layers = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(64 * 49, 128), nn.ReLU(), nn.Linear(128, 10)).eval()


def large_network(weights):
    net = resnet50()
    if weights:
        net.load_state_dict(torch.load(weights, weights_only=True))
    return net.eval()


def passes(name, net, shape, batch, device, rates, quick):
    """Rows of the first table: a forward pass and input gradient in each acceleration."""
    normalize = NORMALIZE if shape[0] == 3 else None
    frozen = FrozenClassifier(net, shape, normalize=normalize).to(device)
    images = torch.rand(batch, *shape, device=device).requires_grad_()

    def step():
        logits = frozen(images)
        torch.autograd.grad(logits.logsumexp(1).sum(), images)

    with FlopCounterMode(display=False) as counter:
        frozen(images).logsumexp(1).sum().backward()  # which the counter knows, unlike grad
    plain = None
    for asked in ACCELERATIONS[:2] if quick else ACCELERATIONS:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            frozen.acceleration = pick_acceleration(frozen, asked)
        if frozen.acceleration != asked:
            yield [name, batch, asked, str(caught[-1].message)[:60], "", ""]
            continue
        taken = seconds_of(step, device, 1 if quick else 5, 2 if quick else 20)
        plain = plain or taken
        rate = rates["bfloat16" if "bfloat16" in (asked or "") else "float32"]
        share = counter.get_total_flops() / taken / rate
        row = [name, batch, asked or "float32", f"{taken / plain:.2f}"]
        yield [*row, f"{1000 * taken:.2f}", f"{share:.2f}"]
    chosen = pick_acceleration(FrozenClassifier(net, shape).to(device), "auto")
    yield [name, batch, "auto", f"takes {chosen or 'float32'}", "", ""]


def inversion(net, device, acceleration, n_images, n_steps, side):
    """Seconds an image of DeepInversion on ImageNet's classes, and the mean loss at each step."""
    generator = DeepInversion(
        net,
        image_shape=(3, side, side),
        normalize=NORMALIZE,
        n_steps=(n_steps,),
        batch_size=n_images,
        acceleration=acceleration,
        device=str(device),
        random_state=0,
    ).fit()
    began = now(device)
    _, info = generator.generate(np.arange(n_images) % 1000, return_info=True)
    taken = now(device) - began
    return taken / n_images, sum(info.history.values()).mean(0)


def small_generators(device, n_images):
    """Images a second of the small network's classes, as a user calls it."""
    rng = np.random.default_rng(0)
    X, y = rng.random((200, 28, 28), dtype=np.float32), np.arange(200) % 10
    for acceleration in (None, "auto"):
        generator = InputOptimizationGenerator(
            small_network(),
            init="mean",
            acceleration=acceleration,
            device=str(device),
            random_state=0,
        ).fit(X, y)
        began = now(device)
        generator.generate(np.arange(n_images) % 10)
        yield acceleration, n_images / (now(device) - began), generator.acceleration_


def inversions(flags, device, net, began):
    """Rows of the second table."""
    n_images, n_steps, side = (2, 3, 64) if flags.quick else (84, 3000, 224)
    n_curve = min(N_CURVE, n_steps)
    curves = {}
    for acceleration in (None, "bfloat16"):
        taken, curves[acceleration] = inversion(net, device, acceleration, n_images, n_curve, side)
        label = acceleration or "float32"
        yield [label, n_images, n_curve, f"{taken:.3f}", f"{taken / n_curve * 3000:.2f}", ""]
    apart = np.abs(curves["bfloat16"] - curves[None]) / np.abs(curves[None])
    if time.perf_counter() - began + n_images * taken / n_curve * n_steps > flags.seconds:
        return
    taken, _ = inversion(net, device, "auto", n_images, n_steps, side)
    yield ["auto", n_images, n_steps, f"{taken:.3f}", f"{taken:.2f}", f"{apart.max():.3f}"]


def main(flags):
    began = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type != "cuda" and not flags.quick:
        raise SystemExit("no GPU was found; --quick tries the script on the CPU.")
    side = 256 if flags.quick else 8192
    rates = {
        "float32": matrix_rate(device, torch.float32, side),
        "bfloat16": matrix_rate(device, torch.bfloat16, side),
    }
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    notes = [
        f"{name}, torch {torch.__version__}. Measured rate of {side} × {side} matrices: "
        + ", ".join(f"{kind} {rate / 1e12:.1f} TFLOP/s" for kind, rate in rates.items())
    ]
    net = large_network(flags.weights)
    rows = []
    for kind, network, shape, batch in (
        ("28 × 28 CNN", small_network(), (1, 28, 28), 4 if flags.quick else 512),
        ("ResNet-50", net, (3, 64, 64) if flags.quick else (3, 224, 224), 2 if flags.quick else 84),
    ):
        rows += passes(kind, network, shape, batch, device, rates, flags.quick)
    for acceleration, rate, taken in small_generators(device, 4 if flags.quick else 2000):
        notes.append(
            f"InputOptimizationGenerator(acceleration={acceleration!r}), which took "
            f"{taken or 'float32'}: {rate:.0f} images of 28 × 28 a second."
        )
    header = ["network", "batch", "acceleration", "÷ float32", "ms", "share of the matrix rate"]
    report(flags, "passes", "A forward pass and input gradient", header, rows, notes)
    header = ["acceleration", "images", "steps", "s an image", "for 3,000 steps", "curves apart"]
    rows = list(inversions(flags, device, net, began))
    kind = "trained" if flags.weights else "untrained"
    notes = [
        f"{name}. Curves apart: largest relative difference of the mean loss at any of the first "
        f"{N_CURVE} steps, bfloat16 from float32."
    ]
    report(flags, "inversion", f"DeepInversion of an {kind} ResNet-50", header, rows, notes)


def report(flags, name, title, header, rows, notes):
    if flags.quick:
        print(title, header, *rows, *notes, sep="\n")
        return
    write(RESULTS, name, title, header, rows, notes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", help="state dict of torchvision's ResNet-50")
    parser.add_argument("--seconds", type=float, default=500.0)
    parser.add_argument("--quick", action="store_true")
    main(parser.parse_args())
