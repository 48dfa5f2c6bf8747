"""The inputs and outputs of a Keras model, and checks that data fit it before anything runs."""

import inspect
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import tree

from seqframe.aliases import Shape
from seqframe.backend.internals import all_layers, producer
from seqframe.model.losses import takes_probabilities

if TYPE_CHECKING:
    from seqframe.framing.framer import SequenceFramer
    from seqframe.framing.vocabulary import Vocabulary

#: A shape without the sample axis, as a model declares it. None: any length.
Declared = tuple[int | None, ...]


def named_inputs(model: keras.Model) -> dict[str, Declared] | None:
    """Return the shape of each input of a model by name, without the sample axis, or None.

    A single input is called "past". Inputs in a dict have the names of their keys; inputs in a
    list, the names of their `Input`.

    >>> past, future = keras.Input((3, 1), name="past"), keras.Input((1, 2), name="future")
    >>> named_inputs(keras.Model([past, future], keras.layers.Add()([past, future])))
    {'past': (3, 1), 'future': (1, 2)}
    """
    try:
        # A Sequential has an `input` only if it is a layer of another model.
        inputs = model.inputs if isinstance(model, keras.Sequential) else model.input
    except (AttributeError, ValueError):  # the model declares no inputs
        return None
    flat = tree.flatten(inputs)
    if len(flat) == 1:
        return {"past": flat[0].shape[1:]}
    if not isinstance(inputs, dict) or len(inputs) != len(flat):
        inputs = {tensor.name: tensor for tensor in flat}
    return {name: tensor.shape[1:] for name, tensor in inputs.items()}


def takes_future(model: keras.Model) -> bool:
    """Whether a model takes a "past" and a "future"."""
    return "future" in (named_inputs(model) or ())


def has_steps(name: str, framer: "SequenceFramer") -> bool:
    """Whether the input of this name has an axis of input steps."""
    return name == "past" or framer.return_sequences


def input_steps(model: keras.Model) -> int | None:
    """Return how many time steps a model's input declares, or None."""
    past = (named_inputs(model) or {}).get("past")
    return past[0] if past else None


def mixing_layer(model: keras.Model) -> Any:
    """Return a model's first layer that computes a step's output from several steps, or None.

    Recurrent layers that read forward do not count, nor do layers that nobody knows.

    >>> inputs, convolution = keras.Input((None, 1)), keras.layers.Conv1D(2, 3)
    >>> mixing_layer(keras.Sequential([inputs, convolution, keras.layers.LSTM(2)])) is convolution
    True
    """
    for layer in all_layers(model):
        backwards = isinstance(layer, keras.layers.RNN) and layer.go_backwards
        if backwards or isinstance(layer, _MIXING):
            return layer
    return None


_MIXING = tuple(
    getattr(keras.layers, name)
    for name in (
        *("Bidirectional", "Conv1D", "SeparableConv1D", "DepthwiseConv1D", "Conv1DTranspose"),
        *("Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention"),
        *("AveragePooling1D", "MaxPooling1D", "GlobalAveragePooling1D", "GlobalMaxPooling1D"),
        *("Flatten", "Permute", "UpSampling1D", "ZeroPadding1D", "Cropping1D"),
    )
    if hasattr(keras.layers, name)
)


def most_ids(model: keras.Model) -> int | None:
    """Return how many ids the layers of a model that read ids know, or None without such layers.

    >>> most_ids(keras.Sequential([keras.Input((None,)), keras.layers.Embedding(5, 2)]))
    5
    """
    limits = [
        getattr(layer, name)
        for layer in all_layers(model)
        for kind, name in _READERS_OF_IDS
        if isinstance(layer, kind)
    ]
    return min(limits, default=None)


_READERS_OF_IDS = (
    (keras.layers.Embedding, "input_dim"),
    (keras.layers.CategoryEncoding, "num_tokens"),
)


