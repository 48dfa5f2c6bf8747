"""SequenceFramer: the rule that turns sequences into frames."""

import numbers
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, get_args

import numpy as np

from seqframe.aliases import Layout, Mode, Padding
from seqframe.framing.checks import check_choice, check_integer
from seqframe.framing.frames import Frames
from seqframe.framing.geometry import Geometry, Prefixes, Subsequences, Windows
from seqframe.framing.html import html_table
from seqframe.framing.left_out import LeftOut, warn_of_left_out
from seqframe.framing.newest import newest_frames, no_targets
from seqframe.framing.reading import read_source
from seqframe.framing.tables import check_names, check_targets
from seqframe.framing.vocabulary import Vocabulary


class SequenceFramer:
    """Turns sequences into frames: an input window and its target, `[samples, steps, features]`.

    `frame` applies this rule and returns `Frames`, which copy nothing until you ask for a batch. A
    `Generator` takes the same framer, so that the model sees inputs as in training.

    Args:
        sequence_length: int ≥ 1. Steps of an input. Prefixes and subsequences: steps of the longest
            input.
        mode: "windows": every window that fits. "prefixes": everything up to each step, padded.
            "subsequences": random stretches of random length, padded.
        layout: "timesteps": `(n, length, features)`. "features": the window as one time step,
            `(n, 1, length * features)`. "tokens": `(n, length)`, for an `Embedding`. "flat":
            `(n, length * features)`, for a `Dense` layer and for scikit-learn.
        horizon: int ≥ 1. Target steps of a frame.
        gap: int ≥ -1. Steps between the last input step and the first target step. With -1 the last
            input step is the first target step.
        return_sequences: bool. Give every input step a target, for RNNs with
            `return_sequences=True`.
        sequence_stride: int ≥ 1. Windows: steps from the start of a window to the next start.
        sampling_rate: int ≥ 1. Windows: raw steps from one step of a window to the next.
        min_length: int ≥ 1. Length of the shortest input. Windows: if it is less than
            `sequence_length`, each sequence begins with padded windows, and the first one has so
            many steps. None: `sequence_length` for windows, else 1.
        num_samples: int ≥ 1. Subsequences: how many to draw.
        wrap: bool. Subsequences: treat the sequence as a cycle: its start follows its end.
        padding: "pre" | "post". The side of a short input that is padded.
        padding_value: number. The value of padding.
        pad_end: bool. Windows: frame the last steps of a sequence too if they fill no window. This
            window is padded at its end. With `return_sequences=True`, frames have sample weights.
            At padding these are 0, and so are the targets.
        vocabulary: Vocabulary. Encodes strings and lists of symbols. None: `frame` collects the
            symbols, and `frames.framer` has the vocabulary.
        seed: int ≥ 0. Subsequences: seed of the draws; None draws one.
        columns: list of str. Feature columns of a table, in this order. None: all columns;
            `frames.framer` has their names. A `Generator` reads these columns from its tables.
        future_columns: list of str. Names of the future covariates, in this order.
        target_columns: str, or list of str. Target columns, if `frame` gets no `targets`. A
            `Generator` takes them as the columns that its model predicts. With a str, targets have
            no axis of columns.
        by: str, or list of str. Columns that say which sequence a row belongs to. See `by` of
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

    padding_value: float
    pad_end: bool
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
        min_length: int | None = None,
        num_samples: int | None = None,
        wrap: bool = False,
        padding: Padding = "pre",
        padding_value: float = 0,
        pad_end: bool = False,
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
        self.min_length = None if min_length is None else check_integer("min_length", min_length, 1)
        self.num_samples = (
            None if num_samples is None else check_integer("num_samples", num_samples, 1)
        )
        self.wrap = bool(wrap)
        self.padding = check_choice("padding", padding, get_args(Padding))
        if not isinstance(padding_value, numbers.Real):
            raise TypeError(
                f"`padding_value` must be a number. Received: padding_value={padding_value!r}."
            )
        # JSON knows only Python's numbers.
        is_numpy = isinstance(padding_value, np.generic)
        self.padding_value = padding_value.item() if is_numpy else padding_value
        self.pad_end = bool(pad_end)
        if vocabulary is not None and not isinstance(vocabulary, Vocabulary):
            raise TypeError(
                "`vocabulary` must be a `Vocabulary`. Received: "
                f"{type(vocabulary).__name__}. Make one with `Vocabulary(symbols)`."
            )
        self.vocabulary = vocabulary
        self.seed = None if seed is None else check_integer("seed", seed, 0)
        self.columns = check_names("columns", columns)
        self.future_columns = check_names("future_columns", future_columns)
        self.target_columns = check_targets(target_columns)
        self.by = check_names("by", [by] if isinstance(by, str) else by)
        self._check_mode()

    def _check_mode(self) -> None:
        reach = self.sampling_rate * self.sequence_length + abs(self.gap) + self.horizon
        if reach + self.sequence_stride >= 2**62:
            raise ValueError(
                "A frame must span fewer than 2**62 steps, by `sequence_length`, `sampling_rate`, "
                f"`gap`, `horizon` and `sequence_stride`. Received: {reach + self.sequence_stride}."
            )
        if self.min_length is not None and self.min_length > self.sequence_length:
            raise ValueError(
                "`min_length` must not exceed `sequence_length`. Received: "
                f"min_length={self.min_length}, sequence_length={self.sequence_length}."
            )
        if self.mode == "subsequences" and self.num_samples is None:
            raise ValueError(
                '`mode="subsequences"` needs `num_samples`, how many to draw. '
                "Received: num_samples=None."
            )
        windows: dict[str, Any] = {"sequence_stride": 1, "sampling_rate": 1, "pad_end": False}
        subsequences: dict[str, Any] = {"num_samples": None, "wrap": False, "seed": None}
        foreign = {
            "windows": subsequences,
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

        Arrays keep their dtype and are not copied. For a list of sequences, the other arguments are
        lists too, with one array for each sequence. With `by`, each of them is one table. If it has
        the columns of `by`, it is matched by group, else row by row. If both tables have dates, the
        dates must be equal.

        Args:
            sequences: one sequence, or a list of sequences of any lengths, or a dict of them by
                their names. With a dict, the other arguments are dicts too. No frame crosses
                from one sequence to the next. A sequence is an array `(steps,)` or `(steps, …)` of
                numbers, a string, or a list of symbols or numbers. It may be a DataFrame or Series
                of pandas, polars, PyArrow or another library that narwhals reads. Dates in a pandas
                index must rise; with `by`, within each group. If the index has other levels, pass
                one table for each group.
            targets: values aligned with the sequence: `targets[t]` belongs to step `t`. Or names or
                positions of columns of the sequence. None: the framer's `target_columns`, else the
                sequence itself.
            future: future covariates, such as a calendar, prices or plans. An array `(steps,)` or
                `(steps, …)` aligned with the sequence, and at least as long. Or names or positions
                of columns of the sequence. Each frame then has the `horizon` rows at its target
                steps, and `x` is a dict of "past" and "future".
            sample_weight: array `(steps,)`, weights of the target steps; or an array with one
                weight for each frame. Batches are then `(x, y, sample_weight)`. The steps of a
                horizon share the mean of their weights, because a Keras loss averages over the last
                axis. To weigh each step, frame `(steps, 1)` and pass `targets=[0]`.
            by: name of a column of a DataFrame, or several names; or an array with a label for each
                row. Rows with the same label make a sequence, and must follow each other. The
                columns of `by` are not features. None: the framer's own `by`, if the table has it.
                Each table of a list is one sequence.
            valid: bool array `(steps,)`. Leave out frames that touch a step that is False here.
            skip_nan: bool. Leave out frames with a NaN in their inputs, targets, future or weights.
                For a subsequence, all steps from its first to its last count.

        Raises:
            ValueError: if no sequence is long enough for a frame, or a length does not fit. If a
                column or symbol is unknown. If dates do not rise.
            TypeError: if an argument is of the wrong type.

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
        source, found, hint = read_source(
            self,
            sequences,
            targets=targets,
            future=future,
            sample_weight=sample_weight,
            valid=valid,
            by=by,
            skip_nan=skip_nan,
        )
        own = self._arguments()
        known = all(value is own[name] or value == own[name] for name, value in found.items())
        framer = self if known else self._with(**found)
        frames = Frames(framer, source, seed=self.seed)
        if not len(frames):
            raise ValueError(
                "No frame is left: `skip_nan` or `valid` leaves all out. Received: missing steps "
                f"in {len(source.labels)} sequences. Fill them, or shorten `sequence_length`."
            )
        counts = frames._counts
        if counts.all():
            return frames
        short, missing, _ = frames.left_out
        left_out = LeftOut(short, missing)
        warn_of_left_out(left_out, len(counts), self.geometry, hint, stacklevel=2)
        kept = replace(source.select(np.flatnonzero(counts)), left_out=left_out)
        return Frames(framer, kept, seed=self.seed)

    def newest(self, sequences: Any, *, future: Any = None, by: Any = None) -> Frames:
        """Frame the newest window of each sequence, to predict targets that have not come yet.

        The inputs end with the last step. The targets are NaN: they need not be in the table.
        `predict(model, newest, as_table=True)` says which series and dates the predictions are for.

        Args:
            sequences: as in `frame`.
            future: future covariates, as in `frame`, up to the last target step.
            by: as in `frame`.

        Returns:
            Frames, one for each sequence that is long enough for a window.

        Raises:
            ValueError: if no sequence is long enough, or `future` ends too early.

        Example:

        >>> framer = SequenceFramer(3, columns=["heat"], target_columns="alarm", by="plant")
        >>> import pandas
        >>> today = pandas.DataFrame({"plant": [*"aaaabbb"], "heat": [1, 2, 3, 4, 7, 8, 9]})
        >>> newest = framer.newest(today)
        >>> newest.describe()
        [2] [3] [4] -> nan
        [7] [8] [9] -> nan
        >>> newest.labels()
        array(['a', 'b'], dtype='<U1')
        """
        each_step = SequenceFramer(
            1,
            layout=self.layout,
            gap=-1,
            vocabulary=self.vocabulary,
            columns=self.columns,
            future_columns=self.future_columns,
            by=self.by,
        )
        source, found, _ = read_source(
            each_step,
            sequences,
            targets=no_targets(sequences, self.vocabulary),
            future=future,
            sample_weight=None,
            valid=None,
            by=by,
            skip_nan=False,
        )
        found["target_columns"] = self.target_columns
        if self.mode == "windows":
            # Short inputs may end anywhere. Others are windows of their own, whatever the stride.
            stride = 1 if self.geometry.pads_start else self.sequence_stride
            every = self._with(**found, sequence_stride=stride, pad_end=False)
        else:  # a random subsequence ends anywhere
            unset = {"num_samples": None, "wrap": False, "seed": None}
            every = self._with(**found, mode="prefixes", **unset)
        return newest_frames(every, source)

    @cached_property
    def geometry(self) -> Geometry:
        """Which steps make a frame: `Windows`, `Prefixes` or `Subsequences`."""
        kinds = {"windows": Windows, "prefixes": Prefixes, "subsequences": Subsequences}
        return kinds[self.mode](
            sequence_length=self.sequence_length,
            horizon=self.horizon,
            gap=self.gap,
            return_sequences=self.return_sequences,
            padding=self.padding,
            rate=self.sampling_rate,
            stride=self.sequence_stride,
            min_length=self.min_length,
            wrap=self.wrap,
            num_samples=self.num_samples,
            pad_end=self.pad_end,
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as JSON-safe values for `from_config`.

        >>> from seqframe import SequenceFramer
        >>> config = SequenceFramer(3, horizon=2).get_config()
        >>> config["sequence_length"], config["horizon"], config["vocabulary"]
        (3, 2, None)
        """
        config = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self._arguments().items()
        }
        config["vocabulary"] = None if self.vocabulary is None else self.vocabulary.get_config()
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SequenceFramer":
        """Make the framer whose `get_config` returned `config`.

        Raises:
            ValueError: if an argument is unknown or out of its range, or `sequence_length` is
                missing.
            TypeError: if `config` or an argument is of the wrong type.

        Example:

        >>> from seqframe import SequenceFramer, Vocabulary
        >>> framer = SequenceFramer(3, horizon=2, vocabulary=Vocabulary("ABC"))
        >>> SequenceFramer.from_config(framer.get_config()) == framer
        True
        """
        names = ["sequence_length", *(SequenceFramer.__init__.__kwdefaults__ or {})]
        if not isinstance(config, dict):
            raise TypeError(
                "`config` must be a dict that `get_config` returned. Received: "
                f"{type(config).__name__}."
            )
        unknown = [name for name in config if name not in names]
        if unknown or "sequence_length" not in config:
            fault = f"the unknown names {unknown}" if unknown else "none of that name"
            raise ValueError(
                "`config` must have the arguments of a `SequenceFramer`, `sequence_length` among "
                f"them. Received: {fault}. Pass what `get_config` returned."
            )
        vocabulary = config.get("vocabulary")
        if vocabulary is not None:
            config = {**config, "vocabulary": Vocabulary.from_config(vocabulary)}
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SequenceFramer) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((self.sequence_length, self.mode, self.layout, self.horizon, self.gap))

    def __repr__(self) -> str:
        (_, length), *changed = self._settings().items()
        shown = [str(length), *(f"{name}={value!r}" for name, value in changed)]
        return f"SequenceFramer({', '.join(shown)})"

    def _repr_html_(self) -> str:
        return html_table("SequenceFramer", self._settings().items())

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments that it was made with, by name."""
        names = ("sequence_length", *(SequenceFramer.__init__.__kwdefaults__ or {}))
        return {name: getattr(self, name) for name in names}

    def _settings(self) -> dict[str, Any]:
        """Return the arguments that differ from their defaults."""
        defaults = SequenceFramer.__init__.__kwdefaults__ or {}
        return {
            name: value
            for name, value in self._arguments().items()
            if name not in defaults or value != defaults[name]
        }

    def _with(self, **changes: Any) -> "SequenceFramer":
        return SequenceFramer(**{**self._arguments(), **changes})
