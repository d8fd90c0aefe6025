"""A flow with everything around it that training moves: class means, noise and the objective."""

import math

import torch
from torch import nn

from skinvert.flows.linear import reorthogonalized
from skinvert.flows.preprocessing import log_normal

__all__ = ["FlowNetwork", "gaussian_divergence", "paper_loss"]


def paper_loss(residual):
    r"""The loss of Guo and Wang 2026, section IV.B, one value a row.

    :math:`\tfrac{D}{2}\ln 2\pi + \tfrac12 \sum_n (n - 2a)^2 + (\mathrm{Var}(N) - 1)^2`. The paper
    prints :math:`\tfrac{|N|}{2}` before the sum and calls the first two terms the negative
    log-likelihood of a unit Gaussian, which has :math:`\tfrac12` there; so it is read. The variance
    is that of one row's outputs, around the class mean's own shape.

    Parameters
    ----------
    residual : Tensor of shape (n, n_features)
        Outputs minus the mean of their class.

    Examples
    --------
    >>> import torch
    >>> from skinvert.flows.network import paper_loss
    >>> round(paper_loss(torch.tensor([[1.0, -1.0]])).item(), 4)
    2.8379
    """
    spread = residual.var(1, correction=0) if residual.shape[1] > 1 else residual.new_zeros(1)
    return -log_normal(residual) + (spread - 1).square()


def gaussian_divergence(residual):
    r"""KL divergence of a row's empirical Gaussian from the standard normal, one value a row.

    :math:`\tfrac12 (v + m^2 - 1 - \ln v)` with m and v the mean and the variance of the row's
    outputs, minus the mean of their class: the loss that the paper's section VI suggests.

    Parameters
    ----------
    residual : Tensor of shape (n, n_features)

    Examples
    --------
    >>> import torch
    >>> from skinvert.flows.network import gaussian_divergence
    >>> gaussian_divergence(torch.tensor([[1.0, -1.0]])).item()
    0.0
    """
    mean, variance = residual.mean(1), residual.var(1, correction=0)
    return 0.5 * (variance + mean.square() - 1 - variance.clamp_min(1e-12).log())


