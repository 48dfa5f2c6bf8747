"""Symbols: prompts continued, until a stop, in one go or as they come."""

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from seqframe.model.checks import check_classes, check_ids, check_prompt_length
from seqframe.model.context import context_steps
from seqframe.model.inputs import takes_future
from seqframe.rollout.choosers import SymbolChooser
from seqframe.rollout.loop import Run
from seqframe.rollout.prompts import (
    GeneratorState,
    decode_ids,
    encode_prompt,
    encode_stops,
    first_stop,
    lay_out,
    list_hint,
    split_prompts,
)
from seqframe.samplers import BeamSampler

if TYPE_CHECKING:
    from seqframe.rollout.generator import Generator

_FIRST_CHUNK = 32  # steps that run before it is looked whether a stop was generated
_STREAM_CHUNK = 64  # steps that a stream runs ahead, at most
_PROGRESS_UPDATES = 20


class Writer:
    """Rolls a generator's model out over symbols.

    Args:
        generator: Generator.
    """

    def __init__(self, generator: "Generator"):
        self.generator = generator
        self.framer, self.sampler = generator.framer, generator.sampler

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
        """Return what comes after prompts as the user is to see it; see `Generator.generate`."""
        prompts, several = split_prompts(prompt, self.framer.vocabulary)
        stops = encode_stops(stop, self.framer.vocabulary)
        encoded = [self._encoded(item, state, prompts if several else ()) for item in prompts]
        rows = self._samples_a_prompt(num_samples, return_state)
        repeated = [ids for ids in encoded for _ in range(rows)]
        run = self._start(repeated, steps, rows, stops, return_scores, state)
        bar = keras.utils.Progbar(steps, unit_name="symbol") if verbose else None
        found = _run_until_stops(run, steps, stops, bar)

        chosen = [p * rows + k for p in range(len(prompts)) for k in range(num_samples)]
        predicted = run.steps()
        ends = {r: found[r] or (predicted.shape[1],) * 2 for r in range(len(repeated))}
        results, scores = [], []
        for row in chosen:
            ids = predicted[row, : ends[row][0]]
            item = prompts[row // rows]
            ids = np.concatenate([encoded[row // rows], ids]) if include_prompt else ids
            results.append(decode_ids(ids, item, self.framer.vocabulary))
            if return_scores:
                scores.append(self._score(run, row, ends[row][1]))
        shape = functools.partial(_shaped, num_samples=num_samples, several=several)
        answer = [shape(results)]
        answer += [shape(scores)] if return_scores else []
        answer += (
            [self._state_after(run, repeated, ends, rows, stops, return_scores, state)]
            if return_state
            else []
        )
        return tuple(answer) if len(answer) > 1 else answer[0]

    def stream(self, prompt: Any, steps: int, stop: Any) -> Iterator[Any]:
        """Return an iterator of what comes after prompts; see `Generator.stream`."""
        if isinstance(self.sampler, BeamSampler):
            raise ValueError(
                "Beams cannot be streamed: which symbol is the best is known at the end. "
                f"Received: sampler={self.sampler!r}. Use `generate`."
            )
        prompts, several = split_prompts(prompt, self.framer.vocabulary)
        stops = encode_stops(stop, self.framer.vocabulary)
        encoded = [self._encoded(item, None, prompts if several else ()) for item in prompts]
        run = self._start(encoded, steps, 1, stops)
        return self._streamed(run, steps, prompts, stops, several)

    def _encoded(
        self, prompt: Any, state: GeneratorState | None, several: Sequence[Any]
    ) -> np.ndarray:
        """Return a prompt as ids; `several` are those that it is one of, if there are several."""
        if takes_future(self.generator.model):
            raise ValueError(
                "Prompts are continued by models of one input. Received: a model that takes a "
                '"future". For real values, use `forecast`.'
            )
        ids = encode_prompt(prompt, self.framer.vocabulary)
        check_classes(self.framer, self.generator.outputs)
        check_ids(ids, self.framer.vocabulary, self.generator.outputs)
        if state is None:
            hint = list_hint(several)
            check_prompt_length(len(ids), self.framer, self.generator.is_stepped, hint=hint)
        return ids

    def _samples_a_prompt(self, num_samples: int, return_state: bool) -> int:
        """Return how many rows each prompt takes."""
        if not isinstance(self.sampler, BeamSampler):
            return num_samples
        beams = self.sampler.num_beams
        if num_samples > beams:
            raise ValueError(
                "`num_samples` must not exceed the beams, of which it returns the best. Received: "
                f"num_samples={num_samples}, sampler={self.sampler!r}."
            )
        if return_state:
            raise ValueError(
                "`return_state` is not for beams, which go on in several ways. Received: "
                f"sampler={self.sampler!r}. Generate again from the text that was the best."
            )
        return beams

    def _start(
        self,
        rows: list[np.ndarray],
        steps: int,
        num_samples: int,
        stops: tuple[tuple[int, ...], ...] = (),
        scored: bool = False,
        state: GeneratorState | None = None,
    ) -> Run:
        if state is not None:
            self._check_state(state, len(rows))
        generator, vocabulary = self.generator, self.framer.vocabulary
        is_beam = isinstance(self.sampler, BeamSampler)
        options: dict[str, Any] = {
            "from_logits": generator.from_logits,
            "num_samples": num_samples,
            "processor": generator.logits_processor,
            "feedback": generator.feedback,
            # Others run beside the host's look at each chunk, and beams know their score.
            "stops": stops if is_beam else (),
            "scored": scored and not is_beam,
        }

        def chooser() -> SymbolChooser:
            padding_id = None if vocabulary is None else vocabulary.padding_id
            horizon = self.framer.horizon
            return SymbolChooser(self.sampler, horizon=horizon, padding_id=padding_id, **options)

        key = ("symbols", self.sampler, *options.values())
        seed = generator.draw_seed() if state is None else state.seed
        prompts = lay_out(rows, steps, self.framer, self.generator.is_stepped, seed, state)
        return generator.rollout(key, len(rows), chooser).start(prompts)

    def _check_state(self, state: Any, rows: int) -> None:
        if not isinstance(state, GeneratorState):
            raise TypeError(
                "`state` must be a `GeneratorState`, as `generate(…, return_state=True)` returns "
                f"it. Received: {type(state).__name__}."
            )
        if isinstance(self.sampler, BeamSampler):
            raise ValueError(
                "`state` is not for beams, which went on in several ways. Received: "
                f"sampler={self.sampler!r}. Generate again from the text that was the best."
            )
        if len(state.tail) != rows:
            raise ValueError(
                "`state` must be of as many prompts and samples as there are now. Received: a "
                f"state of {len(state.tail)} rows for {rows}."
            )
        if state.tail.shape[1] != self._kept:
            raise ValueError(
                "`state` must be of a generator like this one. Received: a state with "
                f"{state.tail.shape[1]} steps for a model that needs {self._kept}."
            )

    @property
    def _kept(self) -> int:
        """How many of the last ids a state keeps."""
        return context_steps(self.framer, self.generator.is_stepped) + self.framer.gap

    def _score(self, run: Run, row: int, end: int) -> float:
        found = run.extras()[0]
        if isinstance(self.sampler, BeamSampler):
            return float(found[row])
        first = run.prompts.width
        return float(found[row, first : first + end].sum())

    def _state_after(
        self,
        run: Run,
        rows: list[np.ndarray],
        ends: dict[int, tuple[int, int]],
        num_samples: int,
        stops: tuple[tuple[int, ...], ...],
        scored: bool,
        state: GeneratorState | None,
    ) -> GeneratorState:
        drawn = run.prompts.drawn + run.made
        if any(end < run.made for _, end in ends.values()):
            # It ran past a stop. So it is shown what it was given and has said once more.
            predicted = run.steps()
            rows = [np.concatenate([row, predicted[k, : ends[k][1]]]) for k, row in enumerate(rows)]
            drawn = run.prompts.drawn + max(end for _, end in ends.values())
            run = self._start(rows, 1, num_samples, stops, scored, state)
            run.advance(0)
        lengths = np.minimum(run.prompts.lengths + run.made, self._kept)
        return GeneratorState(run.tail(self._kept), lengths, run.states(), run.prompts.seed, drawn)

    def _streamed(
        self,
        run: Run,
        steps: int,
        prompts: list[Any],
        stops: tuple[tuple[int, ...], ...],
        several: bool,
    ) -> Iterator[Any]:
        # What may be the beginning of a stop is held back until it is known.
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
                    self._symbol(row[number], prompt) if number < end else None
                    for row, end, prompt in zip(ids, ends, prompts, strict=True)
                ]
                yield symbols if several else symbols[0]
            given = ready
            if is_over:
                return

    def _symbol(self, symbol: Any, prompt: Any) -> Any:
        return decode_ids(np.array([symbol]), prompt, self.framer.vocabulary)[0]


def _run_until_stops(
    run: Run, steps: int, stops: tuple[tuple[int, ...], ...], bar: Any = None
) -> list[tuple[int, int] | None]:
    """Run to so many steps, or until every row has generated a stop; return where they did.

    Raises:
        ValueError: if a logit is NaN.
    """
    rows = run.prompts.buffer.shape[0]
    found: list[tuple[int, int] | None] = [None] * rows
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
        if (predicted < 0).any():
            row, step = np.argwhere(predicted < 0)[0]
            raise ValueError(
                f"The model's output is NaN. Received: that at step {step} of row {row}. Look at "
                "its weights: training may have diverged."
            )
        if stops:
            found = [first_stop(ids, stops) for ids in predicted]
    if bar is not None:
        bar.update(steps, finalize=True)
    return found


def _shaped(items: list[Any], num_samples: int, several: bool) -> Any:
    """Return one item for each prompt and sample as the user's prompts were nested."""
    if num_samples > 1:
        items = [items[k : k + num_samples] for k in range(0, len(items), num_samples)]
    return items if several else items[0]
