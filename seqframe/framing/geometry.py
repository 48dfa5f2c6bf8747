"""Geometry: which steps make frame *i*. No other module asks.

A frame's input has `sequence_length` places, which hold the steps `start, start + rate, …`. Its last
step is `last`, and its targets are the steps `last + gap + 1 … last + gap + horizon`. Pure integer
arithmetic: nothing here holds data.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np


@dataclass(frozen=True)
class Geometry:
    """What the three framings have in common.

    Args:
        sequence_length: int. Places of an input.
        horizon: int. Target steps.
        gap: int. Steps between the last input step and the first target step.
        return_sequences: bool. Whether each input step has targets of its own.

    Attributes:
        pads: bool. Whether frames can be shorter than `sequence_length`, and are then padded.
        draws: bool. Whether frames are drawn at random.
        rate: int. Distance between neighbouring time steps inside a frame.
        stride: int. Distance between the starts of neighbouring frames.
    """

    sequence_length: int
    horizon: int
    gap: int
    return_sequences: bool

    pads: ClassVar[bool] = True
    pads: ClassVar[bool] = True
    draws: ClassVar[bool] = False
    rate: int = 1
    stride: int = 1

    @property
    def span(self) -> int:
        """Raw steps from the first to the last input step of a full frame."""
        return self.rate * (self.sequence_length - 1) + 1

    @property
    def ahead(self) -> int:
        """Raw steps that a frame needs past its last input step."""
        return max(self.gap + self.horizon, 0)

    @property
    def least_steps(self) -> int:
        """Raw steps that a sequence needs to have a frame."""
        raise NotImplementedError

    def count(self, steps: Any) -> Any:
        """Return how many frames (of random ones: how many starts) sequences of `steps` have."""
        raise NotImplementedError

    @cached_property
    def input_offsets(self) -> np.ndarray:
        """Input steps of a full frame, counted from its first; int array `(sequence_length,)`."""
        return self.rate * np.arange(self.sequence_length)

    @cached_property
    def target_offsets(self) -> np.ndarray:
        """Target steps of a full frame, counted from its first input step.

        An int array `(horizon,)`; with `return_sequences` `(sequence_length, horizon)`.
        """
        inputs = self.input_offsets
        last = inputs[:, None] if self.return_sequences else inputs[-1]
        return last + self.gap + 1 + np.arange(self.horizon)


@dataclass(frozen=True)
class Windows(Geometry):
    """Every window that fits, `stride` steps apart."""

    pads: ClassVar[bool] = False

    @property
    def least_steps(self) -> int:
        return self.span + self.ahead

    def count(self, steps: Any) -> Any:
        """Return how many windows have all their steps.

        >>> Windows(3, 1, 0, False).count(np.array([26, 3]))
        array([23,  0])
        """
        return np.maximum((steps - self.span - self.ahead) // self.stride + 1, 0)


@dataclass(frozen=True)
class Prefixes(Geometry):
    """Everything up to each step, at least `min_length` steps of it, padded."""

    min_length: int = 1

    @property
    def least_steps(self) -> int:
        return self.min_length + self.ahead

    def count(self, steps: Any) -> Any:
        """Return how many prefixes have a full target.

        >>> Prefixes(3, 1, 0, False).count(np.array([26, 3]))
        array([25,  2])
        """
        return np.maximum(steps - self.ahead - self.min_length + 1, 0)


@dataclass(frozen=True)
class Subsequences(Prefixes):
    """Random stretches of random length, padded; with `wrap`, of a cycle."""

    draws: ClassVar[bool] = True
    wrap: bool = False

    @property
    def least_steps(self) -> int:
        return 1 if self.wrap else super().least_steps

    def count(self, steps: Any) -> Any:
        """Return how many starts there are to draw from."""
        return steps if self.wrap else super().count(steps)
