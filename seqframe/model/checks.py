"""Whether a model and its data fit, said before anything is trained."""

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from seqframe.backend.internals import all_layers
from seqframe.model.context import least_prompt
from seqframe.model.inputs import named_inputs

if TYPE_CHECKING:
    from seqframe.framing.framer import SequenceFramer


def check_model(model: keras.Model) -> None:
    """Raise if something is no model."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a `keras.Model`. Received: {type(model).__name__}.")


def check_compiled(model: keras.Model) -> None:
    """Raise if a model is not ready to train."""
    check_model(model)
    if not model.compiled:
        raise ValueError(
            f"`model` must be compiled. Received: {model.name!r}, which is not. "
            "Call `model.compile(optimizer, loss)` first."
        )


def check_shapes(
    model: keras.Model,
    x_shape: tuple[int, ...] | dict[str, tuple[int, ...]],
    y_shape: tuple[int, ...] | None,
    symbols: int | None = None,
) -> None:
    """Raise if inputs or targets cannot be a model's.

    Args:
        model: keras.Model. Where it declares no shapes, nothing is checked.
        x_shape: shape of an input, without the sample axis; a dict where there are several.
        y_shape: shape of a target, without the sample axis; None where there are none.
        symbols: number of ids that targets may be, where they are ids of a vocabulary.
    """
    expected = declared_shape(model, "input_shape")
    if isinstance(x_shape, dict):
        _check_inputs(model, expected, x_shape)
    elif expected is not None and not _same(expected, x_shape):
        few = len(expected) == len(x_shape) > 1 and _same(expected[:-1], x_shape[:-1])
        change = "the columns that are framed" if few else "`sequence_length` or `layout`"
        raise ValueError(
            f"The frames do not fit the model: it takes inputs of shape {expected}. "
            f"Received: frames with inputs of shape {x_shape}. Change {change}, or the model's "
            "`Input`."
        )
    output = declared_shape(model, "output_shape")
    if output is None or y_shape is None:
        return
    sparse = output[:-1]
    # Keras adds or drops a last axis of one where that makes them fit.
    fitting = (output, sparse, (*sparse, 1), (*output, 1))
    if not any(_same(shape, y_shape) for shape in fitting):
        raise ValueError(
            f"The targets do not fit the model: its output has shape {output}, so targets have "
            f"that shape, or {sparse} if they are class ids. Received: targets of shape {y_shape}. "
            "Change `horizon`, `return_sequences` or `targets` of the framer, or the model's "
            "output."
        )
    classes = output[-1] if output and _same(sparse, y_shape) else None
    if symbols is not None and classes not in (None, 1) and classes < symbols:
        raise ValueError(
            f"The model's output has {classes} classes. Received: frames whose vocabulary has "
            f"{symbols} ids. Give the last layer `len(frames.vocabulary)` units."
        )


def check_one_output(model: keras.Model, instead: str) -> None:
    """Raise if a model has several outputs, where there is room for one.

    Args:
        model: keras.Model. Where it declares no outputs, nothing is checked.
        instead: str. What to do.
    """
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) > 1:
        shapes = [tuple(output.shape[1:]) for output in outputs]
        raise ValueError(
            f"The model must have one output here. Received: {model.name!r}, with outputs of "
            f"shapes {shapes}. {instead}"
        )


def check_weights(
    model: keras.Model, y_shape: tuple[int, ...], weight_shape: tuple[int, ...]
) -> None:
    """Raise if weights of steps would weigh something else.

    A Keras loss of real values averages over the last axis of a target before it weighs: over the
    steps, where a target has no columns.

    Args:
        model: keras.Model. Where it declares no output, nothing is checked.
        y_shape: shape of a target, without the sample axis.
        weight_shape: shape of a sample's weights.
    """
    output = declared_shape(model, "output_shape")
    if output is None or not y_shape or weight_shape != y_shape:
        return
    if len(output) == len(y_shape) + 1 and output[-1] == 1:
        raise ValueError(
            f"Weights of shape {weight_shape} cannot weigh steps here: the loss first averages "
            f"targets of shape {y_shape} over their last axis. Received: a model with outputs of "
            f"shape {output}. Give the targets a column axis: frame a sequence of shape (steps, 1) "
            "with `targets=[0]`."
        )


def check_embedding(model: keras.Model, symbols: int) -> None:
    """Raise if the Embedding that takes a model's ids has fewer rows than there are symbols.

    Args:
        model: keras.Model. Where no Embedding is the first to see its only input, nothing is
            checked.
        symbols: number of ids.
    """
    is_sequential = isinstance(model, keras.Sequential)
    given = [] if is_sequential else getattr(model, "inputs", None) or []
    for layer in model.layers[:1] if is_sequential else model.layers:
        if not isinstance(layer, keras.layers.Embedding):
            continue
        sees_ids = is_sequential or (len(given) == 1 and layer.input is given[0])
        if sees_ids and layer.input_dim < symbols:
            raise ValueError(
                f"The model's layer {layer.name!r} has {layer.input_dim} rows. Received: a "
                f"vocabulary of {symbols} ids. Make it an `Embedding(len(vocabulary), …)`."
            )


def _check_inputs(
    model: keras.Model, only: tuple[int | None, ...] | None, x_shape: dict[str, tuple[int, ...]]
) -> None:
    """Raise if a model does not take inputs of these names and shapes."""
    if only is not None:
        raise ValueError(
            f"The frames do not fit the model: it takes one input, of shape {only}. Received: "
            f"frames with a future, whose inputs are {x_shape}. Give the model an `Input` named "
            '"past" and one named "future", or leave out `future`.'
        )
    expected = named_inputs(model)
    if expected is None:
        return
    if expected.keys() != x_shape.keys() or not all(
        _same(expected[name], shape) for name, shape in x_shape.items()
    ):
        raise ValueError(
            f"The frames do not fit the model: it takes inputs {expected}. Received: frames with "
            f"inputs {x_shape}. Change the framer, `future`, or the model's inputs."
        )


def declared_shape(model: keras.Model, name: str) -> tuple[int | None, ...] | None:
    """Return a model's only input or output shape without the sample axis, or None."""
    try:
        shape = getattr(model, name)
    except AttributeError:
        return None
    if isinstance(shape, tuple) and shape and all(n is None or isinstance(n, int) for n in shape):
        return shape[1:]
    return None