def arranged(model: keras.Model, inputs: dict[str, Any]) -> Any:
    """Return inputs by name as a model takes them: in a dict, or in a list in its own order."""
    if isinstance(model.input, dict):
        return inputs
    return [inputs[name] for name in named_inputs(model) or ()]


def declared_shape(model: keras.Model, name: str) -> Declared | None:
    """Return a model's only input or output shape without the sample axis, or None."""
    shape = getattr(model, name, None)
    single = isinstance(shape, tuple) and all(n is None or isinstance(n, int) for n in shape)
    return shape[1:] if shape and single else None


def outputs_probabilities(model: keras.Model) -> bool | None:
    """Whether a model's outputs are probabilities, or logits; None if only their values tell.

    The last layer that changes values decides. If it may compute anything, the loss decides.

    >>> softmax = keras.layers.Dense(6, "softmax")
    >>> outputs_probabilities(keras.Sequential([keras.Input((1,)), softmax]))
    True
    >>> reshaped = keras.layers.Reshape((2, 3))
    >>> outputs_probabilities(keras.Sequential([keras.Input((1,)), softmax, reshaped]))
    True
    """
    by_layers = ends_with_softmax(model)
    return takes_probabilities(model) if by_layers is None else by_layers


def ends_with_softmax(last: Any) -> bool | None:
    """Whether a layer or an operation gives probabilities; None if that is not known."""
    if isinstance(last, keras.Model):
        outputs = _outputs(last)
        return ends_with_softmax(_last_change(outputs[0])) if len(outputs) == 1 else None
    if isinstance(last, keras.layers.TimeDistributed):
        return ends_with_softmax(last.layer)
    # A user's layer, or one that computes more than its activation, may compute anything.
    if not type(last).__module__.startswith("keras.") or isinstance(last, keras.layers.RNN):
        return None
    if type(last).__name__ in ("Softmax", "LogSoftmax"):  # layers, and operations of `keras.ops`
        return type(last).__name__ == "Softmax"
    activation = getattr(last, "activation", None)
    if activation in (keras.activations.softmax, keras.ops.softmax):
        return True
    return False if activation in _LOGITS else None


def _last_change(tensor: Any) -> Any:
    """Return the last operation before a symbolic tensor that changes values, or the input."""
    while True:
        last, inputs = producer(tensor)
        outputs = _outputs(last) if isinstance(last, keras.Model) else []
        if len(outputs) == 1:
            inner = _last_change(outputs[0])
            if not isinstance(inner, keras.layers.InputLayer):
                return inner
        elif not _keeps_values(last):
            return last
        tensor = inputs[0]


def _outputs(model: keras.Model) -> list[Any]:
    """Return a model's symbolic outputs; none if it declares none."""
    return list(getattr(model, "outputs", None) or [])


#: Activations that give no probabilities.
_LOGITS = [
    getattr(keras.activations, name)
    for name in ("linear", "log_softmax", "relu", "tanh", "softplus", "gelu", "elu")
]
# Layers and operations of `keras.ops` that move values, or do nothing unless a model trains.
_MOVE = frozenset(
    {
        *("Reshape", "Flatten", "Permute", "RepeatVector", "Cropping1D", "Cropping2D"),
        *("UpSampling1D", "Identity", "Dropout", "SpatialDropout1D", "SpatialDropout2D"),
        *("AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization"),
        *("Squeeze", "ExpandDims", "Transpose", "Swapaxes", "Moveaxis", "Ravel", "GetItem"),
        *("Take", "Slice", "Cast", "StopGradient", "Flip", "Repeat", "BroadcastTo", "Copy"),
    }
)


def _keeps_values(operation: Any) -> bool:
    """Whether an operation of Keras's own only moves values."""
    if not type(operation).__module__.startswith("keras."):
        return False
    if isinstance(operation, keras.layers.Activation):
        return operation.activation is keras.activations.linear
    return type(operation).__name__ in _MOVE


