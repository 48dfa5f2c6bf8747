"""Generator: a model's predictions fed back in, as text or as a forecast."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from seqframe.checks import check_framer, declared_shape
from seqframe.framer import SequenceFramer
from seqframe.order import random_seed
from seqframe.rollout import Rollout, context_steps, least_steps
from seqframe.samplers import get_sampler, outputs_probabilities
from seqframe.sequences import holds_symbols, split_sequences, to_array
from seqframe.state import stateful_layers
from seqframe.windows import check_integer

# Programs are compiled for these sizes and their doubles, not for each prompt and step count.
_LEAST_ROOM = 64
_LEAST_WIDTH = 16


class Generator:
    """Feeds a model's predictions back in: symbols or real values, step by step, in one program.

    Any Keras model that maps a frame to a target can roll out: a stateless one through its window,
        a
    stateful one through its state, primed with the prompt, whatever batch size it was trained with.
    The model itself, its weights and its state are left as they are.

    Args:
        model: keras.Model, built.
        framer: SequenceFramer that framed the training data; `frames.framer` has the vocabulary
            too. None: single steps for a stateful model, else windows as long as the model's input.
        sampler: "greedy", "random", or a function `(logits, seed) -> ids` (see
            `seqframe.samplers`).
        from_logits: bool. Whether the model's outputs are logits rather than probabilities. None:
            told by its last layer, probabilities if that is a softmax.
        seed: int ≥ 0. Of random samplers: the same seed gives the same symbols. None draws one
            for each call.

    Raises:
        ValueError: if the model is not built, its framer does not fit it, or the sampler does not
            exist.

    Example:

    >>> import keras
    >>> from seqframe import Generator, SequenceFramer, fit
    >>> frames = SequenceFramer(2).frame("ABCABCABCABC")
    >>> model = keras.Sequential([
    ...     keras.Input((2, 1)), keras.layers.LSTM(8), keras.layers.Dense(3, activation="softmax"),
    ... ])
    >>> model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    >>> _ = fit(model, frames, epochs=100, verbose=0, seed=7)
    >>> Generator(model, frames.framer).generate("AB", 7)
    'CABCABC'
    """

    def __init__(
        self,
        model: keras.Model,
        framer: SequenceFramer | None = None,
        *,
        sampler: Any = "greedy",
        from_logits: bool | None = None,
        seed: int | None = None,
    ):
        if not isinstance(model, keras.Model):
            raise TypeError(f"`model` must be a `keras.Model`. Received: {type(model).__name__}.")
        if not model.built:
            raise ValueError(
                f"`model` must be built. Received: {model.name!r}, which is not. "
                "Train it, or call it on one batch."
            )
        self.model = model
        self._stateful = bool(stateful_layers(model))
        if framer is not None and not isinstance(framer, SequenceFramer):
            raise TypeError(
                f"`framer` must be a `SequenceFramer`. Received: {type(framer).__name__}."
            )
        self.framer = _default_framer(model) if framer is None else framer
        check_framer(model, self.framer, self._stateful)
        self.sampler = get_sampler(sampler)
        self.from_logits = not outputs_probabilities(model) if from_logits is None else from_logits
        self.seed = None if seed is None else check_integer("seed", seed, 0)
        self._rollouts: dict[Any, Rollout] = {}

    def generate(
        self, prompt: Any, steps: int, *, num_samples: int = 1, include_prompt: bool = False
    ) -> Any:
        """Continue a prompt symbol by symbol.

        Args:
            prompt: str, list of symbols, or int array `(steps,)` of ids; or a list of prompts, of
                any lengths, each of which gives what it would give alone. Where the framer pads, a
                short prompt is padded and a long one keeps its last `sequence_length` steps;
                where it does not, a stateless model needs `sequence_length` steps.
            steps: int ≥ 1. Symbols to generate.
            num_samples: int ≥ 1. Continuations of each prompt.
            include_prompt: bool. Begin what is returned with the prompt.

        Returns:
            str for a str, list of symbols for a list, int array of ids for an array; a list of
            these for a list of prompts, and for each prompt a list of these if `num_samples > 1`.

        Raises:
            ValueError: if a prompt is empty, too short, or has an unknown symbol; if the model's
                output is not one value for each symbol.
        """
        steps = check_integer("steps", steps, 1)
        num_samples = check_integer("num_samples", num_samples, 1)
        prompts, several = _split_prompts(prompt, self.framer.vocabulary)
        self._check_classes()
        encoded = [self._encode(item) for item in prompts]
        repeated = [ids for ids in encoded for _ in range(num_samples)]
        predicted = self._roll(np.int32, repeated, steps)
        results = []
        for number, item in enumerate(prompts):
            rows = predicted[number * num_samples : (number + 1) * num_samples]
            if include_prompt:
                rows = [np.concatenate([encoded[number], row]) for row in rows]
            decoded = [self._decode(row, item) for row in rows]
            results.append(decoded if num_samples > 1 else decoded[0])
        return results if several else results[0]

    def forecast(self, history: Any, steps: int) -> np.ndarray:
        """Continue a sequence of real values.

        Args:
            history: array `(length,)` or `(length, features)`, or what a framer takes as one
                sequence of numbers.
            steps: int ≥ 1. Steps to forecast.

        Returns:
            float array `(steps,)` or `(steps, features)`.

        Raises:
            ValueError: if the history is too short, or the model does not predict all its features.
        """
        steps = check_integer("steps", steps, 1)
        values = to_array(history, "history").astype(keras.config.floatx(), copy=False)
        self._check_values(values)
        return self._roll(values.dtype, [values], steps)[0]

    def _roll(self, dtype: Any, prompts: list[np.ndarray], steps: int) -> np.ndarray:
        """Lay the prompts out in a buffer and run the program."""
        for row in prompts:
            self._check_length(row)
        framer, batch_size, row_shape = self.framer, len(prompts), prompts[0].shape[1:]
        width = context_steps(framer, self._stateful) + framer.gap
        if self._stateful:
            # The whole prompt, and room for the padding that its first steps may be seen with.
            padding = context_steps(framer, True) - least_steps(framer, True)
            width = _doubled(max(map(len, prompts)) + padding, _LEAST_WIDTH)
        room = _doubled(steps + framer.horizon - 1, _LEAST_ROOM)
        buffer = np.full((batch_size, width + room, *row_shape), framer.padding_value, dtype)
        for row, prompt in zip(buffer, prompts, strict=True):
            kept = prompt[-width:]
            row[width - len(kept) : width] = kept
        lengths = np.array([min(len(prompt), width) for prompt in prompts], np.int32)
        seed = random_seed() if self.seed is None else self.seed
        kind = "symbols" if np.dtype(dtype).kind == "i" else "values"
        key = (kind, batch_size, self.sampler, self.from_logits)
        if key not in self._rollouts:
            choose = self._choose_symbol if kind == "symbols" else _choose_value
            self._rollouts[key] = Rollout(self.model, framer, batch_size, choose)
        return self._rollouts[key].run(buffer, width, lengths, steps, seed % (2**31 - 1))

    def _choose_symbol(self, output: Any, seed: keras.random.SeedGenerator) -> Any:
        logits = ops.cast(output, "float32")
        logits = ops.reshape(logits, (-1, logits.shape[-1]))
        if not self.from_logits:
            logits = ops.log(logits)
        vocabulary = self.framer.vocabulary
        if vocabulary is not None and vocabulary.padding_id is not None:
            is_padding = ops.arange(logits.shape[-1]) == vocabulary.padding_id
            logits = ops.where(is_padding, -math.inf, logits)
        return self.sampler(logits, seed)

    def _encode(self, prompt: Any) -> np.ndarray:
        ids = to_array(prompt, "prompt", self.framer.vocabulary)
        if ids.size and (ids.ndim != 1 or ids.dtype.kind not in "iu"):
            raise ValueError(
                "A prompt must be a string, a list of symbols, or a one-dimensional array of ids. "
                f"Received: an array of shape {ids.shape} and dtype {ids.dtype}. "
                "For real values, use `forecast`."
            )
        self._check_ids(ids)
        return ids

    def _decode(self, ids: np.ndarray, prompt: Any) -> Any:
        vocabulary = self.framer.vocabulary
        if not holds_symbols(prompt, vocabulary):
            return ids.tolist() if isinstance(prompt, list) else ids
        symbols = vocabulary.decode(ids)
        return symbols if isinstance(prompt, str) else list(symbols)

    def _check_length(self, prompt: np.ndarray) -> None:
        framer = self.framer
        needed = least_steps(framer, self._stateful) + framer.gap
        if len(prompt) < needed:
            raise ValueError(
                f"A prompt needs at least {needed} steps for a model with "
                f"`sequence_length={framer.sequence_length}`. Received: {len(prompt)} steps. "
                'Give a longer prompt, or train on frames that pad (`mode="prefixes"`).'
            )

    def _check_classes(self) -> None:
        vocabulary = self.framer.vocabulary
        classes = self._outputs[-1] if self._outputs else None
        horizon = self.framer.horizon
        blocks = [(horizon,)] if horizon > 1 else [(), (1,)]
        if self._outputs and self._outputs[:-1] not in blocks:
            raise ValueError(
                "`generate` needs a model that predicts the framer's horizon. Received: outputs of "
                f"shape {self._outputs} for horizon={horizon}."
            )
        if vocabulary is not None and classes not in (None, len(vocabulary)):
            raise ValueError(
                "`generate` needs a model with one output for each symbol. Received: "
                f"{classes} outputs for a vocabulary of {len(vocabulary)} ids."
            )

    def _check_ids(self, ids: np.ndarray) -> None:
        vocabulary = self.framer.vocabulary
        classes = self._outputs[-1] if self._outputs else np.iinfo(np.int32).max
        limit = classes if vocabulary is None else len(vocabulary)
        outside = np.flatnonzero((ids < 0) | (ids >= limit))
        if outside.size:
            raise ValueError(
                f"The ids of a prompt must be in 0 … {limit - 1}. "
                f"Received: {ids[outside[0]]} at position {outside[0]}."
            )

    def _check_values(self, values: np.ndarray) -> None:
        features = math.prod(values.shape[1:])
        predicted = None if self._outputs is None else math.prod(self._outputs)
        if predicted not in (None, features * self.framer.horizon):
            raise ValueError(
                "`forecast` feeds predictions back in, so the model must predict every feature of "
                f"its input for each of the {self.framer.horizon} steps of the framer's horizon. "
                f"Received: a history of {features} features for a model with {predicted} outputs."
            )

    @property
    def _outputs(self) -> tuple[int, ...] | None:
        """Shape of one prediction, or None where the model does not declare it."""
        shape = declared_shape(self.model, "output_shape")
        if shape is not None and self.framer.return_sequences:
            shape = shape[1:]
        return None if not shape or None in shape else shape


def _default_framer(model: keras.Model) -> SequenceFramer:
    shape = declared_shape(model, "input_shape")
    if not shape:
        raise ValueError(
            "`framer` can be left out only for a model with one input of shape (steps, …). "
            f"Received: {model.name!r}, which declares none. Pass the framer of its training data."
        )
    layout = "tokens" if len(shape) == 1 else "timesteps"
    length = 1 if stateful_layers(model) else shape[0]
    if length is None:
        raise ValueError(
            "`framer` can be left out only for a model with a fixed number of time steps. "
            f"Received: input shape {shape}. Pass the framer of its training data."
        )
    return SequenceFramer(length, layout=layout)


def _split_prompts(prompt: Any, vocabulary: Any) -> tuple[list[Any], bool]:
    """Return the prompts in what the user passed, and whether it was several."""
    if not isinstance(prompt, (list, tuple)) or not len(prompt):
        return [prompt], False
    if all(isinstance(item, str) for item in prompt):
        words = vocabulary is not None and not vocabulary.is_text
        return ([prompt], False) if words else (list(prompt), True)
    parts = split_sequences(prompt, vocabulary)
    return parts, parts[0] is not prompt


def _choose_value(output: Any, seed: keras.random.SeedGenerator) -> Any:
    return output


def _doubled(size: int, least: int) -> int:
    """Return `least`, doubled until it is `size` or more."""
    while least < size:
        least *= 2
    return least
