"""Whether a frozen network answers in bfloat16: where that is asked for, or found to be faster."""

import time

import torch

from skinvert.models.frozen import FrozenClassifier

__all__ = ["pick_acceleration"]

_LEAST_GAIN = 1.05  # below it the chance of a bad measurement is larger than what is won
_LEAST_AGREEMENT = 0.95  # cosine between the images' slopes
_N_ROWS, _N_WARM, _N_TIMED = 32, 3, 5


def pick_acceleration(classifier: FrozenClassifier, asked: str | None) -> str | None:
    """What a parameter ``acceleration`` comes to on this machine.

    Parameters
    ----------
    classifier : FrozenClassifier
        On the device that it will run on; not changed.
    asked : {"auto", "bfloat16"} or None
        "auto" tries both on GPUs that know bfloat16: a few passes there and back. It takes
        bfloat16 where that is faster by a twentieth and gives the same first class and nearly the
        same slopes on noise; elsewhere, and on CPUs, None.

    Returns
    -------
    acceleration : {"bfloat16"} or None

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.acceleration import pick_acceleration
    >>> from skinvert.models.frozen import FrozenClassifier
    >>> net = FrozenClassifier(torch.nn.Linear(4, 3), (4,))
    >>> print(pick_acceleration(net, "auto"))
    None
    """
    if asked != "auto":
        return asked
    if classifier.mean.device.type != "cuda" or not torch.cuda.is_bf16_supported():
        return None
    return _faster(classifier)


def _faster(classifier, clock=time.perf_counter):
    """The faster of both where they agree; single precision where bfloat16 can't be had."""
    before = classifier.acceleration
    try:
        classifier.acceleration = None
        plain = _probe(classifier, clock)
        classifier.acceleration = "bfloat16"
        half = _probe(classifier, clock)
    except RuntimeError:  # no kernel for some layer, or too little memory
        return None
    finally:
        classifier.acceleration = before
    same_class = bool((plain[0].argmax(1) == half[0].argmax(1)).all())
    cosine = torch.cosine_similarity(plain[1].flatten(), half[1].flatten(), dim=0)
    agree = same_class and bool(cosine >= _LEAST_AGREEMENT)
    return "bfloat16" if agree and plain[2] >= _LEAST_GAIN * half[2] else None


def _probe(classifier, clock):
    """Logits and slopes of noise, and the seconds of a few passes there and back."""
    device = classifier.mean.device
    noise = torch.rand(_N_ROWS, *classifier.input_shape, generator=torch.Generator().manual_seed(0))
    images = noise.to(device).requires_grad_()
    for k in range(_N_WARM + _N_TIMED):
        if k == _N_WARM:
            began = _now(device, clock)
        logits = classifier(images)
        (slopes,) = torch.autograd.grad(logits.logsumexp(1).sum(), images)
    return logits.detach(), slopes, _now(device, clock) - began


def _now(device, clock):
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock()
