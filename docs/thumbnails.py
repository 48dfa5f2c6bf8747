"""Pictures for the gallery's examples that draw none themselves: the frames that each is about."""

from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from seqframe import SequenceFramer
from seqframe.plot.canvas import BLUE, ORANGE

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def draw_thumbnails(folder: Path) -> None:
    """Draw `01.png` and so on, one for each of the examples that need one."""
    one, random = SequenceFramer(1), SequenceFramer(5, mode="subsequences", num_samples=9, seed=7)
    letters, windows = one.frame(_ALPHABET[:9]), SequenceFramer(3).frame(_ALPHABET[:9])
    text = SequenceFramer(4, sequence_stride=4).frame("A character model reads a text in lanes.")
    # The caption says what the picture cannot.
    pictures: dict[str, tuple[str, Callable[[Axes], object]]] = {
        "01": ("one letter", lambda ax: letters.plot(4, ax=ax)),
        "02": ("three features", lambda ax: _draw_shape(ax, ["ABC", "BCD", "CDE"], across=True)),
        "03": ("three time steps", lambda ax: windows.plot(6, ax=ax)),
        "04": ("25 rows in one batch", lambda ax: _draw_shape(ax, _ALPHABET[:25], across=False)),
        "05": ("the state goes on", lambda ax: letters.lanes(1).plot(ax=ax)),
        "06": ("any length", lambda ax: random.frame(_ALPHABET[:12]).plot(6, ax=ax)),
        "07": ("a text in lanes", lambda ax: text.lanes(3).plot(ax=ax)),
        "13": ("temperatures", _draw_temperatures),
        "14": ("which movement?", _draw_signal),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, (caption, draw) in pictures.items():
        figure, ax = plt.subplots(figsize=(4, 2.8), layout="constrained")
        draw(ax)
        figure.suptitle(caption, size=15)
        figure.savefig(folder / f"{name}.png", dpi=150)
        plt.close(figure)


def _draw_shape(ax: Axes, texts: list[str] | str, across: bool) -> None:
    """Draw inputs as boxes: side by side in a row, or each in a row of its own."""
    for row, text in enumerate(texts):
        for k, letter in enumerate(text):
            x, y = (k, row) if across else (row % 5, row // 5)
            ax.add_patch(plt.Rectangle((x, y), 0.92, 0.9, facecolor=BLUE))
            ax.text(x + 0.46, y + 0.47, letter, color="white", ha="center", va="center", size=13)
    ax.set(xlim=(-0.1, 3 if across else 5), ylim=(3 if across else 5, -0.1))
    ax.axis("off")


def _draw_temperatures(ax: Axes) -> None:
    """Draw how a temperature changes the probabilities of five symbols."""
    logits = np.array([2.0, 1.2, 0.4, -0.3, -1.0])
    for k, temperature in enumerate([0.3, 1.0, 3.0]):
        chances = np.exp(logits / temperature)
        place = np.arange(5) + 0.28 * (k - 1)
        label, shade = f"temperature {temperature}", 1 - 0.35 * k
        ax.bar(place, chances / chances.sum(), 0.26, color=ORANGE, alpha=shade, label=label)
    ax.set_xticks(range(5), "etaon")
    ax.legend(frameon=False)


def _draw_signal(ax: Axes) -> None:
    """Draw a signal in which one movement follows another."""
    steps = np.arange(120)
    rhythm, strength = np.repeat([0.15, 0.5, 1.1], 40), np.repeat([0.2, 1.0, 2.0], 40)
    ax.plot(steps, strength * np.sin(np.cumsum(rhythm)), color=BLUE)
    for k, movement in enumerate(["rests", "walks", "runs"]):
        ax.axvspan(40 * k, 40 * (k + 1), color=ORANGE, alpha=0.12 * (k + 1))
        ax.text(40 * k + 20, 2.3, movement, ha="center", size=13)
    ax.set(ylim=(-2.4, 2.9), xlabel="step")