def infers_by_default(model: keras.Model) -> bool:
    """Whether `model(x)` is `model(x, training=False)`. To pass the argument takes time.

    It is so for Keras's own layers, unless `training` is True by default.

    >>> infers_by_default(keras.Sequential([keras.layers.Dropout(0.5)]))
    True
    >>> infers_by_default(keras.Sequential([keras.layers.RandomFlip()]))
    False
    """
    layers = all_layers(model)
    return all(map(_is_kerass, layers)) and not any(map(_trains_by_default, layers))


def takes_one_way(model: keras.Model) -> bool:
    """Whether Python takes the same way through a model for all values of its inputs.

    It is so for Keras's own layers. What a function of the user's does is not known.

    >>> takes_one_way(keras.Sequential([keras.layers.Dense(1), keras.layers.LSTM(2)]))
    True
    >>> takes_one_way(keras.Sequential([keras.layers.Lambda(lambda x: x)]))
    False
    """
    layers = all_layers(model)
    functions = [
        getattr(layer, name, None)
        for layer in layers
        for name in ("activation", "recurrent_activation")
    ]
    is_free = any(isinstance(layer, keras.layers.Lambda) for layer in layers)
    return all(map(_is_kerass, [*layers, *functions])) and not is_free


def _is_kerass(value: Any) -> bool:
    """Whether a layer, or a function, is Keras's own."""
    module = getattr(value, "__module__", None) or type(value).__module__
    return value is None or str(module).startswith("keras.")


def _trains_by_default(layer: keras.Layer) -> bool:
    training = inspect.signature(layer.call).parameters.get("training")
    return training is not None and training.default not in (None, False)


# These layers compute with constants, not variables. A compiled program keeps the old ones.
_ADAPTED = (
    (keras.layers.Normalization, ("mean", "variance")),
    (keras.layers.Discretization, ("bin_boundaries",)),
)


def metric_names(model: keras.Model) -> list[str]:
    """Return the names of a model's metrics, in Keras's order. Keras makes some in the first step.

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> metric_names(model)
    ['loss']
    """
    names: list[str] = []
    for metric in model.metrics:
        compiled = metric.name == "compile_metrics"
        names += [each.name for each in metric.metrics] if compiled else [metric.name]
    return names


def adapted_values(model: keras.Model) -> list[Any]:
    """Return the constants that layers learned by `adapt`. Loading weights makes them anew, too.

    >>> layer = keras.layers.Normalization(mean=3.0, variance=2.0)
    >>> model = keras.Sequential([keras.Input((1,)), layer])
    >>> [float(value[0, 0]) for value in adapted_values(model)]
    [3.0, 2.0]
    """
    return [getattr(layer, name, None) for layer, name in adapted_places(model)]


def adapted_places(model: keras.Model) -> list[tuple[keras.Layer, str]]:
    """Return the layers of `adapted_values`, each with the name of an attribute."""
    return [
        (layer, name)
        for layer in all_layers(model)
        for kind, names in _ADAPTED
        if isinstance(layer, kind)
        for name in names
    ]


def same_objects(one: list[Any], other: list[Any]) -> bool:
    """Whether two lists hold the very same objects."""
    return [id(item) for item in one] == [id(item) for item in other]


def context_steps(framer: "SequenceFramer", stepped: bool) -> int:
    """Return how many raw steps a model needs to see at once in a rollout."""
    return 1 if stepped and not takes_windows(framer) else framer.geometry.span


def takes_windows(framer: "SequenceFramer") -> bool:
    """Whether a window is features of one step, or of none, so that a model needs all of it."""
    return framer.layout in ("features", "flat")


def least_steps(framer: "SequenceFramer", stepped: bool) -> int:
    """Return how many of the steps that a model sees at once must not be padding."""
    return 1 if framer.geometry.pads_start else context_steps(framer, stepped)


