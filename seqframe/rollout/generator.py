"""Generator: a model's predictions fed back in, as text or as a forecast."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import keras
import numpy as np

from seqframe.aliases import Columns, ExportKind, Layout, SamplerName
from seqframe.framing.framer import SequenceFramer
from seqframe.framing.order import random_seed
from seqframe.framing.windows import check_integer
from seqframe.model.adapted import adapted_values, same_objects
from seqframe.model.checks import (
    check_embedding,
    check_framer,
    check_input_names,
    check_one_output,
    declared_shape,
)
from seqframe.model.outputs import outputs_probabilities
from seqframe.model.state import stateful_layers
from seqframe.rollout.forecasting import Forecaster
from seqframe.rollout.loop import Rollout
from seqframe.rollout.predicted import choose_targets
from seqframe.rollout.prompts import GeneratorState
from seqframe.rollout.steppable import recurrent_layers
from seqframe.rollout.writing import Writer
from seqframe.samplers import BeamSampler, get_sampler

Prompt = TypeVar("Prompt", str, np.ndarray)
Noise = (
    Callable[[Any, Any], Any]
    | Literal["dropout"]
    | Sequence[float]
    | Sequence[Sequence[float]]
    | np.ndarray
)


class Generator:
    """Feeds a model's predictions back in: symbols or real values, step by step, in one program.

    Any Keras model that maps a frame to a target can roll out: a stateless one through its window,
    a stateful one through its state, primed with the prompt, whatever batch size it was trained
    with. The model itself, its weights and its state are left as they are.

    Args:
        model: keras.Model, built. Of one input, or of two that are named "past" and "future".
        framer: SequenceFramer that framed the training data; `frames.framer` has the vocabulary
            and the names of columns and targets too: without these, tables are read by position.
            None: single steps for a stateful model, else windows as long as the model's input.
        sampler: "greedy", "random", "top_k", "top_p", "beam"; an object of `seqframe.samplers`; a
            function `(logits, seed) -> ids`; or a sampler of keras-hub.
        feedback: function `(prediction, last_input) -> next_input` of tensors, for a model whose
            output is not its input: prediction `(rows, …)` of one step (for symbols the ids chosen,
            `(rows,)`), the inputs `(rows, …)` as the framer's sequences have their steps. None:
            what is predicted is fed back.
        targets: names or positions of the columns that the model predicts, as `frame` took them.
            Of the other columns `forecast` needs the `future`. None: the framer's `target_columns`;
            where it has none, or there is a `feedback`, the model predicts all.
        logits_processor: function `(logits, generated, step) -> logits` of tensors, that bans or
            forces symbols: logits `(rows, symbols)`, -inf where a symbol is banned; generated
            `(rows, …)` the ids so far, then -1; step how many they are.
        from_logits: bool. Whether the model's outputs are logits rather than probabilities. None:
            told by its last layer, probabilities if that is a softmax; where that may be anything,
            as a `Lambda`, by the loss it was compiled with.
        stateful: True: run a model of stateless recurrent layers as if these were stateful, shown
            one step at a time. It then looks back without end, and each step costs a window less.
            None: as the model is.
        seed: int ≥ 0. Of random samplers: the same seed gives the same symbols. None draws one
            for each call.

    Each argument is an attribute of the same name; `framer`, `sampler`, `targets` and `from_logits`
    are what was made of it.

    Raises:
        ValueError: if the model is not built, takes several inputs that are not "past" and
            "future", its framer does not fit it, `targets` are not those of its framer, the sampler
            does not exist, the model cannot be run statefully, or there are beams or a
            `logits_processor` and the framer's `horizon` is not 1.

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
        sampler: SamplerName | Callable[[Any, Any], Any] = "greedy",
        feedback: Callable[[Any, Any], Any] | None = None,
        targets: Columns | None = None,
        logits_processor: Callable[[Any, Any, Any], Any] | None = None,
        from_logits: bool | None = None,
        stateful: bool | None = None,
        seed: int | None = None,
    ):
        if not isinstance(model, keras.Model):
            raise TypeError(f"`model` must be a `keras.Model`. Received: {type(model).__name__}.")
        if not model.built:
            raise ValueError(
                f"`model` must be built. Received: {model.name!r}, which is not. "
                "Train it, or call it on one batch."
            )
        for name, function in ("feedback", feedback), ("logits_processor", logits_processor):
            if function is not None and not callable(function):
                raise TypeError(f"`{name}` must be a function. Received: {function!r}.")
        if framer is not None and not isinstance(framer, SequenceFramer):
            raise TypeError(
                f"`framer` must be a `SequenceFramer`. Received: {type(framer).__name__}."
            )
        check_input_names(model)
        check_one_output(model, "Pass a model of one: `keras.Model(model.inputs, output)`.")
        self.model = model
        self.stateful = stateful
        own = stateful_layers(model)
        if stateful is False and own:
            raise ValueError(
                "`stateful=False` is for models without state. Received: a model with the stateful "
                f"layer {own[0].name!r}. Leave it out."
            )
        self.framer = _default_framer(model, bool(own)) if framer is None else framer
        self.carried_layers = recurrent_layers(model, self.framer) if stateful and not own else own
        check_framer(model, self.framer, bool(own))
        if self.framer.vocabulary is not None:
            check_embedding(model, len(self.framer.vocabulary))
        self.sampler = get_sampler(sampler)
        self.feedback = feedback
        self.targets = choose_targets(targets, self.framer, feedback is not None)
        self.logits_processor = logits_processor
        self.from_logits = not outputs_probabilities(model) if from_logits is None else from_logits
        self.seed = None if seed is None else check_integer("seed", seed, 0)
        if self.framer.horizon > 1 and (logits_processor or isinstance(self.sampler, BeamSampler)):
            raise ValueError(
                "Beams and a `logits_processor` need a model that predicts one step at a time. "
                f"Received: a framer with horizon={self.framer.horizon}."
            )
        self._rollouts: dict[Any, Rollout] = {}
        self._adapted: list[Any] = []

    def __repr__(self) -> str:
        sampler = self.sampler
        # A function's own repr is an address.
        shown = getattr(sampler, "__name__", None) or repr(sampler)
        return f"Generator({self.model.name!r}, {self.framer!r}, sampler={shown})"

    @overload
    def generate(
        self,
        prompt: Prompt,
        steps: int,
        *,
        num_samples: Literal[1] = ...,
        stop: Any = ...,
        include_prompt: bool = ...,
        verbose: Literal[0, 1] = ...,
        state: GeneratorState | None = ...,
        return_state: Literal[False] = ...,
        return_scores: Literal[False] = ...,
    ) -> Prompt: ...

    @overload
    def generate(
        self,
        prompt: Any,
        steps: int,
        *,
        num_samples: int = ...,
        stop: Any = ...,
        include_prompt: bool = ...,
        verbose: Literal[0, 1] = ...,
        state: GeneratorState | None = ...,
        return_state: bool = ...,
        return_scores: bool = ...,
    ) -> Any: ...

    def generate(
        self,
        prompt: Any,
        steps: int,
        *,
        num_samples: int = 1,
        stop: Any = None,
        include_prompt: bool = False,
        verbose: Literal[0, 1] = 0,
        state: GeneratorState | None = None,
        return_state: bool = False,
        return_scores: bool = False,
    ) -> Any:
        """Continue a prompt symbol by symbol.

        Args:
            prompt: str, list of symbols, or int array `(steps,)` of ids; or a list of prompts, of
                any lengths, each of which gives what it would give alone. Where the framer pads, a
                short prompt is padded and a long one keeps its last `sequence_length` steps;
                where it does not, a stateless model needs `sequence_length` steps. With a `state`
                it may be empty.
            steps: int ≥ 1. Symbols to generate.
            num_samples: int ≥ 1. Continuations of each prompt; of a beam sampler the best ones, at
                most `num_beams`.
            stop: a str, a symbol or id, or a list of these. A continuation ends before the first of
                them that is generated.
            include_prompt: bool. Begin what is returned with the prompt.
            verbose: 0 | 1. Whether to show a progress bar.
            state: GeneratorState that an earlier call returned, to go on from where that stopped:
                what comes out is what would have come out then, had the prompt been longer. Pass
                as many prompts and the same `num_samples` as then. Not for beams.
            return_state: bool. Whether to return a GeneratorState. Not for beams.
            return_scores: bool. Whether to return log-probabilities.

        Returns:
            str for a str, list of symbols for a list, int array of ids for an array; a list of
            these for a list of prompts, and for each prompt a list of these if `num_samples > 1`.
            With `return_scores` and `return_state` a tuple of that and: the log-probability that
            the model gives to each continuation, as a float or a nested list like the above; the
            state.

        Raises:
            ValueError: if a prompt is empty, too short, or has an unknown symbol; if the model's
                output is not one value for each symbol, or is NaN; if a `state` is of another
                number of prompts and samples, or of another generator; if beams are to give more
                samples than they are, to return a state or to go on from one.

        Example:

        >>> import keras, numpy as np
        >>> from seqframe import Generator, SequenceFramer, Vocabulary
        >>> layers = [keras.Input((1,)), keras.layers.Embedding(3, 3), keras.layers.Flatten()]
        >>> model = keras.Sequential(layers)
        >>> model.set_weights([np.roll(np.eye(3), 1, axis=1)])  # each symbol predicts the next
        >>> framer = SequenceFramer(1, layout="tokens", vocabulary=Vocabulary("ABC"))
        >>> generator = Generator(model, framer)
        >>> generator.generate("AB", 4)
        'CABC'
        >>> generator.generate(["A", "CAB"], 9, stop="A", include_prompt=True)
        ['ABC', 'CABC']
        >>> text, state = generator.generate("A", 2, return_state=True)
        >>> text, generator.generate("", 2, state=state)
        ('BC', 'AB')
        """
        return Writer(self).generate(
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
    def stream(self, prompt: str, steps: int, *, stop: Any = ...) -> Iterator[str]: ...

    @overload
    def stream(self, prompt: Any, steps: int, *, stop: Any = ...) -> Iterator[Any]: ...

    def stream(self, prompt: Any, steps: int, *, stop: Any = None) -> Iterator[Any]:
        """Continue a prompt, and hand each symbol over as it comes.

        Args:
            prompt: as of `generate`.
            steps: int ≥ 1. Symbols to generate.
            stop: as of `generate`.

        Returns:
            iterator of symbols or ids, which together are what `generate` returns; for several
            prompts of lists with one for each, None for one that has ended.

        Raises:
            ValueError: as `generate`, at the call; and if the sampler is of beams.

        Example:

        >>> import keras, numpy as np
        >>> from seqframe import Generator, SequenceFramer, Vocabulary
        >>> layers = [keras.Input((1,)), keras.layers.Embedding(3, 3), keras.layers.Flatten()]
        >>> model = keras.Sequential(layers)
        >>> model.set_weights([np.roll(np.eye(3), 1, axis=1)])  # each symbol predicts the next
        >>> framer = SequenceFramer(1, layout="tokens", vocabulary=Vocabulary("ABC"))
        >>> for symbol in Generator(model, framer).stream("A", 3):
        ...     print(symbol, end=" ")
        B C A
        """
        return Writer(self).stream(prompt, check_integer("steps", steps, 1), stop)

    @overload
    def forecast(
        self,
        history: np.ndarray,
        steps: int,
        *,
        future: Any = ...,
        num_samples: int | None = ...,
        noise: Noise | None = ...,
        quantiles: Sequence[float] | np.ndarray | None = ...,
    ) -> np.ndarray: ...

    @overload
    def forecast(
        self,
        history: Any,
        steps: int,
        *,
        future: Any = ...,
        num_samples: int | None = ...,
        noise: Noise | None = ...,
        quantiles: Sequence[float] | np.ndarray | None = ...,
    ) -> Any: ...

    def forecast(
        self,
        history: Any,
        steps: int,
        *,
        future: Any = None,
        num_samples: int | None = None,
        noise: Noise | None = None,
        quantiles: Sequence[float] | np.ndarray | None = None,
    ) -> Any:
        """Continue a sequence of real values.

        Args:
            history: array `(length,)` or `(length, features)`, DataFrame or Series, or what a
                framer takes as one sequence of numbers; or a list of these, of any lengths. A
                DataFrame is read by the names of the framer's `columns`, whatever their order, and
                what it has beyond them is left out. Dates of its index go strictly forward.
            steps: int ≥ 1. Steps to forecast.
            future: array `(length,)` or `(length, features)` of values known ahead, or a DataFrame;
                a list where histories are. Its first row is of the first step that is forecast. A
                model that takes a "future" for each step of its input (stateful, or with
                `return_sequences`) needs that of the history before it. Where the model predicts
                some columns alone, it holds the other ones. As many rows as `steps`, rounded up
                to whole horizons. A DataFrame is read by names too, where the framer knows them:
                its `future_columns`, and the columns that are not predicted; an array holds them
                in this order. Numbers of its index go on from the history's; its dates are those
                of the steps.
            num_samples: int ≥ 1. Sample paths, each made with its own `noise`, which they need.
            noise: function `(prediction, seed) -> prediction` of tensors `(rows, horizon, …)`,
                with `seed` for `keras.random`; an array of errors `(errors, …)` to draw from, such
                as `Backtest.residuals`; or "dropout": the model's own dropout stays at work (Gal
                and Ghahramani, https://arxiv.org/abs/1506.02142).
            quantiles: list of float in [0, 1]. Return these of the sample paths.

        Returns:
            float array `(steps,)` or `(steps, features)`, features being the predicted ones. With
            `num_samples`, `(num_samples, …)`; with `quantiles`, `(quantiles, …)`. For a Series a
            Series, for a DataFrame a DataFrame, or a Series where `targets` is one column of
            several (not a list of one), with the index continued; of quantiles with a column for
            each, of sample paths an array. Where dates follow no frequency, it has those of the
            future; without, its steps are numbered, and a warning says so. For a list a list.

        Raises:
            ValueError: if a history or its future is too short, lacks a column, is of several
                series or has not the features that the model takes, if dates do not go strictly
                forward, if a future is of other steps than it has to be, or the model does not
                predict all features, or predicts NaN; if there is one of `num_samples` and `noise`
                without the other, `quantiles` without both, or `noise="dropout"` for a model
                without dropout.

        Example:

        >>> import keras, numpy as np
        >>> from seqframe import Generator
        >>> layers = [keras.Input((2, 1)), keras.layers.Flatten(),
        ...           keras.layers.Dense(1, use_bias=False)]
        >>> model = keras.Sequential(layers)
        >>> model.set_weights([np.array([[-1.0], [2.0]])])  # a straight line, continued
        >>> generator = Generator(model, seed=7)
        >>> generator.forecast(np.array([1.0, 2.0, 3.0]), 4)
        array([4., 5., 6., 7.], dtype=float32)
        >>> errors = np.array([-0.5, 0.0, 0.5])
        >>> options = {"num_samples": 100, "noise": errors}
        >>> generator.forecast(np.array([1.0, 2.0, 3.0]), 4, **options).shape
        (100, 4)
        >>> generator.forecast(np.array([1.0, 2.0, 3.0]), 4, quantiles=[0.1, 0.9], **options).shape
        (2, 4)
        """
        return Forecaster(self).forecast(
            history, check_integer("steps", steps, 1), future, num_samples, noise, quantiles
        )

    def save(self, path: str | Path) -> None:
        """Save all of the generator in one file: a `.keras` file, which Keras can load as a model.

        Args:
            path: path that ends in ".keras".

        Raises:
            ValueError: if the path ends in something else, its folder does not exist, or a function
                cannot be saved: one that is not registered with
                `keras.saving.register_keras_serializable`.

        Example:

        >>> import keras, tempfile
        >>> from seqframe import Generator, SequenceFramer, Vocabulary
        >>> model = keras.Sequential([keras.Input((1, 1)), keras.layers.Dense(3)])
        >>> generator = Generator(model, SequenceFramer(1, vocabulary=Vocabulary("ABC")))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     generator.save(f"{folder}/letters.keras")
        ...     loaded = Generator.load(f"{folder}/letters.keras")
        >>> loaded.framer == generator.framer
        True
        """
        from seqframe.rollout.saving import save_generator

        save_generator(self, path)

    @staticmethod
    def load(path: str | Path, custom_objects: dict[str, Any] | None = None) -> "Generator":
        """Load what `save` saved. No code of the file is run.

        Args:
            path: path of the file.
            custom_objects: dict of name to class or function, as Keras's `load_model` takes it.

        Returns:
            Generator.

        Raises:
            ValueError: if the file is not a generator's.

        Example:

        >>> import keras, numpy as np
        >>> from seqframe import Generator, SequenceFramer, Vocabulary
        >>> layers = [keras.Input((1,)), keras.layers.Embedding(3, 3), keras.layers.Flatten()]
        >>> model = keras.Sequential(layers)
        >>> model.set_weights([np.roll(np.eye(3), 1, axis=1)])  # each symbol predicts the next
        >>> framer = SequenceFramer(1, layout="tokens", vocabulary=Vocabulary("ABC"))
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Generator(model, framer).save(f"{folder}/letters.keras")
        ...     Generator.load(f"{folder}/letters.keras").generate("A", 3)
        'BCA'
        """
        from seqframe.rollout.saving import load_generator

        return load_generator(path, custom_objects)

    def export(
        self,
        path: str | Path,
        *,
        kind: ExportKind | None = None,
        batch_size: int = 1,
        max_prompt: int = 1024,
        max_steps: int = 1024,
    ) -> None:
        """Write the rollout as a TensorFlow SavedModel, which needs TensorFlow alone to run.

        After `served = tf.saved_model.load(path)`, `served.run(prompt, steps, seed)` takes a tensor
        `(batch_size, length)` of ids or of values, with an axis of columns where a model takes
        several, and two int32 numbers; it returns the `steps` that come after, likewise. Where the
        vocabulary is of characters, `served.run_text(texts, steps, seed)` takes and returns strings
        `(batch_size,)`.

        Args:
            path: path of a directory.
            kind: "symbols" | "values". None: symbols, if the framer has a vocabulary.
            batch_size: int ≥ 1. Prompts that a call takes.
            max_prompt: int ≥ 1. Steps of a prompt that a stateful model can be shown.
            max_steps: int ≥ 1. Steps that a call can generate.

        Raises:
            RuntimeError: if Keras's backend is not TensorFlow.
            ValueError: if the generator needs a `future`.

        Example:

        >>> import tempfile
        >>> import tensorflow as tf
        >>> import keras, numpy as np
        >>> from seqframe import Generator, SequenceFramer, Vocabulary
        >>> layers = [keras.Input((1,)), keras.layers.Embedding(3, 3), keras.layers.Flatten()]
        >>> model = keras.Sequential(layers)
        >>> model.set_weights([np.roll(np.eye(3), 1, axis=1)])  # each symbol predicts the next
        >>> framer = SequenceFramer(1, layout="tokens", vocabulary=Vocabulary("ABC"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Generator(model, framer).export(folder, max_steps=16)
        ...     served = tf.saved_model.load(folder)
        >>> text = served.run_text(tf.constant(["A"]), tf.constant(5), tf.constant(0))
        >>> text.numpy()
        array([b'BCABC'], dtype=object)
        """
        from seqframe.rollout.export import export_generator

        export_generator(self, path, kind, batch_size, max_prompt, max_steps)

    def rollout(self, key: Any, rows: int, chooser: Callable[[], Any], **options: Any) -> Rollout:
        """Return the rollout for some rows, kept for the next call of that key.

        Until a layer is adapted, or weights are loaded into one that was: programs hold what such a
        layer has learned of data.
        """
        adapted = adapted_values(self.model)
        if not same_objects(adapted, self._adapted):
            self._rollouts, self._adapted = {}, adapted
        key = (key, rows, *options.items())
        if key not in self._rollouts:
            made = Rollout(self.model, self.framer, rows, chooser(), self.carried_layers, **options)
            self._rollouts[key] = made
        return self._rollouts[key]

    @property
    def is_stepped(self) -> bool:
        """Whether the model is shown single steps, and its state carried along."""
        return bool(self.carried_layers)

    @property
    def outputs(self) -> tuple[int, ...] | None:
        """Shape of one prediction, or None where the model does not declare it."""
        shape = declared_shape(self.model, "output_shape")
        if shape is not None and self.framer.return_sequences:
            shape = shape[1:]
        known = tuple(size for size in shape or () if size is not None)
        return known if shape and len(known) == len(shape) else None

    def draw_seed(self) -> int:
        """Return the seed of a call."""
        return (random_seed() if self.seed is None else self.seed) % (2**31 - 1)


def _default_framer(model: keras.Model, stateful: bool) -> SequenceFramer:
    shape = declared_shape(model, "input_shape")
    if not shape:
        raise ValueError(
            "`framer` can be left out only for a model with one input of shape (steps, …). "
            f"Received: {model.name!r}, which declares none. Pass the framer of its training data."
        )
    layout: Layout = "tokens" if len(shape) == 1 else "timesteps"
    length = 1 if stateful else shape[0]
    if length is None:
        raise ValueError(
            "`framer` can be left out only for a model with a fixed number of time steps. "
            f"Received: input shape {shape}. Pass the framer of its training data."
        )
    output = declared_shape(model, "output_shape") or ()
    steps, features = shape[0], shape[1:] or (None,)
    if len(output) == 1 + len(features) and output[0] == steps != 1:
        raise ValueError(
            "`framer` can be left out only for a model that predicts what comes after its last "
            f"step. Received: outputs of shape {output}, for each of {steps} steps. Pass the "
            "framer of its training data, with `return_sequences=True`."
        )
    return SequenceFramer(length, layout=layout)
