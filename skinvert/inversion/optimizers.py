"""Update rules whose state belongs to rows, so that a slot can start afresh beside old neighbours.

From a common start each rule equals its namesake in `torch.optim`. What depends on the rows' steps
alone, learning rates and bias corrections, is computed once for all parameters: ``factors(steps)``.
"""

from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["SGD", "AdaMax", "Adam", "Cooldown", "Intermittent", "Langevin"]


def _column(values, like):
    """Per-row values, shaped to multiply a (n_rows, ...) tensor."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


@dataclass
class Cooldown:
    """A learning rate that is constant, then falls linearly to zero.

    Parameters
    ----------
    rate : float
    n_steps : int
        Length of a row's run.
    share : float
        Last part of the run over which the rate falls, in [0, 1].

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.optimizers import Cooldown
    >>> Cooldown(0.5, n_steps=10, share=0.4)(torch.tensor([1, 6, 8, 10])).tolist()
    [0.5, 0.5, 0.375, 0.125]
    """

    rate: float
    n_steps: int
    share: float

    def __call__(self, steps):
        """Rate (n_rows,) of each row's step, counted from 1."""
        left = (self.n_steps - steps.double() + 1) / max(self.share * self.n_steps, 1e-12)
        return self.rate * left.clamp(0, 1)


def _rates(learning_rate, steps):
    """The learning rate of each row, shape (n_rows,), float64."""
    if callable(learning_rate):
        return learning_rate(steps)
    return torch.full(steps.shape, learning_rate, dtype=torch.float64, device=steps.device)


def _descend(parameter, gradient, rates):
    parameter.sub_(_column(rates, gradient).to(gradient.dtype) * gradient)


@dataclass
class SGD:
    """Gradient descent with momentum.

    Parameters
    ----------
    learning_rate : float or callable
        A callable gives each row's rate from its step, as `Cooldown` does.
    momentum : float, default=0.0
        Share of the last step's velocity that is kept.
    nesterov : bool, default=False
        Whether the gradient is corrected by where the velocity leads (Nesterov's momentum).

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.optimizers import SGD
    >>> rule, parameter = SGD(learning_rate=0.5), torch.ones(2, 3)
    >>> rule.update(parameter, torch.ones(2, 3), [], rule.factors(torch.ones(2)), noise=None)
    >>> parameter[0].tolist()
    [0.5, 0.5, 0.5]
    """

    learning_rate: float
    momentum: float = 0.0
    nesterov: bool = False

    @property
    def n_buffers(self) -> Any:
        """Tensors that are remembered of a parameter: its velocity, where there is momentum."""
        return 1 if self.momentum else 0

    def factors(self, steps: Any) -> Any:
        """What a step weighs, as `update` takes it.

        Parameters
        ----------
        steps : Tensor of shape (n_rows,)
            Each row's updates, this one included.

        Returns
        -------
        rates : Tensor of shape (n_rows,)
        """
        return _rates(self.learning_rate, steps)

    def update(self, parameter: Any, gradient: Any, buffers: Any, factors: Any, noise: Any) -> None:
        """Move a parameter against its gradient, in place.

        Parameters
        ----------
        parameter : Tensor of shape (n_rows, ...)
            What is moved.
        gradient : Tensor of shape (n_rows, ...)
            Of the rows' objectives by the parameter.
        buffers : list of Tensor of shape (n_rows, ...)
            The velocity, if there is momentum; zero at a row's start, changed in place.
        factors : Tensor of shape (n_rows,), or tuple of them
            Of `factors`.
        noise : RowNoise or None
            Not used.
        """
        if self.momentum:
            (velocity,) = buffers
            velocity.mul_(self.momentum).add_(gradient)
            gradient = gradient.add(velocity, alpha=self.momentum) if self.nesterov else velocity
        _descend(parameter, gradient, factors)


