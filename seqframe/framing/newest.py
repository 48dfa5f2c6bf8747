"""The newest window of each sequence, whose targets have not come yet."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from seqframe.framing.checks import first_names
from seqframe.framing.frames import Framer, Frames
from seqframe.framing.gather import Rows
from seqframe.framing.sequences import name_sequences
from seqframe.framing.source import Source
from seqframe.framing.tables import read_table
from seqframe.framing.vocabulary import Vocabulary


def no_targets(sequences: Any, vocabulary: Vocabulary | None) -> Any:
    """Return a zero for each step of sequences, for `read_source`.

    Other targets might be inputs, or columns that the sequences do not have.
    """
    given, names = name_sequences(sequences, vocabulary)
    zeros = [np.zeros(len(read_table(each))) for each in given]
    if not isinstance(names, range):
        return dict(zip(names, zeros, strict=True))
    return zeros[0] if len(given) == 1 and given[0] is sequences else zeros


def newest_frames(framer: Framer, source: Source) -> Frames:
    """Return a frame for each sequence, whose input ends with the last step.

    The targets are NaN. `framer` has a frame that ends with any step from the first full one on.
    """
    geometry, steps = framer.geometry, source.steps
    starts = np.maximum(steps - geometry.span, 0)
    spans = [*zip(starts.tolist(), steps.tolist(), strict=True)]
    ahead = geometry.ahead
    future = source.future
    if future is not None:
        _check_future(source, future, ahead)
        future = Rows([future.read(n, a, b + ahead) for n, (a, b) in enumerate(spans)])
    # The targets lie after the last step. Nothing reads the inputs there.
    windows = [source.inputs.read(n, a, b) for n, (a, b) in enumerate(spans)]
    inputs = [np.concatenate([each, each[-1:].repeat(ahead, axis=0)]) for each in windows]
    names, row = framer.target_columns, source.inputs.row_shape
    if names is not None:
        row = () if isinstance(names, str) else (len(names),)
    unknown = np.full((geometry.span + ahead, *row), np.nan, np.float32)
    newest = replace(
        source,
        inputs=Rows(inputs),
        targets=Rows([unknown[: len(each)] for each in inputs]),
        future=future,
        begins=source.begins + starts,
    )
    frames = Frames(framer, newest)
    counts = frames._counts
    _check_counts(framer, source, counts)
    return frames.subset((np.cumsum(counts) - 1)[counts > 0])


def _check_future(source: Source, future: Rows, ahead: int) -> None:
    """Raise if the future covariates end before the targets of the newest windows."""
    short = np.flatnonzero(future.lengths < source.steps + ahead)
    if short.size:
        number = int(short[0])
        which = f" of {source.labels[number]!r}" if len(source.labels) > 1 else ""
        raise ValueError(
            f"`future` must reach to the target steps, {ahead} after the last step. Received: "
            f"{future.lengths[number]} rows for {source.steps[number]} steps{which}. Add the rows "
            "of the steps ahead."
        )


def _check_counts(framer: Framer, source: Source, counts: np.ndarray) -> None:
    """Raise if no sequence has a window; warn if some have none."""
    short = np.flatnonzero(counts == 0)
    if not short.size:
        return
    geometry = framer.geometry
    needs = f"A window needs {geometry.least_steps - geometry.ahead} steps"
    if len(short) == len(counts):
        raise ValueError(
            f"No sequence has a window. {needs}. Received: at most {source.steps.max()} steps. "
            "Pass longer sequences."
        )
    shown = first_names(repr(source.labels[number]) for number in short.tolist())
    warnings.warn(
        f"{len(short)} of {len(counts)} sequences are too short for a window and are left out: "
        f"{shown}. {needs}.",
        stacklevel=4,
    )
