"""Axes, colours, ticks and legends that all pictures share.

matplotlib is optional, so functions import it when they draw.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

# Okabe and Ito's palette suits every kind of colour vision (https://jfly.uni-koeln.de/color/).
# Neighbouring curves also differ in brightness, so that they differ in a grey print.
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, GREY = "#56B4E9", "#CC79A7", "#F0E442", "#999999"
_ON_LIGHT = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION)
_ON_DARK = (SKY, ORANGE, GREEN, PURPLE, YELLOW, VERMILLION)

_WIDE = 3.5  # inches of an axis on which seven dates fit
_HANDLE, _CHARACTER = 0.55, 0.057  # inches that a legend's entry takes, roughly


def make_axes(ax: "Axes | None", width: float, height: float) -> "Axes":
    """Return the given axes, or new axes in a figure of `width` by `height` inches."""
    try:
        from matplotlib import pyplot
        from matplotlib.axes import Axes
    except ModuleNotFoundError as error:
        raise ImportError(
            'Pictures need matplotlib. Install it with `pip install "seqframe[plot]"`.'
        ) from error
    if ax is None:
        return pyplot.subplots(figsize=(width, height), layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise TypeError(
            f"`ax` must be a `matplotlib.axes.Axes`. Received: {type(ax).__name__}. "
            "Leave it out to draw in a new figure."
        )
    return ax


def ink(ax: "Axes") -> Any:
    """Return the colour of text on these axes: black, or white in a dark style."""
    return ax.xaxis.label.get_color()


def curve_colors(ax: "Axes") -> tuple[str, ...]:
    """Return the colours for curves, the clearest on these axes first."""
    from matplotlib.colors import to_rgb

    return _ON_DARK if sum(to_rgb(ink(ax))) > 1.5 else _ON_LIGHT


def inches(ax: "Axes") -> tuple[float, float]:
    """Return the width and the height of axes before a layout changes them."""
    box = ax.get_window_extent()
    return box.width / ax.figure.dpi, box.height / ax.figure.dpi


def count_ticks(axis: "Axis", length: float) -> None:
    """Tick whole numbers along an axis, as many as fit on `length` inches."""
    from matplotlib.ticker import MaxNLocator

    most = min(max(int(1.5 * length), 2), 10)
    axis.set_major_locator(MaxNLocator(most, integer=True, min_n_ticks=1))


def date_ticks(axis: "Axis", length: float) -> None:
    """Tick dates along an axis, as many as fit on `length` inches."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    # With less room than this, some spans get no tick: 35 months need 7 of them.
    least, most = (3, 7) if length >= _WIDE else (2, 5)
    locator = AutoDateLocator(minticks=least, maxticks=max(int(1.4 * length), most))
    axis.set_major_locator(locator)
    axis.set_major_formatter(ConciseDateFormatter(locator))


def legend_above(ax: "Axes", handles: Sequence["Artist"]) -> None:
    """Draw a legend above the axes, where it covers nothing."""
    names = [str(handle.get_label()) for handle in handles]
    widths = np.array([_HANDLE + _CHARACTER * len(name) for name in names])
    columns = len(handles)
    while columns > 1 and sum(map(max, np.array_split(widths, columns))) > inches(ax)[0]:
        columns -= 1
    legend = ax.legend(
        handles=handles,
        # Before 3.10, matplotlib leaves out names that begin with an underscore.
        labels=["name"] * len(handles),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        frameon=False,
        fontsize="small",
        borderaxespad=0.2,
        columnspacing=1.2,
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)
        text.set_parse_math(False)  # a name may hold dollar signs
