"""Text: prompts to rows of ids, continued until a stop, and back to symbols."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from seqframe.framing.checks import each_name
from seqframe.framing.sequences import holds_symbols, split_sequences, to_array
from seqframe.framing.tables import check_unmasked
from seqframe.framing.vocabulary import Vocabulary
from seqframe.model.inspect import (
    check_classes,
    check_ids,
    check_prompt_length,
    context_steps,
    shortest_input,
)
from seqframe.rollout.choosers import (
    ALL_BANNED,
    BAD_FEEDBACK,
    BAD_SAMPLE,
    NAN_OUTPUT,
    NAN_PROCESSED,
    NEGATIVE,
    NO_SCALE,
    Feedback,
    Processors,
    SymbolChooser,
)
from seqframe.rollout.functions import hashable
from seqframe.rollout.loop import RolledModel, Run
from seqframe.rollout.prompts import GeneratorState, check_room, lay_out, warn_of_short
from seqframe.samplers import BeamSampler, Sampling

_FIRST_CHUNK = 32  # steps that run before the host looks for stops
_STREAM_CHUNK = 64  # steps that a stream runs ahead, at most
_PROGRESS_UPDATES = 20

#: Where generation stops: sequences of ids.
Stops = tuple[tuple[int, ...], ...]
#: Where a row's first stop begins and ends, or None.
Found = tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class Writer:
    """Rolls a model out over symbols."""

    rolled: RolledModel
    sampling: Sampling
    feedback: Feedback | None
    processors: Processors
    from_logits: bool | None
    seed: int
    is_reseeded: bool  # whether the seed is of this call, so that a state's does not count

    def generate(
        self,
        prompt: Any,
        steps: int,
        num_samples: int,
        stop: Any,
        include_prompt: bool,
        verbose: int,
        state: GeneratorState | None,
        return_state: bool,
        return_scores: bool,
    ) -> Any:
        """Return the continuations of prompts; see `Generator.generate`."""
        prompts, several, encoded, stops = self._read(prompt, stop, state is not None)
        rows = self._rows_of_each(num_samples, return_state or state is not None)
        check_room(len(encoded) * rows, steps)
        repeated = [ids for ids in encoded for _ in range(rows)]
        start = functools.partial(
            self._start, num_samples=rows, stops=stops, scored=return_scores, state=state
        )
        run = start(repeated, steps)
        bar = keras.utils.Progbar(steps, unit_name="symbol") if verbose else None
        found = _run_until_stops(run, steps, stops, bar)

        if self._follows_beams:
            _check_beams(run.extras()[0].reshape(-1, rows), num_samples)
        predicted = run.steps()
        ends = [end or (run.made, run.made) for end in found]
        results, scores = [], []
        for number, item in enumerate(prompts):
            for row in range(number * rows, number * rows + num_samples):
                ids = predicted[row, : ends[row][0]]
                ids = np.concatenate([encoded[number], ids]) if include_prompt else ids
                results.append(_decode_ids(ids, item, self._vocabulary))
                if return_scores:
                    scores.append(self._score(run, row, ends[row][1]))
        answer = [_nested(results, num_samples, several)]
        answer += [_nested(scores, num_samples, several)] if return_scores else []
        if return_state:
            after = self._state_after(run, repeated, [end for _, end in ends], start)
            if state is not None and not state.is_whole:
                after = replace(after, is_whole=False)
            answer.append(after)
        return tuple(answer) if len(answer) > 1 else answer[0]

    def stream(self, prompt: Any, steps: int, stop: Any) -> Iterator[Any]:
        """Return an iterator of the next symbols of prompts; see `Generator.stream`."""
        if self._follows_beams:
            raise ValueError(
                "Beams cannot be streamed: the best one is known at the end. Received: "
                f"sampler={self.sampling.sampler!r}. Use `generate`."
            )
        prompts, several, encoded, stops = self._read(prompt, stop)
        check_room(len(encoded), steps)
        run = self._start(encoded, steps, 1, stops)
        return self._streamed(run, steps, prompts, stops, several)

    @property
    def _vocabulary(self) -> Vocabulary | None:
        return self.rolled.framer.vocabulary

    @property
    def _follows_beams(self) -> bool:
        return isinstance(self.sampling.sampler, BeamSampler)

    @property
    def _sees_ids(self) -> bool:
        return any(sees_ids for _, sees_ids in self.processors)

    @property
    def _kept(self) -> int:
        """Number of last ids that a state keeps. If a processor sees them, it keeps all."""
        framer = self.rolled.framer
        return context_steps(framer, self.rolled.is_stepped) + framer.gap

    def _read(
        self, prompt: Any, stop: Any, has_state: bool = False
    ) -> tuple[list[Any], bool, list[np.ndarray], Stops]:
        """Return prompts, whether the user passed several, their ids, and the ids of the stops."""
        rolled, vocabulary = self.rolled, self._vocabulary
        if rolled.takes_future:
            raise ValueError(
                'Prompts are for models of one input. Received: a model that takes a "future". '
                "For real values, use `forecast`."
            )
        prompts, several = _split_prompts(prompt, vocabulary)
        encoded = [_encode_prompt(item, vocabulary) for item in prompts]
        check_classes(rolled.framer, rolled.outputs)
        hint = _list_hint(prompts) if several else ""
        for ids in encoded:
            check_ids(ids, vocabulary, rolled.outputs)
            if not has_state:
                check_prompt_length(len(ids), rolled.framer, rolled.is_stepped, hint=hint)
        encoded = [ids.astype(np.int32, copy=False) for ids in encoded]
        if not has_state:
            lengths, gap = [*map(len, encoded)], rolled.framer.gap
            called = functools.partial(each_name, "prompt", labels=len(encoded))
            warn_of_short(lengths, shortest_input(rolled.framer) + gap, called, stacklevel=5)
        return prompts, several, encoded, _encode_stops(stop, vocabulary)

    def _rows_of_each(self, num_samples: int, has_state: bool) -> int:
        """Return how many rows each prompt takes."""
        sampler = self.sampling.sampler
        if not isinstance(sampler, BeamSampler):
            return num_samples
        if num_samples > sampler.num_beams or has_state:
            raise ValueError(
                "Beams give at most `num_beams` samples, and take and return no `state`. Received: "
                f"num_samples={num_samples}, sampler={sampler!r}. Generate again from the "
                "best text."
            )
        return sampler.num_beams

    def _start(
        self,
        rows: list[np.ndarray],
        steps: int,
        num_samples: int,
        stops: Stops = (),
        scored: bool = False,
        state: GeneratorState | None = None,
    ) -> Run:
        if state is not None and not isinstance(state, GeneratorState):
            raise TypeError(
                "`state` must be a `GeneratorState`. Received: "
                f"{type(state).__name__}. Pass the state of `generate(…, return_state=True)`."
            )
        if state is not None and not self._fits(state, len(rows)):
            raise ValueError(
                "`state` must come from a generator like this one, with as many prompts and "
                f"samples. Received: a state of {len(state.tail)} rows with "
                f"{state.tail.shape[1]} steps. Here are {len(rows)} rows with {self._kept} steps."
            )
        if state is not None and self._sees_ids and not state.is_whole:
            raise ValueError(
                "`state` must hold all ids for a processor that sees them. Received: a state with "
                "the last ones only. Make it with the processor, too."
            )
        framer, vocabulary = self.rolled.framer, self._vocabulary
        choose = SymbolChooser(
            replace(self.sampling, sampler=hashable(self.sampling.sampler)),
            self.from_logits,
            horizon=framer.horizon,
            num_samples=num_samples,
            padding_id=None if vocabulary is None else vocabulary.padding_id,
            processors=self.processors,
            feedback=hashable(self.feedback),
            limit=None if vocabulary is None else len(vocabulary),
            # For other samplers the host looks for stops. Beams know their score.
            stops=stops if self._follows_beams else (),
            scored=scored and not self._follows_beams,
        )
        seed = self.seed if state is None or self.is_reseeded else state.seed
        stepped, whole = self.rolled.is_stepped, choose.sees_ids
        prompts = lay_out(rows, steps, framer, stepped, seed, state, whole=whole)
        return self.rolled.start(choose, prompts)

    def _fits(self, state: GeneratorState, rows: int) -> bool:
        """Whether a state has as many rows and steps as it must."""
        more = self._sees_ids and state.tail.shape[1] > self._kept
        return len(state.tail) == rows and (more or state.tail.shape[1] == self._kept)

    def _score(self, run: Run, row: int, end: int) -> float:
        found = run.extras()[0]
        if self._follows_beams:
            return float(found[row])
        first = run.prompts.width
        return float(found[row, first : first + end].sum())

    def _state_after(
        self, run: Run, rows: list[np.ndarray], ends: list[int], start: Callable[..., Run]
    ) -> GeneratorState:
        """Return the state after each row's stop; `start` begins a run as this one began."""
        drawn = run.prompts.drawn + max(ends)
        if min(ends) < run.made:
            # It ran past a stop, so the model reads the prompt and the continuation once more.
            predicted = run.steps()
            rows = [np.concatenate([row, predicted[k, : ends[k]]]) for k, row in enumerate(rows)]
            run = start(rows, 1)
            run.advance(0)
        known = run.prompts.lengths + run.made
        kept = max(known.max(), self._kept) if self._sees_ids else self._kept
        lengths, is_whole = np.minimum(known, kept), bool(kept >= known.max())
        tail, states = run.tail(kept), run.states()
        return GeneratorState(tail, lengths, states, run.prompts.seed, drawn, is_whole)

    def _streamed(
        self, run: Run, steps: int, prompts: list[Any], stops: Stops, several: bool
    ) -> Iterator[Any]:
        # Symbols that may begin a stop are held back until this is known.
        held = max(map(len, stops), default=1) - 1
        given, chunk = 0, 1
        while given < steps:
            found = _run_until_stops(run, min(run.made + chunk, steps), stops)
            chunk = min(2 * chunk, _STREAM_CHUNK)
            ids = run.steps()
            ends = [run.made if end is None else end[0] for end in found]
            is_over = run.made == steps or all(end is not None for end in found)
            ready = max(ends) if is_over else max(run.made - held, given)
            for number in range(given, ready):
                symbols = [
                    _decode_ids(row[number : number + 1], prompt, self._vocabulary)[0]
                    if number < end
                    else None
                    for row, end, prompt in zip(ids, ends, prompts, strict=True)
                ]
                yield symbols if several else symbols[0]
            given = ready
            if is_over:
                return


