"""What repeated work leaves in memory, and what threads make of one estimator."""

import gc
import threading
import warnings

import numpy as np
from subjects import data, make, network


def resident_bytes():
    """Of this process, as the kernel says."""
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * 4096


def bytes_per_cycle(name, n_cycles, n_warm_up):
    """Slope of the resident memory over cycles of fit and generate, by the median of pairs."""
    net, (X, y), sizes = network(), data(n_rows=40), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cycle in range(n_warm_up + n_cycles):
            make(name, net).fit(X, y).generate([0, 1, 2])
            gc.collect()
            if cycle >= n_warm_up:
                sizes.append(resident_bytes())
    half = n_cycles // 2
    # Theil and Sen's slope over half the length: single jumps of the allocator don't tilt it.
    return float(np.median(np.subtract(sizes[half:], sizes[: n_cycles - half]) / half))


def n_hooks(module):
    """Hooks on all layers of a module."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(layer, kind)) for layer in module.modules() for kind in kinds)


def in_threads(work, n_threads=8):
    """Results of `work(k)` in so many threads at once; the first error is raised."""
    results, errors = [None] * n_threads, []
    gate = threading.Barrier(n_threads)

    def run(k):
        gate.wait()
        try:
            results[k] = work(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
