"""Choosers: how a model's output becomes the next input, as a symbol or as a value.

A chooser runs inside the compiled rollout, after each pass of the model. Its parts are functions of
tensors. `extras` are tensors of its own that go from pass to pass.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
from keras import ops

from seqframe import backend
from seqframe.aliases import Shape, Tensor
from seqframe.processors import LogitsProcessor
from seqframe.rollout.functions import check_function, hashable, takes
from seqframe.rollout.noise import QuantileDraws, ResidualNoise
from seqframe.samplers import BeamSampler, GreedySampler, Sampler, Sampling

#: `(prediction, last_input) -> next_input`, of tensors.
Feedback = Callable[[Any, Any], Any]
#: `(logits, generated, step) -> logits`, of tensors; with an argument `ids`, all ids so far.
Processor = Callable[..., Any]
#: Processors, one after the other, and whether each sees the ids.
Processors = tuple[tuple[Processor, bool], ...]
#: `(prediction, seed) -> prediction`, of tensors; or errors or quantiles to draw from.
Noise = Callable[[Any, Any], Any] | ResidualNoise | QuantileDraws


# What is written in place of an id that cannot be chosen. The host looks for these.
NAN_OUTPUT = -1  # as `backend.likeliest` says it
NEGATIVE, NO_SCALE, NAN_PROCESSED, ALL_BANNED, BAD_SAMPLE, BAD_FEEDBACK = range(-7, -1)
#: How far a sum of probabilities may be from 1, by the dtype of the model's output.
_TOLERANCES = {"float16": 5e-3, "bfloat16": 3e-2}


class Position(NamedTuple):
    """The position of a choice in a rollout."""

    buffer: Tensor  # (rows, capacity, …), all steps given or generated before `target`
    future: Tensor  # (rows, capacity, …), future covariates; or None
    target: Tensor  # the first place to fill now
    width: Tensor  # the first place after the prompt
    due: Tensor  # whether the choice is written; over a prompt it is not
    lengths: Tensor  # (rows,), number of steps of each prompt
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

    sampling: Sampling
    from_logits: bool | None  # None: the values of the model's output tell
    horizon: int = 1
    num_samples: int = 1  # rows of each prompt
    padding_id: int | None = None  # never chosen
    processors: Processors = ()
    feedback: Feedback | None = None
    limit: int | None = None  # the ids that `feedback` may return are below it
    stops: tuple[tuple[int, ...], ...] = ()  # the ids at which beams end
    scored: bool = False  # whether log-probabilities are kept

    @property
    def sampler(self) -> Callable[..., Any]:
        return self.sampling.sampler

    @property
    def draws(self) -> bool:
        return type(self.sampler) not in (GreedySampler, BeamSampler)

    @property
    def calls_user(self) -> bool:
        known = isinstance(self.sampler, BeamSampler) or self._samples_rows
        theirs = [each for each, _ in self.processors if not isinstance(each, LogitsProcessor)]
        return not known or bool(theirs) or self.feedback is not None

    @property
    def is_brief(self) -> bool:
        return False  # its functions are arguments of the Generator

    @property
    def _samples_rows(self) -> bool:
        """Whether the sampler is one of ours, which chooses for each row by itself."""
        own = (Sampler.__call__, GreedySampler.__call__)
        return isinstance(self.sampler, Sampler) and type(self.sampler).__call__ in own

    @property
    def sees_ids(self) -> bool:
        """Whether a processor sees the whole prompt."""
        return any(sees_ids for _, sees_ids in self.processors)

    @property
    def takes_any_scale(self) -> bool:
        """Whether probabilities serve as well as their logarithms."""
        return type(self.sampler) is GreedySampler and not (self.processors or self.scored)

    @property
    def _output_decides(self) -> bool:
        """Whether the ids depend only on the model's output."""
        return self.takes_any_scale and self.feedback is None

    def begin(self, rows: int, capacity: int) -> list[np.ndarray]:
        if isinstance(self.sampler, BeamSampler):
            # The beams of a prompt begin alike, so only the first counts at first.
            is_first = np.arange(rows) % self.sampler.num_beams == 0
            return [np.where(is_first, 0, -np.inf).astype("float32"), np.zeros(rows, bool)]
        scores = [np.zeros((rows, capacity), "float32")] if self.scored else []
        return [*scores, *self.sampling.operands()]

    def read(self, output: Tensor, rows: int) -> list[Tensor]:
        """Return logits `(rows * horizon, symbols)` and what is wrong with each, 0 if nothing. If
        only the output decides, return the ids."""
        dtype = keras.backend.standardize_dtype(output.dtype)
        logits = _shaped(backend.cast(output, "float32"), rows * self.horizon, output.shape[-1])
        if not self._output_decides:
            logits, fault = self._as_logits(logits, _TOLERANCES.get(dtype, 1e-4))
        if self.padding_id is not None:
            is_padding = ops.arange(logits.shape[-1]) == self.padding_id
            logits = ops.where(is_padding, -float("inf"), logits)
        if self._output_decides:
            return [_shaped(backend.likeliest(logits, ALL_BANNED), rows, self.horizon)]
        return [logits, fault]

    def _as_logits(self, output: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
        """Return a model's output `(rows, symbols)` as logits, and what is wrong with each row.

        A row of probabilities is not negative, and its sum is 1. A row of logits has any values.
        """
        fault = ops.where(ops.any(ops.isnan(output), axis=-1), NAN_OUTPUT, 0)
        if self.from_logits or self.takes_any_scale:
            return output, fault
        is_negative = ops.any(output < -tolerance, axis=-1)
        logarithm = ops.log(ops.maximum(output, 0.0))
        if self.from_logits is False:
            return logarithm, _first_fault(fault, is_negative, NEGATIVE)
        has_sum = ops.abs(ops.sum(output, axis=-1) - 1) <= tolerance
        logits = ops.where((has_sum & ~is_negative)[:, None], logarithm, output)
        return logits, _first_fault(fault, ~has_sum & ~is_negative, NO_SCALE)

    def __call__(self, read: list[Tensor], at: Position, extras: list[Tensor]) -> Choice:
        """Return the chosen ids, or what is wrong with a row in their place."""
        if self._output_decides:
            return Choice(read[0], None, extras)
        rows = at.buffer.shape[0]
        logits, fault = read
        if self.processors:
            logits = self._processed(logits, at)
            fault = _first_fault(fault, ops.any(ops.isnan(logits), axis=-1), NAN_PROCESSED)
        is_banned = ops.all(logits == -float("inf"), axis=-1)
        if isinstance(self.sampler, BeamSampler):
            return self._choose_beams(self.sampler, logits, fault, is_banned, at, extras)
        fault = _first_fault(fault, is_banned, ALL_BANNED)
        ids = self._sample(logits, at.seed, extras[int(self.scored) :])
        if not self._samples_rows:
            fault = _first_fault(fault, (ids < 0) | (ids >= logits.shape[-1]), BAD_SAMPLE)
        if self.scored:
            likelihoods = ops.log_softmax(logits, axis=-1)
            found = ops.take_along_axis(likelihoods, ids[:, None], axis=-1)
            found = ops.reshape(found, (rows, self.horizon))
            extras = [backend.write_steps(extras[0], at.target, found, at.due), *extras[1:]]
        shape = rows, self.horizon
        steps, fault = self._fed_back(_shaped(ids, *shape), _shaped(fault, *shape), at)
        return Choice(ops.where(fault < 0, fault, steps), None, extras)

    def _processed(self, logits: Tensor, at: Position) -> Tensor:
        """Return the logits after each processor."""
        # Over a prompt's steps nothing has been generated: their choice is not written.
        step = ops.maximum(at.target - at.width, 0)
        generated = _generated(at)
        ids = _ids_so_far(at) if self.sees_ids else None
        for processor, sees_ids in self.processors:
            more = {"ids": ids} if sees_ids else {}
            processed = processor(logits, generated, step, **more)
            _check_shape("logits_processor", processed, logits.shape)
            logits = backend.cast(processed, "float32")
        return logits

    def _sample(
        self, logits: Tensor, seed: keras.random.SeedGenerator, operands: list[Tensor]
    ) -> Tensor:
        ids = self.sampling(logits, seed, operands)
        if not self._samples_rows:
            _check_shape("sampler", ids, logits.shape[:1])
            if "int" not in keras.backend.standardize_dtype(ids.dtype):
                raise TypeError(
                    "`sampler` must return ids of an integer dtype. Received: "
                    f"{keras.backend.standardize_dtype(ids.dtype)}."
                )
        return backend.cast(ids, "int32")

    def _fed_back(self, ids: Tensor, fault: Tensor, at: Position) -> tuple[Tensor, Tensor]:
        """Return the next inputs, and what is wrong with each."""
        steps = _feed_back(ids, at, self.feedback)
        if self.feedback is None:
            return steps, fault
        is_outside = steps < 0
        if self.limit is not None:
            is_outside = is_outside | (steps >= self.limit)
        return steps, _first_fault(fault, is_outside, BAD_FEEDBACK)

    def _choose_beams(
        self,
        sampler: BeamSampler,
        logits: Tensor,
        fault: Tensor,
        is_banned: Tensor,
        at: Position,
        extras: list[Tensor],
    ) -> Choice:
        totals, finished = extras
        # A beam with NaN is chosen, so that the NaN is seen. One without a symbol left is dropped.
        is_broken = (fault < 0) & ~finished
        is_dead = is_banned & ~finished
        ids, rows, found = sampler._choose(
            ops.where((is_broken | is_dead)[:, None], 0.0, logits),
            ops.where(is_broken, float("inf"), ops.where(is_dead, -float("inf"), totals)),
            finished,
        )
        # The best beam of a prompt comes first. It is dropped only if all are.
        best = ops.reshape(found, (-1, sampler.num_beams))[:, :1]
        all_dead = ops.repeat(best[:, 0] == -float("inf"), sampler.num_beams)
        fault = ops.where(ops.take(is_broken, rows, axis=0), ops.take(fault, rows, axis=0), 0)
        fault = _first_fault(fault, all_dead, ALL_BANNED)
        own = ops.arange(rows.shape[0], dtype=rows.dtype)
        rows = ops.where(at.due, rows, own)
        before = ops.take(at.buffer, rows, axis=0)
        finished = ops.take(finished, rows, axis=0)
        at = at._replace(buffer=before)
        steps, fault = self._fed_back(ops.cast(ids, "int32")[:, None], fault[:, None], at)
        steps = ops.where(fault < 0, fault, steps)
        ends = _end_here(backend.write_steps(before, at.target, steps, at.due), at, self.stops)
        extras = [ops.where(at.due, found, totals), finished | (ends & at.due)]
        return Choice(steps, rows, extras)


def check_processors(processor: Any) -> None:
    """Raise unless a `logits_processor` is a function, or a list of functions."""
    for each in processor if isinstance(processor, (list, tuple)) else [processor]:
        arguments = ("logits", "generated", "step")
        more = ("ids",) if callable(each) and takes(each, "ids") else ()
        check_function("logits_processor", each, *arguments, *more)


def chained(processor: Any) -> Processors:
    """Return a `logits_processor` of the user's as processors, one after the other."""
    if processor is None:
        return ()
    several = processor if isinstance(processor, (list, tuple)) else [processor]
    # What is compiled for a processor must not change with it.
    copies = [each.copied() if isinstance(each, LogitsProcessor) else each for each in several]
    return tuple((hashable(each), takes(each, "ids")) for each in copies)


@dataclass(frozen=True)
class ValueChooser:
    """Takes real values as they are, with noise, or drawn from a predicted distribution.

    A model that predicts a distribution gives several numbers for each value, its `parts`: its
    quantiles, or the parameters of the distribution.
    """

    horizon: int
    row_shape: Shape  # of a one-step prediction
    num_samples: int = 1  # rows of each history
    noise: Noise | None = None
    feedback: "Feedback | KnownColumns | None" = None
    parts: int | None = None  # None: the model predicts values
    median: int | None = None  # place of the median among the parts; None: no quantiles

    @property
    def draws(self) -> bool:
        return self.noise is not None

    @property
    def keeps(self) -> bool:
        """Whether all predicted quantiles are kept: `extras` has them."""
        return self.median is not None and not self.draws

    @property
    def calls_user(self) -> bool:
        return self.is_brief or not isinstance(self.feedback, KnownColumns | None)

    @property
    def is_brief(self) -> bool:
        return not isinstance(self.noise, ResidualNoise | QuantileDraws | None)

    def begin(self, rows: int, capacity: int) -> list[np.ndarray]:
        if self.keeps:
            shape = (rows, capacity, *self.row_shape, self.parts or 1)
            return [np.zeros(shape, keras.config.floatx())]
        return self.noise.operands() if isinstance(self.noise, ResidualNoise) else []

    def read(self, output: Tensor, rows: int) -> list[Tensor]:
        """Return the predictions `(rows, horizon, …)`, with a last axis of parts if there are."""
        parts = () if self.parts is None else (self.parts,)
        return [_shaped(output, rows, self.horizon, *self.row_shape, *parts)]

    def __call__(self, read: list[Tensor], at: Position, extras: list[Tensor]) -> Choice:
        """Return the values of the next steps."""
        predicted = backend.cast(read[0], at.buffer.dtype)
        if self.keeps:
            extras = [backend.write_steps(extras[0], at.target, predicted, at.due)]
        values = self._values(predicted, at, extras)
        return Choice(_feed_back(values, at, self.feedback), None, extras)

    def _values(self, predicted: Tensor, at: Position, extras: list[Tensor]) -> Tensor:
        """Return the values `(rows, horizon, …)` of a prediction."""
        noise, shape = self.noise, (predicted.shape[0], self.horizon, *self.row_shape)
        if isinstance(noise, QuantileDraws):
            return noise.draw(predicted, at.seed)
        if self.median is not None and isinstance(noise, ResidualNoise | None):
            predicted = predicted[..., self.median]
        if noise is None:
            return predicted
        if isinstance(noise, ResidualNoise):
            return noise.add(predicted, at.seed, *extras)
        if self.parts is None:
            return self._noisy(noise, predicted, at, shape)
        # A single value has no axis of its own beside its parameters.
        row = () if math.prod(self.row_shape) == 1 else self.row_shape
        given = _shaped(predicted, *shape[:2], *row, self.parts)
        return _shaped(self._noisy(noise, given, at, (*shape[:2], *row)), *shape)

    def _noisy(self, noise: Any, predicted: Tensor, at: Position, shape: Shape) -> Tensor:
        noisy = noise(predicted, at.seed)
        _check_shape("noise", noisy, shape)
        return backend.cast(noisy, at.buffer.dtype)


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


def _first_fault(fault: Tensor, is_wrong: Tensor, code: int) -> Tensor:
    """Return `fault` with `code` where a row is wrong and nothing was wrong before."""
    return ops.where((fault == 0) & is_wrong, code, fault)


def _shaped(tensor: Tensor, *shape: int) -> Tensor:
    """Return a tensor reshaped, if it has to be: under PyTorch the operation costs time."""
    return tensor if tuple(tensor.shape) == shape else ops.reshape(tensor, shape)


def _generated(at: Position) -> Tensor:
    """Return what was generated so far, `(rows, capacity)`; -1 where nothing was yet."""
    places = ops.arange(at.buffer.shape[1])
    turned = ops.take(at.buffer, (places + at.width) % at.buffer.shape[1], axis=1)
    return ops.where(places < at.target - at.width, turned, -1)


def _ids_so_far(at: Position) -> Tensor:
    """Return the ids of the prompt and what was generated, `(rows, capacity)`: the newest last,
    and -1 before the first."""
    places = ops.arange(at.buffer.shape[1])
    is_known = (places >= at.width - at.lengths[:, None]) & (places < at.target)
    known = ops.where(is_known, ops.maximum(at.buffer, -1), -1)
    known = ops.concatenate([ops.full_like(known, -1), known], axis=1)
    return backend.read_steps(known, at.target, at.buffer.shape[1])


def _end_here(buffer: Tensor, at: Position, stops: Sequence[Sequence[int]]) -> Tensor:
    """Return which rows end in one of `stops` with the step at the target."""
    found = ops.zeros((buffer.shape[0],), "bool")
    for stop in stops:
        begin = at.target - len(stop) + 1
        last = backend.read_steps(buffer, ops.maximum(begin, 0), len(stop))
        found = found | (ops.all(last == ops.convert_to_tensor(stop), axis=1) & (begin >= at.width))
    return found
