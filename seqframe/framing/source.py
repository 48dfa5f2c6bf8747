"""Source: the arguments of `SequenceFramer.frame`, as aligned arrays."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from seqframe.aliases import Layout, Numbers
from seqframe.framing.clock import Clock
from seqframe.framing.gather import Rows
from seqframe.framing.geometry import Geometry
from seqframe.framing.left_out import LeftOut
from seqframe.framing.vocabulary import Vocabulary


@dataclass(frozen=True)
class Source:
    """The sequences, and the values at their steps. Row `t` of each array is step `t`.

    Attributes:
        inputs: Rows of the inputs.
        targets: Rows of the targets; the object `inputs` if sequences predict themselves.
        future: Rows of future covariates, or None. They may be longer than the sequences.
        weight: Rows of sample weights, or None.
        weight_per_frame: bool. Whether weights count frames rather than steps.
        valid: Rows of bool, or None. True if frames may touch the step.
        skip_nan: bool. Whether frames that touch a NaN are left out.
        labels: name of each sequence: its number in the list, or its group's label.
        begins: int array. The first raw step of each sequence; not 0 in a part of a split.
        history: int array. First steps of each sequence that only inputs may touch. They belong to
            an earlier part of a split.
        left_out: LeftOut. Sequences that were left out, because they have no frame.
        clock: Clock of the raw steps; None if they have no dates.
        library: name of the module that the tables come from, or None.
    """

    inputs: Rows
    targets: Rows
    future: Rows | None = None
    weight: Rows | None = None
    weight_per_frame: bool = False
    valid: Rows | None = None
    skip_nan: bool = False
    labels: Sequence[Hashable] = (0,)
    begins: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    history: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    left_out: LeftOut = field(default_factory=LeftOut)
    clock: Clock | None = None
    library: str | None = None

    def __post_init__(self) -> None:
        for name in ("begins", "history"):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.zeros(len(self.inputs.arrays), np.int64))

    @property
    def steps(self) -> np.ndarray:
        """Length of each sequence, an int array."""
        return self.inputs.lengths

    @property
    def may_leave_out(self) -> bool:
        """Whether there are steps that frames may not touch."""
        return self.skip_nan or self.valid is not None

    def cut(self, starts: Numbers, stops: Numbers, history: int = 0) -> "Source":
        """Return the steps `start … stop - 1` of each sequence.

        Up to `history` steps before each start come too, for inputs only.
        """
        starts = np.asarray(starts)
        begins = np.maximum(starts - history, 0)
        return self._each(
            lambda rows: rows.cut(begins, stops),
            begins=self.begins + begins,
            history=np.maximum(starts, self.history) - begins,
        )

    def select(self, numbers: Numbers) -> "Source":
        """Return some of the sequences, in the order given."""
        return self._each(
            lambda rows: rows.select(numbers),
            begins=self.begins[list(numbers)],
            history=self.history[list(numbers)],
            labels=[self.labels[number] for number in numbers],
            clock=None if self.clock is None else self.clock.select(numbers),
        )

    def _each(self, change: Callable[[Rows], Rows], **changes: Any) -> "Source":
        """Return a copy with `change(rows)` applied to all rows."""
        inputs = change(self.inputs)
        others: dict[str, Any] = {
            name: change(rows)
            for name in ("future", "weight", "valid")
            if (rows := getattr(self, name)) is not None
        }
        targets = inputs if self.targets is self.inputs else change(self.targets)
        return replace(self, inputs=inputs, targets=targets, **others, **changes)


class Rule(Protocol):
    """The settings of a `SequenceFramer` that reading needs."""

    sequence_length: int
    min_length: int | None
    layout: Layout
    padding_value: float
    vocabulary: Vocabulary | None
    columns: tuple[str, ...] | None
    future_columns: tuple[str, ...] | None
    target_columns: str | tuple[str, ...] | None
    by: tuple[str, ...] | None

    @property
    def geometry(self) -> Geometry: ...