class FlowNetwork(nn.Module):
    """Preprocessing, flow, class means and the objective that trains them.

    Parameters
    ----------
    preprocessing : Preprocessing
    flow : SquareFlow, CouplingFlow or SlicedFlow
    means : Tensor of shape (n_classes, n_features)
    log_prior : Tensor of shape (n_classes,)
        Logarithm of the classes' shares.
    objective : {"paper", "kl", "mle", "ib"}, default="mle"
    learn_means : bool, default=False
        Whether training moves the means. A class-conditional flow shifts by itself.
    noise : float, default=0.0
        Standard deviation of the noise that training adds, in standard units.
    cross_entropy_weight : float, default=1.0
        β of "ib".
    label_smoothing : float, default=0.02
        Of "ib".

    Attributes
    ----------
    spreads : ClassWhitening or None
        Of the latents of each class, where training is followed by their fit; None stands for
        unit spheres around the means.
    """

    def __init__(
        self,
        preprocessing,
        flow,
        means,
        log_prior,
        *,
        objective="mle",
        learn_means=False,
        noise=0.0,
        cross_entropy_weight=1.0,
        label_smoothing=0.02,
    ):
        super().__init__()
        self.preprocessing, self.flow = preprocessing, flow
        self.objective, self.noise = objective, noise
        self.cross_entropy_weight, self.label_smoothing = cross_entropy_weight, label_smoothing
        self.register_buffer("log_prior", log_prior)
        self.spreads = None
        if learn_means and not flow.conditional:
            self.means = nn.Parameter(means)
        else:
            self.register_buffer("means", means)

    @property
    def counts_log_det(self):
        """Whether the objective is a likelihood."""
        return self.objective in ("mle", "ib")

    def for_use(self):
        """This network in float64, frozen; its rotations are made orthogonal to that precision."""
        self.double().eval().requires_grad_(False)
        for module in self.modules():
            for name, buffer in module.named_buffers(recurse=False):
                if name in ("rotation", "axes"):
                    setattr(module, name, reorthogonalized(buffer))
        return self

    def forward(self, x):
        """Rows (n, ...) in standard units, (n, n_features); dequantised and noisy in training."""
        x = x.flatten(1)
        if self.training:
            x = self.preprocessing.dequantize(x, torch.rand_like(x))
        v, _ = self.preprocessing(x)
        return v + self.noise * torch.randn_like(v) if self.training and self.noise else v

    def loss(self, v, columns):
        """Mean objective of rows (n, n_features) in standard units with classes (n,), in nats."""
        columns = columns.to(v.device)
        if self.objective == "ib":
            return self._bottleneck(v, columns)
        if self.flow.conditional:
            return -self._own_log_densities(v, columns).mean()
        z, log_det = self.flow(v, with_log_det=self.counts_log_det)
        residual = z - self.means[columns]
        if self.objective == "paper":
            return paper_loss(residual).mean()
        if self.objective == "kl":
            return gaussian_divergence(residual).mean()
        return -(log_normal(residual) + log_det).mean()

    def _own_log_densities(self, v, columns):
        if self.flow.takes_all_classes:
            return self.flow.log_density(v, columns)
        order = [torch.nonzero(columns == column)[:, 0] for column in range(len(self.means))]
        parts = [self.flow.log_density(v[rows], k) for k, rows in enumerate(order) if len(rows)]
        return torch.cat(parts)[torch.argsort(torch.cat(order))]

    def _bottleneck(self, v, columns):
        """NLL/D + β cross-entropy of Bayes' posterior (Ardizzone et al. 2020)."""
        log_joint = self.log_likelihoods(v) + self.log_prior
        own = log_joint.gather(1, columns[:, None])
        cross_entropy = nn.functional.cross_entropy(
            log_joint, columns, label_smoothing=self.label_smoothing
        )
        return -own.mean() / v.shape[1] + self.cross_entropy_weight * cross_entropy

    def log_likelihoods(self, v, with_log_det=True):
        """log p(v | k) of rows in standard units for every class: (n, n_classes), in nats.

        Where classes share the map its log-determinant cancels in Bayes' rule, and can be left
        out: that of a collapsed network is minus infinity.
        """
        if self.flow.conditional:
            columns = range(len(self.means))
            return torch.stack([self.flow.log_density(v, column) for column in columns], dim=1)
        z, log_det = self.flow(v, with_log_det=with_log_det)
        if self.spreads is None:
            densities = self._spherical(z)
        else:
            fits = (self.spreads(z, column) for column in range(len(self.means)))
            densities = torch.stack([log_normal(own) + inner for own, inner in fits], dim=1)
        return densities + log_det[:, None] if with_log_det else densities

    def _spherical(self, z):
        # The expanded square, for a residual a class would be (n, n_classes, n_features).
        square = z.square().sum(1)[:, None] - 2 * z @ self.means.T + self.means.square().sum(1)
        constant = 0.5 * z.shape[1] * math.log(2 * math.pi)
        return -0.5 * square - constant

    def latents(self, noise, weights):
        """Latents (n, n_features) of a shared map from standard noise and class weights.

        A mixture of classes is the weighted mean of what they make of the same noise.
        """
        if self.spreads is None:
            return noise + weights @ self.means
        made = (self.spreads.inverse(noise, column) for column in range(len(self.means)))
        return sum(weights[:, column, None] * z for column, z in enumerate(made))

    def log_density(self, v, weights, column):
        """log p(v) (n,) of rows in standard units under one class's map, or of a shared map the
        mean over classes of their log-densities by `weights` (n, n_classes)."""
        if self.flow.conditional:
            return self.flow.log_density(v, column)
        return (weights * self.log_likelihoods(v)).sum(1)

    def residual(self, z, column):
        """Latents (n, n_features) of one class in its own units: standard normal if all is well."""
        if self.spreads is None:
            return z - self.means[column]
        return self.spreads(z, column)[0]
