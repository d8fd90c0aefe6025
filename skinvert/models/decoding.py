"""How a decoder learns to invert an encoder: the skorch net, its batches, the call that trains."""

import copy
import math

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import nn
from tqdm.auto import tqdm

from skinvert.models.adversary import Adversary
from skinvert.models.decoder_loss import DecoderLoss
from skinvert.models.ranks import mean_over_ranks
from skinvert.models.resuming import Resume
from skinvert.models.training import TrainingNet, pinned_threads
from skinvert.shards import fingerprint

__all__ = ["DecoderNet", "LatentRows", "RowBatches", "train_decoder"]

_LEAST_SPREAD = 0.1  # of a latent, in mean spreads: what hardly varies shall not rule


class DecoderNet(TrainingNet):
    """`TrainingNet` for decoders: latents in, images out, a `DecoderLoss` between them.

    Each epoch has a seed of its own, so that training goes on from a checkpoint as if it had never
    stopped.

    Parameters
    ----------
    module : torch.nn.Module
    criterion : DecoderLoss
    schedule : sequence of Phase
        Gives the number of epochs and the learning rates.
    latent_noise : float, default=0.0
        Every latent is decoded with Gaussian noise of up to so many of its spreads, drawn
        uniformly for each row: latents that no image has shall decode well too.
    **kwargs
        As of `TrainingNet`.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skinvert.models.classifiers import DenseClassifier
    >>> from skinvert.models.decoders import DenseDecoder
    >>> from skinvert.models.decoder_loss import DecoderLoss
    >>> from skinvert.models.decoding import DecoderNet
    >>> from skinvert.models.frozen import FrozenClassifier
    >>> from skinvert.models.latents import LatentEncoder
    >>> from skinvert.models.schedules import Phase
    >>> X, y = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32), np.zeros(40, int)
    >>> encoder = LatentEncoder(
    ...     FrozenClassifier(DenseClassifier(5, 3), (5,)), torch.from_numpy(X))
    >>> latents = encoder(torch.from_numpy(X)).detach().numpy()
    >>> net = DecoderNet(DenseDecoder(128, 5), DecoderLoss(encoder), schedule=(Phase(3),))
    >>> len(net.fit(latents, X, y).history)
    3
    """

    def __init__(self, module, criterion, *, schedule, latent_noise=0.0, callbacks=(), **kwargs):
        self.schedule = schedule
        self.latent_noise = latent_noise
        super().__init__(
            module,
            criterion=criterion,
            callbacks=[("schedule", _FollowSchedule()), *callbacks],
            iterator_train=RowBatches,
            max_epochs=sum(phase.n_epochs for phase in schedule),
            **kwargs,
        )

    def fit(self, latents, images, columns, rows=None):
        """Train on latents, their images and their classes.

        Parameters
        ----------
        latents : ndarray of shape (n, n_latents)
            May be in half precision.
        images : ndarray of shape (n, n_features) or (n, C, H, W)
            May be a memory map: nothing is copied but batches.
        columns : ndarray of int of shape (n,)
        rows : ndarray of int, default=None
            Rows to train on. None takes all.

        Returns
        -------
        self : object

        Raises
        ------
        FloatingPointError
            If the loss is not finite; epoch and terms are named.
        KeyboardInterrupt
            If the user stops it.
        """
        rows = np.arange(len(latents)) if rows is None else rows
        return self.fit_whole(LatentRows(latents, images, columns, rows), None)

    def train_step(self, batch, **fit_params):
        """One optimiser step; latents are disturbed where that is asked for."""
        latents, wanted = batch
        latents = latents.to(self.device)
        disturbed = latents
        if self.latent_noise:
            size = self.latent_noise * torch.rand(len(latents), 1, device=latents.device)
            disturbed = latents + size * self.criterion_.latent_scale * torch.randn_like(latents)
        return NeuralNet.train_step(self, (disturbed, (*wanted, latents)), **fit_params)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """The decoder's loss; never NaN."""
        images, columns, latents = (value.to(self.device) for value in y_true)
        images = images.reshape(y_pred.shape)
        self.criterion_.teach_adversary(y_pred, images)
        loss = self.criterion_(y_pred, images, columns, latents)
        terms = {name: mean_over_ranks(v).item() for name, v in self.criterion_.terms.items()}
        if not torch.isfinite(mean_over_ranks(loss)):
            raise FloatingPointError(
                f"the decoder's loss is {loss.item()} in epoch {len(self.history)}, with the terms "
                f"{terms}; lower the learning rates of schedule or the term's weight, or check "
                "X and the classifier for values that are not finite."
            )
        for name, value in terms.items():
            self.history.record_batch(name, value)
        return loss

    @property
    def epoch_terms(self):
        """Mean of the loss and of every term per epoch, as arrays; NaN where one had no weight."""
        names = ["train_loss", *self.criterion_.weights]
        means = {
            name: [
                np.mean([batch.get(name, math.nan) for batch in epoch["batches"]])
                for epoch in self.history
            ]
            for name in names
        }
        return {k: np.array(v) for k, v in means.items() if not np.isnan(v).all()}


