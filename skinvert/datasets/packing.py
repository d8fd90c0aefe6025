"""The one layout in which every data set is handed out."""

import numpy as np
from sklearn.utils import Bunch

__all__ = ["pack"]


def pack(data, target, image_shape, description, return_X_y, target_names=None):
    """Rows and labels as scikit-learn's loaders return them.

    Parameters
    ----------
    data : ndarray of shape (n, n_features), dtype float32
        In [0, 1].
    target : array-like of int of shape (n,)
    image_shape : tuple (H, W) or (C, H, W)
    description : str
    return_X_y : bool
    target_names : sequence, default=None
        The labels themselves where None.

    Returns
    -------
    data : Bunch, or tuple (data, target)

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.datasets.packing import pack
    >>> pack(np.zeros((2, 4), np.float32), [1, 7], (2, 2), "Two.", False).images.shape
    (2, 2, 2)
    """
    target = np.asarray(target, dtype=np.int64)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        images=data.reshape(-1, *image_shape),
        target=target,
        target_names=np.unique(target) if target_names is None else np.asarray(target_names),
        DESCR=description,
    )
