"""Several processes train one network: each batch is dealt to them, and sums come back.

Every rank draws the same batches with the same noise as a process alone would, and computes the
loss of its own rows. What the rows of a batch share (gradients, batch statistics, the value of the
loss) is summed over the ranks, so that the step is that of the whole batch. torch's
DistributedDataParallel, and accelerate, which wraps it, give each rank batches, draws and batch
statistics of its own, and watch gradients of ``forward`` alone, outside which flows compute theirs;
therefore only the process group is taken from them.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = [
    "Ranks",
    "backward",
    "data_parallel",
    "is_first_rank",
    "joined_training",
    "mean_over_ranks",
    "own_ranks",
    "said_by_first_rank",
]

_RANKS: ContextVar["Ranks | None"] = ContextVar("ranks", default=None)


@contextlib.contextmanager
def data_parallel() -> Iterator["Ranks"]:
    """Let the processes that torchrun started train their networks together.

    All of them run the same script and call ``fit`` inside the block with the same data and an
    integer ``random_state``; they end with equal weights, and with the losses that one process
    would have found, up to rounding. A process group that exists, accelerate's for example, is
    used; else one is made. With several GPUs a machine each rank takes its own.

    Yields
    ------
    ranks : Ranks
        ``ranks.is_first`` says which process is to save and to print.

    Raises
    ------
    RuntimeError
        Where no other process can be found.

    Examples
    --------
    >>> from skinvert.models.ranks import data_parallel
    >>> with data_parallel():
    ...     pass
    Traceback (most recent call last):
    ...
    RuntimeError: data_parallel found no other processes; start the script with \
torchrun --nproc-per-node N, or make a process group first.
    """
    makes_group = not dist.is_initialized()
    if makes_group and "WORLD_SIZE" not in os.environ:
        raise RuntimeError(
            "data_parallel found no other processes; start the script with torchrun "
            "--nproc-per-node N, or make a process group first."
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    if makes_group:
        dist.init_process_group()
    ranks = Ranks()
    # One rank alone trains as if there were no ranks.
    before = _RANKS.set(ranks if ranks.size > 1 else None)
    try:
        yield ranks
    finally:
        _RANKS.reset(before)
        if makes_group:
            dist.destroy_process_group()


def own_ranks() -> "Ranks | None":
    """The ranks that train together here, or None where this process trains alone."""
    return _RANKS.get()


def is_first_rank() -> bool:
    """Whether files are this process's to write."""
    ranks = _RANKS.get()
    return ranks is None or ranks.is_first


def said_by_first_rank(make: Callable[[], Any]) -> Any:
    """What `make()` returns, asked of the first rank only."""
    ranks = _RANKS.get()
    return make() if ranks is None else ranks.said_by_first(make)


def mean_over_ranks(value: Tensor) -> Tensor:
    """The whole batch's mean from that of the own rows, without gradient; itself if alone."""
    ranks = _RANKS.get()
    return value if ranks is None else ranks.mean(value)


def backward(loss: Tensor, parameters: Iterable[torch.nn.Parameter]) -> None:
    """Gradients of a batch's mean loss, from the mean over the own rows.

    Parameters
    ----------
    loss : Tensor, a scalar
    parameters : iterable of Parameter
        All that are trained with it.
    """
    ranks = _RANKS.get()
    if ranks is None:
        loss.backward()
        return
    (ranks.share * loss).backward()
    ranks.sum_gradients(parameters)


def joined_training(
    module: torch.nn.Module, facts: object
) -> contextlib.AbstractContextManager[None]:
    """The block in which a network's batches are dealt; nothing of it happens to a rank alone."""
    ranks = _RANKS.get()
    return contextlib.nullcontext() if ranks is None else ranks.joined(module, facts)