@dataclass
class Adam:
    """Adam (Kingma & Ba, 2015, algorithm 1), its bias corrections counted for each row.

    Parameters
    ----------
    learning_rate : float or callable
        A callable gives each row's rate from its step, as `Cooldown` does.
    betas : tuple of float, default=(0.9, 0.999)
        Shares of the running means of the gradient and of its square that a step keeps.
    eps : float, default=1e-8
        Added to the root of the mean square, so that nothing is divided by zero.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.optimizers import Adam
    >>> parameter, buffers = torch.ones(2, 3), [torch.zeros(2, 3), torch.zeros(2, 3)]
    >>> rule = Adam(0.1)
    >>> rule.update(
    ...     parameter, torch.full((2, 3), 7.0), buffers, rule.factors(torch.ones(2)), noise=None)
    >>> round(float(parameter[0, 0]), 4)  # whatever the gradient's size
    0.9
    """

    learning_rate: float
    betas: tuple = (0.9, 0.999)
    eps: float = 1e-8
    n_buffers = 2

    def factors(self, steps: Any) -> Any:
        """What a step weighs, as `update` takes it.

        Parameters
        ----------
        steps : Tensor of shape (n_rows,)
            Each row's updates, this one included.

        Returns
        -------
        rates, roots : tuple of Tensor of shape (n_rows,)
            The rate over the mean's bias correction, and the root of the square's.
        """
        # In float64: 0.999 to the power of a step loses digits in 32.
        beta1, beta2 = self.betas
        rates, steps = _rates(self.learning_rate, steps), steps.double()
        return rates / (1 - beta1**steps), (1 - beta2**steps).sqrt()

    def update(self, parameter: Any, gradient: Any, buffers: Any, factors: Any, noise: Any) -> None:
        """Move a parameter against its gradient, in place.

        Parameters
        ----------
        parameter : Tensor of shape (n_rows, ...)
            What is moved.
        gradient : Tensor of shape (n_rows, ...)
            Of the rows' objectives by the parameter.
        buffers : list of Tensor of shape (n_rows, ...)
            Running means of the gradient and its square; zero at a row's start, changed in place.
        factors : Tensor of shape (n_rows,), or tuple of them
            Of `factors`.
        noise : RowNoise or None
            Not used.
        """
        mean, square = buffers
        rate, root = factors
        beta1, beta2 = self.betas
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        spread = square.sqrt().div_(_column(root, square).to(square.dtype)).add_(self.eps)
        parameter.sub_((mean / spread).mul_(_column(rate, mean).to(mean.dtype)))


@dataclass
class AdaMax:
    """AdaMax (Kingma & Ba, 2015, algorithm 2), its bias correction counted for each row.

    Parameters
    ----------
    learning_rate : float or callable
    betas : tuple of float, default=(0.9, 0.999)
    eps : float, default=1e-8

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.optimizers import AdaMax
    >>> parameter, buffers = torch.ones(2, 3), [torch.zeros(2, 3), torch.zeros(2, 3)]
    >>> rule = AdaMax(0.1)
    >>> rule.update(
    ...     parameter, torch.full((2, 3), 7.0), buffers, rule.factors(torch.ones(2)), noise=None)
    >>> round(float(parameter[0, 0]), 4)  # whatever the gradient's size
    0.9
    """

    learning_rate: float
    betas: tuple = (0.9, 0.999)
    eps: float = 1e-8
    n_buffers = 2

    def factors(self, steps):
        """The rate of each row (n_rows,) over its bias correction; `steps` counts from 1."""
        return _rates(self.learning_rate, steps) / (1 - self.betas[0] ** steps.double())

    def update(self, parameter, gradient, buffers, factors, noise):
        """Move a parameter in place."""
        mean, largest = buffers
        beta1, beta2 = self.betas
        mean.lerp_(gradient, 1 - beta1)
        torch.maximum(largest.mul_(beta2), gradient.abs().add_(self.eps), out=largest)
        parameter.sub_((mean / largest).mul_(_column(factors, mean).to(mean.dtype)))


