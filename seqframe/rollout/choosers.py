"""What becomes of a model's output before it is fed back in: symbols are chosen, values are moved.

A chooser is a function of tensors in two parts, run inside the compiled rollout after each pass of
the model: `read(output, rows)` returns what it takes from the model's output, `(read, position,
extras) -> Choice` chooses. `extras` are tensors of its own that go from pass to pass.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from seqframe import backend
from seqframe.rollout.noise import ResidualNoise
from seqframe.samplers import BeamSampler, GreedySampler, Sampler


class Position(NamedTuple):
    """Where in a rollout a choice is made.

    Attributes:
        buffer: tensor `(rows, capacity, …)` of all that was given and generated before `target`.
        future: tensor `(rows, capacity, …)` of what is known ahead, or None.
        target: int tensor. The first place that is now chosen for.
        width: int tensor. The first place that is not of a prompt.
        due: bool tensor, or True. Whether the choice will be written, or is of a prompt's step.
        seed: keras.random.SeedGenerator.
    """

    buffer: Any
    future: Any
    target: Any
    width: Any
    due: Any
    seed: keras.random.SeedGenerator


class Choice(NamedTuple):
    """What comes next.

    Attributes:
        steps: tensor `(rows, horizon, …)`.
        rows: int tensor `(rows,)`: the row that each goes on from; None: its own.
        extras: list of tensors.
    """

    steps: Any
    rows: Any
    extras: list[Any]


class SymbolChooser:
    """Chooses ids from logits or probabilities.

    Args:
        sampler: function `(logits, seed) -> ids`, or a BeamSampler.
        from_logits: bool. Whether outputs are logits rather than probabilities.
        horizon: int. Steps that the model predicts at once.
        num_samples: int. Rows of each prompt.
        padding_id: int, an id that is never chosen, or None.
        processor: function `(logits, generated, step) -> logits`, or None.
        feedback: function `(ids, last_ids) -> next ids`, or None.
        stops: tuple of tuples of ids at which beams end.
        scored: bool. Whether log-probabilities are kept.
    """

    def __init__(
        self,
        sampler: Any,
        *,
        from_logits: bool,
        horizon: int = 1,
        num_samples: int = 1,
        padding_id: int | None = None,
        processor: Callable[..., Any] | None = None,
        feedback: Callable[[Any, Any], Any] | None = None,
        stops: tuple[tuple[int, ...], ...] = (),
        scored: bool = False,
    ):
        self.sampler, self.horizon, self.num_samples = sampler, horizon, num_samples
        self._from_logits, self._padding_id = from_logits, padding_id
        self._processor, self._feedback = processor, feedback
        self._stops, self._scored = stops, scored

    @property
    def draws(self) -> bool:
        """Whether anything is drawn at random."""
        return type(self.sampler) not in (GreedySampler, BeamSampler)

    @property
    def follows_beams(self) -> bool:
        """Whether several rows compete for each prompt."""
        return isinstance(self.sampler, BeamSampler)

    def begin(self, rows: int, capacity: int) -> list[np.ndarray]:
        """Return what `extras` begin with."""
        if self.follows_beams:
            # The beams of a prompt begin alike: all but the first would find the same again.
            is_first = np.arange(rows) % self.sampler.num_beams == 0
            return [np.where(is_first, 0, -np.inf).astype("float32"), np.zeros(rows, bool)]
        return [np.zeros((rows, capacity), "float32")] if self._scored else []

    def read(self, output: Any, rows: int) -> list[Any]:
        """Return logits `(rows * horizon, symbols)`, and where one is NaN; or the ids, where
        logits alone decide."""
        logits = _shaped(ops.cast(output, "float32"), rows * self.horizon, output.shape[-1])
        if not self._from_logits and not self._takes_any_scale:
            logits = ops.log(logits)
        if self._padding_id is not None:
            is_padding = ops.arange(logits.shape[-1]) == self._padding_id
            logits = ops.where(is_padding, -float("inf"), logits)
        is_broken = ops.any(ops.isnan(logits), axis=-1)
        if not self._output_decides:
            return [logits, is_broken]
        ids = ops.cast(self.sampler(logits, None), "int32")
        return [_shaped(ops.where(is_broken, -1, ids), rows, self.horizon)]

    def __call__(self, read: list[Any], at: Position, extras: list[Any]) -> Choice:
        """Return the ids chosen; -1 where a logit is NaN."""
        if self._output_decides:
            return Choice(read[0], None, extras)
        rows = at.buffer.shape[0]
        logits, is_broken = read
        if self._processor is not None:
            # Over a prompt's steps, whose choice is not written, nothing has been generated.
            step = ops.maximum(at.target - at.width, 0)
            logits = self._processor(logits, _generated(at), step)
        if self.follows_beams:
            return self._choose_beams(logits, is_broken, at, extras)
        ids = ops.cast(self._sample(logits, at.seed), "int32")
        if self._scored:
            likelihoods = ops.log_softmax(logits, axis=-1)
            found = ops.take_along_axis(likelihoods, ids[:, None], axis=-1)
            found = ops.reshape(found, (rows, self.horizon))
            extras = [backend.write_steps(extras[0], at.target, found, at.due)]
        steps = feed_back(_shaped(ids, rows, self.horizon), at, self._feedback)
        is_broken = _shaped(is_broken, rows, self.horizon)
        return Choice(ops.where(is_broken, -1, steps), None, extras)

    @property
    def _output_decides(self) -> bool:
        """Whether a step's choice depends on nothing but the model's output."""
        return self._takes_any_scale and self._feedback is None

    @property
    def _takes_any_scale(self) -> bool:
        """Whether probabilities do as well as their logarithms: for the likeliest symbol."""
        is_greedy = type(self.sampler) is GreedySampler
        return is_greedy and self._processor is None and not self._scored

    def _sample(self, logits: Any, seed: Any) -> Any:
        if not isinstance(self.sampler, Sampler) or not self.draws:
            return self.sampler(logits, seed)
        # Each prompt draws alike, as it would alone.
        each = self.num_samples * self.horizon
        return ops.reshape(
            self.sampler(ops.reshape(logits, (-1, each, logits.shape[-1])), seed), (-1,)
        )

    def _choose_beams(self, logits: Any, is_broken: Any, at: Position, extras: list[Any]) -> Choice:
        totals, finished = extras
        # NaN is not passed over for another beam: it is chosen, and seen.
        is_broken = is_broken & ~finished
        ids, rows, found = self.sampler.choose(
            ops.where(is_broken[:, None], 0.0, logits),
            ops.where(is_broken, float("inf"), totals),
            finished,
        )
        own = ops.arange(rows.shape[0], dtype=rows.dtype)
        rows = ops.where(at.due, rows, own)
        before = ops.take(at.buffer, rows, axis=0)
        finished = ops.take(finished, rows, axis=0)
        at = at._replace(buffer=before)
        steps = feed_back(ops.cast(ids, "int32")[:, None], at, self._feedback)
        steps = ops.where(ops.take(is_broken, rows, axis=0)[:, None], -1, steps)
        ends = _end_here(backend.write_steps(before, at.target, steps, at.due), at, self._stops)
        extras = [ops.where(at.due, found, totals), finished | (ends & at.due)]
        return Choice(steps, rows, extras)


def _shaped(tensor: Any, *shape: int) -> Any:
    """Return a tensor in a shape that it may have already, which costs PyTorch nothing then."""
    return tensor if tuple(tensor.shape) == shape else ops.reshape(tensor, shape)


def _generated(at: Position) -> Any:
    """Return what was generated so far, `(rows, capacity)`; -1 where nothing was yet."""
    places = ops.arange(at.buffer.shape[1])
    turned = ops.take(at.buffer, (places + at.width) % at.buffer.shape[1], axis=1)
    return ops.where(places < at.target - at.width, turned, -1)


def _end_here(buffer: Any, at: Position, stops: Sequence[Sequence[int]]) -> Any:
    """Return which rows end in one of `stops` with the step at the target."""
    found = ops.zeros((buffer.shape[0],), "bool")
    for stop in stops:
        begin = at.target - len(stop) + 1
        last = backend.read_steps(buffer, ops.maximum(begin, 0), len(stop))
        found = found | (ops.all(last == ops.convert_to_tensor(stop), axis=1) & (begin >= at.width))
    return found


class ValueChooser:
    """Takes real values as they are, or with noise.

    Args:
        horizon: int. Steps that the model predicts at once.
        num_samples: int. Rows of each history.
        row_shape: tuple of int. Shape of what is predicted of one step.
        noise: function `(prediction, seed) -> prediction`, or None.
        feedback: function `(prediction, last_input) -> next_input`, or None; or a `KnownColumns`.
    """

    def __init__(
        self,
        *,
        horizon: int,
        num_samples: int,
        row_shape: tuple[int, ...],
        noise: Callable[[Any, Any], Any] | None = None,
        feedback: Any = None,
    ):
        self.horizon, self.num_samples, self.row_shape = horizon, num_samples, row_shape
        self._noise, self._feedback = noise, feedback

    @property
    def draws(self) -> bool:
        """Whether anything is drawn at random."""
        return self._noise is not None

    def begin(self, rows: int, capacity: int) -> list[np.ndarray]:
        """Return what `extras` begin with: nothing."""
        return []

    def read(self, output: Any, rows: int) -> list[Any]:
        """Return the predictions `(rows, horizon, …)`."""
        return [_shaped(output, rows, self.horizon, *self.row_shape)]

    def __call__(self, read: list[Any], at: Position, extras: list[Any]) -> Choice:
        """Return the values of the next steps."""
        predicted = ops.cast(read[0], at.buffer.dtype)
        if isinstance(self._noise, ResidualNoise):
            predicted = self._noise.add(predicted, at.seed, self.num_samples)
        elif self._noise is not None:
            noisy = self._noise(predicted, at.seed)
            _check_shape("noise", noisy, predicted.shape)
            predicted = ops.cast(noisy, at.buffer.dtype)
        return Choice(feed_back(predicted, at, self._feedback), None, extras)


class KnownColumns:
    """Makes an input of predicted columns and of those known ahead.

    Args:
        targets: list of int. Where the predicted columns stand in an input.
        known: list of pairs of int: where a column stands in an input, and where in the future.
    """

    def __init__(self, targets: Sequence[int], known: Sequence[tuple[int, int]]):
        self.targets, self.known = list(targets), list(known)

    def __call__(self, prediction: Any, future: Any) -> Any:
        """Return the input of a step from its prediction and its future, both `(rows, columns)`."""
        columns = {place: prediction[:, k] for k, place in enumerate(self.targets)}
        if self.known:
            future = ops.cast(future, prediction.dtype)
            columns |= {place: future[:, k] for place, k in self.known}
        return ops.stack([columns[place] for place in range(len(columns))], axis=1)


def feed_back(predicted: Any, at: Position, feedback: Any) -> Any:
    """Return what is fed back in of predictions `(rows, horizon, …)`, one step after the other."""
    if feedback is None:
        return predicted
    horizon, steps = predicted.shape[1], []
    last = backend.read_steps(at.buffer, at.target - 1, 1)[:, 0]
    for k in range(horizon):
        if isinstance(feedback, KnownColumns):
            future = None
            if feedback.known:
                future = backend.read_steps(at.future, at.target + k, 1)[:, 0]
            last = feedback(predicted[:, k], future)
        else:
            last = feedback(predicted[:, k], last)
            _check_shape("feedback", last, (at.buffer.shape[0], *at.buffer.shape[2:]))
        steps.append(ops.cast(last, at.buffer.dtype))
    return ops.stack(steps, axis=1)


def _check_shape(name: str, value: Any, expected: Sequence[int]) -> None:
    """Raise if a function of the user's has returned something of another shape."""
    if tuple(value.shape) != tuple(expected):
        raise ValueError(
            f"`{name}` must return a tensor of shape {tuple(expected)} here. Received: shape "
            f"{tuple(value.shape)}."
        )
