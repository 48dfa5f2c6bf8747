"""SequenceFramer: the rule that turns sequences into frames."""

import numbers
from collections.abc import Sequence
from functools import cached_property
from typing import Any, get_args

import numpy as np

from seqframe.aliases import Layout, Mode, Padding
from seqframe.framing.frames import Frames
from seqframe.framing.geometry import Geometry, Prefixes, Subsequences, Windows
from seqframe.framing.source import read_source
from seqframe.framing.tables import check_names, check_targets
from seqframe.framing.vocabulary import Vocabulary
from seqframe.framing.windows import (
    check_choice,
    check_integer,
    count_prefixes,
    count_windows,
    steps_ahead,
    window_span,
)


class SequenceFramer:
    """Turns sequences into frames: an input window and its target, `[samples, steps, features]`.

    The framer is the rule; `frame` applies it, and the `Frames` it returns copy nothing until a
    batch is asked for. The same framer later rolls a `Generator`'s window, so that what was trained
    is what is fed.

    Args:
        sequence_length: int ≥ 1. Time steps of an input; of the longest one for prefixes and
            subsequences.
        mode: "windows": every window that fits. "prefixes": everything up to each step, padded.
            "subsequences": random stretches of random length, padded.
        layout: "timesteps": `(n, length, features)`. "features": the window as one time step,
            `(n, 1, length * features)`. "tokens": `(n, length)`, for an `Embedding`.
        horizon: int ≥ 1. Target steps of a frame.
        gap: int ≥ -1. Steps skipped between the last input step and the first target step; -1
            makes the last input step itself the first target step.
        return_sequences: bool. A target for every input step, for RNNs with
            `return_sequences=True`.
        sequence_stride: int ≥ 1. Windows: steps from the start of one to the start of the next.
        sampling_rate: int ≥ 1. Windows: steps from one time step of a window to the next.
        min_length: int ≥ 1. Prefixes and subsequences: the shortest input.
        num_samples: int ≥ 1. Subsequences: how many to draw.
        wrap: bool. Subsequences: the sequence is a cycle, its end followed by its start.
        padding: "pre" | "post". Prefixes and subsequences: the side that is filled up.
        padding_value: number. What it is filled with.
        vocabulary: Vocabulary. Encodes strings and symbol lists. Without one, `frame` collects the
            symbols it finds; the frames' own `framer` then carries them.
        seed: int ≥ 0. Subsequences: where the draws begin; None draws it anew.
        columns: list of str. Which columns of a table are the features, in this order; others are
            left out. Without, `frame` takes all, and the frames' own `framer` carries their names,
            so that a `Generator` finds them in the tables that it is given.
        future_columns: list of str. The same of what is known ahead.
        target_columns: str, or list of str. The same of targets: those of `frame` where it is given
            none, and what a `Generator` takes its model to predict. A str is one column, whose
            targets have no axis of columns.
        by: str, or list of str. Which columns of a table tell its sequences apart, as `by` of
            `frame`.

    Each argument is an attribute of the same name.

    Raises:
        ValueError: if a number is out of its range, or an argument does not belong to the mode.
        TypeError: if an argument is of the wrong type.

    Example:

    >>> frames = SequenceFramer(3).frame("ABCDEFG")
    >>> frames.describe()
    ABC -> D
    BCD -> E
    CDE -> F
    DEF -> G
    >>> X, y = frames.arrays()
    >>> X.shape, y.shape
    ((4, 3, 1), (4,))
    """

    sequence_length: int
    mode: Mode
    layout: Layout
    horizon: int
    gap: int
    return_sequences: bool
    sequence_stride: int
    sampling_rate: int
    min_length: int
    num_samples: int | None
    wrap: bool
    padding: Padding
    padding_value: float
    vocabulary: Vocabulary | None
    seed: int | None
    columns: tuple[str, ...] | None
    future_columns: tuple[str, ...] | None
    target_columns: str | tuple[str, ...] | None
    by: tuple[str, ...] | None

    def __init__(
        self,
        sequence_length: int,
        *,
        mode: Mode = "windows",
        layout: Layout = "timesteps",
        horizon: int = 1,
        gap: int = 0,
        return_sequences: bool = False,
        sequence_stride: int = 1,
        sampling_rate: int = 1,
        min_length: int = 1,
        num_samples: int | None = None,
        wrap: bool = False,
        padding: Padding = "pre",
        padding_value: float = 0,
        vocabulary: Vocabulary | None = None,
        seed: int | None = None,
        columns: Sequence[str] | None = None,
        future_columns: Sequence[str] | None = None,
        target_columns: str | Sequence[str] | None = None,
        by: str | Sequence[str] | None = None,
    ):
        self.sequence_length = check_integer("sequence_length", sequence_length, 1)
        self.mode = check_choice("mode", mode, get_args(Mode))
        self.layout = check_choice("layout", layout, get_args(Layout))
        self.horizon = check_integer("horizon", horizon, 1)
        self.gap = check_integer("gap", gap, -1)
        self.return_sequences = bool(return_sequences)
        self.sequence_stride = check_integer("sequence_stride", sequence_stride, 1)
        self.sampling_rate = check_integer("sampling_rate", sampling_rate, 1)
        self.min_length = check_integer("min_length", min_length, 1)
        self.num_samples = (
            None if num_samples is None else check_integer("num_samples", num_samples, 1)
        )
        self.wrap = bool(wrap)
        self.padding = check_choice("padding", padding, get_args(Padding))
        if not isinstance(padding_value, numbers.Real):
            raise TypeError(
                f"`padding_value` must be a number. Received: padding_value={padding_value!r}."
            )
        # A Python number: JSON knows no other.
        is_numpy = isinstance(padding_value, np.generic)
        self.padding_value = padding_value.item() if is_numpy else padding_value
        if vocabulary is not None and not isinstance(vocabulary, Vocabulary):
            raise TypeError(
                "`vocabulary` must be a `Vocabulary`. Received: "
                f"{type(vocabulary).__name__}. Make one with `Vocabulary(symbols)`."
            )
        self.vocabulary = vocabulary
        self.seed = None if seed is None else check_integer("seed", seed, 0)
        self.columns = check_names("columns", columns)
        self.future_columns = check_names("future_columns", future_columns)
        self.target_columns = check_targets(target_columns, self.columns)
        self.by = check_names("by", [by] if isinstance(by, str) else by)
        self._check_mode()

    def _check_mode(self) -> None:
        if self.min_length > self.sequence_length:
            raise ValueError(
                "`min_length` must not exceed `sequence_length`. Received: "
                f"min_length={self.min_length}, sequence_length={self.sequence_length}."
            )
        if self.mode == "subsequences" and self.num_samples is None:
            raise ValueError(
                '`mode="subsequences"` needs `num_samples`: how many to draw. '
                "Received: num_samples=None."
            )
        windows: dict[str, Any] = {"sequence_stride": 1, "sampling_rate": 1}
        subsequences: dict[str, Any] = {"num_samples": None, "wrap": False, "seed": None}
        foreign = {
            "windows": {"min_length": 1, **subsequences},
            "prefixes": {**windows, **subsequences},
            "subsequences": windows,
        }[self.mode]
        for name, unset in foreign.items():
            if getattr(self, name) != unset:
                raise ValueError(
                    f'`{name}` has no meaning for `mode="{self.mode}"`. '
                    f"Received: {name}={getattr(self, name)!r}. Leave it out, or change `mode`."
                )

    def frame(
        self,
        sequences: Any,
        targets: Any = None,
        *,
        future: Any = None,
        sample_weight: Any = None,
        by: Any = None,
        valid: Any = None,
        skip_nan: bool = False,
    ) -> Frames:
        """Frame one sequence or several.

        Arrays are not copied and keep their dtype. What belongs to the steps of several sequences
        is, like these, a list: one array for each. Beside groups of `by` it is one table: by the
        same columns where it has them, else row by row. Where both have dates, they are the same.

        Args:
            sequences: one sequence, or a list of sequences of unequal length: no frame crosses from
                one to the next. A sequence is an array `(steps,)` or `(steps, …)` of numbers, a
                string, a list of symbols or numbers, a pandas or polars DataFrame or Series. Dates
                of its index go strictly forward, within each group where there is a `by`; levels
                beside them tell groups apart, and are to be passed as it.
            targets: None for the sequence itself, or its `target_columns` where the framer has
                some; or values on the same clock (`targets[t]` belongs to step `t`), one array for
                each sequence; or the names or positions of columns of the sequence.
            future: values known ahead (calendar, prices, plans): an array `(steps,)` or `(steps,
                …)` on the same clock and at least as long; or the names or positions of columns of
                the sequence. Each frame then also carries the `horizon` rows at its target steps:
                `x` is a dict of "past" and "future".
            sample_weight: array `(steps,)`, weights of the target steps; or an array with one
                weight for each frame. Batches are then `(x, y, sample_weight)`. A Keras loss
                averages over the last axis of a target, so where that is the horizon, its steps
                share the mean of their weights; to weigh each, give the sequence a column axis,
                `(steps, 1)`, and pass `targets=[0]`.
            by: name of a column of a DataFrame, or several; or an array of labels, one a row. Rows
                that share it are a sequence, and must follow each other; no frame crosses from one
                to the next. The column is no feature. None: the framer's own `by`, of a table that
                has it. Of a list, each table is a sequence already, with one label: the columns
                that `by` names are left out, and sequences are called by their numbers.
            valid: bool array `(steps,)`. Leave out the frames that touch a step where it is False.
            skip_nan: bool. Leave out the frames that touch a NaN: in their input steps of the
                sequence, or in their target steps of targets, future or weights. A subsequence
                touches all from its first step to its last.

        Returns:
            Frames.

        Raises:
            ValueError: if a sequence is too short for a single frame, values are not on its clock,
                sequences differ in features, a table lacks one of the framer's `columns`, a symbol
                is unknown, a group comes back after another, or dates do not go forward or are
                not those of the sequence.
            TypeError: if something is no sequence.

        Example:

        >>> frames = SequenceFramer(2, horizon=2).frame([[1, 2, 3, 4, 5], [10, 20, 30, 40]])
        >>> frames.describe()
        1 2 -> 3 4
        2 3 -> 4 5
        10 20 -> 30 40
        >>> gaps = np.array([1.0, 2.0, np.nan, 4.0, 5.0, 6.0, 7.0])
        >>> SequenceFramer(2).frame(gaps, skip_nan=True).describe()
        4 5 -> 6
        5 6 -> 7
        >>> prices, holidays = np.arange(5), np.array([0, 0, 0, 1, 0, 1])
        >>> x, y = SequenceFramer(3).frame(prices, future=holidays)[0]
        >>> x["past"].ravel(), x["future"].ravel(), y
        (array([0, 1, 2]), array([1]), np.int64(3))
        """
        given = {
            "targets": targets,
            "future": future,
            "sample_weight": sample_weight,
            "valid": valid,
        }
        source, found = read_source(self, sequences, by=by, skip_nan=skip_nan, **given)
        own = vars(self)
        known = all(value is own[name] or value == own[name] for name, value in found.items())
        framer = self if known else self._with(**found)
        frames = Frames(framer, source, seed=self.seed)
        if not len(frames):
            raise ValueError(
                "No frame is left: each touches a step that is missing, as `skip_nan` or `valid` "
                f"has it. Received: {len(source.labels)} sequences. Fill the gaps, or shorten "
                "`sequence_length`."
            )
        return frames

    @cached_property
    def geometry(self) -> Geometry:
        """Which steps make a frame: `Windows`, `Prefixes` or `Subsequences`."""
        shared = self.sequence_length, self.horizon, self.gap, self.return_sequences
        if self.mode == "windows":
            return Windows(*shared, rate=self.sampling_rate, stride=self.sequence_stride)
        if self.mode == "prefixes":
            return Prefixes(*shared, min_length=self.min_length)
        return Subsequences(*shared, min_length=self.min_length, wrap=self.wrap)

    @property
    def pads(self) -> bool:
        """Whether frames can be shorter than `sequence_length` and are then filled up.

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(3).pads, SequenceFramer(3, mode="prefixes").pads
        (False, True)
        """
        return self.mode != "windows"

    @property
    def span(self) -> int:
        """Raw steps from the first to the last input step of a full frame.

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(3, sampling_rate=2).span
        5
        """
        return window_span(self.sequence_length, self.sampling_rate)

    @property
    def ahead(self) -> int:
        """Raw steps that a frame needs past its last input step.

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(3, horizon=2, gap=1).ahead
        3
        """
        return steps_ahead(self.gap, self.horizon)

    @property
    def least_steps(self) -> int:
        """Raw steps that a sequence needs to have a frame.

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(3, horizon=2).least_steps
        5
        """
        if self.wrap:
            return 1
        return (self.span if self.mode == "windows" else self.min_length) + self.ahead

    def count(self, steps: Any) -> Any:
        """Return how many frames (for subsequences: how many starts) a sequence of `steps` has.

        Args:
            steps: int, or int array. Length of the sequence.

        Returns:
            int, or int array.

        Example:

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(3).count(np.array([26, 3]))
        array([23,  0])
        """
        if self.mode == "windows":
            return count_windows(steps, self.span, self.sequence_stride, self.ahead)
        if self.wrap:
            return steps
        return count_prefixes(steps, self.min_length, self.ahead)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs, as JSON-safe values.

        >>> from seqframe import SequenceFramer
        >>> config = SequenceFramer(3, horizon=2).get_config()
        >>> config["sequence_length"], config["horizon"], config["vocabulary"]
        (3, 2, None)
        """
        config = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
            if name != "geometry"
        }
        config["vocabulary"] = None if self.vocabulary is None else self.vocabulary.get_config()
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SequenceFramer":
        """Make the framer that `get_config` described.

        Args:
            config: dict that `get_config` returned, before JSON or after it.

        Returns:
            SequenceFramer.

        Example:

        >>> from seqframe import SequenceFramer, Vocabulary
        >>> framer = SequenceFramer(3, horizon=2, vocabulary=Vocabulary("ABC"))
        >>> SequenceFramer.from_config(framer.get_config()) == framer
        True
        """
        vocabulary = config.get("vocabulary")
        if vocabulary is not None:
            config = {**config, "vocabulary": Vocabulary.from_config(vocabulary)}
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SequenceFramer) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((self.sequence_length, self.mode, self.layout, self.horizon, self.gap))

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that it was made with, without those that have their defaults."""
        defaults = SequenceFramer.__init__.__kwdefaults__ or {}
        given = {name: getattr(self, name) for name in defaults}
        changed = {name: value for name, value in given.items() if value != defaults[name]}
        return {"sequence_length": self.sequence_length, **changed}

    def __repr__(self) -> str:
        (_, length), *changed = self.settings.items()
        shown = [str(length), *(f"{name}={value!r}" for name, value in changed)]
        return f"SequenceFramer({', '.join(shown)})"

    def _repr_html_(self) -> str:
        from seqframe.framing.html import framer_html

        return framer_html(self)

    def _with(self, **changes: Any) -> "SequenceFramer":
        own = {name: value for name, value in vars(self).items() if name != "geometry"}
        return SequenceFramer(**{**own, **changes})