def _same(expected: tuple[Any, ...], received: tuple[int, ...]) -> bool:
    return len(expected) == len(received) and all(
        n is None or n == m for n, m in zip(expected, received, strict=True)
    )


def check_input_names(model: keras.Model) -> None:
    """Raise if a model takes inputs that no frame has."""
    names = named_inputs(model)
    if names is not None and list(names) != ["past"] and names.keys() != {"past", "future"}:
        raise ValueError(
            'A model that is rolled out takes one input, or two that are named "past" and '
            f'"future". Received: a model with inputs named {list(names)}. Name them, as '
            '`keras.Input(shape, name="future")`.'
        )


def check_framer(model: keras.Model, framer: "SequenceFramer", stateful: bool) -> None:
    """Raise if a framer's windows are not what a model takes, or cannot be rolled on."""
    if framer.gap < 0:
        raise ValueError(
            "A model whose target is its own last input step predicts nothing to feed back. "
            f"Received: a framer with gap={framer.gap}."
        )
    inputs = named_inputs(model) or {}
    shape, length = inputs.get("past"), framer.sequence_length
    if "future" in inputs:
        ahead, axis = inputs["future"], int(framer.return_sequences)
        if len(ahead) < axis + 2 or ahead[axis] not in (None, framer.horizon):
            raise ValueError(
                f'The `framer` does not fit the model, which takes a "future" of shape {ahead}. '
                f"Received: a framer with horizon={framer.horizon}, return_sequences="
                f"{framer.return_sequences}. Pass the framer of its training data."
            )
    if stateful:
        _check_steppable(model, framer, shape)
    if shape is None or stateful:
        return
    if framer.layout == "features":
        fits = len(shape) == 2 and (shape[1] or 0) % length == 0
    else:
        fits = len(shape) == 1 if framer.layout == "tokens" else len(shape) > 1
        fits = fits and shape[0] in (None, length)
    if not fits:
        raise ValueError(
            f"The `framer` does not fit the model, which takes inputs of shape {shape}. Received: "
            f'a framer with sequence_length={length} and layout="{framer.layout}". Pass the framer '
            "of its training data."
        )


