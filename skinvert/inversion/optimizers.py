"""Update rules whose state belongs to rows, so that a slot can start afresh beside old neighbours.

From a common start each rule equals its namesake in `torch.optim`.
"""

from dataclasses import dataclass

__all__ = ["SGD", "Adam", "Langevin"]


def _column(values, like):
    """Per-row values, shaped to multiply a (n_rows, ...) tensor."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


@dataclass
class SGD:
    """Gradient descent with momentum.

    Parameters
    ----------
    learning_rate : float
    momentum : float, default=0.0
    nesterov : bool, default=False

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.optimizers import SGD
    >>> parameter = torch.ones(2, 3)
    >>> SGD(learning_rate=0.5).update(
    ...     parameter, torch.ones(2, 3), [], steps=torch.ones(2), noise=None)
    >>> parameter[0].tolist()
    [0.5, 0.5, 0.5]
    """

    learning_rate: float
    momentum: float = 0.0
    nesterov: bool = False

    @property
    def n_buffers(self):
        return 1 if self.momentum else 0

    def update(self, parameter, gradient, buffers, steps, noise):
        """Move a parameter in place; `steps` counts each row's updates, this one included."""
        if self.momentum:
            (velocity,) = buffers
            velocity.mul_(self.momentum).add_(gradient)
            gradient = gradient.add(velocity, alpha=self.momentum) if self.nesterov else velocity
        parameter.sub_(gradient, alpha=self.learning_rate)


@dataclass
class Adam:
    """Adam (Kingma & Ba, 2015, algorithm 1), its bias corrections counted for each row.

    Parameters
    ----------
    learning_rate : float
    betas : tuple of float, default=(0.9, 0.999)
    eps : float, default=1e-8
    """

    learning_rate: float
    betas: tuple = (0.9, 0.999)
    eps: float = 1e-8
    n_buffers = 2

    def update(self, parameter, gradient, buffers, steps, noise):
        """Move a parameter in place; `steps` counts each row's updates, this one included."""
        mean, square = buffers
        beta1, beta2 = self.betas
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        # The corrections are taken in float64: 0.999 to the power of a step loses digits in 32.
        steps = steps.double()
        rate = self.learning_rate / (1 - beta1**steps)
        root = (1 - beta2**steps).sqrt()
        spread = square.sqrt().div_(_column(root, square).to(square.dtype)).add_(self.eps)
        parameter.sub_((mean / spread).mul_(_column(rate, mean).to(mean.dtype)))


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
    """

    learning_rate: float
    noise_scale: float = 1.0
    n_buffers = 0

    def update(self, parameter, gradient, buffers, steps, noise):
        """Move a parameter in place, with noise from the rows' own generators."""
        parameter.sub_(gradient, alpha=self.learning_rate)
        if self.noise_scale:
            spread = self.noise_scale * (2 * self.learning_rate) ** 0.5
            parameter.add_(noise.normal(*parameter.shape[1:]), alpha=spread)