def least_prompt(framer: "SequenceFramer", stepped: bool) -> int:
    """Return how many steps a prompt needs."""
    return least_steps(framer, stepped) + framer.gap


def shortest_input(framer: "SequenceFramer") -> int:
    """Return how many raw steps the inputs of a framer that pads have at least; else 1.

    With `return_sequences`, a longer input has a prediction at each of its steps.
    """
    geometry = framer.geometry
    if framer.return_sequences or not geometry.pads_start:
        return 1
    return geometry.least_steps - geometry.ahead


def check_model(model: keras.Model) -> None:
    """Raise if `model` is not a Keras model."""
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
    x_shape: Shape | dict[str, Shape],
    y_shape: Shape | None,
    symbols: int | None = None,
    are_frames: bool = True,
) -> None:
    """Raise if inputs or targets do not fit a model. A size that the model does not declare may be
    any.

    Shapes have no sample axis. `symbols` is the size of the targets' vocabulary, if they have one.
    Arrays may lack a last axis of one, which Keras adds, or have one too many.
    """
    expected = named_inputs(model)
    received = x_shape if isinstance(x_shape, dict) else {"past": x_shape}
    kind = "frames" if are_frames else "arrays"
    if expected is not None and not (
        expected.keys() == received.keys()
        and all(
            fits(expected[name], shape) or (not are_frames and _fits_by_one(expected[name], shape))
            for name, shape in received.items()
        )
    ):
        part = "`sequence_length`, `layout`, the framed columns or `future`"
        raise ValueError(
            f"The {kind} do not fit the model, whose inputs have shape {_shown(expected)}. "
            f"Received: {kind} with inputs of shape {_shown(received)}. Change "
            f"{part if are_frames else 'the shape of `X`'}, or the model's `Input`."
        )
    output = declared_shape(model, "output_shape")
    if output is None or y_shape is None:
        return
    ids = output[:-1]
    # Keras adds or drops a last axis of one if that makes them fit.
    if not any(fits(shape, y_shape) for shape in (output, ids, (*ids, 1), (*output, 1))):
        part = "the framer's `horizon`, `return_sequences` or `targets`"
        raise ValueError(
            f"The targets do not fit the model, whose outputs have shape {output} (class ids: "
            f"{ids}). Received: targets of shape {y_shape}. Change "
            f"{part if are_frames else 'the shape of `y`'}, or the model's output."
        )
    classes = output[-1] if output and fits(ids, y_shape) else None
    if symbols is not None and classes not in (None, 1) and classes < symbols:
        raise ValueError(
            f"The model's output has {classes} classes. Received: frames whose vocabulary has "
            f"{symbols} ids. Give the last layer `len(frames.vocabulary)` units."
        )


def _fits_by_one(expected: Declared, received: Shape) -> bool:
    """Whether a shape fits when Keras adds or drops a last axis of one."""
    added = expected[-1:] == (1,) and fits(expected, (*received, 1))
    return added or (received[-1:] == (1,) and fits(expected, received[:-1]))


def _shown(shapes: Mapping[str, Declared]) -> Any:
    return shapes["past"] if list(shapes) == ["past"] else shapes


def fits(expected: Declared, received: Shape) -> bool:
    """Whether a shape is as declared.

    >>> fits((None, 2), (5, 2)), fits((3, 2), (5, 2))
    (True, False)
    """
    return len(expected) == len(received) and all(
        n is None or n == m for n, m in zip(expected, received, strict=True)
    )


def check_one_output(model: keras.Model, instead: str) -> None:
    """Raise if a model has several outputs; `instead` is the way out."""
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) > 1:
        shapes = [tuple(output.shape[1:]) for output in outputs]
        raise ValueError(
            f"The model must have one output here. Received: outputs of shapes {shapes}. {instead}"
        )