@dataclass
class Langevin:
    r"""Unadjusted Langevin steps, :math:`x - \eta g + s\sqrt{2\eta}\,\xi` with normal :math:`\xi`.

    With :math:`g` the gradient of an energy and :math:`s = 1` the stationary law approaches
    :math:`e^{-\text{energy}}` as the step goes to zero.

    Parameters
    ----------
    learning_rate : float
        The step η.
    noise_scale : float, default=1.0
        s; zero is plain gradient descent.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.optimizers import Langevin
    >>> from skinvert.inversion.randomness import RowNoise
    >>> rule, parameter = Langevin(0.5), torch.zeros(1, 10_000)
    >>> factors = rule.factors(torch.ones(1))
    >>> rule.update(parameter, torch.ones(1, 10_000), [], factors, RowNoise([0]))
    >>> round(float(parameter.mean()), 1), round(float(parameter.std()), 1)
    (-0.5, 1.0)
    """

    learning_rate: float
    noise_scale: float = 1.0
    n_buffers = 0

    def factors(self, steps: Any) -> Any:
        """What a step weighs, as `update` takes it.

        Parameters
        ----------
        steps : Tensor of shape (n_rows,)
            Each row's updates, this one included.

        Returns
        -------
        rates : Tensor of shape (n_rows,)
        """
        return _rates(self.learning_rate, steps)

    def update(self, parameter: Any, gradient: Any, buffers: Any, factors: Any, noise: Any) -> None:
        """Move a parameter against its gradient, in place.

        Parameters
        ----------
        parameter : Tensor of shape (n_rows, ...)
            What is moved.
        gradient : Tensor of shape (n_rows, ...)
            Of the rows' objectives by the parameter.
        buffers : list of Tensor of shape (n_rows, ...)
            Not used: nothing is remembered.
        factors : Tensor of shape (n_rows,)
            Of `factors`.
        noise : RowNoise with n_rows slots
            Where each row draws its own.
        """
        _descend(parameter, gradient, factors)
        if self.noise_scale:
            spread = self.noise_scale * (2 * self.learning_rate) ** 0.5
            parameter.add_(noise.normal(*parameter.shape[1:]), alpha=spread)


@dataclass
class Intermittent:
    """Another rule that sets in late and moves a row at every `interval`-th of its steps only.

    Parameters
    ----------
    rule : SGD, Adam or Langevin
        Counts the updates that it makes, the first of them as 1.
    first : int, default=0
        Steps that a row takes before the first update.
    interval : int, default=1

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.optimizers import SGD, Intermittent
    >>> late, parameter = Intermittent(SGD(1.0), first=2, interval=3), torch.zeros(4, 1)
    >>> factors = late.factors(torch.tensor([1, 3, 5, 6]))
    >>> late.update(parameter, torch.ones(4, 1), [], factors, None)
    >>> parameter.flatten().tolist()
    [0.0, -1.0, 0.0, -1.0]
    """

    rule: object
    first: int = 0
    interval: int = 1

    @property
    def n_buffers(self):
        return self.rule.n_buffers

    def is_due(self, steps):
        """Whether each row, after so many steps (n_rows,), is updated by the next one."""
        return (steps >= self.first) & ((steps - self.first) % self.interval == 0)

    def factors(self, steps):
        """Which rows are due, and the rule's own factors; `steps` counts all of a row's steps."""
        updates = (steps - 1 - self.first).clamp_min(0) // self.interval + 1
        return self.is_due(steps - 1), self.rule.factors(updates)

    def update(self, parameter, gradient, buffers, factors, noise):
        """Move the due rows of a parameter, in place."""
        due, factors = factors
        before = [value.clone() for value in (parameter, *buffers)]
        self.rule.update(parameter, gradient, buffers, factors, noise)
        for value, kept in zip((parameter, *buffers), before, strict=True):
            value.copy_(torch.where(_column(due, value), value, kept))
