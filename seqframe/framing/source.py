"""Source: what frames are cut from, arrays of several kinds on one clock."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from seqframe.aliases import Numbers
from seqframe.framing.gather import Rows


@dataclass(frozen=True)
class Source:
    """The sequences and what belongs to their steps. Row `t` of each is step `t`.

    Attributes:
        inputs: Rows that input windows are taken from.
        targets: Rows that targets are taken from; the inputs themselves, or others.
        future: Rows of values known ahead, or None. They may be longer.
        weight: Rows of sample weights, or None.
        weight_per_frame: bool. Whether weights count frames rather than steps.
        valid: Rows of bool, or None. Which steps frames may touch.
        skip_nan: bool. Whether frames may touch no NaN.
        labels: what each sequence is called: its number in the list, or the group it is.
        begins: int array. The raw step at which each sequence begins: not 0 for a part of a split.
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

    def __post_init__(self) -> None:
        if not len(self.begins):  # none are given: each begins at its first step
            object.__setattr__(self, "begins", np.zeros(len(self.inputs.arrays), np.int64))

    @property
    def steps(self) -> np.ndarray:
        """Length of each sequence, an int array."""
        return np.fromiter(map(len, self.inputs.arrays), np.int64)

    @property
    def may_leave_out(self) -> bool:
        """Whether there are steps that frames may not touch."""
        return self.skip_nan or self.valid is not None

    def cut(self, starts: Numbers, stops: Numbers) -> "Source":
        """Return the steps `start … stop - 1` of each sequence."""
        return self._each(
            lambda _, rows: rows.cut(starts, stops), begins=self.begins + np.asarray(starts)
        )

    def select(self, numbers: Numbers) -> "Source":
        """Return some of the sequences, in the order given."""
        return self._each(
            lambda _, rows: rows.select(numbers),
            begins=self.begins[list(numbers)],
            labels=[self.labels[number] for number in numbers],
        )

    def groups(
        self,
        labels: Sequence[Hashable],
        edges: np.ndarray,
        others: Mapping[str, tuple[np.ndarray, np.ndarray]] = MappingProxyType({}),
    ) -> "Source":
        """Return the stretches of the only sequence between `edges`, each as its own sequence.

        Args:
            labels: what they are called.
            edges: int array.
            others: dict of what has stretches of its own, by name, to where these begin and end.
        """
        each = [0] * len(labels)

        def stretches(name: str, rows: Rows) -> Rows:
            return rows.select(each).cut(*others.get(name, (edges[:-1], edges[1:])))

        begins = np.zeros(len(labels), np.int64)
        return self._each(stretches, begins=begins, labels=labels)

    def weighted(self, weight: Rows, per_frame: bool) -> "Source":
        """Return the same with weights."""
        return replace(self, weight=weight, weight_per_frame=per_frame)

    def _each(self, change: Callable[[str, Rows], Rows], **changes: Any) -> "Source":
        """Return the same of other rows: what a function of their name makes of them."""
        inputs = change("inputs", self.inputs)
        others: dict[str, Any] = {
            name: change(name, getattr(self, name))
            for name in ("future", "weight", "valid")
            if getattr(self, name) is not None
        }
        # Sequences that predict themselves stay one and the same.
        targets = inputs if self.targets is self.inputs else change("targets", self.targets)
        return replace(self, inputs=inputs, targets=targets, **others, **changes)
