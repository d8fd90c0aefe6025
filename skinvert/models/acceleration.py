"""How a frozen network answers: in bfloat16 or compiled, where asked for or found to pay."""

import time
import warnings

import torch

from skinvert.models.frozen import FrozenClassifier

__all__ = ["ACCELERATIONS", "pick_acceleration"]

ACCELERATIONS = frozenset({"auto", "bfloat16", "compile", "bfloat16+compile"})

_LEAST_GAIN = 1.05  # below it the chance of a bad measurement is larger than what is won
_LEAST_AGREEMENT = 0.95  # cosine between the images' slopes
_N_ROWS, _N_WARM, _N_TIMED = 32, 3, 5


def pick_acceleration(classifier: FrozenClassifier, asked: str | None) -> str | None:
    """What a parameter ``acceleration`` comes to on this machine.

    Parameters
    ----------
    classifier : FrozenClassifier
        On the device that it will run on; not changed, but for what it has compiled.
    asked : {"auto", "bfloat16", "compile", "bfloat16+compile"} or None
        "auto" tries bfloat16 on GPUs that know it: a few passes there and back. It takes it where
        that is faster by a twentieth and gives the same first class and nearly the same slopes on
        noise; elsewhere, and on CPUs, None. "compile" is tried likewise, but not timed; where it
        can't be had, a RuntimeWarning says why.

    Returns
    -------
    acceleration : {"bfloat16", "compile", "bfloat16+compile"} or None

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.acceleration import pick_acceleration
    >>> from skinvert.models.frozen import FrozenClassifier
    >>> net = FrozenClassifier(torch.nn.Linear(4, 3), (4,))
    >>> print(pick_acceleration(net, "auto"))
    None
    """
    if asked is not None and asked.endswith("compile"):
        return _compiled_if_it_can(classifier, asked)
    if asked != "auto":
        return asked
    if classifier.mean.device.type != "cuda" or not torch.cuda.is_bf16_supported():
        return None
    return _faster(classifier)


def _compiled_if_it_can(classifier, asked):
    """What was asked for, or the same without compiling and a warning that says why."""
    rest = "bfloat16" if asked.startswith("bfloat16") else None
    try:
        plain, compiled = _probes(classifier, (rest, asked))
        if _agree(plain, compiled):
            return asked
        reason = "it answers otherwise than before it was compiled"
    except Exception as error:  # of any part of the compiler
        reason = str(error).strip().split("\n")[0] or type(error).__name__
    warnings.warn(
        f"the classifier was not compiled: {reason}. acceleration={rest!r} is taken.",
        RuntimeWarning,
        stacklevel=4,
    )
    return rest


def _faster(classifier, clock=time.perf_counter):
    """The faster of both where they agree; single precision where bfloat16 can't be had."""
    try:
        plain, half = _probes(classifier, (None, "bfloat16"), clock)
    except RuntimeError:  # no kernel for some layer, or too little memory
        return None
    is_faster = plain[2] >= _LEAST_GAIN * half[2]
    return "bfloat16" if is_faster and _agree(plain, half) else None


def _agree(one, other):
    """Whether the first classes are the same, and the slopes nearly."""
    same_class = bool((one[0].argmax(1) == other[0].argmax(1)).all())
    cosine = torch.cosine_similarity(one[1].flatten(), other[1].flatten(), dim=0)
    return same_class and bool(cosine >= _LEAST_AGREEMENT)


def _probes(classifier, accelerations, clock=time.perf_counter):
    """A probe in each acceleration; the classifier keeps its own."""
    before = classifier.acceleration
    try:
        found = []
        for classifier.acceleration in accelerations:
            found.append(_probe(classifier, clock))
        return found
    finally:
        classifier.acceleration = before


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
