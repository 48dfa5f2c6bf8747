"""Generator: a model's predictions fed back in, as text or as a forecast."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, Unpack, get_args, overload

import keras
import numpy as np

from seqframe.aliases import Columns, ExportKind, Layout, SamplerName
from seqframe.framing.checks import check_choice, check_integer
from seqframe.framing.framer import SequenceFramer
from seqframe.framing.frames import Framer
from seqframe.framing.order import random_seed
from seqframe.model.inspect import (
    check_embedding,
    check_framer,
    check_input_names,
    check_model,
    check_one_output,
    declared_shape,
    least_prompt,
    outputs_probabilities,
)
from seqframe.model.state import stateful_layers
from seqframe.rollout.choosers import Feedback, Processor, chained, check_processors
from seqframe.rollout.export import check_export, export_text, export_values
from seqframe.rollout.forecast import Forecaster, Quantiles
from seqframe.rollout.functions import check_function
from seqframe.rollout.loop import rolled_model
from seqframe.rollout.noise import check_model_quantiles
from seqframe.rollout.plans import Noise, choose_targets
from seqframe.rollout.prompts import GeneratorState
from seqframe.rollout.saving import SETTINGS, load_parts, save_parts
from seqframe.rollout.stepping import layers_to_carry
from seqframe.rollout.text import Writer
from seqframe.samplers import BeamSampler, get_sampler, sampling_of

Prompt = TypeVar("Prompt", str, np.ndarray)


class _Choosing(TypedDict, total=False):
    """Arguments of a call that say how its symbols are chosen."""

    sampler: SamplerName | Callable[[Any, Any], Any] | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    seed: int | None


class _Streaming(_Choosing, total=False):
    """Arguments of `stream`."""

    stop: Any


class _Writing(_Streaming, total=False):
    """Arguments of `generate` that do not change the type of its result."""

    include_prompt: bool
    verbose: Literal[0, 1]
    state: GeneratorState | None


class _Returning(_Writing, total=False):
    num_samples: int
    return_state: bool
    return_scores: bool


class _Forecasting(TypedDict, total=False):
    future: Any
    num_samples: int | None
    noise: Noise | None
    quantiles: Quantiles | None


class Generator:
    """Feeds a model's predictions back in: symbols or real values, in one compiled program.

    Any Keras model that maps a frame to a target can roll out. A stateless model sees its window. A
    stateful model reads the prompt first and carries its state. The batch size of training does not
    matter. The model's weights and state do not change. PyTorch cannot compile such a program, so
    it runs a plain loop.

    Args:
        model: keras.Model, built. It has one input, or two named "past" and "future".
        framer: SequenceFramer of the training data. Pass `frames.framer`, which also has the
            vocabulary and the names of columns. Without names, tables are read by position.
            None: single steps for a stateful model, else windows as long as the model's input.
        sampler: "greedy", "random", "top_k", "top_p" or "beam"; a function `(logits, seed) -> ids`;
            or an object of `seqframe.samplers` or keras-hub.
        feedback: function `(prediction, last_input) -> next_input` of tensors, for a model whose
            output cannot be its next input. `prediction` is one step `(rows, …)`, or the chosen ids
            `(rows,)`. Inputs are `(rows, …)`, like a step of the framer's sequences. None:
            predictions are fed back.
        targets: names or positions of the columns that the model predicts. `forecast` needs the
            other columns as `future`. None: the framer's `target_columns`; without these, or with
            a `feedback`, all columns.
        quantiles: list of float. The quantiles that the model predicts for each value, such as
            `[0.1, 0.5, 0.9]`, in the order of its last axis. They rise and hold 0.5. `forecast`
            returns the median, which is also fed back, or the quantiles that are asked for.
        logits_processor: function `(logits, generated, step) -> logits` of tensors, which bans or
            forces symbols, or an object of `seqframe.processors`. A list of these runs one after
            the other. Logits are `(rows, symbols)`, and -inf bans a symbol. `generated` is
            `(rows, …)`: the `step` ids so far, then -1. A function with a fourth argument `ids`
            sees the prompt too: `(rows, …)`, the newest id last, and -1 before the first.
        from_logits: bool. Whether the model's outputs are logits rather than probabilities. None:
            they are probabilities if the last layer that changes values is a softmax. If that layer
            may compute anything, as a `Lambda` does, the compiled loss decides. Without such a loss
            the outputs decide: probabilities are not negative and have the sum 1, logits may be
            negative. Other outputs are an error.
        stateful: True: run a model of stateless recurrent layers step by step, as if they were
            stateful. It then sees the whole history, and a step costs less than a window. A small
            random input must give the same output both ways. None: run the model as it is.
        seed: int ≥ 0, for random samplers: the same seed gives the same symbols. Row `k` of a call
            draws by the seed and `k`. None: a new seed for each call.

    Each argument is an attribute of the same name.

    Raises:
        ValueError: if the model, the framer and the other arguments do not fit each other.

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
        framer: Framer | None = None,
        *,
        sampler: SamplerName | Callable[[Any, Any], Any] = "greedy",
        feedback: Feedback | None = None,
        targets: Columns | None = None,
        quantiles: Quantiles | None = None,
        logits_processor: Processor | Sequence[Processor] | None = None,
        from_logits: bool | None = None,
        stateful: bool | None = None,
        seed: int | None = None,
    ):
        check_model(model)
        if not model.built:
            raise ValueError(
                f"`model` must be built. Received: {model.name!r}, which is not. "
                "Train it, or call it on one batch."
            )
        if feedback is not None:
            check_function("feedback", feedback, "prediction", "last_input")
        if logits_processor is not None:
            check_processors(logits_processor)
        for name, flag in ("from_logits", from_logits), ("stateful", stateful):
            if flag is not None and not isinstance(flag, (bool, np.bool_)):
                raise TypeError(f"`{name}` must be True, False or None. Received: {name}={flag!r}.")
        check_input_names(model)
        check_one_output(model, "Pass one output: `keras.Model(model.inputs, output)`.")
        carried = stateful_layers(model)
        if stateful is False and carried:
            raise ValueError(
                "`stateful=False` is for models without state. Received: a model with the stateful "
                f"layer {carried[0].name!r}. Leave `stateful` out."
            )
        framer = _framer_of_windows(model, bool(carried)) if framer is None else framer
        if not isinstance(framer, SequenceFramer):
            raise TypeError(
                f"`framer` must be a `SequenceFramer`. Received: {type(framer).__name__}."
            )
        check_framer(model, framer, bool(carried))
        if framer.vocabulary is not None:
            check_embedding(model, len(framer.vocabulary))
        self.model, self.framer, self.stateful = model, framer, stateful
        self.sampler = get_sampler(sampler)
        check_function("sampler", self.sampler, "logits", "seed")
        self.feedback, self.logits_processor = feedback, logits_processor
        self.targets = choose_targets(targets, model, framer, feedback is not None)
        self.quantiles = check_model_quantiles(quantiles)
        if from_logits is None and (known := outputs_probabilities(model)) is not None:
            from_logits = not known
        self.from_logits = None if from_logits is None else bool(from_logits)
        self.seed = None if seed is None else check_integer("seed", seed, 0)
        self._check_horizon(self.sampler)
        self._roll()

    def _check_horizon(self, sampler: Any) -> None:
        horizon = self.framer.horizon
        if horizon > 1 and (self.logits_processor or isinstance(sampler, BeamSampler)):
            raise ValueError(
                "Beams and a `logits_processor` need a model that predicts one step at a time. "
                f"Received: a framer with horizon={horizon}."
            )

    def _roll(self) -> None:
        model, framer = self.model, self.framer

        def find() -> list[keras.Layer]:
            own = stateful_layers(model)
            return layers_to_carry(model, framer) if self.stateful and not own else own

        self._rolled = rolled_model(model, framer, bool(self.stateful), find)

    def __getstate__(self) -> dict[str, Any]:
        # Compiled programs belong to the process.
        return {name: value for name, value in vars(self).items() if name != "_rolled"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._roll()

    def __repr__(self) -> str:
        # A function's own repr is an address.
        sampler = getattr(self.sampler, "__name__", None) or repr(self.sampler)
        return f"Generator({self.model.name!r}, {self.framer!r}, sampler={sampler})"

    @overload
    def generate(self, prompt: Prompt, steps: int, **options: Unpack[_Writing]) -> Prompt: ...

    @overload
    def generate(self, prompt: Any, steps: int, **options: Unpack[_Returning]) -> Any: ...

    def generate(
        self,
        prompt: Any,
        steps: int,
        *,
        num_samples: int = 1,
        stop: Any = None,
        include_prompt: bool = False,
        verbose: Literal[0, 1] = 0,
        sampler: SamplerName | Callable[[Any, Any], Any] | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        state: GeneratorState | None = None,
        return_state: bool = False,
        return_scores: bool = False,
    ) -> Any:
        """Continue a prompt symbol by symbol.

        Args:
            prompt: str, list of symbols, or int array `(steps,)` of ids; or a list of prompts of
                any lengths. A prompt gives the same result in a list as by itself, unless the
                sampler draws: row `k` draws by the seed and `k`. If the framer pads, a short prompt
                is padded and a long one keeps its last `sequence_length` steps. Otherwise a
                stateless model needs `sequence_length` steps. With a `state` the prompt may be
                empty.
            steps: int ≥ 1. Symbols to generate.
            num_samples: int ≥ 1. Continuations of each prompt, which take a row each. A beam
                sampler gives its best ones, at most `num_beams`.
            stop: a str, a symbol or id, or a list of these. A continuation ends before the first of
                them.
            include_prompt: bool. Begin each result with the prompt.
            verbose: 0 | 1. Whether to show a progress bar.
            sampler: as in `Generator`, for this call. None: the generator's.
            temperature: float > 0, of this call. For samplers that draw.
            top_k: int ≥ 1. Draw from the `top_k` likeliest symbols. For the samplers "random" and
                "top_k".
            top_p: float, 0 < top_p ≤ 1. Draw from the fewest symbols that together have this
                probability. For the samplers "random" and "top_p". After `top_k` under "random".
            seed: int ≥ 0, of this call. None: the seed of `state`, else the generator's.
            state: GeneratorState of an earlier call, which this call continues. Pass the same
                number of prompts and the same `num_samples` as then. Beams have no state.
                It begins a new block: parts equal the whole if each is a multiple of the horizon.
            return_state: bool. Whether to return a GeneratorState. Beams have none.
            return_scores: bool. Whether to return log-probabilities.

        Returns:
            str for a str, list of symbols for a list, int array of ids for an array. A list of
            prompts gives a list of these, and `num_samples > 1` a list for each prompt. With
            `return_scores` or `return_state`, a tuple of the result, then log-probabilities (float
            or nested list), then the state.

        Raises:
            ValueError: if a prompt is empty, too short, or has an unknown symbol. If the model's
                output is NaN, or it or `state` does not fit. If no symbol can be chosen at a step.
                If `temperature`, `top_k` or `top_p` contradicts the sampler.

        The first greedy call compiles one program, and the first call that draws compiles another.
        After these, "greedy", "random", "top_k" and "top_p" need no compilation, whatever their
        numbers and seeds. Another object or function may compile another program.

        Example:

        >>> import keras, numpy as np
        >>> from seqframe import Generator, SequenceFramer, Vocabulary
        >>> layers = [keras.Input((1,)), keras.layers.Embedding(3, 3), keras.layers.Flatten()]
        >>> model = keras.Sequential(layers)
        >>> model.set_weights([np.roll(np.eye(3), 1, axis=1)])  # each symbol predicts the next
        >>> framer = SequenceFramer(1, layout="tokens", vocabulary=Vocabulary("ABC"))
        >>> generator = Generator(model, framer)
        >>> generator.generate(["A", "CAB"], 9, stop="A", include_prompt=True)
        ['ABC', 'CABC']
        >>> text, state = generator.generate("A", 2, return_state=True)
        >>> text, generator.generate("", 2, state=state)
        ('BC', 'AB')
        >>> generator.generate("A", 6, sampler="random", top_k=1, temperature=0.5, seed=7)
        'BCABCA'
        """
        writer = self._writer(sampler, temperature, top_k, top_p, seed)
        return writer.generate(
            prompt,
            check_integer("steps", steps, 1),
            check_integer("num_samples", num_samples, 1),
            stop,
            include_prompt,
            verbose,
            state,
            return_state,
            return_scores,
        )

    @overload
    def stream(self, prompt: str, steps: int, **options: Unpack[_Streaming]) -> Iterator[str]: ...

    @overload
    def stream(self, prompt: Any, steps: int, **options: Unpack[_Streaming]) -> Iterator[Any]: ...

    def stream(
        self,
        prompt: Any,
        steps: int,
        *,
        stop: Any = None,
        sampler: SamplerName | Callable[[Any, Any], Any] | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> Iterator[Any]:
        """Continue a prompt, and yield each symbol as it is generated.

        Args:
            prompt, steps, stop, sampler, temperature, top_k, top_p, seed: as in `generate`.

        Returns:
            iterator of symbols or ids. Together they are the result of `generate`. For several
            prompts each item is a list with one symbol for each prompt, or None if it has ended.

        Raises:
            ValueError: as `generate` does, at the call; or if the sampler follows beams.

        Example:

        >>> import keras
        >>> from seqframe import Generator, SequenceFramer, Vocabulary
        >>> encoding = keras.layers.CategoryEncoding(3, output_mode="one_hot")
        >>> model = keras.Sequential([keras.Input((1,)), encoding])  # repeats the last symbol
        >>> framer = SequenceFramer(1, layout="tokens", vocabulary=Vocabulary("ABC"))
        >>> list(Generator(model, framer).stream("AB", 3))
        ['B', 'B', 'B']
        """
        writer = self._writer(sampler, temperature, top_k, top_p, seed)
        return writer.stream(prompt, check_integer("steps", steps, 1), stop)

    @overload
    def forecast(
        self, history: np.ndarray, steps: int, **options: Unpack[_Forecasting]
    ) -> np.ndarray: ...

    @overload
    def forecast(self, history: Any, steps: int, **options: Unpack[_Forecasting]) -> Any: ...

    def forecast(
        self,
        history: Any,
        steps: int,
        *,
        future: Any = None,
        num_samples: int | None = None,
        noise: Noise | None = None,
        quantiles: Quantiles | None = None,
    ) -> Any:
        """Continue a sequence of real values, or several.

        Args:
            history: array `(length,)` or `(length, features)`, DataFrame or Series; or a list or a
                dict of these, of any lengths. If the framer knows `by`, a DataFrame with these
                columns of labels is a panel: several series, one below the other. The framer's
                `columns` of a DataFrame are read by name, in any order; other columns are left out.
                Dates in its index must go strictly forward, in a panel within each series. A panel
                may have its dates in a column, too.
            steps: int ≥ 1. Steps to forecast. They begin after the framer's `gap`.
            future: future covariates: array `(steps,)` or `(steps, features)`, or a DataFrame. It
                is a list for a list of histories, and a dict for a dict. For a panel it is one
                DataFrame with the same columns of labels, which match its rows. It has `steps`
                rows, rounded up to whole horizons, from the first forecast step on. A model may
                take a "future" for each input step (stateful, or `return_sequences`). Then add the
                rows of the history and of the `gap`: `len(history) + gap + steps` in all. The
                columns are the framer's `future_columns`, then the columns that the model does not
                predict. A single block of at most `horizon` steps does not need the latter. A
                DataFrame has them by name, an array in this order. Its index must have the labels
                of its steps. Its columns of labels must have the labels of its history.
            num_samples: int ≥ 1. Sample paths to draw, each with its own `noise`.
            noise: makes sample paths differ. A function `(prediction, seed) -> prediction` of
                tensors `(rows, horizon, …)`, with one `seed` of all rows for `keras.random`. The
                parameters of a predicted distribution are the last axis of `prediction`. The
                function then returns draws without this axis. Or an array of errors
                `(errors, …)` to draw from, such as `Backtest.residuals`: each path draws by the
                seed and its own number, which goes on from history to history. Or "dropout", which
                keeps the model's dropout active (Gal and Ghahramani,
                https://arxiv.org/abs/1506.02142). None: paths draw from the model's `quantiles`.
            quantiles: float in [0, 1], or a list. Return these quantiles of the sample paths.
                Without `num_samples`, they are some of the model's own `quantiles`, for at most
                `horizon` steps.

        Returns:
            float array `(steps,)` or `(steps, features)` of the predicted features. With
            `num_samples`, `(num_samples, …)`; with `quantiles`, `(quantiles, …)`. A Series gives a
            Series. A DataFrame gives a DataFrame, or a Series if `targets` is one column and not a
            list. Its index continues the history's. Quantiles are columns; sample paths are arrays.
            If the history's dates have no frequency, the result takes the dates of `future`.
            Without those its steps are numbered, with a warning. A list gives a list, a dict a
            dict. A panel gives one DataFrame with the labels and the dates. Its quantiles are
            columns such as "units_0.1". Its sample paths are rows, with a column "sample".

        Raises:
            ValueError: if a history or `future` does not fit the model, or a forecast is NaN. If
                `num_samples`, `noise` and `quantiles` do not go together. If a history is too short
                for a window, and the framer does not pad.

        Example:

        >>> import keras, numpy as np
        >>> from seqframe import Generator, SequenceFramer
        >>> model = keras.Sequential([keras.Input((1, 1)), keras.layers.Rescaling(1, 1.0),
        ...                           keras.layers.Flatten()])  # the last value, and 1
        >>> generator = Generator(model, seed=7)
        >>> generator.forecast(np.array([1.0, 2.0, 3.0]), 4)
        array([4., 5., 6., 7.], dtype=float32)
        >>> options = {"num_samples": 100, "noise": np.array([-0.5, 0.0, 0.5])}
        >>> generator.forecast(np.array([1.0, 2.0, 3.0]), 4, quantiles=[0.1, 0.9], **options).shape
        (2, 4)
        >>> import pandas
        >>> panel = pandas.DataFrame({"store": ["n", "n", "s"], "units": [1.0, 2.0, 5.0]})
        >>> Generator(model, SequenceFramer(1, by="store")).forecast(panel, 2)
          store  units
        0     n    3.0
        1     n    4.0
        2     s    6.0
        3     s    7.0
        """
        steps = check_integer("steps", steps, 1)
        return self._forecaster().forecast(history, steps, future, num_samples, noise, quantiles)

    def save(self, path: str | Path) -> None:
        """Save the generator in one file: a `.keras` file, which Keras can load as a model.

        Args:
            path: path that ends in ".keras".

        Raises:
            ValueError: if the path does not end in ".keras", or its folder does not exist. If a
                function is not registered with `keras.saving.register_keras_serializable`.

        Example:

        >>> import keras, tempfile
        >>> from seqframe import Generator
        >>> generator = Generator(keras.Sequential([keras.Input((1, 1)), keras.layers.Flatten()]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     generator.save(f"{folder}/naive.keras")
        ...     loaded = Generator.load(f"{folder}/naive.keras")
        >>> loaded.framer == generator.framer
        True
        """
        save_parts(path, self.model, self.framer, {name: getattr(self, name) for name in SETTINGS})

    @staticmethod
    def load(path: str | Path, custom_objects: dict[str, Any] | None = None) -> "Generator":
        """Load a generator that `save` wrote. No code of the file is run.

        Args:
            path: path of the file.
            custom_objects: dict of name to class or function, as for Keras's `load_model`.

        Returns:
            Generator.

        Raises:
            ValueError: if `save` did not write the file, or the file is damaged.

        Example:

        >>> import keras, tempfile
        >>> from seqframe import Generator
        >>> model = keras.Sequential([keras.Input((1, 1)), keras.layers.Flatten()], name="naive")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Generator(model).save(f"{folder}/naive.keras")
        ...     Generator.load(f"{folder}/naive.keras").model.name
        'naive'
        """
        return load_parts(path, custom_objects, Generator)

    def export(
        self,
        path: str | Path,
        *,
        kind: ExportKind | None = None,
        batch_size: int = 1,
        max_prompt: int = 1024,
        max_steps: int | None = None,
        noise: Noise | None = None,
    ) -> None:
        """Write the rollout as a TensorFlow SavedModel, which needs only TensorFlow to run.

        After `served = tf.saved_model.load(path)`, call `served.run(prompt, steps, seed)`. The
        prompt is a tensor `(batch_size, length)` of ids or values, with one more axis if there are
        several columns. `steps` and `seed` are int32. The result is the next `steps` steps. An id
        below 0 says that no symbol could be chosen, for instance because of NaN. If the vocabulary
        is of characters, `served.run_text(texts, steps, seed)` takes and returns strings
        `(batch_size,)`.

        Values come back as `forecast` gives them: the predicted columns; of a model of quantiles,
        all quantiles in a last axis. A single block needs no future values of columns that are not
        predicted. If the model needs a future, call `served.run(prompt, steps, seed, future)`, with
        a tensor `(batch_size, steps, columns)` in the order of `forecast`'s arrays.

        Args:
            path: path of a folder. An earlier SavedModel there is replaced when the new one is
                complete.
            kind: "symbols" | "values". None: symbols, if the framer has a vocabulary.
            batch_size: int ≥ 1. Number of prompts in a call.
            max_prompt: int ≥ 1. Longest prompt of a stateful model.
            max_steps: int ≥ 1. Most steps that a call can generate. None: 1024; or the `horizon` of
                a model that predicts quantiles, or some columns only, or has a `gap`.
            noise: function or errors, as for `forecast`. Each row is then a sample path.

        Raises:
            RuntimeError: if Keras's backend is not TensorFlow.
            ValueError: if the model takes a "future" for each input step, or cannot roll on for
                `max_steps`. If the folder has other files.

        Example:

        >>> import keras, numpy as np, tempfile
        >>> import tensorflow as tf
        >>> from seqframe import Generator
        >>> model = keras.Sequential([keras.Input((1, 1)), keras.layers.Flatten()])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Generator(model).export(folder, max_steps=16)
        ...     served = tf.saved_model.load(folder)
        >>> served.run(np.array([[1.0, 2.0]], "float32"), 3, 0).numpy()
        array([[2., 2., 2.]], dtype=float32)
        """
        folder = check_export(path)
        if kind is None:
            kind = "values" if self.framer.vocabulary is None else "symbols"
        check_choice("kind", kind, get_args(ExportKind))
        sizes: dict[str, Any] = {
            "batch_size": check_integer("batch_size", batch_size, 1),
            "max_prompt": check_integer("max_prompt", max_prompt, least_prompt(self.framer, True)),
            "max_steps": None if max_steps is None else check_integer("max_steps", max_steps, 1),
        }
        if kind == "values":
            export_values(self._forecaster(), folder, noise=noise, **sizes)
            return
        if noise is not None or self._rolled.takes_future:
            raise ValueError(
                '`export` of symbols takes no `noise`, and no model with a "future". Received: a '
                f"noise of type {type(noise).__name__}. Use a `sampler`, or `save`."
            )
        export_text(
            self._rolled,
            folder,
            sampler=self.sampler,
            from_logits=self.from_logits,
            processors=chained(self.logits_processor),
            feedback=self.feedback,
            **sizes,
        )

    def _writer(
        self, sampler: Any, temperature: Any, top_k: Any, top_p: Any, seed: int | None
    ) -> Writer:
        """Return what writes the symbols of a call, chosen as the call says."""
        if sampler is None:
            sampler = self.sampler
        else:
            sampler = get_sampler(sampler)
            check_function("sampler", sampler, "logits", "seed")
            self._check_horizon(sampler)
        return Writer(
            self._rolled,
            sampling_of(sampler, temperature, top_k, top_p),
            self.feedback,
            chained(self.logits_processor),
            self.from_logits,
            self._draw_seed(None if seed is None else check_integer("seed", seed, 0)),
            seed is not None,
        )

    def _forecaster(self) -> Forecaster:
        return Forecaster(
            self._rolled, self.targets, self.feedback, self.quantiles, self._draw_seed()
        )

    def _draw_seed(self, seed: int | None = None) -> int:
        """Return the seed of a call."""
        seed = self.seed if seed is None else seed
        return (random_seed() if seed is None else seed) % (2**31 - 1)


def _framer_of_windows(model: keras.Model, stateful: bool) -> SequenceFramer:
    """Return the framer of a model's declared input."""
    shape, output = declared_shape(model, "input_shape"), declared_shape(model, "output_shape")
    layout: Layout = "tokens" if shape and len(shape) == 1 else "timesteps"
    length = 1 if stateful else shape[0] if shape else None
    features = shape[1:] or (None,) if shape else ()
    steps = shape[0] if shape else None
    has_output_steps = output and len(output) == 1 + len(features) and output[0] == steps != 1
    if not shape or length is None or has_output_steps:
        raise ValueError(
            "`framer` can be left out only for a model with one input of a fixed number of time "
            f"steps, and one prediction. Received: {model.name!r} with input shape {shape} and "
            f"output shape {output}. Pass the framer of its training data."
        )
    return SequenceFramer(length, layout=layout)
