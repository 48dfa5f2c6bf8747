"""A rollout as a TensorFlow SavedModel, which needs neither Keras nor seqframe to run."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from seqframe.aliases import Shape, Tensor
from seqframe.files import check_path, written_beside
from seqframe.framing.framer import SequenceFramer
from seqframe.framing.sequences import find_columns
from seqframe.framing.vocabulary import Vocabulary
from seqframe.model.inspect import (
    check_classes,
    context_steps,
    least_steps,
    named_inputs,
    takes_windows,
)
from seqframe.rollout.choosers import Feedback, Processors, SymbolChooser, ValueChooser
from seqframe.rollout.forecast import Forecaster
from seqframe.rollout.histories import Known
from seqframe.rollout.loop import RolledModel, Rollout
from seqframe.rollout.plans import Noise
from seqframe.samplers import BeamSampler, sampling_of

_MOST_STEPS = 1024  # that a call can generate, unless the user says how many


def export_text(
    rolled: RolledModel,
    path: Path,
    *,
    sampler: Any,
    from_logits: bool | None,
    processors: Processors,
    feedback: Feedback | None,
    batch_size: int,
    max_prompt: int,
    max_steps: int | None,
) -> None:
    """Write a rollout of symbols as a SavedModel; see `Generator.export`."""
    import tensorflow as tf

    framer, vocabulary = rolled.framer, rolled.framer.vocabulary
    check_classes(framer, rolled.outputs)
    choose = SymbolChooser(
        sampling_of(sampler),
        from_logits,
        horizon=framer.horizon,
        padding_id=None if vocabulary is None else vocabulary.padding_id,
        processors=processors,
        feedback=feedback,
    )
    rows_of_each = sampler.num_beams if isinstance(sampler, BeamSampler) else 1
    rollout = Rollout(rolled, batch_size * rows_of_each, choose)
    served = _Served(rollout, max_prompt, max_steps or _MOST_STEPS, rows_of_each=rows_of_each)
    module = tf.Module()
    numbers = [tf.TensorSpec((), tf.int32, "steps"), tf.TensorSpec((), tf.int32, "seed")]
    prompt = tf.TensorSpec((batch_size, None), tf.int32, "prompt")
    module.run = tf.function(served.run, input_signature=[prompt, *numbers], autograph=False)
    signatures = {"serving_default": module.run}
    if vocabulary is not None and vocabulary.is_text:
        module.lookup = _lookup(vocabulary)
        padding = [""] if vocabulary.reserve_padding else []
        symbols = [*padding, *vocabulary.symbols]
        module.run_text = tf.function(
            lambda text, steps, seed: served.run_text(module.lookup, symbols, text, steps, seed),
            input_signature=[tf.TensorSpec((batch_size,), tf.string, "text"), *numbers],
            autograph=False,
        )
        signatures["text"] = module.run_text
    _write(module, rolled, path, signatures)


def export_values(
    forecaster: Forecaster,
    path: Path,
    *,
    noise: Noise | None,
    batch_size: int,
    max_prompt: int,
    max_steps: int | None,
) -> None:
    """Write a rollout of real values as a SavedModel; see `Generator.export`."""
    import tensorflow as tf

    rolled, framer = forecaster.rolled, forecaster.rolled.framer
    if forecaster.needs_past:
        raise ValueError(
            '`export` is for models that take a "future" for their target steps only. Received: a '
            "model that takes it for each input step. Use `save`."
        )
    if isinstance(noise, str):
        raise ValueError(
            f"`noise` of an export must be a function or errors. Received: noise={noise!r}."
        )
    row_shape = _row_shape(rolled)
    others = _count_others(forecaster, row_shape)
    # To roll on, a model needs the values of all its columns, and of the steps in a gap.
    keeps = forecaster.levels is not None and noise is None
    if max_steps is None:
        max_steps = framer.horizon if others or keeps or framer.gap else _MOST_STEPS
    if max_steps > framer.horizon and (keeps or framer.gap):
        raise ValueError(
            f"`max_steps` must be at most `horizon={framer.horizon}` for a model of quantiles, or "
            f"with a `gap`. Received: max_steps={max_steps}. Leave it out."
        )
    rolls = max_steps > framer.horizon
    future = _future_shape(rolled, others if rolls else 0)
    names = forecaster.names_of_future if rolls else framer.future_columns
    history = np.zeros((max_prompt, *row_shape), keras.config.floatx())
    ahead = None if future is None else [np.zeros((max_steps, *future), keras.config.floatx())]
    known = Known("history", [history], [history], None, ahead, None if names is None else [*names])
    plan = forecaster.plan(known, max_steps, noise)
    served = _Served(
        Rollout(rolled, batch_size, plan.choose),
        max_prompt,
        max_steps,
        row_shape=row_shape,
        columns=plan.columns,
        lead=framer.gap,
    )
    module, dtype = tf.Module(), tf.as_dtype(keras.config.floatx())
    numbers = [tf.TensorSpec((), tf.int32, "steps"), tf.TensorSpec((), tf.int32, "seed")]
    arguments = [tf.TensorSpec((batch_size, None, *row_shape), dtype, "prompt"), *numbers]
    if future is not None:
        arguments.append(tf.TensorSpec((batch_size, None, *future), dtype, "future"))
    module.run = tf.function(served.run, input_signature=arguments, autograph=False)
    _write(module, rolled, path, {"serving_default": module.run})


def _count_others(forecaster: Forecaster, row_shape: Shape) -> int:
    """Return how many columns a model reads and does not predict."""
    if forecaster.targets is None or forecaster.feedback is not None or not row_shape:
        return 0
    names, width = forecaster.rolled.framer.columns, math.prod(row_shape)
    found = find_columns(forecaster.targets, None if names is None else list(names), width)
    return width - np.size(found)


def _write(module: Any, rolled: RolledModel, path: Path, signatures: dict[str, Any]) -> None:
    import tensorflow as tf

    module.weights = [variable.value for variable in rolled.model.variables]
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as unfinished:
        tf.saved_model.save(module, str(unfinished), signatures)


def check_export(path: str | Path) -> Path:
    """Return the path of a SavedModel. Raise if it, or the backend, is another one."""
    path = _check_folder(path)
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "`export` needs Keras's TensorFlow backend. Received: the backend "
            f"{keras.backend.backend()!r}. Save the generator, then load and export it with "
            "KERAS_BACKEND=tensorflow."
        )
    return path


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
    max_prompt: int
    max_steps: int
    row_shape: Shape = ()
    rows_of_each: int = 1
    columns: int | list[int] | None = None  # to return; None: all
    lead: int = 0  # steps after the prompt that are not returned

    @property
    def _framer(self) -> SequenceFramer:
        return self.rollout.framer

    @property
    def _keeps(self) -> bool:
        return isinstance(self.rollout.choose, ValueChooser) and self.rollout.choose.keeps

    @property
    def _least(self) -> int:
        return least_steps(self._framer, self.rollout.is_stepped)

    @property
    def _width(self) -> int:
        stepped, choose = self.rollout.is_stepped, self.rollout.choose
        width = context_steps(self._framer, stepped) + self._framer.gap
        if isinstance(choose, SymbolChooser) and choose.sees_ids and not stepped:
            return max(width, self.max_prompt)
        return width + self.max_prompt - self._least if stepped else width

    def run(
        self, prompt: Tensor, steps: Tensor, seed: Tensor, future: Tensor | None = None
    ) -> Tensor:
        """Continue prompts `(batch_size, length, …)`; return `(batch_size, steps, …)`."""
        import tensorflow as tf

        lengths = tf.fill([prompt.shape[0]], tf.shape(prompt)[1])
        return self._continued(prompt, lengths, steps, seed, future)

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

    def _continued(
        self,
        prompt: Tensor,
        lengths: Tensor,
        steps: Tensor,
        seed: Tensor,
        future: Tensor | None = None,
    ) -> Tensor:
        import tensorflow as tf

        framer, width, each = self._framer, self._width, self.rows_of_each
        lengths = tf.cast(lengths, tf.int32)
        needed = self._least + framer.gap - self.lead
        checks = [
            tf.debugging.assert_greater_equal(
                lengths, needed, f"A prompt needs at least {needed} steps."
            ),
            tf.debugging.assert_positive(steps, "`steps` must be 1 or more."),
            tf.debugging.assert_less_equal(
                steps, self.max_steps, f"`steps` must not exceed {self.max_steps}."
            ),
        ]
        if self.rollout.is_stepped or getattr(self.rollout.choose, "sees_ids", False):
            longest = width - framer.gap
            message = f"A prompt must not exceed {longest} steps."
            checks.append(tf.debugging.assert_less_equal(lengths, longest, message))
        if future is not None:
            horizon = framer.horizon
            rows = (steps + horizon - 1) // horizon * horizon
            message = "`future` must have a row for each step, rounded up to whole horizons."
            checks.append(tf.debugging.assert_equal(tf.shape(future)[1], rows, message))
        with tf.control_dependencies(checks):
            prompt = tf.identity(prompt)
        if self.lead:  # nobody reads the steps of the gap
            prompt = tf.concat([prompt, *[prompt[:, -1:]] * self.lead], axis=1)
            lengths = lengths + self.lead
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
        if future is not None:
            sides = [(0, 0), (width, room - tf.shape(future)[1]), (0, 0)]
            future = tf.ensure_shape(tf.pad(future, sides), (*shape[:2], *future.shape[2:]))
        program = tf.function(self._roll, jit_compile=True, autograph=False)
        found = program(tf.ensure_shape(buffer, shape), lengths, steps, seed, future)
        found = found[::each, width : width + steps]
        if self._keeps:  # the quantiles of the predicted columns
            return found[..., 0, :] if isinstance(self.columns, int) else found
        if isinstance(self.columns, int):
            return found[..., self.columns]
        return found if self.columns is None else tf.gather(found, self.columns, axis=-1)

    def _roll(
        self,
        buffer: Tensor,
        lengths: Tensor,
        steps: Tensor,
        seed: Tensor,
        future: Tensor | None,
    ) -> Tensor:
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
        given += () if future is None else (future,)
        numbers = (seed, tf.constant(width), first, tf.constant(0), passes)
        buffer, _, extras = rollout.roll([], carry, given, numbers)
        return extras[0] if self._keeps else buffer


def _row_shape(rolled: RolledModel) -> Shape:
    """Return the shape of a step of the sequences that a model continues."""
    framer, shape = rolled.framer, (named_inputs(rolled.model) or {}).get("past")
    row = shape if framer.layout == "flat" else (shape or ())[1:]
    features = tuple(size for size in row or () if size is not None)
    if not shape or len(features) < len(row or ()):
        raise ValueError(
            "`export` of values needs a model that declares its input. Received: input shape "
            f"{shape}."
        )
    if takes_windows(framer):
        features = (features[-1] // framer.sequence_length,)
    return () if features == (1,) else features


def _future_shape(rolled: RolledModel, others: int) -> Shape | None:
    """Return the shape of a row of future covariates, with columns besides the model's own."""
    own = (named_inputs(rolled.model) or {}).get("future")
    if own is None:
        return (others,) if others else None
    row = tuple(size for size in own[1:] if size is not None)
    if len(row) != 1:
        raise ValueError(
            '`export` needs a model whose "future" has shape (horizon, columns). Received: shape '
            f"{own}."
        )
    return (row[0] + others,)


def _lookup(vocabulary: Vocabulary) -> Any:
    import tensorflow as tf

    first = int(vocabulary.reserve_padding)
    ids = np.arange(first, first + len(vocabulary.symbols))
    table = tf.lookup.KeyValueTensorInitializer(list(vocabulary.symbols), ids.astype("int32"))
    return tf.lookup.StaticHashTable(table, vocabulary.unknown_id)
