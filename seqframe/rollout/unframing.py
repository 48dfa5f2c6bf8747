"""Frames taken apart: the sequences that they were made of, and what is known ahead of these."""

from typing import TYPE_CHECKING, Any

import numpy as np

from seqframe.framing.frames import Frames
from seqframe.framing.sequences import find_columns
from seqframe.framing.tables import Table
from seqframe.model.inputs import takes_future
from seqframe.rollout.predicted import as_list

if TYPE_CHECKING:
    from seqframe.rollout.generator import Generator


def unframe(
    frames: Frames, future: Any, generator: "Generator"
) -> tuple[list[Any], list[Any] | None]:
    """Return the sequences of frames, and what is known ahead, as tables where names are known."""
    if future is not None:
        raise ValueError(
            "`future` is part of frames. Received: Frames and a future. Frame them with it."
        )
    columns = frames.framer.columns or generator.framer.columns
    targets: Any = generator.targets
    if columns is None and any(isinstance(name, str) for name in np.atleast_1d(targets)):
        raise ValueError(
            "`targets` of the generator are names of columns, which these frames do not know. "
            f"Received: targets={targets!r}. Pass frames of a DataFrame, or positions to the "
            "generator."
        )
    source = frames.source
    sequences = _tables(
        [source.inputs.read(n, 0, int(stop)) for n, stop in enumerate(source.steps)], columns
    )
    futures: list[Any] | None = None
    if source.future is not None:
        arrays = source.future.arrays
        futures = _tables(
            [source.future.read(n, 0, len(array)) for n, array in enumerate(arrays)],
            frames.framer.future_columns or generator.framer.future_columns,
        )
    if columns is None or targets is None or generator.feedback is not None:
        return sequences, futures
    if futures is not None and not isinstance(futures[0], Table):
        return sequences, futures
    if takes_future(generator.model) and generator.framer.columns is None:
        return sequences, futures  # it takes all that it is given
    # Of columns that the model does not predict, the sequences themselves tell.
    chosen = find_columns(as_list(targets), list(columns), len(columns))
    predicted = np.atleast_1d(chosen)
    others = [name for k, name in enumerate(columns) if k not in predicted]
    if not others:
        return sequences, futures
    return sequences, [
        _joined(futures[n] if futures else None, table, others) for n, table in enumerate(sequences)
    ]


def _tables(arrays: list[np.ndarray], columns: tuple[str, ...] | None) -> list[Any]:
    """Return arrays as tables, where the names of their columns are known."""
    if columns is None:
        return arrays
    return [Table(array.reshape(len(array), -1), columns) for array in arrays]


def _joined(future: Table | None, table: Table, columns: list[str]) -> Table:
    """Return what is known ahead, with these columns of a table that it lacks."""
    known = () if future is None else future.columns
    places = [table.columns.index(name) for name in columns if name not in known]
    if future is None:
        return table[:, places]
    if not places:
        return future
    steps = min(len(future), len(table))
    parts = [future.array[:steps], table.array[:steps, places]]
    return Table(np.concatenate(parts, axis=1), (*known, *table[:, places].columns))
