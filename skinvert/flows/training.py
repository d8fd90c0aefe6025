"""How flows are trained: the skorch net, epochs that go on, and the way back from NaN."""

import copy
import warnings
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from skorch.dataset import ValidSplit
from tqdm.auto import tqdm

from skinvert.flows.linear import SquareLinear
from skinvert.models.ranks import mean_over_ranks
from skinvert.models.resuming import Resume
from skinvert.models.training import TrainingNet
from skinvert.shards import fingerprint

__all__ = ["Epochs", "FlowNet", "LossBroken", "history_of", "train"]


class LossBroken(ArithmeticError):
    """A batch's loss is not finite.

    Parameters
    ----------
    v : Tensor of shape (n, n_features)
        The batch in standard units.
    columns : Tensor of shape (n,)
    """

    def __init__(self, v, columns):
        super().__init__("the loss is not finite")
        self.v, self.columns = v, columns


class NoProgress(Exception):
    """The validation loss has not improved for as long as patience lasts."""


class FlowNet(TrainingNet):
    """`TrainingNet` for a `FlowNetwork`, which computes its loss itself."""

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """The network's objective on a batch; LossBroken where it is not finite."""
        loss = self.module_.loss(y_pred, y_true)
        if training and not torch.isfinite(mean_over_ranks(loss)):
            raise LossBroken(y_pred.detach(), y_true)
        return loss

    def own_loss(self, batch, ranks, training):
        """As of `TrainingNet`; noise is drawn for the whole batch, as one process draws it."""
        X, columns = batch
        v = self.infer(X)
        own = ranks.deal(len(X))
        return self.get_loss(v[own], columns[own], training=training), v

    def train_step_single(self, batch, **fit_params):
        """One backward pass, with its gradient's norm bounded where it carries a likelihood."""
        step = super().train_step_single(batch, **fit_params)
        if self.module_.counts_log_det:
            limit = 10.0 * self.module_.means.shape[1] ** 0.5
            torch.nn.utils.clip_grad_norm_(self.module_.parameters(), limit)
        return step


class Epochs(Callback):
    """Seeds every epoch by its number, cools the learning rate down, and keeps good weights.

    An epoch's draws don't depend on the epochs before it, so that ten epochs and forty more are
    fifty.

    Parameters
    ----------
    seed : int
    learning_rate : float
    n_epochs : int
        Of the whole training.
    cooldown : float
        Last share of it over which the learning rate falls to zero.
    patience : int or None
        Epochs without a better validation loss after which training stops.
    each_epoch : callable ``(epoch, net) -> None`` or None
    """

    def __init__(self, seed, learning_rate, n_epochs, cooldown, patience=None, each_epoch=None):
        self.seed, self.learning_rate, self.n_epochs = seed, learning_rate, n_epochs
        self.cooldown, self.patience, self.each_epoch = cooldown, patience, each_epoch
        self.last_good = None
        self.best, self.best_loss, self.best_epoch = None, float("inf"), 0

    def on_epoch_begin(self, net, **_):
        """Keep the weights, seed the epoch and set its learning rate."""
        self.last_good = _weights(net)
        _forget(net)
        epoch = len(net.history) - 1
        torch.default_generator.manual_seed((self.seed * 1_000_003 + epoch) % 2**62)
        if torch.device(net.device).type == "cuda":
            torch.cuda.manual_seed((self.seed * 1_000_003 + epoch) % 2**62)
        rate = self.learning_rate * min(1.0, self._share_left(epoch))
        for group in net.optimizer_.param_groups:
            group["lr"] = rate

    def _share_left(self, epoch):
        if not self.cooldown:
            return 1.0
        return (self.n_epochs - epoch) / (self.cooldown * self.n_epochs)

    def on_epoch_end(self, net, **_):
        """Keep the best weights; stop where the validation loss has not improved for long."""
        epoch = len(net.history)
        if self.patience is not None:
            loss = net.history[-1, "valid_loss"]
            if loss < self.best_loss:
                self.best, self.best_loss, self.best_epoch = _weights(net), float(loss), epoch
        if self.each_epoch:
            self.each_epoch(epoch, net)
        if self.patience is not None and epoch - self.best_epoch >= self.patience:
            raise NoProgress

    def state_dict(self):
        """What a checkpoint holds of early stopping."""
        return {"best": self.best, "loss": self.best_loss, "epoch": self.best_epoch}

    def load_state_dict(self, state):
        """Go on with what `state_dict` gave."""
        self.best, self.best_loss, self.best_epoch = state["best"], state["loss"], state["epoch"]


def _forget(net):
    for module in net.module_.modules():
        if isinstance(module, SquareLinear):
            module.forget()


def _weights(net):
    return copy.deepcopy(net.module_.state_dict())


