"""What a decoder is trained to make small: eq. 6 of ReGene (Neurocomputing 471, 2022), and more."""

import torch
from torch import nn

from skinvert.models.ranks import mean_over_ranks
from skinvert.models.similarity import structural_similarity

__all__ = ["DecoderLoss"]


class DecoderLoss(nn.Module):
    r"""What a decoder is trained to make small, averaged over the images of a batch.

    Eq. 6, :math:`\lambda_1 \mathrm{MAE} + \lambda_2 (1 - \mathrm{SSIM}) + \lambda_3
    \mathrm{perceptual}`, two terms that ask the classifier about the decoded image, the
    cross-entropy of its label and the distance of its latent from the one that was decoded, and
    one that asks a critic. Terms of weight 0 are not computed.

    Parameters
    ----------
    encoder : LatentEncoder
    scale : Tensor, default=None
        Errors are measured in units of it: the range of the images, or each feature's spread.
    latent_scale : Tensor of shape (n_latents,), default=None
        Spread of each latent, the unit of the cycle.
    mae_weight, ssim_weight, perceptual_weight : float
        λ1, λ2, λ3.
    class_weight, cycle_weight, adversarial_weight : float, default=0.0
    adversary : Adversary or None, default=None
        Needed where `adversarial_weight` is not 0.
    layers : sequence of str, default=()
        Layers of the classifier that the perceptual term compares.
    perceptual_network : torch.nn.Module or None, default=None
        Whose output it compares instead.

    Attributes
    ----------
    terms : dict of str to float
        Unweighted values of the latest batch, as tensors.
    """

    def __init__(
        self,
        encoder,
        *,
        scale=None,
        latent_scale=None,
        mae_weight=1.0,
        ssim_weight=1.0,
        perceptual_weight=0.0,
        class_weight=0.0,
        cycle_weight=0.0,
        adversarial_weight=0.0,
        adversary=None,
        layers=(),
        perceptual_network=None,
    ):
        super().__init__()
        self.encoder = encoder
        self.register_buffer("scale", torch.ones(()) if scale is None else scale)
        unit = torch.ones(encoder.n_latents) if latent_scale is None else latent_scale
        self.register_buffer("latent_scale", unit)
        self.weights = {
            "mae": mae_weight,
            "ssim": ssim_weight,
            "perceptual": perceptual_weight,
            "cross_entropy": class_weight,
            "cycle": cycle_weight,
            "adversarial": adversarial_weight,
        }
        self.adversary = adversary
        self.factors = dict.fromkeys(("mae", "ssim", "perceptual"), 1.0)
        self.layers = tuple(layers)
        self.perceptual_network = perceptual_network
        self.terms = {}

    def forward(self, decoded, images, columns, latents):
        """The weighted sum for decoded images of such latents; a scalar.

        Parameters
        ----------
        decoded, images : Tensor of shape (n, C, H, W) or (n, n_features)
        columns : LongTensor of shape (n,)
        latents : Tensor of shape (n, n_latents)
        """
        self.terms = {}
        error = (decoded - images) / self.scale
        if self._weight("mae"):
            self.terms["mae"] = error.abs().mean()
        if self._weight("ssim") and images.ndim == 4:
            self.terms["ssim"] = self._dissimilarity(decoded, images)
        if self._weight("perceptual") or self._weight("cross_entropy") or self._weight("cycle"):
            self._ask_classifier(decoded, images, columns, latents)
        if self._weight("adversarial"):
            self.terms["adversarial"] = self.adversary.doubt(decoded / self.scale)
        return sum(self._weight(name) * value for name, value in self.terms.items())

    def teach_adversary(self, decoded, images):
        """Let the critic, where there is one, learn from a batch."""
        if self.adversary is not None:
            self.adversary.learn(decoded / self.scale, images / self.scale)

    def train(self, mode=True):
        """Do nothing: whoever trains the decoder must not train the networks that judge it."""
        return super().train(False)

    def _weight(self, name):
        if name == "perceptual" and self.perceptual_network is None and not self.layers:
            return 0.0  # a classifier without convolutions sees no texture
        return self.weights[name] * self.factors.get(name, 1.0)

    def _dissimilarity(self, decoded, images):
        smallest = min(images.shape[2:])
        window = min(11, smallest - 1 + smallest % 2)
        similarity = structural_similarity(decoded / self.scale, images / self.scale, window=window)
        return 1 - similarity.mean()

    def _ask_classifier(self, decoded, images, columns, latents):
        layers = self.layers if self._weight("perceptual") else ()
        seen, logits, activations = self.encoder.answers(decoded, layers)
        if self._weight("perceptual"):
            self.terms["perceptual"] = self._perceptual(decoded, images, activations)
        if self._weight("cross_entropy"):
            self.terms["cross_entropy"] = nn.functional.cross_entropy(logits, columns)
        if self._weight("cycle"):
            self.terms["cycle"] = ((seen - latents) / self.latent_scale).square().mean()

    def _perceptual(self, decoded, images, activations):
        """Mean absolute difference of activations, in units of their mean size."""
        if self.perceptual_network is not None:
            with torch.no_grad():
                wanted = self.perceptual_network(images)
            return _relative_difference(self.perceptual_network(decoded), wanted)
        with torch.no_grad():
            _, _, wanted = self.encoder.answers(images, self.layers)
        differences = [
            _relative_difference(activations[name], wanted[name]) for name in self.layers
        ]
        return sum(differences) / len(differences)


def _relative_difference(found, wanted):
    unit = mean_over_ranks(wanted.abs().mean()).clamp_min(1e-6)
    return (found - wanted).abs().mean() / unit