class Ranks:
    """The processes of the process group, seen from one of them.

    Attributes
    ----------
    rank, size : int
    share : float
        Of the latest batch, in this rank.
    """

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.share, self.n_rows = 1 / self.size, self.size

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def deal(self, n_rows: int) -> slice:
        """The slice of a batch that is this rank's."""
        first, end = (n_rows * edge // self.size for edge in (self.rank, self.rank + 1))
        self.share, self.n_rows = (end - first) / n_rows, n_rows
        # A rank without rows goes along with one that does not count.
        return slice(first, end) if first < end else slice(0, 1)

    def mean(self, value: Tensor) -> Tensor:
        """The mean over a batch's rows, from the mean over those of each rank."""
        return _sum(self.share * value.detach())

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Add up gradients; those that no rank has stay None, as optimisers pass them over."""
        moved = [parameter for parameter in parameters if parameter.requires_grad]
        has = moved[0].new_tensor([float(parameter.grad is not None) for parameter in moved])
        parts = [
            (torch.zeros_like(own) if own.grad is None else own.grad).flatten() for own in moved
        ]
        total = _sum(torch.cat([has, *parts]))
        has, *parts = total.split([len(moved), *[part.numel() for part in parts]])
        for parameter, n_ranks, part in zip(moved, has.tolist(), parts, strict=True):
            if not n_ranks:
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad.copy_(part.view(parameter.shape))

    def said_by_first(self, make: Callable[[], Any]) -> Any:
        """What `make()` returns or raises in the first rank, in all of them."""
        said: list[Any] = [None, None]
        if self.is_first:
            try:
                said[0] = make()
            except Exception as error:  # the others would wait for ever
                said[1] = error
        dist.broadcast_object_list(said, src=0)
        if said[1] is not None:
            raise said[1]
        return said[0]

    @contextlib.contextmanager
    def joined(self, module: torch.nn.Module, facts: object) -> Iterator[None]:
        """Train a module: from the first rank's weights, with the statistics of whole batches.

        Raises
        ------
        ValueError
            Where `facts`, what all ranks must agree upon, differ.
        """
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, facts)
        if any(other != found[0] for other in found):
            raise ValueError(
                f"ranks that train together need equal data and seeds, got (seed, rows) {found}. "
                "Set random_state to an int, and pass the whole X in every rank."
            )
        module.load_state_dict(self.said_by_first(module.state_dict))
        norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
        for layer in norms:
            vars(layer)["forward"] = functools.partial(self._normalise, layer)
        try:
            yield
        finally:
            for layer in norms:
                del vars(layer)["forward"]

    def _normalise(self, layer, x):
        """`layer` of x (n, C, ...) with mean and variance of all ranks' rows."""
        if not layer.training or not layer.track_running_stats:
            return type(layer).forward(layer, x)
        x, mean, variance = _Standardise.apply(x, layer.eps, self)
        with torch.no_grad():
            layer.num_batches_tracked += 1
            n_values = self.n_rows * x[0, 0].numel()
            rate = layer.momentum or 1 / float(layer.num_batches_tracked)
            layer.running_mean.lerp_(mean.flatten(), rate)
            layer.running_var.lerp_(variance.flatten() * n_values / max(n_values - 1, 1), rate)
        if not layer.affine:
            return x
        return x * layer.weight.view_as(mean) + layer.bias.view_as(mean)


class _Standardise(torch.autograd.Function):
    """x (n, C, ...) less the mean, over the deviation, of each channel in the whole batch.

    Means are taken in float64, as torch's own layer does: Adam makes much of a slope that should
    be zero and is not quite.
    """

    @staticmethod
    def forward(ctx, x, eps, ranks):
        axes = [0, *range(2, x.ndim)]
        spread, middle = (
            value.double() for value in torch.var_mean(x, axes, correction=0, keepdim=True)
        )
        mean = ranks.mean(middle)
        variance = ranks.mean(spread + (middle - mean).square())
        scale = (variance + eps).rsqrt().to(x.dtype)
        x = (x - mean.to(x.dtype)) * scale
        ctx.save_for_backward(x, scale)
        ctx.axes, ctx.counts = axes, bool(ranks.share)
        ctx.n_values = ranks.n_rows * x[0, 0].numel()
        mean, variance = mean.to(x.dtype), variance.to(x.dtype)
        ctx.mark_non_differentiable(mean, variance)
        return x, mean, variance

    @staticmethod
    def backward(ctx, slope, *_):
        x, scale = ctx.saved_tensors
        sums = [
            part.sum(ctx.axes, keepdim=True, dtype=torch.float64) for part in (slope, slope * x)
        ]
        of_mean, of_spread = (_sum(torch.stack(sums)) / ctx.n_values).to(x.dtype)
        return scale * (slope - of_mean - x * of_spread) * ctx.counts, None, None


def _sum(value):
    total = value.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total