def train(
    net,
    network,
    images,
    columns,
    *,
    views,
    seed,
    learning_rate,
    batch_size,
    n_epochs,
    cooldown,
    patience,
    device,
    verbose,
    checkpoint=None,
    facts="",
):
    """Train a network, or go on training the net of an earlier call.

    Parameters
    ----------
    net : FlowNet or None
        Of the earlier call.
    network : FlowNetwork or None
        To start with, where there is no earlier call.
    images : ndarray of shape (n, ...)
    columns : ndarray of int of shape (n,)
    views, seed, learning_rate, batch_size, n_epochs, cooldown, patience, device, verbose
        As of `InvertibleFlowClassifier`; `n_epochs` counts those of earlier calls too.
    checkpoint : str or Path or None, default=None
        File to go on from, and to store every epoch in.
    facts : str, default=""
        What else the training depends on; a checkpoint of other facts is overwritten.

    Returns
    -------
    net : FlowNet
        To go on with.
    network : FlowNetwork
        A copy of the trained one.

    Raises
    ------
    ValueError
        If the earlier call took more epochs.

    Warns
    -----
    RuntimeWarning
        If the loss breaks; the weights are those of the last epoch that ended well.
    """
    if net is None:
        net = FlowNet(
            network,
            seed=seed,
            transforms=views,
            lr=learning_rate,
            batch_size=batch_size,
            device=str(device),
            train_split=None if patience is None else ValidSplit(10, stratified=False),
        ).initialize()
    n_done = len(net.history)
    if n_done > n_epochs:
        raise ValueError(
            f"a warm start goes on to max_epochs epochs in all; got {n_epochs} after {n_done}. "
            "Raise max_epochs, or set warm_start=False to start afresh."
        )
    bar = tqdm(total=n_epochs - n_done, unit="epoch", disable=not verbose, delay=1)
    epochs = Epochs(seed, learning_rate, n_epochs, cooldown, patience, lambda *_: bar.update())
    passing = [("epochs", epochs)]
    if checkpoint is not None:
        settings = learning_rate, batch_size, n_epochs, cooldown, patience, seed, views
        state = [value.cpu().numpy() for value in net.module_.state_dict().values()]
        hashed = fingerprint(repr(settings), facts, n_done, images, columns, *state)
        passing.append(("resume", Resume(checkpoint, hashed, epochs, part="flow")))
    own = net.callbacks_
    net.callbacks_ = [*own, *passing]
    try:
        with bar:
            _run(net, epochs, images, columns, n_epochs)
    finally:
        # These hold weights and a progress bar, which are not to be pickled.
        net.callbacks_ = own
        _forget(net)
    return net, copy.deepcopy(net.module_)


def history_of(net: FlowNet) -> dict[str, Any]:
    """Losses of every epoch.

    Parameters
    ----------
    net : FlowNet

    Returns
    -------
    history : dict of str to ndarray of shape (n_epochs,)
        ``train_loss``, and ``valid_loss`` where rows were held out.

    Examples
    --------
    See `InvertibleFlowClassifier`, whose ``history_`` it is.
    """
    history = net.history
    return {
        name: np.array([epoch[name] for epoch in history])
        for name in ("train_loss", "valid_loss")
        if len(history) and name in history[0]
    }


def _run(net, epochs, images, columns, n_epochs):
    images = np.ascontiguousarray(images, dtype=np.float32)
    try:
        net.check_data(images, columns)
        net.notify("on_train_begin", X=images, y=columns)
        net.fit_loop(images, columns.astype(np.int64), epochs=n_epochs - len(net.history))
    except NoProgress:
        net.stopped_ = False
    except LossBroken as broken:
        with torch.no_grad():
            index = _broken_block(net.module_, broken)
        if net.history and "train_loss" not in net.history[-1]:
            net.history.pop()
        net.module_.load_state_dict(epochs.last_good)
        net.stopped_ = False
        where = "no block's answer, so the objective itself" if index is None else f"block {index}"
        warnings.warn(
            f"the loss is not finite in epoch {len(net.history) + 1}; broken is {where}. The "
            f"weights after epoch {len(net.history)} are kept. Lower learning_rate, or train with "
            "objective='mle' and linear='bounded'.",
            RuntimeWarning,
            stacklevel=6,
        )
        return
    if epochs.best is not None:
        net.module_.load_state_dict(epochs.best)


def _broken_block(network, broken):
    """The first block that answers a batch with anything but finite numbers."""
    if not network.flow.conditional:
        return network.flow.first_broken_block(broken.v)
    found = [
        network.flow.first_broken_block(broken.v[broken.columns == column], int(column))
        for column in broken.columns.unique()
    ]
    return min((index for index in found if index is not None), default=None)
