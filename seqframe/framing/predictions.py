"""Predictions of frames as a table: for each target step its series, its date and its values."""

import math
from typing import Any

import numpy as np

from seqframe.framing.frames import Frames
from seqframe.framing.results import label_columns, make_table


def tabulate(frames: Frames, predictions: Any) -> Any:
    """Return predictions `(frames, …)` as a table, a row for each target step of each frame.

    >>> from seqframe import SequenceFramer
    >>> frames = SequenceFramer(2, horizon=2).frame([10, 20, 30, 40, 50])
    >>> tabulate(frames, np.array([[31.0, 41.0], [42.0, 52.0]]))
    time  step  prediction
       2     1          31
       3     2          41
       3     1          42
       4     2          52
    """
    if not hasattr(predictions, "shape"):
        raise TypeError(
            "`as_table=True` is for a model with one output. Received: predictions of type "
            f"{type(predictions).__name__}. Predict with `keras.Model(model.inputs, output)`."
        )
    framer, source = frames.framer, frames.source
    sequence, steps, real = frames._target_steps(slice(None))
    values, count = np.asarray(predictions), math.prod(steps.shape)
    if not _are_of_steps(values.shape, steps.shape):
        raise ValueError(
            f"`as_table=True` needs values for each of the {math.prod(steps.shape[1:])} target "
            f"steps of a frame. Received: predictions of shape {values.shape[1:]}. Leave "
            "`as_table` out."
        )
    ahead = np.broadcast_to(1 + np.arange(framer.horizon), steps.shape)[real]
    values = values.reshape(count, -1)[real.ravel()]
    sequence, steps = sequence[real], steps[real]
    table: dict[str, Any] = {}
    if framer.by or len(source.labels) > 1:
        table |= label_columns(source.labels, framer.by, sequence)
    index = None if source.clock is None else source.clock.index(sequence, steps)
    if index is None:
        table["time"] = steps
    if framer.horizon > 1:
        table["step"] = ahead
    for name, column in zip(_names(frames, values.shape[1]), values.T, strict=True):
        table[f"{name}_predicted" if name in table else name] = column
    return make_table(table, source.library, index)


def _are_of_steps(values: tuple[int, ...], steps: tuple[int, ...]) -> bool:
    """Whether predictions of a shape have values for target steps `(frames, …, horizon)`.

    >>> [_are_of_steps(shape, (9, 2)) for shape in [(9, 2, 3), (9, 6), (9, 3, 2)]]
    [True, True, False]
    """
    axes, horizon = len(steps) - 1, steps[-1]
    if values[:axes] != steps[:-1]:
        return False
    rest = values[axes:]
    flat = len(rest) == 1 and rest[0] % horizon == 0  # a Dense layer's outputs, step after step
    return horizon == 1 or rest[:1] == (horizon,) or flat


def _names(frames: Frames, width: int) -> list[str]:
    """Return the names of the predicted columns: those of the targets, if as many are predicted."""
    framer = frames.framer
    targets = framer.target_columns
    if targets is None and frames.source.targets is frames.source.inputs:
        targets = framer.columns
    names = [targets] if isinstance(targets, str) else list(targets or ["prediction"])
    if width == len(names):
        return names
    vocabulary = framer.vocabulary
    if vocabulary is not None and width == len(vocabulary):
        return list(map(str, vocabulary.symbols))
    if width % len(names):
        names = ["prediction"]
    return [f"{name}_{number}" for name in names for number in range(width // len(names))]
