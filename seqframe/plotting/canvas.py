"""What every picture begins with: axes to draw on, colours that all can tell apart, a legend.

matplotlib is optional: it is imported when something is drawn.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, which is told apart with any colour vision
# (https://jfly.uni-koeln.de/color/). In the order in which curves take them: neighbours differ in
# brightness too, so that they also differ in grey.
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, GREY = "#56B4E9", "#CC79A7", "#F0E442", "#999999"
CURVE_COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION)
_ON_DARK = (SKY, ORANGE, GREEN, PURPLE, YELLOW, VERMILLION)
LINE_STYLES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))

_WIDE = 3.5  # inches of an axis on which seven dates fit
_HANDLE, _CHARACTER = 0.6, 0.068  # inches that an entry of a legend takes, about


def make_axes(ax: "Axes | None", width: float, height: float) -> "Axes":
    """Return the axes given, or those of a new figure.

    Args:
        ax: matplotlib.axes.Axes, or None.
        width: float. Of a new figure, in inches.
        height: float. Of a new figure, in inches.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `ax` is something else.
    """
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
    """Return the colour that writing has there: black, or white where a style is dark."""
    return ax.xaxis.label.get_color()


def curve_colors(ax: "Axes") -> tuple[str, ...]:
    """Return the colours that curves take in turn, the first of them the clearest on these axes."""
    from matplotlib.colors import to_rgb

    return _ON_DARK if sum(to_rgb(ink(ax))) > 1.5 else CURVE_COLORS


def inches(ax: "Axes") -> tuple[float, float]:
    """Return the width and the height of axes, as they are before a layout moves them."""
    box = ax.get_window_extent()
    return box.width / ax.figure.dpi, box.height / ax.figure.dpi


def count_ticks(axis: Any, length: float) -> None:
    """Write whole numbers along an axis, as many as fit on its length in inches."""
    from matplotlib.ticker import MaxNLocator

    most = min(max(int(1.5 * length), 2), 10)
    axis.set_major_locator(MaxNLocator(most, integer=True, min_n_ticks=1))


def date_ticks(axis: Any, length: float) -> None:
    """Write dates along an axis, as many as fit on its length in inches, each with its month.

    A January says of which year it is; where there is none, the corner does.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    # So many there have to be room for, or some spans have no ticks: where 3 years are enough to be
    # ticked, 35 months take 7 ticks, which are at best half a year apart.
    least, most = (3, 7) if length >= _WIDE else (2, 5)
    locator = AutoDateLocator(minticks=least, maxticks=max(int(1.4 * length), most))
    axis.set_major_locator(locator)
    # Of years, months, days, hours, minutes, seconds; of the first of each; of the axis's corner.
    form = ConciseDateFormatter(locator)
    form.formats[2] = form.zero_formats[2] = form.zero_formats[3] = "%b %d"
    form.zero_formats[1] = "%b\n%Y"
    form.offset_formats[2:] = ["%Y", *["%b %d, %Y"] * 3]
    axis.set_major_formatter(form)


def legend_above(ax: "Axes", handles: Sequence[Any]) -> None:
    """Explain what is drawn, above the axes, where it covers nothing."""
    widths = np.array([_HANDLE + _CHARACTER * len(handle.get_label()) for handle in handles])
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
    for text, handle in zip(legend.get_texts(), handles, strict=True):
        text.set_text(handle.get_label())
    take_text_as_it_is(legend.get_texts())


def take_text_as_it_is(texts: Sequence[Any]) -> None:
    """Show names with dollar signs as they are, rather than as formulas."""
    for text in texts:
        text.set_parse_math(False)
