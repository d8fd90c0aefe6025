"""A critic for decoders: it learns to tell decoded images from real ones while they are trained."""

import math

import torch
from torch import nn

from skinvert.models.ranks import backward
from skinvert.models.training import local_seed

__all__ = ["Adversary"]

_SLOPE = 0.2
_LEARNING_RATE = 1e-3


class Adversary:
    r"""A small critic, its optimiser, and what it says of decoded images.

    The critic D learns by the hinge loss, :math:`\max(0, 1 - D(x)) + \max(0, 1 + D(\hat x))`; a
    decoder that minimises :math:`-D(\hat x)` learns what averages of plausible images lack. Both
    layers of convolutions, or the hidden layer where rows are no images, have spectral norm 1 at
    most, which keeps the game slow.

    Parameters
    ----------
    image_shape : tuple (C, H, W) or (n_features,)
    seed : int, default=0
        Of the critic's weights.
    device : torch.device or str, default="cpu"

    Notes
    -----
    Hinge loss and spectral normalisation are those of Miyato et al., "Spectral Normalization for
    Generative Adversarial Networks", ICLR 2018; scores of patches, averaged, those of Isola et
    al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.adversary import Adversary
    >>> adversary = Adversary((1, 8, 8))
    >>> real, decoded = torch.ones(4, 1, 8, 8), torch.zeros(4, 1, 8, 8)
    >>> for _ in range(20):
    ...     adversary.learn(decoded, real)
    >>> bool(adversary.doubt(decoded) > adversary.doubt(real))
    True
    """

    def __init__(self, image_shape, *, seed=0, device="cpu"):
        norm = nn.utils.parametrizations.spectral_norm
        with local_seed(seed):
            if len(image_shape) == 3:
                self.critic = nn.Sequential(
                    norm(nn.Conv2d(image_shape[0], 16, 4, stride=2, padding=1)),
                    nn.LeakyReLU(_SLOPE),
                    norm(nn.Conv2d(16, 32, 4, stride=2, padding=1)),
                    nn.LeakyReLU(_SLOPE),
                    nn.Conv2d(32, 1, 1),
                )
            else:
                self.critic = nn.Sequential(
                    norm(nn.Linear(math.prod(image_shape), 64)),
                    nn.LeakyReLU(_SLOPE),
                    nn.Linear(64, 1),
                )
        self.critic.to(device)
        self.optimizer = torch.optim.Adam(
            self.critic.parameters(), lr=_LEARNING_RATE, betas=(0.5, 0.9)
        )

    def learn(self, decoded, images):
        """One step of the critic on decoded and real images, both (n, C, H, W) or (n, d)."""
        self.critic.train().requires_grad_(True)
        self.optimizer.zero_grad()
        on_real, on_decoded = self.critic(images), self.critic(decoded.detach())
        loss = nn.functional.relu(1 - on_real).mean() + nn.functional.relu(1 + on_decoded).mean()
        backward(loss, self.critic.parameters())
        self.optimizer.step()

    def doubt(self, decoded):
        """What a decoder is to make small: minus the critic's mean score; a scalar."""
        return -self.critic.eval().requires_grad_(False)(decoded).mean()

    def state_dict(self):
        """Weights of the critic and state of its optimiser."""
        return {"critic": self.critic.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state):
        """Put back what `state_dict` gave."""
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])