def check_weights(model: keras.Model, y_shape: Shape, weight_shape: Shape) -> None:
    """Raise if weights of steps would weigh something else.

    A Keras loss of real values averages over a target's last axis before it weighs. If a target has
    no columns, that axis is the steps.
    """
    output = declared_shape(model, "output_shape")
    if output is None or not y_shape or weight_shape != y_shape:
        return
    if (len(output), output[-1]) == (len(y_shape) + 1, 1):
        raise ValueError(
            f"`sample_weight`, or `pad_end`, of shape {weight_shape} cannot weigh steps: the loss "
            "first averages targets over their last axis. Received: targets without columns. Pass "
            "targets of shape (steps, 1), or frame a sequence of that shape with `targets=[0]`."
        )


def check_embedding(model: keras.Model, symbols: int) -> None:
    """Raise if the Embedding of a model's only input has fewer rows than there are symbols."""
    layer = input_embedding(model)
    if layer is not None and layer.input_dim < symbols:
        raise ValueError(
            f"The model's layer {layer.name!r} has {layer.input_dim} rows. Received: a "
            f"vocabulary of {symbols} ids. Make it an `Embedding(len(vocabulary), …)`."
        )


def input_embedding(model: keras.Model) -> Any:
    """Return the Embedding that reads a model's only input, or None.

    >>> model = keras.Sequential([keras.Input((None,)), keras.layers.Embedding(5, 2)])
    >>> input_embedding(model).input_dim
    5
    """
    sequential, inputs = isinstance(model, keras.Sequential), getattr(model, "inputs", None) or []
    for layer in model.layers[:1] if sequential else model.layers:
        if isinstance(layer, keras.layers.Embedding) and (
            sequential or (len(inputs) == 1 and layer.input is inputs[0])
        ):
            return layer
    return None


def check_input_names(model: keras.Model) -> None:
    """Raise if a model takes inputs that no frame has."""
    names = named_inputs(model)
    if names is not None and list(names) != ["past"] and names.keys() != {"past", "future"}:
        raise ValueError(
            'A model that is rolled out takes one input, or two named "past" and "future". '
            f'Received: inputs named {list(names)}. Name them: `keras.Input(shape, name="future")`.'
        )


def check_framer(model: keras.Model, framer: "SequenceFramer", stateful: bool) -> None:
    """Raise if a framer's windows do not fit a model, or cannot be rolled on."""
    if framer.gap < 0:
        raise ValueError(
            "A model whose target is its own last input step predicts nothing to feed back. "
            f"Received: a framer with gap={framer.gap}."
        )
    inputs = named_inputs(model) or {}
    past, future, length = inputs.get("past"), inputs.get("future"), framer.sequence_length
    if stateful:
        _check_steppable(model, framer, past)
    fits = True
    if future is not None:
        axis = int(framer.return_sequences)
        fits = len(future) >= axis + 2 and future[axis] in (None, framer.horizon)
    if past is not None and not stateful:
        if takes_windows(framer):
            axes = 2 if framer.layout == "features" else 1
            fits = fits and len(past) == axes and (past[-1] or 0) % length == 0
        else:
            steps_only = framer.layout == "tokens"
            fits = fits and (len(past) == 1 if steps_only else len(past) > 1)
            fits = fits and past[0] in (None, length)
    if not fits:
        raise ValueError(
            f"The `framer` does not fit the model, whose inputs have shape {_shown(inputs)}. "
            f"Received: a framer with sequence_length={length}, horizon={framer.horizon}, "
            f'layout="{framer.layout}". Pass the framer of its training data.'
        )


