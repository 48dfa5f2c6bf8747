"""A rollout as a TensorFlow SavedModel, which needs neither Keras nor seqframe to run."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from seqframe.aliases import ExportKind, Shape, Tensor
from seqframe.files import check_path, written_beside
from seqframe.framing.checks import check_choice, check_integer
from seqframe.framing.framer import SequenceFramer
from seqframe.framing.vocabulary import Vocabulary
from seqframe.model.inspect import (
    check_classes,
    context_steps,
    declared_shape,
    least_prompt,
    least_steps,
    takes_windows,
)
from seqframe.rollout.choosers import Chooser, Feedback, Processor, SymbolChooser, ValueChooser
from seqframe.rollout.loop import RolledModel, Rollout
from seqframe.samplers import BeamSampler


def export_rollout(
    rolled: RolledModel,
    path: str | Path,
    kind: ExportKind | None,
    *,
    sampler: Any,
    from_logits: bool | None,
    processor: Processor | None,
    feedback: Feedback | None,
    batch_size: int,
    max_prompt: int,
    max_steps: int,
) -> None:
    """Write a rollout as a SavedModel; see `Generator.export`."""
    path = _check_folder(path)
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "`export` needs Keras's TensorFlow backend. Received: the backend "
            f"{keras.backend.backend()!r}. Save the generator, then load and export it with "
            "KERAS_BACKEND=tensorflow."
        )
    import tensorflow as tf

    framer, vocabulary = rolled.framer, rolled.framer.vocabulary
    batch_size = check_integer("batch_size", batch_size, 1)
    max_prompt = check_integer("max_prompt", max_prompt, least_prompt(framer, True))
    max_steps = check_integer("max_steps", max_steps, 1)
    if kind is None:
        kind = "values" if vocabulary is None else "symbols"
    check_choice("kind", kind, ("symbols", "values"))
    choose: Chooser
    row_shape: Shape = ()
    rows_of_each = 1
    if kind == "symbols":
        check_classes(framer, rolled.outputs)
        if isinstance(sampler, BeamSampler):
            rows_of_each = sampler.num_beams
        choose = SymbolChooser(
            sampler,
            from_logits,
            horizon=framer.horizon,
            padding_id=None if vocabulary is None else vocabulary.padding_id,
            processor=processor,
            feedback=feedback,
        )
    else:
        row_shape = _row_shape(rolled, feedback)
        choose = ValueChooser(framer.horizon, row_shape, feedback=feedback)
    rollout = Rollout(rolled, batch_size * rows_of_each, choose)
    served = _Served(rollout, row_shape, rows_of_each, max_prompt, max_steps)
    module = tf.Module()
    module.weights = [variable.value for variable in rolled.model.variables]
    dtype = tf.int32 if kind == "symbols" else tf.as_dtype(keras.config.floatx())
    numbers = [tf.TensorSpec((), tf.int32, "steps"), tf.TensorSpec((), tf.int32, "seed")]
    prompt = tf.TensorSpec((batch_size, None, *row_shape), dtype, "prompt")
    module.run = tf.function(served.run, input_signature=[prompt, *numbers], autograph=False)
    signatures = {"serving_default": module.run}
    if kind == "symbols" and vocabulary is not None and vocabulary.is_text:
        module.lookup = _lookup(vocabulary)
        padding = [""] if vocabulary.reserve_padding else []
        symbols = [*padding, *vocabulary.symbols]
        module.run_text = tf.function(
            lambda text, steps, seed: served.run_text(module.lookup, symbols, text, steps, seed),
            input_signature=[tf.TensorSpec((batch_size,), tf.string, "text"), *numbers],
            autograph=False,
        )
        signatures["text"] = module.run_text
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as unfinished:
        tf.saved_model.save(module, str(unfinished), signatures)


def _check_folder(path: str | Path) -> Path:
    """Return the path of a SavedModel. Raise if it would replace anything else."""
    path = check_path(path)
    is_other = path.is_dir() and any(path.iterdir()) and not (path / "saved_model.pb").is_file()
    if is_other or (path.exists() and not path.is_dir()):
        kind = "a folder with other files" if is_other else "a file"
        raise ValueError(
            "`path` must name a new folder, an empty one, or one with a SavedModel to replace. "
            f"Received: path={str(path)!r}, {kind}. Name a folder inside of it."
        )
    return path


@dataclass(frozen=True, eq=False)
class _Served:
    """The functions of a SavedModel.

    Its buffer has room for the longest prompt and the most steps, so that XLA compiles one program.
    """

    rollout: Rollout
    row_shape: Shape
    rows_of_each: int
    max_prompt: int
    max_steps: int

    @property
    def _framer(self) -> SequenceFramer:
        return self.rollout.framer

    @property
    def _least(self) -> int:
        return least_steps(self._framer, self.rollout.is_stepped)

    @property
    def _width(self) -> int:
        stepped = self.rollout.is_stepped
        width = context_steps(self._framer, stepped) + self._framer.gap
        return width + self.max_prompt - self._least if stepped else width

    def run(self, prompt: Tensor, steps: Tensor, seed: Tensor) -> Tensor:
        """Continue prompts `(batch_size, length, …)`; return `(batch_size, steps, …)`."""
        import tensorflow as tf

        length = tf.shape(prompt)[1]
        return self._continued(prompt, tf.fill([prompt.shape[0]], length), steps, seed)

    def run_text(
        self, lookup: Any, symbols: list[str], text: Tensor, steps: Tensor, seed: Tensor
    ) -> Tensor:
        """Continue texts `(batch_size,)`."""
        import tensorflow as tf

        characters = tf.strings.unicode_split(text, "UTF-8")
        ids = lookup.lookup(characters.flat_values)
        known = tf.debugging.assert_non_negative(ids, "`text` holds an unknown symbol.")
        with tf.control_dependencies([known]):
            ragged = characters.with_flat_values(tf.identity(ids))
        found = self._continued(ragged.to_tensor(), ragged.row_lengths(), steps, seed)
        return tf.strings.reduce_join(tf.gather(tf.constant(symbols), found), axis=-1)

    def _continued(self, prompt: Tensor, lengths: Tensor, steps: Tensor, seed: Tensor) -> Tensor:
        import tensorflow as tf

        framer, width, each = self._framer, self._width, self.rows_of_each
        lengths = tf.cast(lengths, tf.int32)
        needed = self._least + framer.gap
        checks = [
            tf.debugging.assert_greater_equal(
                lengths, needed, f"A prompt needs at least {needed} steps."
            ),
            tf.debugging.assert_positive(steps, "`steps` must be 1 or more."),
            tf.debugging.assert_less_equal(
                steps, self.max_steps, f"`steps` must not exceed {self.max_steps}."
            ),
        ]
        if self.rollout.is_stepped:
            longest = width - framer.gap
            message = f"A prompt must not exceed {longest} steps."
            checks.append(tf.debugging.assert_less_equal(lengths, longest, message))
        with tf.control_dependencies(checks):
            prompt = tf.identity(prompt)
        # The buffer, in which prompts end at `width`.
        place = tf.range(width)[None] - (width - lengths[:, None])
        known = tf.gather(prompt, tf.maximum(place, 0), batch_dims=1)
        is_real = tf.reshape(place >= 0, [-1, width, *[1] * len(self.row_shape)])
        filling = tf.cast(framer.padding_value, prompt.dtype)
        room = self.max_steps + framer.horizon - 1
        sides = [(0, 0), (0, room), *[(0, 0)] * len(self.row_shape)]
        buffer = tf.pad(tf.where(is_real, known, filling), sides, constant_values=filling)
        buffer, lengths = tf.repeat(buffer, each, axis=0), tf.repeat(lengths, each)
        shape = (self.rollout.rows, width + room, *self.row_shape)
        program = tf.function(self._roll, jit_compile=True, autograph=False)
        buffer = program(tf.ensure_shape(buffer, shape), lengths, steps, seed)
        return buffer[::each, width : width + steps]

    def _roll(self, buffer: Tensor, lengths: Tensor, steps: Tensor, seed: Tensor) -> Tensor:
        import tensorflow as tf

        framer, width, rollout = self._framer, self._width, self.rollout
        if rollout.is_stepped:
            begins = tf.maximum(width - lengths + self._least - 1, 0)
            first = tf.reduce_min(begins)
            passes = width + steps - framer.gap - 1 - first
        else:
            begins, first = tf.zeros_like(lengths), tf.constant(width - framer.gap - 1)
            passes = (steps + framer.horizon - 1) // framer.horizon
        extras = rollout.choose.begin(*buffer.shape[:2])
        carry = (buffer, rollout.states(None), list(map(tf.constant, extras)))
        given = (tf.minimum(lengths, width), begins)
        numbers = (seed, tf.constant(width), first, tf.constant(0), passes)
        return rollout.roll([], carry, given, numbers)[0]


def _row_shape(rolled: RolledModel, feedback: Feedback | None) -> Shape:
    """Return the shape of a step of the sequences that a model continues."""
    framer, shape = rolled.framer, declared_shape(rolled.model, "input_shape")
    row = shape if framer.layout == "flat" else (shape or ())[1:]
    features = tuple(size for size in row or () if size is not None)
    if not shape or len(features) < len(row or ()):
        raise ValueError(
            "`export` of values needs a model that declares its input. Received: input shape "
            f"{shape}."
        )
    if takes_windows(framer):
        features = (features[-1] // framer.sequence_length,)
    outputs = rolled.outputs
    predicted = None if outputs is None else math.prod(outputs)
    if feedback is None and predicted != math.prod(features) * framer.horizon:
        raise ValueError(
            "The model must predict every feature of its input for each step of `horizon`. "
            f"Received: {predicted} outputs, and inputs of {math.prod(features)} features."
        )
    return () if features == (1,) else features


def _lookup(vocabulary: Vocabulary) -> Any:
    import tensorflow as tf

    first = int(vocabulary.reserve_padding)
    ids = np.arange(first, first + len(vocabulary.symbols))
    table = tf.lookup.KeyValueTensorInitializer(list(vocabulary.symbols), ids.astype("int32"))
    return tf.lookup.StaticHashTable(table, vocabulary.unknown_id)
