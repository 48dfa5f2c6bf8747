"""Choosers: how a model's output becomes the next input, as a symbol or as a value.

A chooser runs inside the compiled rollout, after each pass of the model. Its parts are functions of
tensors. `extras` are tensors of its own that go from pass to pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Union

import keras
import numpy as np
from keras import ops

from seqframe import backend
from seqframe.aliases import Shape, Tensor
from seqframe.samplers import BeamSampler, GreedySampler, Sampler

#: `(prediction, last_input) -> next_input`, of tensors.
Feedback = Callable[[Any, Any], Any]
#: `(logits, generated, step) -> logits`, of tensors.
Processor = Callable[[Any, Any, Any], Any]
#: `(prediction, seed) -> prediction`, of tensors; or errors to draw from.
Noise = Union[Callable[[Any, Any], Any], "ResidualNoise"]


class Position(NamedTuple):
    """The position of a choice in a rollout."""

    buffer: Tensor  # (rows, capacity, …), all steps given or generated before `target`
    future: Tensor  # (rows, capacity, …), future covariates; or None
    target: Tensor  # the first place to fill now
    width: Tensor  # the first place after the prompt
    due: Tensor  # whether the choice is written; over a prompt it is not
    seed: keras.random.SeedGenerator


class Choice(NamedTuple):
    """The next steps of each row."""

    steps: Tensor  # (rows, horizon, …)
    rows: Tensor  # (rows,), the row that each row continues; None: its own
    extras: list[Tensor]


class Chooser(Protocol):
    """Makes the next steps of a model's output."""

    @property
    def draws(self) -> bool: ...  # whether anything is drawn at random

    @property
    def num_samples(self) -> int: ...  # rows of each prompt

    @property
    def calls_user(self) -> bool: ...  # whether a function of the user's sees the rows

    @property
    def is_brief(self) -> bool: ...  # whether each call may bring a new one

    def begin(self, rows: int, capacity: int) -> list[np.ndarray]: ...  # the first `extras`

    def read(self, output: Tensor, rows: int) -> list[Tensor]: ...  # the parts that a choice needs

    def __call__(self, read: list[Tensor], at: Position, extras: list[Tensor]) -> Choice: ...


