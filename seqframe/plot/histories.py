"""Draw learning curves: a metric over epochs."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from seqframe.plot.canvas import count_ticks, curve_colors, inches, legend_above, make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The History that `fit` returned, or its dict of lists.
History = Any
Logs = Mapping[str, Sequence[float]]

_MARKERS = "os^DvPX"
_MARKS = 9  # marks of a curve, evenly spaced along the axis
_FAR_LONGER = 4  # times as many epochs


def plot_history(
    histories: History | Mapping[str, History],
    metric: str | None = None,
    *,
    validation_freq: int | Sequence[int] = 1,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw learning curves: a metric over epochs, with one curve for each training.

    Validation is dashed. If some trainings are far longer than others, the axis of epochs is
    logarithmic.

    Args:
        histories: keras.callbacks.History, or its dict of lists. For several trainings, a dict of
            names to these.
        metric: str. Name of a metric, or "loss". None: accuracy if every history has it, else the
            loss.
        validation_freq: int or list of int. As in Keras's `fit`: the epochs that were validated. A
            history does not tell.
        ax: matplotlib.axes.Axes to draw on; None makes a figure.

    Returns:
        matplotlib.axes.Axes.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if a history lacks the metric, or has another number of validations than
            `validation_freq` gives.

    Example:

    >>> import matplotlib
    >>> from seqframe import plot_history
    >>> ax = plot_history({
    ...     "one letter": {"accuracy": [0.04, 0.5, 0.8]},
    ...     "three letters": {"accuracy": [0.1, 0.9, 1.0]},
    ... })
    """
    curves = _read_histories(histories)
    if metric is None:
        metric = "accuracy" if all("accuracy" in logs for _, logs in curves.values()) else "loss"
    for name, (_, logs) in curves.items():
        if metric not in logs:
            of = f" of {name!r}" if name else ""
            raise ValueError(
                f"`metric` must be one of {sorted(logs)}, the logs{of}. Received: {metric!r}."
            )
    validation = f"val_{metric}"
    times = {
        (name, each): _epochs_of(each, logs, epochs, validation_freq)
        for name, (epochs, logs) in curves.items()
        for each in {metric, validation} & logs.keys()
    }
    ax = make_axes(ax, 9, 4.5)
    lengths = [epochs[-1] for epochs, _ in curves.values()]
    is_log = max(lengths) >= _FAR_LONGER * min(lengths)
    styles = zip(cycle(curve_colors(ax)), cycle(_MARKERS), strict=False)
    for (name, (_, logs)), (color, marker) in zip(curves.items(), styles, strict=False):
        style: dict[str, Any] = dict(color=color, marker=marker, ms=5, lw=1.2)
        label, spaced = name or "training", np.geomspace if is_log else np.linspace
        marked = sorted(set(spaced(1, len(logs[metric]), _MARKS).astype(int) - 1))
        ax.plot(
            times[name, metric], logs[metric], label=label, gid=label, markevery=marked, **style
        )
        if validation in logs:
            label = f"{name}, validation" if name else "validation"
            style |= dict(label=label, ls="--", mfc="none")
            ax.plot(times[name, validation], logs[validation], **style)
    if is_log:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:,.0f}")
    else:
        count_ticks(ax.xaxis, inches(ax)[0])
    ax.set_xlabel("epoch")
    ax.set_ylabel(metric, parse_math=False)
    ax.spines[["right", "top"]].set_visible(False)
    ax.grid(alpha=0.3, lw=0.6)
    legend_above(ax, ax.get_lines())
    return ax


def _read_histories(histories: Any) -> dict[str, tuple[np.ndarray, Logs]]:
    """Return the epochs and the logs of each training by its name; "" if there is one."""
    is_several = isinstance(histories, Mapping) and all(
        isinstance(item, Mapping) or hasattr(item, "history") for item in histories.values()
    )
    named, found = histories if is_several else {"": histories}, {}
    for name, history in named.items():
        logs = getattr(history, "history", history)
        if not isinstance(logs, Mapping) or not all(map(len, logs.values())) or not logs:
            raise TypeError(
                "`histories` must be a History of `fit`, its dict of lists, or a dict of names to "
                f"these. Received: {type(history).__name__}."
            )
        count, told = max(map(len, logs.values())), getattr(history, "epoch", None) or [0]
        epochs = told if len(told) == count else told[0] + np.arange(count)
        found[str(name)] = np.asarray(epochs) + 1, logs
    if not found:
        raise ValueError("`histories` must hold at least one history. Received: none.")
    return found


def _epochs_of(
    metric: str, logs: Logs, epochs: np.ndarray, validation_freq: int | Sequence[int]
) -> np.ndarray:
    """Return the epochs, counted from 1, of the values of a metric."""
    count = len(logs[metric])
    if count == len(epochs):
        return epochs
    each = np.asarray(validation_freq)
    if each.dtype.kind not in "iu" or each.ndim > 1 or (each < 1).any():
        raise ValueError(
            "`validation_freq` must be an integer ≥ 1, or a list of epochs. Received: "
            f"validation_freq={validation_freq!r}."
        )
    validated = epochs[np.isin(epochs, each) if each.ndim else epochs % each == 0]
    if len(validated) != count:
        raise ValueError(
            f"`validation_freq` must tell the epochs of the {count} values of {metric!r}. Received:"
            f" validation_freq={validation_freq!r}, which are {len(validated)} of {len(epochs)} "
            "epochs. Pass what `fit` was given."
        )
    return validated
