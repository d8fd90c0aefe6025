"""Training that goes on where it was interrupted, with the same result."""

import io
import json
import random
from pathlib import Path

import numpy as np
import torch
from skorch.callbacks import Callback, LRScheduler
from skorch.history import History

from skinvert.models.ranks import is_first_rank, said_by_first_rank
from skinvert.shards import remove_abandoned, write_atomically

__all__ = ["CheckpointFile", "Resume", "check_checkpoint"]


def check_checkpoint(checkpoint, random_state):
    """Refuse a checkpoint that no training could go on from.

    Parameters
    ----------
    checkpoint : str, Path or None
    random_state : int, RandomState instance or None

    Raises
    ------
    TypeError
        For anything that is no path.
    ValueError
        Where there is no seed, no folder, or no room for a file of this name.

    Examples
    --------
    >>> from skinvert.models.resuming import check_checkpoint
    >>> check_checkpoint("net.pt", random_state=0)
    """
    if checkpoint is None:
        return
    if not isinstance(checkpoint, (str, Path)):
        raise TypeError(f"checkpoint must be a path or None, got {checkpoint!r}.")
    if random_state is None:
        raise ValueError(
            f"checkpoint={str(checkpoint)!r} needs a seed to go on from: with random_state=None "
            "every fit is another one. Set random_state to an int."
        )
    path = Path(checkpoint)
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(
            f"checkpoint={str(checkpoint)!r} must name a file in a folder that exists."
        )


class CheckpointFile:
    """One file for all that an estimator trains, each part under its name.

    Parameters
    ----------
    path : str or Path

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skinvert.models.resuming import CheckpointFile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = CheckpointFile(Path(folder) / "fit.pt")
    ...     file.write("decoder", {"epoch": 3})
    ...     file.read("decoder"), file.read("classifier")
    ({'epoch': 3}, None)
    """

    def __init__(self, path):
        self.path = Path(path)

    def read(self, part, device="cpu"):
        """What was last written under a name; None where nothing was."""
        return self._parts(device).get(part)

    def write(self, part, state):
        """Replace a part in one step: after a kill the file holds the old one or the new one."""
        stream = io.BytesIO()
        torch.save({"skinvert": 1, "parts": self._parts("cpu") | {part: state}}, stream)
        write_atomically(self.path, stream.getvalue())

    def _parts(self, device):
        remove_abandoned(self.path)
        try:
            stored = torch.load(self.path, map_location=device, weights_only=True)
        except FileNotFoundError:
            return {}
        except OSError:
            raise
        except Exception:  # torch's reader of other people's files may raise anything
            stored = None
        if not isinstance(stored, dict) or stored.get("skinvert") != 1:
            raise ValueError(
                f"checkpoint={str(self.path)!r} is no checkpoint of skinvert, and is left as it "
                "is. Delete it, or choose another path."
            )
        return stored["parts"]


class Resume(Callback):
    """Store a skorch net after every epoch, and start from what is stored.

    The file holds weights, the states of the optimiser, of the learning rate's schedule and of the
    random generators, and the history beside a fingerprint, so that training ends with the bits of
    one that was never interrupted. A part of another fingerprint is overwritten: clones in a search
    share their path.

    Parameters
    ----------
    path : str or Path
    fingerprint : str
        Hash of everything that the training depends on.
    companion : object with ``state_dict`` and ``load_state_dict``, default=None
        What is trained beside the net.
    part : str, default="network"
        Name in the file.
    """

    def __init__(self, path, fingerprint, companion=None, part="network"):
        self.path, self.fingerprint = path, fingerprint
        self.companion, self.part = companion, part

    def on_train_begin(self, net, **_):
        """Take over what is stored, where it belongs to this training."""
        file = CheckpointFile(self.path)
        # Machines may share no folder, and ranks must start from one epoch.
        stored = said_by_first_rank(lambda: file.read(self.part, net.device))
        if stored is None or stored["fingerprint"] != self.fingerprint:
            return
        net.module_.load_state_dict(stored["module"])
        net.optimizer_.load_state_dict(stored["optimizer"])
        for schedule, state in zip(_schedules(net), stored["schedules"], strict=True):
            schedule.load_state_dict(state)
        if self.companion is not None:
            self.companion.load_state_dict(stored["companion"])
        net.history = History(json.loads(stored["history"]))
        _set_random_states(stored["random"], net.device)

    def on_epoch_end(self, net, **_):
        """Store the net, in one file for all ranks."""
        if not is_first_rank():
            return
        state = {
            "fingerprint": self.fingerprint,
            "module": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "schedules": [schedule.state_dict() for schedule in _schedules(net)],
            "history": json.dumps(net.history.to_list(), default=float),
            "random": _random_states(net.device),
        }
        if self.companion is not None:
            state["companion"] = self.companion.state_dict()
        CheckpointFile(self.path).write(self.part, state)


def _schedules(net):
    return [part.lr_scheduler_ for _, part in net.callbacks_ if isinstance(part, LRScheduler)]


def _random_states(device):
    """Of Python, NumPy and torch, as what a file without code can hold."""
    kind, key, *rest = np.random.get_state()  # noqa: NPY002 (third parties draw from it)
    states = {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(key.astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }
    if torch.device(device).type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_random_states(states, device):
    random.setstate(states["python"])
    kind, key, *rest = states["numpy"]
    np.random.set_state((kind, key.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states["torch"].cpu())
    if "cuda" in states and torch.device(device).type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