@dataclass(frozen=True)
class SymbolChooser:
    """Chooses ids from logits or probabilities."""

    sampler: Callable[..., Any]
    from_logits: bool
    horizon: int = 1
    num_samples: int = 1  # rows of each prompt
    padding_id: int | None = None  # never chosen
    processor: Processor | None = None
    feedback: Feedback | None = None
    stops: tuple[tuple[int, ...], ...] = ()  # the ids at which beams end
    scored: bool = False  # whether log-probabilities are kept

    @property
    def draws(self) -> bool:
        return type(self.sampler) not in (GreedySampler, BeamSampler)

    @property
    def calls_user(self) -> bool:
        known = isinstance(self.sampler, (Sampler, BeamSampler))
        return not known or self.processor is not None or self.feedback is not None

    @property
    def is_brief(self) -> bool:
        return False  # its functions are arguments of the Generator

    @property
    def _takes_any_scale(self) -> bool:
        """Whether probabilities serve as well as their logarithms."""
        return type(self.sampler) is GreedySampler and not (self.processor or self.scored)

    @property
    def _output_decides(self) -> bool:
        """Whether the ids depend only on the model's output."""
        return self._takes_any_scale and self.feedback is None

    def begin(self, rows: int, capacity: int) -> list[np.ndarray]:
        if isinstance(self.sampler, BeamSampler):
            # The beams of a prompt begin alike, so only the first counts at first.
            is_first = np.arange(rows) % self.sampler.num_beams == 0
            return [np.where(is_first, 0, -np.inf).astype("float32"), np.zeros(rows, bool)]
        return [np.zeros((rows, capacity), "float32")] if self.scored else []

    def read(self, output: Tensor, rows: int) -> list[Tensor]:
        """Return logits `(rows * horizon, symbols)` and whether one is NaN. If only the output
        decides, return the ids."""
        logits = _shaped(backend.cast(output, "float32"), rows * self.horizon, output.shape[-1])
        if not self.from_logits and not self._takes_any_scale:
            logits = ops.log(logits)
        if self.padding_id is not None:
            is_padding = ops.arange(logits.shape[-1]) == self.padding_id
            logits = ops.where(is_padding, -float("inf"), logits)
        if self._output_decides:
            return [_shaped(backend.likeliest(logits), rows, self.horizon)]
        return [logits, ops.any(ops.isnan(logits), axis=-1)]

    def __call__(self, read: list[Tensor], at: Position, extras: list[Tensor]) -> Choice:
        """Return the chosen ids; -1 if a logit is NaN."""
        if self._output_decides:
            return Choice(read[0], None, extras)
        rows = at.buffer.shape[0]
        logits, is_broken = read
        if self.processor is not None:
            # Over a prompt's steps nothing has been generated: their choice is not written.
            step = ops.maximum(at.target - at.width, 0)
            logits = self.processor(logits, _generated(at), step)
        if isinstance(self.sampler, BeamSampler):
            return self._choose_beams(self.sampler, logits, is_broken, at, extras)
        ids = backend.cast(self._sample(logits, at.seed), "int32")
        if self.scored:
            likelihoods = ops.log_softmax(logits, axis=-1)
            found = ops.take_along_axis(likelihoods, ids[:, None], axis=-1)
            found = ops.reshape(found, (rows, self.horizon))
            extras = [backend.write_steps(extras[0], at.target, found, at.due)]
        steps = _feed_back(_shaped(ids, rows, self.horizon), at, self.feedback)
        is_broken = _shaped(is_broken, rows, self.horizon)
        return Choice(ops.where(is_broken, -1, steps), None, extras)

    def _sample(self, logits: Tensor, seed: keras.random.SeedGenerator) -> Tensor:
        if not isinstance(self.sampler, Sampler) or not self.draws:
            return self.sampler(logits, seed)
        # A prompt draws the same numbers in a batch as by itself.
        each = self.num_samples * self.horizon
        logits = ops.reshape(logits, (-1, each, logits.shape[-1]))
        return ops.reshape(self.sampler(logits, seed), (-1,))

    def _choose_beams(
        self,
        sampler: BeamSampler,
        logits: Tensor,
        is_broken: Tensor,
        at: Position,
        extras: list[Tensor],
    ) -> Choice:
        totals, finished = extras
        # A beam with NaN is chosen, so that the NaN is seen.
        is_broken = is_broken & ~finished
        ids, rows, found = sampler._choose(
            ops.where(is_broken[:, None], 0.0, logits),
            ops.where(is_broken, float("inf"), totals),
            finished,
        )
        own = ops.arange(rows.shape[0], dtype=rows.dtype)
        rows = ops.where(at.due, rows, own)
        before = ops.take(at.buffer, rows, axis=0)
        finished = ops.take(finished, rows, axis=0)
        at = at._replace(buffer=before)
        steps = _feed_back(ops.cast(ids, "int32")[:, None], at, self.feedback)
        steps = ops.where(ops.take(is_broken, rows, axis=0)[:, None], -1, steps)
        ends = _end_here(backend.write_steps(before, at.target, steps, at.due), at, self.stops)
        extras = [ops.where(at.due, found, totals), finished | (ends & at.due)]
        return Choice(steps, rows, extras)


@dataclass(frozen=True)
class ValueChooser:
    """Takes real values as they are, or with noise."""

    horizon: int
    row_shape: Shape  # of a one-step prediction
    num_samples: int = 1  # rows of each history
    noise: "Noise | None" = None
    feedback: "Feedback | KnownColumns | None" = None

    @property
    def draws(self) -> bool:
        return self.noise is not None

    @property
    def calls_user(self) -> bool:
        return not (
            isinstance(self.noise, ResidualNoise | None)
            and isinstance(self.feedback, KnownColumns | None)
        )

    @property
    def is_brief(self) -> bool:
        return self.noise is not None

    def begin(self, rows: int, capacity: int) -> list[np.ndarray]:
        return []

    def read(self, output: Tensor, rows: int) -> list[Tensor]:
        """Return the predictions `(rows, horizon, …)`."""
        return [_shaped(output, rows, self.horizon, *self.row_shape)]

    def __call__(self, read: list[Tensor], at: Position, extras: list[Tensor]) -> Choice:
        """Return the values of the next steps."""
        predicted = backend.cast(read[0], at.buffer.dtype)
        if isinstance(self.noise, ResidualNoise):
            predicted = self.noise.add(predicted, at.seed, self.num_samples)
        elif self.noise is not None:
            noisy = self.noise(predicted, at.seed)
            _check_shape("noise", noisy, predicted.shape)
            predicted = backend.cast(noisy, at.buffer.dtype)
        return Choice(_feed_back(predicted, at, self.feedback), None, extras)


