r"""Patch critics: one small network a row, trained while the row's image is made.

IMAGINE (CVPR 2021, eq. 6 to 8) asks a critic whether the patches of an image are those of its
reference. Each row has a critic of its own, whose weights are parameters of the row. The rows'
convolutions, side by side, are one grouped convolution, and so are their normalisations.
"""

import torch
from torch.nn import functional as F

__all__ = ["PatchCritic", "draw_windows", "window_of"]

_KERNEL = 3
_LAYERS = 5
_SLOPE = 0.2  # of the leaky rectifiers
_INIT_STD = 0.02
_EPS = 1e-5


class PatchCritic:
    r"""SinGAN's critic: five convolutions of 3 × 3 that see patches of 11 × 11 (eq. 6 and 7).

    The first four are normalised over the positions of the picture at hand, which is what batch
    normalisation does to a batch of one, and rectified with slope 0.2 below zero (SinGAN, ICCV
    2019). There is no padding: every score is that of a whole patch.

    Parameters
    ----------
    n_channels : int
        Of the images, which have at least 11 pixels a side.
    width : int, default=32
        Channels between the convolutions.

    Attributes
    ----------
    shapes : list of tuple
        Of one row's weights, in the order in which all methods take them.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.randomness import RowNoise
    >>> from skinvert.models.critics import PatchCritic
    >>> critic = PatchCritic(n_channels=3, width=8)
    >>> weights = critic.start(RowNoise([0, 1]))
    >>> critic(torch.zeros(2, 3, 16, 16), weights).shape
    torch.Size([2])
    """

    receptive_field = _LAYERS * (_KERNEL - 1) + 1

    def __init__(self, n_channels, width=32):
        sizes = [n_channels, *[width] * (_LAYERS - 1), 1]
        self.shapes = []
        for layer in range(_LAYERS):
            taken, given = sizes[layer : layer + 2]
            self.shapes += [(given, taken, _KERNEL, _KERNEL), (given,)]
            if layer < _LAYERS - 1:
                self.shapes += [(given,), (given,)]

    def start(self, noise):
        """First weights of every slot of the noise, each of shape (n_slots, ...).

        As SinGAN draws them: N(0, 0.02²) for the filters, N(1, 0.02²) for the scales, zeros for the
        rest.
        """
        weights = []
        for place, shape in enumerate(self.shapes):
            kind = place % 4  # filters, offsets, scales, shifts
            if kind == 0:
                weights.append(_INIT_STD * noise.normal(*shape))
            elif kind == 2:
                weights.append(1 + _INIT_STD * noise.normal(*shape))
            else:
                weights.append(torch.zeros(len(noise), *shape, device=noise.device))
        return tuple(weights)

    def __call__(self, images, weights):
        r"""Mean score :math:`D(x)` of the patches of each image, by its own row's weights.

        Parameters
        ----------
        images : Tensor of shape (n, C, H, W)
        weights : sequence of Tensor (n, ...)

        Returns
        -------
        scores : Tensor of shape (n,)
        """
        n, n_channels, height, width = images.shape
        # All rows side by side in one image.
        maps = images.reshape(1, n * n_channels, height, width)
        for layer in range(_LAYERS):
            filters, offsets, *moments = weights[4 * layer : 4 * layer + 4]
            maps = F.conv2d(maps, filters.flatten(0, 1), offsets.flatten(), groups=n)
            if moments:
                scales, shifts = (moment.flatten() for moment in moments)
                maps = F.batch_norm(maps, None, None, scales, shifts, training=True, eps=_EPS)
                maps = F.leaky_relu(maps, _SLOPE)
        return maps.reshape(n, -1).mean(1)

    def loss(self, images, references, weights, mixing, penalty=0.1):
        r"""What the critic minimises: WGAN-GP in place of eq. 6, one value for each row.

        :math:`D(\hat x) - D(x^0) + \eta\, E[(\lVert\nabla S\rVert_2 - 1)^2]`, the gradient taken
        between the two pictures and measured over the channels of each pixel, as SinGAN does;
        :math:`S` is the sum of the scores, so that the penalty knows no image size.

        Parameters
        ----------
        images, references : Tensor of shape (n, C, H, W)
            No gradient reaches them.
        weights : sequence of Tensor (n, ...)
        mixing : Tensor of shape (n,)
            Where between the two each row's gradient is taken, in [0, 1].
        penalty : float, default=0.1
            η; SinGAN's.

        Returns
        -------
        loss : Tensor of shape (n,)
        """
        images, references = images.detach(), references.detach()
        between = torch.lerp(images, references, mixing.reshape(-1, 1, 1, 1)).requires_grad_()
        n_scores = (images.shape[2] - self.receptive_field + 1) * (
            images.shape[3] - self.receptive_field + 1
        )
        total = n_scores * self(between, weights)
        (slopes,) = torch.autograd.grad(total.sum(), between, create_graph=True)
        # The offset keeps the root's slope finite where a pixel has no say.
        lengths = (slopes.square().sum(1) + 1e-12).sqrt()
        off = (lengths - 1).square().flatten(1).mean(1)
        return self(images, weights) - self(references, weights) + penalty * off


def draw_windows(noise, sides, side):
    """Where a square window lies in each row's image: corners (n_slots, 2), drawn evenly.

    Parameters
    ----------
    noise : RowNoise
    sides : tuple (H, W)
        Of the images.
    side : int
        Of the window; a longer one is cut to the image.
    """
    free = torch.tensor([max(full - side, 0) + 1 for full in sides], device=noise.device)
    return (noise.uniform(2) * free).long()


def window_of(images, corners, side):
    """The window of each image: (n, C, side, side), or less where the image has less.

    A window stands for the picture: its mean score estimates that of all patches at a fraction of
    the cost.

    Parameters
    ----------
    images : Tensor of shape (n, C, H, W)
    corners : LongTensor of shape (n, 2)
    side : int
    """
    height, width = (min(side, full) for full in images.shape[2:])
    if (height, width) == tuple(images.shape[2:]):
        return images
    return torch.stack(
        [
            image[:, top : top + height, left : left + width]
            for image, (top, left) in zip(images, corners.tolist(), strict=True)
        ]
    )
