"""What frames leave out: sequences without a frame, and frames that touch a missing step."""

import warnings
from collections.abc import Hashable
from typing import NamedTuple

import numpy as np

from seqframe.framing.checks import first_names
from seqframe.framing.geometry import Geometry


class LeftOut(NamedTuple):
    """The sequences and frames that are left out, by the reason. `Frames.left_out` returns it.

    Attributes:
        short: tuple of the labels of sequences that are too short for a frame.
        missing: tuple of the labels of sequences in which every frame touches a missing step.
        frames: int. Number of frames of the other sequences that touch a missing step; of random
            subsequences, the number of starts.

    Example:

    >>> import warnings
    >>> from seqframe import SequenceFramer
    >>> with warnings.catch_warnings(action="ignore"):
    ...     frames = SequenceFramer(3).frame({"Ann": [1, 2, 3, 4, 5], "Bob": [1, 2, 3]})
    >>> frames.left_out
    LeftOut(short=('Bob',), missing=(), frames=0)
    """

    short: tuple[Hashable, ...] = ()
    missing: tuple[Hashable, ...] = ()
    frames: int = 0

    def sentences(self) -> list[str]:
        """Say which sequences have no frame, and why.

        >>> LeftOut(short=("Ann", "Bob")).sentences()
        ["2 too short ('Ann', 'Bob')"]
        """
        reasons = {
            "too short": self.short,
            "with a missing step in every frame": self.missing,
        }
        return [
            f"{len(labels):,} {why} ({first_names(map(repr, labels))})"
            for why, labels in reasons.items()
            if labels
        ]


def no_frame_error(geometry: Geometry, steps: np.ndarray, hint: str = "") -> ValueError:
    """Return the error for sequences of `steps` steps if none has a frame."""
    received = f"a sequence of {steps[0]} steps"
    if len(steps) > 1:
        received = f"{len(steps)} sequences of at most {max(steps)} steps"
    name, _ = _least_input(geometry)
    return ValueError(
        f"No frame fits: {_needed(geometry)}. Received: {received}. "
        f"Shorten `{name}` or pass a longer sequence{_way_out(geometry)}.{hint}"
    )


def warn_of_left_out(
    left_out: LeftOut, count: int, geometry: Geometry, hint: str, stacklevel: int
) -> None:
    """Say once which of `count` sequences have no frame and are left out."""
    needed = f" {_needed(geometry)}{_way_out(geometry)}." if left_out.short else ""
    warnings.warn(
        f"{len(left_out.short) + len(left_out.missing)} of {count} sequences have no frame and are "
        f"left out: {'; '.join(left_out.sentences())}.{needed}{hint}",
        stacklevel=stacklevel + 1,
    )


def tell_left_over(steps: int) -> str:
    """Say how many last steps fill no window.

    >>> tell_left_over(3)
    '3 last steps, which fill no window. `pad_end=True` frames them, padded.'
    """
    subject = "1 last step, which fills" if steps == 1 else f"{steps:,} last steps, which fill"
    them = "it" if steps == 1 else "them"
    return f"{subject} no window. `pad_end=True` frames {them}, padded."


def _needed(geometry: Geometry) -> str:
    """Say how many steps a frame needs."""
    name, value = _least_input(geometry)
    extra = f" and gap={geometry.gap}" if geometry.gap else ""
    rate = f", sampling_rate={geometry.rate}" if geometry.rate > 1 else ""
    return (
        f"`{name}={value}`{rate} with `horizon={geometry.horizon}`{extra} needs "
        f"{geometry.least_steps} steps"
    )


def _least_input(geometry: Geometry) -> tuple[str, int | bool]:
    """Return the argument that says how long an input is at least, and its value."""
    if geometry.pad_end:
        return "pad_end", True
    if geometry.pads_start:
        return "min_length", geometry.shortest
    return "sequence_length", geometry.sequence_length


def _way_out(geometry: Geometry) -> str:
    """Say how to frame short sequences."""
    can_pad = not geometry.pads and geometry.sequence_length > 1
    return "" if not can_pad else ", or pass `min_length` to pad short ones"
