"""Pictures for the gallery's examples that draw none themselves: the frames that each is about."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from seqframe import SequenceFramer

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def draw_thumbnails(folder: Path) -> None:
    """Draw `01.png` and so on, one for each of the examples that need one."""
    one, random = SequenceFramer(1), SequenceFramer(5, mode="subsequences", num_samples=9, seed=7)
    letters = one.frame(_ALPHABET[:9])
    text = "A character model reads a text in lanes."
    pictures = {
        "01": lambda ax: letters.plot(5, ax=ax),
        "02": lambda ax: SequenceFramer(3, layout="features").frame(_ALPHABET[:9]).plot(5, ax=ax),
        "03": lambda ax: SequenceFramer(3).frame(_ALPHABET[:9]).plot(6, ax=ax),
        "04": lambda ax: letters.plot(ax=ax),
        "05": lambda ax: letters.lanes(1).plot(ax=ax),
        "06": lambda ax: random.frame(_ALPHABET[:12]).plot(6, ax=ax),
        "07": lambda ax: SequenceFramer(4, sequence_stride=4).frame(text).lanes(3).plot(ax=ax),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in pictures.items():
        figure, ax = plt.subplots(figsize=(4, 2.8), layout="constrained")
        draw(ax)
        figure.savefig(folder / f"{name}.png", dpi=150)
        plt.close(figure)