class LatentRows(torch.utils.data.Dataset):
    """Rows of arrays that are not copied, as skorch takes them.

    Parameters
    ----------
    latents, images, columns : ndarray of length n
    rows : ndarray of int
        Those that are in the data set.
    """

    def __init__(self, latents, images, columns, rows):
        self.latents, self.images, self.columns, self.rows = latents, images, columns, rows

    def __len__(self):
        return len(self.rows)

    def batch(self, places):
        """Latents, images and columns of some rows, as tensors."""
        rows = self.rows[places]
        latents = torch.from_numpy(self.latents[rows]).float()
        images = torch.from_numpy(np.asarray(self.images[rows])).float()
        return latents, (images, torch.from_numpy(self.columns[rows]))


class RowBatches:
    """Shuffled batches, taken by fancy indexing: no row is touched by itself.

    Rows are dealt to batches as evenly as they go, for a last batch of one row has no statistics.

    Parameters
    ----------
    dataset : LatentRows
    batch_size : int
    shuffle : bool, default=False
    """

    def __init__(self, dataset, batch_size, shuffle=False):
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle

    def __len__(self):
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self):
        n_rows = len(self.dataset)
        order = torch.randperm(n_rows) if self.shuffle else torch.arange(n_rows)
        for places in np.array_split(order.numpy(), len(self)):
            yield self.dataset.batch(places)


class _FollowSchedule(Callback):
    """Set weights, learning rate and seed at the start of every epoch."""

    def on_epoch_begin(self, net, **_):
        epoch = len(net.history) - 1
        # An epoch's draws depend on its number alone, wherever training was taken up again.
        seed = net.seed + 7919 * (epoch + 1)
        torch.default_generator.manual_seed(seed)
        if torch.device(net.device).type == "cuda":
            torch.cuda.manual_seed(seed)
        phase, progress = self._place(net, epoch)
        net.criterion_.factors = {name: getattr(phase, name) for name in net.criterion_.factors}
        self._rate, self._phase, self._progress = phase.learning_rate, phase, progress
        self._batch, self._n_batches = 0, max(1, math.ceil(self._n_rows / net.batch_size))

    def on_train_begin(self, net, X=None, y=None, **_):
        self._n_rows = len(X)

    def on_batch_begin(self, net, training=False, **_):
        rate = self._rate
        if self._phase.decay:
            share = self._progress + self._batch / self._n_batches / self._phase.n_epochs
            # A short climb first: batch statistics mean little in the first steps.
            rate *= min(1.0, (share + 0.01) / 0.1) * 0.5 * (1 + math.cos(math.pi * share))
        for group in net.optimizer_.param_groups:
            group["lr"] = rate
        self._batch += 1

    @staticmethod
    def _place(net, epoch):
        """The phase of an epoch, and the share of it that is over."""
        for phase in net.schedule:
            if epoch < phase.n_epochs:
                return phase, epoch / phase.n_epochs
            epoch -= phase.n_epochs
        return net.schedule[-1], 1.0