class ResidualNoise:
    """Errors of a model, drawn at random: the noise of a bootstrap.

    They have the shape `(errors, …)`, or `(errors, horizon, …)` to draw all errors of a block
    together.
    """

    def __init__(self, residuals: np.ndarray):
        self._residuals = residuals.copy()  # a compiled program keeps them

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ResidualNoise):
            return False
        return np.array_equal(self._residuals, other._residuals)

    def __hash__(self) -> int:
        return hash((self._residuals.shape, self._residuals.tobytes()))

    def add(self, predicted: Tensor, seed: keras.random.SeedGenerator, num_samples: int) -> Tensor:
        """Return predictions `(rows, horizon, …)` with errors drawn for them.

        Every `num_samples` rows get the same errors, so a history gets the same errors in a batch
        as by itself.
        """
        residuals = ops.convert_to_tensor(self._residuals, predicted.dtype)
        together = len(residuals.shape) == len(predicted.shape)
        shape = (num_samples,) if together else (num_samples, predicted.shape[1])
        drawn = keras.random.randint(shape, 0, residuals.shape[0], dtype="int32", seed=seed)
        errors = ops.take(residuals, drawn, axis=0)
        repeats = predicted.shape[0] // num_samples
        return predicted + ops.tile(errors, (repeats, *(1,) * (len(predicted.shape) - 1)))


class KnownColumns(NamedTuple):
    """Makes an input of predicted columns and of future covariates."""

    targets: tuple[int, ...]  # places of the predicted columns in an input
    known: tuple[tuple[int, int], ...]  # place of a column in an input, and in the future

    def join(self, prediction: Tensor, future: Tensor) -> Tensor:
        """Return the input of a step from its prediction and its future, both `(rows, columns)`."""
        columns = {place: prediction[:, k] for k, place in enumerate(self.targets)}
        if self.known:
            future = ops.cast(future, prediction.dtype)
            columns |= {place: future[:, k] for place, k in self.known}
        return ops.stack([columns[place] for place in range(len(columns))], axis=1)


def _feed_back(predicted: Tensor, at: Position, feedback: Feedback | KnownColumns | None) -> Tensor:
    """Return the next inputs of predictions `(rows, horizon, …)`, one step after the other."""
    if feedback is None:
        return predicted
    steps = []
    last = backend.read_steps(at.buffer, at.target - 1, 1)[:, 0]
    for k in range(predicted.shape[1]):
        if isinstance(feedback, KnownColumns):
            future = None
            if feedback.known:
                future = backend.read_steps(at.future, at.target + k, 1)[:, 0]
            last = feedback.join(predicted[:, k], future)
        else:
            last = feedback(predicted[:, k], last)
            _check_shape("feedback", last, (at.buffer.shape[0], *at.buffer.shape[2:]))
        steps.append(ops.cast(last, at.buffer.dtype))
    return ops.stack(steps, axis=1)


def _check_shape(name: str, value: Tensor, expected: Sequence[int]) -> None:
    """Raise if a function of the user's returned another shape."""
    if tuple(value.shape) != tuple(expected):
        raise ValueError(
            f"`{name}` must return a tensor of shape {tuple(expected)} here. Received: shape "
            f"{tuple(value.shape)}."
        )


def _shaped(tensor: Tensor, *shape: int) -> Tensor:
    """Return a tensor reshaped, if it has to be: under PyTorch the operation costs time."""
    return tensor if tuple(tensor.shape) == shape else ops.reshape(tensor, shape)


def _generated(at: Position) -> Tensor:
    """Return what was generated so far, `(rows, capacity)`; -1 where nothing was yet."""
    places = ops.arange(at.buffer.shape[1])
    turned = ops.take(at.buffer, (places + at.width) % at.buffer.shape[1], axis=1)
    return ops.where(places < at.target - at.width, turned, -1)


def _end_here(buffer: Tensor, at: Position, stops: Sequence[Sequence[int]]) -> Tensor:
    """Return which rows end in one of `stops` with the step at the target."""
    found = ops.zeros((buffer.shape[0],), "bool")
    for stop in stops:
        begin = at.target - len(stop) + 1
        last = backend.read_steps(buffer, ops.maximum(begin, 0), len(stop))
        found = found | (ops.all(last == ops.convert_to_tensor(stop), axis=1) & (begin >= at.width))
    return found