def _check_steppable(
    model: keras.Model, framer: "SequenceFramer", shape: tuple[int | None, ...] | None
) -> None:
    """Raise if a stateful model cannot be fed one step at a time."""
    if framer.sampling_rate > 1:
        raise ValueError(
            "A stateful model is rolled out step by step, so its frames must take every step. "
            f"Received: a framer with sampling_rate={framer.sampling_rate}. Thin the sequence "
            "out before framing it."
        )
    if framer.layout == "features" and framer.sequence_stride > 1:
        raise ValueError(
            "A stateful model of windows laid out as features is rolled out one step at a time. "
            f"Received: a framer with sequence_stride={framer.sequence_stride}. Use "
            '`layout="timesteps"`.'
        )
    steps = framer.sequence_length if framer.layout != "features" else 1
    if shape and framer.layout != "features":
        steps = max(steps, shape[0] or 1)
    for layer in all_layers(model):
        is_recurrent = isinstance(layer, keras.layers.RNN)
        if steps > 1 and is_recurrent and (not layer.stateful or layer.go_backwards):
            raise ValueError(
                "A stateful model is rolled out step by step, which its layer "
                f"{layer.name!r} cannot do: it sees {steps} steps at once and keeps no state from "
                "one to the next, or reads them backwards. Make every recurrent layer stateful "
                "and forward."
            )


def check_features(
    model: keras.Model,
    framer: "SequenceFramer",
    history: tuple[int, ...],
    future: tuple[int, ...] | None = None,
) -> None:
    """Raise if the steps of a history, or of what is known ahead, are not what a model takes.

    Args:
        model: keras.Model. Where it declares no shapes, nothing is checked.
        framer: SequenceFramer.
        history: shape of a step of the history.
        future: shape of a step of what is known ahead, if the model takes it.
    """
    inputs = named_inputs(model) or {}
    received = {"history": history, "future": future}
    for name, declared in ("history", inputs.get("past")), ("future", inputs.get("future")):
        row = received[name]
        if declared is None or row is None:
            continue
        shape = row or (1,)
        if name == "future":
            expected = declared[1 + framer.return_sequences :]
        elif framer.layout == "features":
            expected = (declared[-1] and declared[-1] // framer.sequence_length,)
            shape = (math.prod(row),)
        elif framer.layout == "tokens":
            expected, shape = (), row
        else:
            expected = declared[1:]
        if not _same(expected, shape):
            raise ValueError(
                f"`{name}` must have steps of shape {expected}, which the model takes. Received: "
                f"steps of shape {row}. Pass the features that it was trained on, in their order."
            )


def check_prompt_length(
    length: int, framer: "SequenceFramer", stepped: bool, name: str = "prompt", hint: str = ""
) -> None:
    """Raise if a prompt, or a history, is shorter than what a model needs to be given."""
    needed = least_prompt(framer, stepped)
    if length < needed == 1:
        unit = "symbol" if name == "prompt" else "step"
        raise ValueError(
            f"A {name} must not be empty: it is what the model begins with. Received: 0 {unit}s. "
            f"Give at least one {unit}.{hint}"
        )
    if length < needed:
        pad = "" if stepped or framer.pads else ', or train on frames that pad (`mode="prefixes"`)'
        raise ValueError(
            f"A {name} needs at least {needed} steps for a model with "
            f"`sequence_length={framer.sequence_length}`. Received: {length} steps. "
            f"Give a longer {name}{pad}.{hint}"
        )


def check_classes(framer: "SequenceFramer", outputs: tuple[int, ...] | None) -> None:
    """Raise if a model's outputs, of this shape if it is known, are not one for each symbol."""
    vocabulary, horizon = framer.vocabulary, framer.horizon
    classes = outputs[-1] if outputs else None
    blocks = [(horizon,)] if horizon > 1 else [(), (1,)]
    if outputs and outputs[:-1] not in blocks:
        raise ValueError(
            "`generate` needs a model that predicts the framer's horizon. Received: outputs of "
            f"shape {outputs} for horizon={horizon}."
        )
    if vocabulary is not None and classes not in (None, len(vocabulary)):
        raise ValueError(
            "`generate` needs a model with one output for each symbol. Received: "
            f"{classes} outputs for a vocabulary of {len(vocabulary)} ids."
        )


def check_ids(ids: Any, vocabulary: Any, outputs: tuple[int, ...] | None) -> None:
    """Raise if the ids of a prompt are none that a model could have predicted."""
    classes = outputs[-1] if outputs else np.iinfo(np.int32).max
    limit = classes if vocabulary is None else len(vocabulary)
    outside = np.flatnonzero((ids < 0) | (ids >= limit))
    if outside.size:
        hint = "" if vocabulary is not None else " To continue real values, use `forecast`."
        raise ValueError(
            f"The ids of a prompt must be in 0 … {limit - 1}. "
            f"Received: {ids[outside[0]]} at position {outside[0]}.{hint}"
        )