def _run_until_stops(
    run: Run, steps: int, stops: Stops, bar: keras.utils.Progbar | None = None
) -> list[Found]:
    """Run to `steps` steps, or until every row has a stop. Return where the stops are."""
    rows = run.prompts.buffer.shape[0]
    found: list[Found] = [None] * rows
    chunk = steps
    if stops:
        chunk = _FIRST_CHUNK
    elif bar is not None:
        chunk = max(-(-steps // _PROGRESS_UPDATES), _FIRST_CHUNK)
    while run.made < steps and not all(found):
        run.advance(min(chunk, steps - run.made))
        chunk = 2 * chunk if stops else chunk
        if bar is not None:
            bar.update(run.made)
        predicted = run.steps()
        if stops:
            found = [_first_stop(ids, stops) for ids in predicted]
        # What follows a stop is not part of the result, so its faults do not count.
        ends = np.array([run.made if stop is None else stop[1] for stop in found])
        predicted = np.where(np.arange(run.made) < ends[:, None], predicted, 0)
        if (predicted < 0).any():
            raise _error_of(predicted)
    if bar is not None:
        bar.update(steps, finalize=True)
    return found


def _check_beams(totals: np.ndarray, num_samples: int) -> None:
    """Raise if beams `(prompts, num_beams)` to return are no continuations: there are too few."""
    possible = np.isfinite(totals).sum(axis=1)
    if possible.min() < num_samples:
        prompt = int(possible.argmin())
        raise ValueError(
            f"`num_samples` must not exceed the continuations that are possible. Received: "
            f"num_samples={num_samples} for prompt {prompt}, which has {possible[prompt]}. Ask for "
            "fewer."
        )


# What is wrong with a choice: the rule, what was received, and the way out.
_FAULTS = {
    NAN_OUTPUT: (
        "The model's output must not be NaN.",
        "NaN",
        "Look at the model's weights: training may have diverged.",
    ),
    NEGATIVE: (
        "Probabilities must not be negative. The model's output is taken for probabilities.",
        "a negative output",
        "If it is logits, pass `from_logits=True` to the `Generator`.",
    ),
    NO_SCALE: (
        "`from_logits` must say whether the model's output is logits: its layers do not tell.",
        "an output that is not negative, and whose sum is not 1,",
        "Pass `from_logits=True` or `from_logits=False` to the `Generator`.",
    ),
    NAN_PROCESSED: (
        "The `logits_processor` must not return NaN.",
        "NaN",
        "To ban a symbol, set its logit to -inf.",
    ),
    ALL_BANNED: (
        "At least one symbol must be left to choose.",
        "logits that are all -inf",
        "Let the `logits_processor` or the model allow one.",
    ),
    BAD_SAMPLE: (
        "The `sampler` must return ids of the model's symbols.",
        "another id",
        "Return ids from 0 on, below `logits.shape[-1]`.",
    ),
    BAD_FEEDBACK: (
        "The `feedback` must return ids of the vocabulary.",
        "another id",
        "Return ids from 0 on, below `len(vocabulary)`.",
    ),
}


def _error_of(predicted: np.ndarray) -> ValueError:
    """Return the error of the earliest step at which no symbol could be chosen."""
    step, row = np.argwhere(predicted.T < 0)[0]
    rule, received, way_out = _FAULTS[int(predicted[row, step])]
    return ValueError(f"{rule} Received: {received} at step {step} of row {row}. {way_out}")


def _nested(items: list[Any], num_samples: int, several: bool) -> Any:
    """Return one item for each prompt and sample, nested as the user's prompts were."""
    if num_samples > 1:
        items = [items[k : k + num_samples] for k in range(0, len(items), num_samples)]
    return items if several else items[0]


def _split_prompts(prompt: Any, vocabulary: Vocabulary | None) -> tuple[list[Any], bool]:
    """Return the prompts that the user passed, and whether it was a list of several."""
    if not isinstance(prompt, (list, tuple)) or not len(prompt):
        return [prompt], False
    if all(isinstance(item, str) for item in prompt):
        words = vocabulary is not None and not vocabulary.is_text
        return ([prompt], False) if words else (list(prompt), True)
    parts = split_sequences(prompt, vocabulary)
    return parts, parts[0] is not prompt


def _list_hint(prompts: Sequence[Any]) -> str:
    """Return a hint for several prompts that may be meant as one."""
    if not all(isinstance(item, str) and len(item) == 1 for item in prompts):
        return ""
    shown = list(prompts) if len(prompts) <= 8 else "symbols"
    return f" A list of strings means several prompts. For one prompt pass `[{shown}]`."


def _encode_prompt(prompt: Any, vocabulary: Vocabulary | None) -> np.ndarray:
    """Return a prompt as ids."""
    if isinstance(prompt, (str, list, tuple)) and not len(prompt):
        return np.zeros(0, np.int32)
    ids = to_array(prompt, "prompt", vocabulary)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise ValueError(
            "`prompt` must be a string, a list of symbols, or a one-dimensional array of ids. "
            f"Received: an array of shape {ids.shape} and dtype {ids.dtype}. "
            "For real values, use `forecast`."
        )
    return ids


def _decode_ids(ids: np.ndarray, prompt: Any, vocabulary: Vocabulary | None) -> Any:
    """Return ids as the type that the prompt has."""
    # If prompts are lists of symbols, an empty list is an empty prompt.
    is_empty = isinstance(prompt, (list, tuple)) and not prompt
    words = is_empty and vocabulary is not None and not vocabulary.is_text
    if vocabulary is None or not (words or holds_symbols(prompt, vocabulary)):
        return ids.tolist() if isinstance(prompt, list) else ids
    symbols = vocabulary.decode(ids)
    return symbols if isinstance(prompt, str) else list(symbols)


def _encode_stops(stop: Any, vocabulary: Vocabulary | None) -> Stops:
    """Return the user's stops as tuples of ids."""
    if stop is None:
        return ()
    # A tuple may be a symbol.
    is_symbol = isinstance(stop, tuple) and vocabulary is not None and stop in vocabulary
    several = isinstance(stop, (list, tuple)) and not is_symbol
    stops = [_encode_stop(item, vocabulary) for item in (stop if several else [stop])]
    if not stops:
        raise ValueError("`stop` must name at least one symbol or string. Received: none.")
    return tuple(stops)


def _encode_stop(stop: Any, vocabulary: Vocabulary | None) -> tuple[int, ...]:
    check_unmasked(stop, "stop")
    if isinstance(stop, (set, dict)):
        raise TypeError(f"`stop` must be a symbol, an id, or a list of these. Received: {stop!r}.")
    is_id = isinstance(stop, (int, np.integer)) and not isinstance(stop, bool)
    if vocabulary is None or isinstance(stop, np.ndarray):
        ids = np.atleast_1d(stop)
    elif is_id and isinstance(vocabulary.symbols[0], str):
        ids = np.array([stop])
    elif isinstance(stop, str) and vocabulary.is_text:
        ids = to_array(stop, "stop", vocabulary)
    else:
        ids = to_array([stop], "stop", vocabulary)
    limit = np.iinfo(np.int32).max if vocabulary is None else len(vocabulary)
    is_valid = ids.ndim == 1 and ids.size and ids.dtype.kind in "iu"
    if not is_valid or (ids < 0).any() or (ids >= limit).any():
        raise ValueError(
            "`stop` must be symbols of the vocabulary, or ids in "
            f"0 … {limit - 1}: one, an array of several, or a list of these. Received: {stop!r}."
        )
    return tuple(ids.tolist())


def _first_stop(ids: np.ndarray, stops: Sequence[Sequence[int]]) -> Found:
    """Return the begin and end of the first stop in some ids, or None."""
    best: Found = None
    for stop in stops:
        if len(ids) < len(stop):
            continue
        windows = np.lib.stride_tricks.sliding_window_view(ids, len(stop))
        where = np.flatnonzero((windows == np.asarray(stop)).all(axis=1))
        if where.size:
            found = (int(where[0]), int(where[0]) + len(stop))
            # The stop that ends first counts. If two end together, the longer one counts.
            if best is None or (found[1], found[0]) < (best[1], best[0]):
                best = found
    return best
