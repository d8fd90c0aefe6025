"""Training that goes on where it was interrupted, with the same result."""

import io
import json
from pathlib import Path

import torch
from skorch.callbacks import Callback
from skorch.history import History

from skinvert.shards import write_atomically

__all__ = ["Resume"]


class Resume(Callback):
    """Store a skorch net after every epoch, and start from what is stored.

    The file holds weights, the optimiser's state and the history beside a fingerprint. A file of
    another fingerprint is overwritten: clones in a search share their path. The random state is
    not stored; a net whose epochs are seeded by their number ends with the same bits.

    Parameters
    ----------
    path : str or Path
    fingerprint : str
        Hash of everything that the training depends on.
    companion : object with ``state_dict`` and ``load_state_dict``, default=None
        What is trained beside the net.
    """

    def __init__(self, path, fingerprint, companion=None):
        self.path, self.fingerprint, self.companion = Path(path), fingerprint, companion

    def on_train_begin(self, net, **_):
        self.n_epochs_ = net.max_epochs
        stored = self._stored(net.device)
        if stored is None:
            return
        net.module_.load_state_dict(stored["module"])
        net.optimizer_.load_state_dict(stored["optimizer"])
        if self.companion is not None:
            self.companion.load_state_dict(stored["companion"])
        net.history = History(json.loads(stored["history"]))
        # skorch runs so many epochs more.
        net.max_epochs = self.n_epochs_ - len(net.history)

    def on_epoch_end(self, net, **_):
        stream = io.BytesIO()
        state = {
            "fingerprint": self.fingerprint,
            "module": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "history": json.dumps(net.history.to_list(), default=float),
        }
        if self.companion is not None:
            state["companion"] = self.companion.state_dict()
        torch.save(state, stream)
        write_atomically(self.path, stream.getvalue())

    def on_train_end(self, net, **_):
        net.max_epochs = self.n_epochs_

    def _stored(self, device):
        """What lies in the file, if it is ours."""
        try:
            stored = torch.load(self.path, map_location=device, weights_only=True)
        except FileNotFoundError:
            return None
        return stored if stored.get("fingerprint") == self.fingerprint else None
