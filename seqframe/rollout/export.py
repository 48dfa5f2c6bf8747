"""A generator as a TensorFlow SavedModel, which needs neither Keras nor seqframe to run."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from seqframe.aliases import ExportKind, Shape
from seqframe.framing.windows import check_choice, check_integer
from seqframe.model.checks import check_classes, declared_shape
from seqframe.model.context import context_steps, least_prompt, least_steps
from seqframe.model.inputs import takes_future
from seqframe.rollout.choosers import SymbolChooser, ValueChooser
from seqframe.rollout.loop import Rollout
from seqframe.samplers import BeamSampler

if TYPE_CHECKING:
    from seqframe.rollout.generator import Generator


def export_generator(
    generator: "Generator",
    path: str | Path,
    kind: ExportKind | None,
    batch_size: int,
    max_prompt: int,
    max_steps: int,
) -> None:
    """Write a generator as a SavedModel; see `Generator.export`."""
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "A SavedModel is written by Keras's TensorFlow backend. Received: the backend "
            f"{keras.backend.backend()!r}. Save the generator, and load and export it with "
            "KERAS_BACKEND=tensorflow."
        )
    import tensorflow as tf

    batch_size = check_integer("batch_size", batch_size, 1)
    max_prompt = check_integer("max_prompt", max_prompt, least_prompt(generator.framer, True))
    max_steps = check_integer("max_steps", max_steps, 1)
    if kind is None:
        kind = "values" if generator.framer.vocabulary is None else "symbols"
    check_choice("kind", kind, ("symbols", "values"))
    if takes_future(generator.model) or generator.targets is not None:
        raise ValueError(
            "A generator that needs what is known ahead cannot be exported. Received: a model with "
            'a "future", or `targets`. Use `save`.'
        )
    served = _Served(generator, kind, batch_size, max_prompt, max_steps)
    module = tf.Module()
    module.weights = served.weights
    dtype = tf.int32 if kind == "symbols" else tf.as_dtype(keras.config.floatx())
    shape = (batch_size, None, *served.row_shape)
    scalar = tf.TensorSpec((), tf.int32)
    module.run = tf.function(
        served.run,
        input_signature=[
            tf.TensorSpec(shape, dtype, "prompt"),
            tf.TensorSpec(scalar.shape, tf.int32, "steps"),
            tf.TensorSpec(scalar.shape, tf.int32, "seed"),
        ],
        autograph=False,
    )
    signatures = {"serving_default": module.run}
    vocabulary = generator.framer.vocabulary
    if kind == "symbols" and vocabulary is not None and vocabulary.is_text:
        module.lookup = _lookup(vocabulary)
        module.run_text = tf.function(
            lambda text, steps, seed: served.run_text(module.lookup, text, steps, seed),
            input_signature=[
                tf.TensorSpec((batch_size,), tf.string, "text"),
                tf.TensorSpec(scalar.shape, tf.int32, "steps"),
                tf.TensorSpec(scalar.shape, tf.int32, "seed"),
            ],
            autograph=False,
        )
        signatures["text"] = module.run_text
    tf.saved_model.save(module, str(path), signatures)


class _Served:
    """What a SavedModel computes.

    Its buffer has room for the longest prompt and the most steps, so that XLA compiles one program.
    """

    def __init__(
        self, generator: "Generator", kind: str, batch_size: int, max_prompt: int, max_steps: int
    ):
        framer, vocabulary = generator.framer, generator.framer.vocabulary
        self._framer, self._stepped = framer, generator.is_stepped
        self._max_steps = max_steps
        self.row_shape: Shape = ()
        self._least = least_steps(framer, self._stepped)
        self._needed = least_prompt(framer, self._stepped)
        self._width = context_steps(framer, self._stepped) + framer.gap
        if self._stepped:
            self._width = max_prompt + context_steps(framer, True) - self._least + framer.gap
        self._room = max_steps + framer.horizon - 1
        self._rows_a_prompt = 1
        if kind == "symbols":
            check_classes(framer, generator.outputs)
            if isinstance(generator.sampler, BeamSampler):
                self._rows_a_prompt = generator.sampler.num_beams
            choose: Any = SymbolChooser(
                generator.sampler,
                from_logits=generator.from_logits,
                horizon=framer.horizon,
                padding_id=None if vocabulary is None else vocabulary.padding_id,
                processor=generator.logits_processor,
                feedback=generator.feedback,
            )
        else:
            self.row_shape = _row_shape(generator)
            choose = ValueChooser(
                horizon=framer.horizon,
                num_samples=1,
                row_shape=self.row_shape,
                feedback=generator.feedback,
            )
        self._rows = batch_size * self._rows_a_prompt
        self._rollout = Rollout(
            generator.model, framer, self._rows, choose, generator.carried_layers
        )
        self.weights = [variable.value for variable in generator.model.variables]
        if vocabulary is not None and kind == "symbols" and vocabulary.is_text:
            padding = [""] if vocabulary.reserve_padding else []
            self._symbols = [*padding, *vocabulary.symbols]

    def run(self, prompt: Any, steps: Any, seed: Any) -> Any:
        """Return what comes after prompts `(batch_size, length, …)`, `(batch_size, steps, …)`."""
        import tensorflow as tf

        length = tf.shape(prompt)[1]
        return self._continued(prompt, tf.fill([prompt.shape[0]], length), steps, seed)

    def run_text(self, lookup: Any, text: Any, steps: Any, seed: Any) -> Any:
        """Return what comes after texts, `(batch_size,)`."""
        import tensorflow as tf

        characters = tf.strings.unicode_split(text, "UTF-8")
        ids = lookup.lookup(characters.flat_values)
        known = tf.debugging.assert_non_negative(ids, "`text` holds an unknown symbol.")
        with tf.control_dependencies([known]):
            ragged = characters.with_flat_values(tf.identity(ids))
        found = self._continued(ragged.to_tensor(), ragged.row_lengths(), steps, seed)
        return tf.strings.reduce_join(tf.gather(tf.constant(self._symbols), found), axis=-1)

    def _continued(self, prompt: Any, lengths: Any, steps: Any, seed: Any) -> Any:
        import tensorflow as tf

        lengths = tf.cast(lengths, tf.int32)
        checks = [
            tf.debugging.assert_greater_equal(
                lengths, self._needed, f"A prompt needs at least {self._needed} steps."
            ),
            tf.debugging.assert_positive(steps, "`steps` must be 1 or more."),
            tf.debugging.assert_less_equal(
                steps, self._max_steps, f"`steps` must not exceed {self._max_steps}."
            ),
        ]
        if self._stepped:
            longest = self._width - self._framer.gap
            message = f"A prompt must not exceed {longest} steps."
            checks.append(tf.debugging.assert_less_equal(lengths, longest, message))
        with tf.control_dependencies(checks):
            buffer = self._laid_out(tf.identity(prompt), lengths)
        each = self._rows_a_prompt
        buffer, lengths = tf.repeat(buffer, each, axis=0), tf.repeat(lengths, each)
        shape = (self._rows, self._width + self._room, *self.row_shape)
        buffer = self._program(tf.ensure_shape(buffer, shape), lengths, steps, seed)
        return buffer[::each, self._width : self._width + steps]

    def _laid_out(self, prompt: Any, lengths: Any) -> Any:
        """Return prompts in a buffer where they end at `width`."""
        import tensorflow as tf

        place = tf.range(self._width)[None] - (self._width - lengths[:, None])
        known = tf.gather(prompt, tf.maximum(place, 0), batch_dims=1)
        is_real = tf.reshape(place >= 0, [-1, self._width, *[1] * len(self.row_shape)])
        filling = tf.cast(self._framer.padding_value, prompt.dtype)
        known = tf.where(is_real, known, filling)
        room = [(0, 0), (0, self._room), *[(0, 0)] * len(self.row_shape)]
        return tf.pad(known, room, constant_values=filling)

    @property
    def _program(self) -> Any:
        import tensorflow as tf

        return tf.function(self._roll, jit_compile=True, autograph=False)

    def _roll(self, buffer: Any, lengths: Any, steps: Any, seed: Any) -> Any:
        import tensorflow as tf

        framer, width = self._framer, self._width
        rollout = self._rollout
        if self._stepped:
            begins = tf.maximum(width - lengths + self._least - 1, 0)
            first = tf.reduce_min(begins)
            passes = width + steps - framer.gap - 1 - first
        else:
            begins, first = tf.zeros_like(lengths), tf.constant(width - framer.gap - 1)
            passes = (steps + framer.horizon - 1) // framer.horizon
        extras = rollout.choose.begin(*buffer.shape[:2])
        carry = (buffer, rollout.states(None), list(map(tf.constant, extras)))
        given = (tf.minimum(lengths, width), begins)
        numbers = (seed, tf.constant(width), first, passes, tf.constant(0))
        return rollout.roll([], carry, given, numbers)[0]


def _row_shape(generator: "Generator") -> tuple[int, ...]:
    """Return the shape of a step of the sequences that a model continues."""
    framer, shape = generator.framer, declared_shape(generator.model, "input_shape")
    features = tuple(size for size in (shape or ())[1:] if size is not None)
    if not shape or len(features) < len(shape) - 1:
        raise ValueError(
            "Only a model that declares its input can be exported for values. Received: input "
            f"shape {shape}."
        )
    if framer.layout == "features":
        features = (features[-1] // framer.sequence_length,)
    outputs = generator.outputs
    predicted = None if outputs is None else math.prod(outputs)
    if generator.feedback is None and predicted != math.prod(features) * framer.horizon:
        raise ValueError(
            "The model must predict every feature of its input for each step of the framer's "
            f"horizon. Received: {predicted} outputs, and inputs of {math.prod(features)} features."
        )
    return () if features == (1,) else features


def _lookup(vocabulary: Any) -> Any:
    import tensorflow as tf

    first = int(vocabulary.reserve_padding)
    ids = np.arange(first, first + len(vocabulary.symbols))
    table = tf.lookup.KeyValueTensorInitializer(list(vocabulary.symbols), ids.astype("int32"))
    return tf.lookup.StaticHashTable(table, vocabulary.unknown_id)
