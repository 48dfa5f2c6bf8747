"""Diagrams of a recurrent state, which `python docs/pictures.py` draws with the other pictures.

They show models and not data, so the library has no plot for them.
"""

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from seqframe import SequenceFramer
from seqframe.plot.canvas import ORANGE, VERMILLION, curve_colors


def _draw_state(figure: Figure) -> None:
    """An LSTM that reads three letters, unrolled in time."""
    ax, blue = _axes(figure)
    for k, (letter, following) in enumerate(zip("ABC", "BCD", strict=True)):
        _box(ax, k, 0, "LSTM", blue)
        _arrow(ax, (k, -0.75), (k, -0.25), None)
        _arrow(ax, (k, 0.25), (k, 0.75), None)
        ax.text(k, -0.9, letter, ha="center", va="center", size=12, weight="bold")
        ax.text(k, 0.9, following, ha="center", va="center", size=12, weight="bold")
        _arrow(ax, (k + 0.3, 0), (k + 0.7, 0), blue)
        ax.text(k + 0.5, 0.16, "state", ha="center", size=9.5, color=blue)
    _arrow(ax, (-0.7, 0), (-0.3, 0), blue)
    ax.text(-0.78, 0, "zeros", ha="right", va="center", size=11, color=blue)
    ax.text(-0.78, -0.9, "input", ha="right", va="center", size=11)
    ax.text(-0.78, 0.9, "prediction", ha="right", va="center", size=11)
    _finish(ax, (-1.5, 2.75), (-1.1, 1.1))


def _draw_stateless_and_stateful(figure: Figure) -> None:
    """Windows that begin at zero, and windows that go on."""
    ax, blue = _axes(figure)
    for row, (title, windows) in enumerate(
        [("stateless", ["ABC", "BCD", "CDE"]), ("stateful", ["ABC", "DEF", "GHI"])]
    ):
        y = -1.3 * row
        ax.text(-0.75, y + 0.42, title, ha="left", size=11, weight="bold")
        for k, window in enumerate(windows):
            x = 1.25 * k
            _box(ax, x, y, " ".join(window), blue, 0.42)
            if row == 0 or k == 0:
                _zero(ax, x - 0.66, y, blue)
            goes_on = row == 1
            _arrow(ax, (x + 0.42, y), (x + (0.83 if goes_on else 0.5), y), blue)
            if not goes_on:  # the state ends here
                ax.plot([x + 0.5] * 2, [y - 0.14, y + 0.14], color=VERMILLION, lw=3)
            _arrow(ax, (x - 0.58 if row == 0 or k == 0 else x - 0.5, y), (x - 0.42, y), blue)
    for k in range(3):
        ax.text(1.25 * k, -1.85, f"batch {k}", ha="center", size=10)
    _finish(ax, (-0.8, 3.4), (-2, 0.65))


def _draw_rows(figure: Figure) -> None:
    """A batch of three rows, each of which goes on in its own row."""
    ax, blue = _axes(figure)
    for row, letters in enumerate(["ABCDEF", "GHIJKL", "MNOPQR"]):
        y = -0.7 * row
        ax.text(-0.95, y, f"row {row}", ha="right", va="center", size=10.5)
        _zero(ax, -0.75, y, blue)
        for k in range(3):
            x = 1.25 * k
            _box(ax, x, y, " ".join(letters[2 * k : 2 * k + 2]), blue, 0.35)
            _arrow(ax, (x - (0.67 if k == 0 else 0.9), y), (x - 0.35, y), blue)
        _arrow(ax, (2.85, y), (3.2, y), blue)
    for k in range(3):
        ax.text(1.25 * k, -1.95, f"batch {k}", ha="center", size=10.5)
    _finish(ax, (-1.55, 3.25), (-2.1, 0.35))


def _draw_resets(figure: Figure) -> None:
    """Sequences in two lanes, by the library's own plot."""
    framer = SequenceFramer(2, sequence_stride=2, layout="tokens", return_sequences=True)
    framer.frame({"Ann": "ABCDEFGHI", "Bob": "abcde", "Cy": "xyzxyz"}).lanes(2).plot(
        ax=figure.subplots()
    )


def _draw_truncation(figure: Figure) -> None:
    """The state crosses the border of a batch, and the gradients do not."""
    ax, blue = _axes(figure)
    for k in range(6):
        x = k + 0.5 * (k // 2)
        _box(ax, x, 0, "ABCDEF"[k], blue, 0.28)
        if k:
            before = 1 if k % 2 else 1.5
            _arrow(ax, (x - before + 0.28, 0.1), (x - 0.28, 0.1), blue)
        if k % 2:
            _arrow(ax, (x - 0.28, -0.1), (x - 0.72, -0.1), ORANGE)
            _arrow(ax, (x, -0.72), (x, -0.25), ORANGE)
            _arrow(ax, (x - 1, -0.72), (x - 1, -0.25), ORANGE)
            ax.text(x - 0.5, -0.9, "loss", ha="center", va="center", size=10.5)
            ax.text(x - 0.5, 0.75, f"batch {k // 2}", ha="center", size=10.5)
        if k in (2, 4):
            ax.plot([x - 0.75] * 2, [-1, 0.95], color=VERMILLION, lw=1.5, ls=(0, (4, 3)))
    ax.text(0, 0.42, "state", size=10.5, color=blue, ha="left")
    ax.text(-0.4, -1.3, "gradients end at the border of a batch", size=10.5, color=ORANGE)
    _finish(ax, (-0.5, 6.4), (-1.4, 1))


def _axes(figure: Figure) -> tuple[Axes, str]:
    ax = figure.subplots()
    return ax, curve_colors(ax)[0]


def _box(ax: Axes, x: float, y: float, text: str, color: str, half: float = 0.3) -> None:
    ax.add_patch(
        FancyBboxPatch(
            (x - half, y - 0.25), 2 * half, 0.5, facecolor="none", edgecolor=color, lw=1.5,
            boxstyle="round,pad=0,rounding_size=0.08",
        )
    )  # fmt: skip
    ax.text(x, y, text, ha="center", va="center_baseline", size=10.5)


def _zero(ax: Axes, x: float, y: float, color: str) -> None:
    ax.text(x, y, "0", ha="center", va="center", size=11, color=color, weight="bold")


_ARROW = dict(arrowstyle="-|>", lw=2, mutation_scale=13, shrinkA=0, shrinkB=0)


def _arrow(
    ax: Axes, begin: tuple[float, float], end: tuple[float, float], color: str | None
) -> None:
    color = ax.xaxis.label.get_color() if color is None else color
    ax.annotate("", end, begin, arrowprops={**_ARROW, "color": color})


def _finish(ax: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    ax.set(xlim=x, ylim=y)
    ax.axis("off")


# The height of each in inches, and what draws it.
DIAGRAMS: dict[str, tuple[float, Callable[[Figure], None]]] = {
    "state": (2.3, _draw_state),
    "stateful": (2.6, _draw_stateless_and_stateful),
    "rows": (2.2, _draw_rows),
    "resets": (1.8, _draw_resets),
    "truncation": (2.1, _draw_truncation),
}