def train_decoder(
    decoder,
    encoder,
    latents,
    images,
    columns,
    rows,
    *,
    scale,
    schedule,
    weights,
    perceptual_network=None,
    latent_noise=0.0,
    batch_size=64,
    seed=0,
    checkpoint=None,
    verbose=0,
):
    """Train a decoder in place, on one thread, and put it in eval mode.

    Parameters
    ----------
    decoder : torch.nn.Module
    encoder : LatentEncoder
    latents, images, columns, rows
        As of `DecoderNet.fit`.
    scale : ndarray
        Unit of the errors.
    schedule : sequence of Phase
    weights : dict of str to float
        As of `DecoderLoss`.
    perceptual_network : torch.nn.Module or None, default=None
        None compares the classifier's first convolutions.
    latent_noise : float, default=0.0
    batch_size : int, default=64
    seed : int, default=0
    checkpoint : str or Path or None, default=None
    verbose : int, default=0

    Returns
    -------
    history : dict of str to ndarray of shape (n_epochs,)
        ``decoder_loss``, and each term's unweighted mean.
    """
    device = next(decoder.parameters()).device
    spread = latents[rows].std(0, dtype=np.float64).astype(np.float32)
    spread = np.maximum(spread, _LEAST_SPREAD * spread.mean())
    adversary = None
    if weights.get("adversarial_weight"):
        adversary = Adversary(images.shape[1:], seed=seed, device=device)
    loss = DecoderLoss(
        encoder,
        adversary=adversary,
        scale=torch.from_numpy(np.asarray(scale, dtype=np.float32)),
        latent_scale=torch.from_numpy(np.where(spread > 0, spread, np.float32(1.0))),
        layers=_first_convolutions(encoder.classifier.network),
        perceptual_network=_frozen(perceptual_network, device),
        **weights,
    ).to(device)
    callbacks = [("bar", _EpochBar(verbose))]
    if checkpoint is not None:
        state = [value.cpu().numpy() for value in decoder.state_dict().values()]
        settings = schedule, sorted(weights.items()), latent_noise, batch_size, seed
        facts = fingerprint(repr(settings), latents, images, columns, rows, *state)
        callbacks.append(("resume", Resume(checkpoint, facts, adversary, part="decoder")))
    if any(isinstance(layer, nn.Conv2d) for layer in decoder.modules()):
        decoder.to(memory_format=torch.channels_last)  # twice as fast on a CPU
    net = DecoderNet(
        decoder,
        loss,
        schedule=schedule,
        latent_noise=latent_noise,
        batch_size=batch_size,
        seed=seed,
        device=str(device),
        callbacks=callbacks,
    )
    # Other numbers of threads give other bits.
    with pinned_threads(1):
        net.fit(latents, images, columns, rows)
    decoder.eval().requires_grad_(False)
    history = net.epoch_terms
    return {"decoder_loss": history.pop("train_loss"), **history}


def _first_convolutions(network):
    """Names of the first two convolutions, which see texture."""
    names = [name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)]
    return names[:2]


def _frozen(network, device):
    return (
        None if network is None else copy.deepcopy(network).eval().requires_grad_(False).to(device)
    )


class _EpochBar(Callback):
    """A progress bar over epochs, which shows once a second has passed."""

    def __init__(self, verbose):
        self.verbose = verbose

    def on_train_begin(self, net, **_):
        self.bar_ = tqdm(total=net.max_epochs, unit="epoch", disable=not self.verbose, delay=1)

    def on_epoch_end(self, net, **_):
        self.bar_.update()

    def on_train_end(self, net, **_):
        self.bar_.close()
