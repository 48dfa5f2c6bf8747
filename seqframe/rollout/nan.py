"""Where the NaN of a forecast comes from: what is known ahead, what was before, or the model."""

from typing import Any, NamedTuple

import numpy as np

from seqframe.framing.dates import dates_of


class Seen(NamedTuple):
    """Values that a forecast was made of.

    Attributes:
        name: str. What they are.
        rows: array `(steps, …)`.
        table: what they were passed as, whose index may date them; or None.
        first: int. The number of their first step.
    """

    name: str
    rows: np.ndarray
    table: Any = None
    first: int = 0


def explain_nan(step: int, of: str, future: Seen | None, past: Seen) -> ValueError:
    """Return the error that says where the NaN of a forecast comes from.

    Args:
        step: int. The step ahead that is NaN.
        of: str. Whose forecast it is.
        future: Seen, or None. What was known ahead.
        past: Seen. What was before.

    >>> print(explain_nan(0, "history 0", None, Seen("history", np.array([1.0, np.nan, 3.0]))))
    The forecast is NaN. Received: that at step 0 of history 0, and NaN at step 1 of the history.
    Fill it in: left out, steps after it would take its place.
    """
    received = f"The forecast is NaN. Received: that at step {step} of {of}"
    # Of what is ahead the first, and of what was before the last: those next to the forecast.
    for seen, next_to in (future, 0), (past, -1):
        if seen is not None and not np.isfinite(seen.rows).all():
            row = int(_missing(seen.rows)[next_to])
            values = seen.rows[row].ravel()
            value = "NaN" if np.isnan(values).any() else "infinity"
            where = f"step {name_step(seen.table, row, seen.first)} of the {seen.name}"
            way_out = "Fill it in: left out, steps after it would take its place."
            if past.name == "data":
                way_out = "Fill it in, or leave out such origins with `skip_nan=True`."
            return ValueError(f"{received}, and {value} at {where}. {way_out}")
    return ValueError(
        f"{received}, of values that are all finite. Look at the model's weights: training may "
        "have diverged."
    )


def name_step(table: Any, row: int, first: int = 0) -> str:
    """Return the number of the step that a row is of, with its date where a table's index has one.

    >>> import pandas
    >>> name_step(pandas.Series([1, 2], pandas.period_range("2026-01", periods=2, freq="M")), 1)
    '1 (2026-02)'
    """
    index = dates_of(table)
    return f"{first + row}" if index is None else f"{first + row} ({index[row]})"


def _missing(rows: np.ndarray) -> np.ndarray:
    """Return which steps hold a value that is not finite."""
    finite = np.isfinite(rows)
    return np.flatnonzero(~finite.reshape(len(rows), -1).all(axis=1))
