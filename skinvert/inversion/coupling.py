"""The coupled network's free parameters: a generator's weights, or the latent's coefficients.

Both are one row each of a batch: the loop starts a row from its own noise, shows the classifier
what the row's generator makes of a disturbed latent, and renders what it makes of the undisturbed
one.
"""

import torch

from skinvert.inversion.objectives import State

__all__ = ["FreeCoefficients", "FreeGenerators", "started_alive"]

_GAINS = (1.0, 2.0, 4.0, 8.0)


class FreeGenerators:
    r"""Untrained generators, one a row, all weights of which are free (section 4.1).

    The latent is :math:`1 + \sigma\epsilon`, the penalty :math:`\sum_k |\gamma_k|` over the scales
    of the image's channels (eq. 3).

    Parameters
    ----------
    network : RowwiseNetwork
    n_latents : int
    to_image : callable
        From the network's answers to images.
    noise_scale : float, default=2.0
        The paper's σ.
    running_statistics : bool, default=False
        Render with the running means and variances of the batch normalisations, as the paper does,
        rather than with those of the picture itself.
    """

    def __init__(self, network, n_latents, to_image, *, noise_scale=2.0, running_statistics=False):
        self.network, self.n_latents, self.to_image = network, n_latents, to_image
        self.noise_scale, self.running_statistics = noise_scale, running_statistics

    def start(self, noise):
        """First parameters of rows; see `RowwiseNetwork.start`."""
        return self.network.start(noise)

    def shown(self, params, steps, noise):
        """Images (n, C, H, W) of disturbed latents."""
        latents = 1 + self.noise_scale * noise.normal(self.n_latents)
        return self.to_image(self.network(params, latents, learn=self.running_statistics))

    def undisturbed(self, params, own_statistics=True):
        """Images (n, C, H, W) of the latent as it is."""
        latents = torch.ones(len(params[0]), self.n_latents, device=params[0].device)
        return self.to_image(self.network(params, latents, own_statistics=own_statistics))

    def render(self, params):
        """Finished images (n, C, H, W)."""
        return self.undisturbed(params, own_statistics=not self.running_statistics)

    def penalty(self, params):
        """R (n,), without its weight."""
        return self.network.scales(params).abs().sum(1)

    def strengthened(self, params, gain):
        """Parameters of the same pictures with `gain` times the contrast."""
        place = self.network.scale_place
        return (*params[:place], gain * params[place], *params[place + 1 :])


class FreeCoefficients:
    r"""Latents of one decoder that all rows share (section 4.2).

    The latent is :math:`\alpha (1 + \sigma\epsilon)`, the penalty :math:`\lVert\alpha\rVert`
    (eq. 4), and a row's picture the median of its last snapshots.

    Parameters
    ----------
    decoder : callable
        Latents (n, n_latents) to images (n, C, H, W).
    codes : Tensor of shape (n_codes, n_latents)
        Latents of known images. Coefficients are in their units: zero is their mean, one a standard
        deviation of each latent. Without any, latents are taken to be standardised.
    image_shape : tuple (C, H, W)
    init_scale : float, default=1.0
        Rows start from a Gaussian with the codes' covariance, at this scale.
    noise_scale : float, default=0.05
        The paper's σ.
    n_steps : int, default=1200
        Length of a row's run.
    n_snapshots : int, default=10
        Of the picture, the last at the end of the run.
    interval : int, default=40
        Steps between them.
    """

    def __init__(
        self,
        decoder,
        codes,
        image_shape,
        *,
        init_scale=1.0,
        noise_scale=0.05,
        n_steps=1200,
        n_snapshots=10,
        interval=40,
    ):
        self.network, self.image_shape = decoder, tuple(image_shape)
        self.init_scale, self.noise_scale = init_scale, noise_scale
        self.mean, self.spread, self.units = _standardised(codes)
        # The last one is taken when the row is rendered.
        self.snapshot_steps = [
            step for k in range(1, n_snapshots) if (step := n_steps - k * interval) >= 0
        ]

    def start(self, noise):
        """First coefficients, and room for the snapshots."""
        kept = torch.zeros(len(noise), len(self.snapshot_steps), *self.image_shape)
        if len(self.units):
            # Normal weights on the known codes: their sum is normal with the codes' covariance.
            drawn = noise.normal(len(self.units)) @ self.units / len(self.units) ** 0.5
        else:
            drawn = noise.normal(len(self.mean))
        return self.init_scale * drawn, kept.to(noise.device)

    def undisturbed(self, params):
        """Images (n, C, H, W) of the coefficients as they are."""
        return self.network(self.mean + self.spread * params[0])

    def shown(self, params, steps, noise):
        """Images (n, C, H, W) of disturbed latents; takes the snapshots that are due."""
        coefficients, snapshots = params
        due = steps[:, None] == torch.tensor(self.snapshot_steps, device=steps.device)
        if due.any():
            with torch.no_grad():
                now = self.undisturbed(params)[:, None].expand_as(snapshots)
                snapshots[due] = now[due]
        disturbance = self.noise_scale * noise.normal(*coefficients.shape[1:])
        return self.undisturbed((coefficients * (1 + disturbance),))

    def render(self, params):
        """Pixelwise medians (n, C, H, W) of the snapshots."""
        last, snapshots = self.undisturbed(params), params[1]
        ranked = torch.cat([snapshots, last[:, None]], 1).sort(1).values
        # The median of torch is one of the two in the middle, not their mean.
        n = ranked.shape[1]
        return (ranked[:, (n - 1) // 2] + ranked[:, n // 2]) / 2

    def penalty(self, params):
        """R (n,), without its weight."""
        return params[0].norm(dim=1)

    def strengthened(self, params, gain):
        """Parameters `gain` times as far from the mean code."""
        return (gain * params[0], *params[1:])


def started_alive(free, loss, row, noise):
    """First parameters of one row; where a channel of a layer is silent, stronger ones.

    A rectified channel that no place of the first picture excites has no gradient. Classes need no
    such care: the target's logit has a slope everywhere.

    Parameters
    ----------
    free : FreeGenerators or FreeCoefficients
    loss : TargetedObjective
    row : int
    noise : RowNoise with one slot

    Returns
    -------
    params : tuple of Tensor (1, ...)
    """
    params = free.start(noise)
    if loss.target.layer is None:
        return params
    with torch.no_grad():
        for gain in _GAINS:
            stronger = free.strengthened(params, gain)
            images = free.undisturbed(stronger)
            _, activations = loss.classifier.with_activations(images, loss.layers)
            state = State(None, None, activations, loss.target.layer, loss.target.position)
            if (state.units() * loss.weights[row]).sum() > 0:
                return stronger
    return params


def _standardised(codes):
    """Mean and spread of codes, and the codes in these units."""
    if not len(codes):
        return torch.zeros_like(codes.sum(0)), torch.ones_like(codes.sum(0)), codes
    mean, spread = codes.mean(0), codes.std(0, correction=0)
    spread = torch.where(spread > 0, spread, 1.0)
    return mean, spread, (codes - mean) / spread