def _check_steppable(model: keras.Model, framer: "SequenceFramer", shape: Declared | None) -> None:
    """Raise if a stateful model cannot be fed one step at a time."""
    features, geometry = takes_windows(framer), framer.geometry
    if geometry.rate > 1 or (features and geometry.stride > 1):
        raise ValueError(
            "A stateful model is rolled out step by step, so its frames must take every step. "
            f"Received: a framer with sampling_rate={geometry.rate} and sequence_stride="
            f'{geometry.stride}. Thin the sequence out first, or use `layout="timesteps"`.'
        )
    steps = 1 if features else max(framer.sequence_length, shape[0] or 1 if shape else 1)
    for layer in all_layers(model):
        is_recurrent = isinstance(layer, keras.layers.RNN)
        if steps > 1 and is_recurrent and (not layer.stateful or layer.go_backwards):
            raise ValueError(
                f"A stateful model is rolled out step by step. Received: the layer {layer.name!r}, "
                f"which sees {steps} steps at once and keeps no state, or reads them backwards. "
                "Make every recurrent layer stateful and forward."
            )


def check_features(
    model: keras.Model, framer: "SequenceFramer", history: Shape, future: Shape | None = None
) -> None:
    """Raise if a step of a history or of future covariates has another shape than a model takes."""
    inputs = named_inputs(model) or {}
    checks: list[tuple[str, Shape, Declared, Shape]] = []
    if "past" in inputs:
        past = inputs["past"]
        if takes_windows(framer):
            columns = past[-1] and past[-1] // framer.sequence_length
            checks.append(("history", history, (columns,), (math.prod(history),)))
        elif framer.layout == "tokens":
            checks.append(("history", history, (), history))
        else:
            checks.append(("history", history, past[1:], history or (1,)))
    if "future" in inputs and future is not None:
        expected = inputs["future"][1 + framer.return_sequences :]
        checks.append(("future", future, expected, future or (1,)))
    for name, row, expected, shape in checks:
        if not fits(expected, shape):
            raise ValueError(
                f"`{name}` must have steps of shape {expected}, which the model takes. Received: "
                f"steps of shape {row}. Pass the features that it was trained on, in their order."
            )


def check_prompt_length(
    length: int, framer: "SequenceFramer", stepped: bool, name: str = "prompt", hint: str = ""
) -> None:
    """Raise if a prompt, or a history, is shorter than a model needs."""
    needed = least_prompt(framer, stepped)
    if length >= needed:
        return
    received = f"{length} steps" if length else "an empty one"
    pads = stepped or framer.geometry.pads_start
    way_out = "" if pads else ", or train on frames that pad (`min_length`)"
    raise ValueError(
        f"A {name} needs at least {needed} {'steps' if needed > 1 else 'step'} for a model with "
        f"`sequence_length={framer.sequence_length}`. Received: {received}. "
        f"Give a longer {name}{way_out}.{hint}"
    )


def check_classes(framer: "SequenceFramer", outputs: Shape | None) -> None:
    """Raise if a model's outputs, of this shape if it is known, are not one for each symbol."""
    vocabulary, horizon = framer.vocabulary, framer.horizon
    blocks = [(horizon,)] if horizon > 1 else [(), (1,)]
    if outputs and outputs[:-1] not in blocks:
        raise ValueError(
            "`generate` needs a model that predicts the framer's horizon. Received: outputs of "
            f"shape {outputs} for horizon={horizon}."
        )
    if outputs and vocabulary is not None and outputs[-1] != len(vocabulary):
        raise ValueError(
            "`generate` needs a model with one output for each symbol. Received: "
            f"{outputs[-1]} outputs for a vocabulary of {len(vocabulary)} ids."
        )


def check_ids(ids: np.ndarray, vocabulary: "Vocabulary | None", outputs: Shape | None) -> None:
    """Raise if the ids of a prompt are not among those that a model predicts."""
    classes = outputs[-1] if outputs else np.iinfo(np.int32).max
    limit = classes if vocabulary is None else len(vocabulary)
    outside = np.flatnonzero((ids < 0) | (ids >= limit))
    if outside.size:
        hint = "" if vocabulary is not None else " To continue real values, use `forecast`."
        raise ValueError(
            f"The ids of a prompt must be in 0 … {limit - 1}. "
            f"Received: {ids[outside[0]]} at position {outside[0]}.{hint}"
        )
