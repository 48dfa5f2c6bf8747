"""A loss that is NaN is said to come from where it comes from."""

import math
import warnings
from typing import Any

import numpy as np
from keras import tree

from seqframe.framing.frames import Frames
from seqframe.framing.lanes import Lanes
from seqframe.framing.missing import count_touching_nan

_CHUNK = 1024  # samples looked at together


def warn_of_nan(frames: Any, loss: Any) -> None:
    """Warn if a loss is NaN and what was trained on holds some. Only then are the data looked at.

    Args:
        frames: Frames, Lanes or arrays, as `fit` has them.
        loss: float of the first epoch that ran, or None.
    """
    if not isinstance(loss, float) or not math.isnan(loss):
        return
    framed = frames.frames if isinstance(frames, Lanes) else frames
    if not isinstance(framed, Frames):
        found, size = _count_samples(tree.flatten(framed))
        fault = f"{found:,} of {size:,} samples hold a NaN: leave them out, or fill them"
    elif framed.framer.mode == "subsequences":
        found = count_touching_nan(framed)
        skip = "" if framed.framer.wrap else "pass `skip_nan=True` to `frame`, or "
        fault = f"{found:,} steps of the data hold a NaN: {skip}fill them"
    else:
        found = count_touching_nan(framed)
        fault = f"{found:,} of {len(framed):,} frames touch a NaN: pass `skip_nan=True` to "
        fault += "`frame`, or fill what is missing"
    if found:
        warnings.warn(
            f"The loss is NaN, and {fault}. Make the model anew: its weights are NaN too.",
            stacklevel=4,
        )


def _count_samples(items: list[Any]) -> tuple[int, int]:
    """Return how many samples of arrays hold a NaN, and how many there are."""
    arrays = [array for array in map(np.asarray, items) if array.ndim]
    floats = [array for array in arrays if array.dtype.kind == "f"]
    found, size = 0, len(arrays[0])
    for first in range(0, size, _CHUNK):
        parts = [array[first : first + _CHUNK] for array in floats]
        holds = [np.isnan(part.reshape(len(part), -1)).any(axis=1) for part in parts]
        found += int(np.count_nonzero(np.logical_or.reduce(holds))) if holds else 0
    return found, size
