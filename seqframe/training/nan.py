"""A warning that says why a loss is NaN."""

import math
import warnings
from typing import Any

import numpy as np
from keras import tree

from seqframe.framing.frames import Frames
from seqframe.framing.geometry import split_range
from seqframe.framing.index import count_touching_nan
from seqframe.framing.lanes import Lanes
from seqframe.training.data import Arrays, Data

_CHUNK = 1024  # samples that are searched together


def warn_of_nan(data: Data, loss: float | None) -> None:
    """Warn of the reason if a loss is NaN. Only a NaN loss starts the search.

    Args:
        data: Frames, Lanes, Arrays or a dataset.
        loss: float of the first epoch that ran, or None.
    """
    if not isinstance(loss, float) or not math.isnan(loss):
        return
    framed = data.frames if isinstance(data, Lanes) else data
    if isinstance(framed, Arrays):
        found, size = _count_samples(tree.flatten(framed))
        fault = f"{found:,} of {size:,} samples hold a NaN: leave them out, or fill them"
    elif isinstance(framed, Frames):
        geometry = framed.framer.geometry
        if framed._is_subset:
            chunks = split_range(len(framed), _CHUNK)
            found = sum(_count_samples(tree.flatten(framed[a:b]))[0] for a, b in chunks)
        else:
            found = count_touching_nan(geometry, framed.source)
        of_steps = geometry.draws and not framed._is_subset
        what = "steps of the data hold" if of_steps else f"of {len(framed):,} frames touch"
        skip = "" if geometry.wrap else "pass `skip_nan=True` to `frame`, or "
        fault = f"{found:,} {what} a NaN: {skip}fill them"
    else:  # a dataset, which may not be read again
        return
    if not found:
        return
    warnings.warn(
        f"The loss is NaN, and {fault}. Make the model anew: its weights are NaN too.",
        stacklevel=4,
    )


def _count_samples(items: list[Any]) -> tuple[int, int]:
    """Return the number of samples of arrays that hold a NaN, and the number of samples."""
    arrays = [array for array in map(np.asarray, items) if array.ndim]
    floats = [array for array in arrays if array.dtype.kind == "f"]
    found, size = 0, len(arrays[0])
    for first in range(0, size, _CHUNK):
        parts = [array[first : first + _CHUNK] for array in floats]
        holds = [np.isnan(part.reshape(len(part), -1)).any(axis=1) for part in parts]
        found += int(np.count_nonzero(np.logical_or.reduce(holds))) if holds else 0
    return found, size
