"""A model's recurrent state: find it, read it, write it, reset it.

The state of a stateful layer is a list of arrays `(batch_size, …)`, nested if its cells are
stacked. A model's states are the list of its stateful layers' states, in the order of its layers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from seqframe import backend
from seqframe.aliases import Numbers, States
from seqframe.backend.common import by_row
from seqframe.backend.internals import all_layers
from seqframe.framing.tables import check_unmasked
from seqframe.model.inspect import check_model


def reset_states(
    model: keras.Model, values: States | None = None, rows: int | Numbers | None = None
) -> None:
    """Reset all stateful layers, also in nested models, wrappers and stacked cells.

    Args:
        model: keras.Model.
        values: states as `get_states` returns them; None for each layer's own initial state, which
            is mostly zeros.
        rows: the rows to reset, as integers or as a bool array `(batch_size,)`; None for all.

    Raises:
        ValueError: if the model has no stateful layer, or `values` or `rows` do not fit. Nothing is
            reset then.

    Example:

    >>> import keras, numpy as np
    >>> from seqframe import get_states, reset_states
    >>> layers = [keras.Input(batch_shape=(2, 1, 1)), keras.layers.SimpleRNN(1, stateful=True)]
    >>> model = keras.Sequential(layers)
    >>> _ = model(np.ones((2, 1, 1)))
    >>> reset_states(model, rows=[0])
    >>> [[state]] = get_states(model)
    >>> bool(state[0] == 0), bool(state[1] == 0)
    (True, False)
    """
    layers = require_stateful(model)
    built = [layer for layer in layers if layer.states is not None]
    if values is None:
        fresh = [fresh_state(layer, state_batch_size(layer)) for layer in built]
    else:
        fresh = checked_states(values, layers, "values")
    masks = [None if rows is None else row_mask(rows, state_batch_size(layer)) for layer in built]
    for layer, new, mask in zip(built, fresh, masks, strict=True):
        for variable, value in zip(tree.flatten(layer.states), tree.flatten(new), strict=True):
            if mask is not None:
                value = ops.cast(value, variable.dtype)
                value = ops.where(by_row(mask, variable), value, ops.convert_to_tensor(variable))
            variable.assign(value)


def get_states(model: keras.Model) -> States:
    """Return the states of all stateful layers, as NumPy arrays.

    Args:
        model: keras.Model, built.

    Returns:
        list with one entry for each stateful layer: a list of arrays `(batch_size, …)`, nested
            if the layer's cells are stacked.

    Raises:
        ValueError: if the model has no stateful layer, or is not built.

    Example:

    >>> import keras
    >>> from seqframe import get_states
    >>> layers = [keras.Input(batch_shape=(2, 1, 1)), keras.layers.LSTM(3, stateful=True)]
    >>> [[hidden, cell]] = get_states(keras.Sequential(layers))
    >>> hidden.shape, cell.shape
    ((2, 3), (2, 3))
    """
    return [
        tree.map_structure(
            lambda variable: ops.convert_to_numpy(ops.convert_to_tensor(variable)).copy(),
            _plain(layer.states),
        )
        for layer in _require_built(require_stateful(model))
    ]


def set_states(model: keras.Model, states: States) -> None:
    """Write the states of all stateful layers.

    Args:
        model: keras.Model, built.
        states: as `get_states` returns them.

    Raises:
        ValueError: if the model has no stateful layer or is not built, or a state does not fit its
            layer. Nothing is written then.

    Example:

    >>> import keras, numpy as np
    >>> from seqframe import get_states, set_states
    >>> layers = [keras.Input(batch_shape=(2, 1, 1)), keras.layers.SimpleRNN(1, stateful=True)]
    >>> model = keras.Sequential(layers)
    >>> set_states(model, [[np.array([[0.5], [-0.5]])]])
    >>> get_states(model)
    [[array([[ 0.5],
           [-0.5]], dtype=float32)]]
    """
    layers = _require_built(require_stateful(model))
    assign_states(layers, checked_states(states, layers, "states"))


@contextmanager
def carry_state(model: keras.Model) -> Iterator[keras.Model]:
    """Carry recurrent state from batch to batch, on every backend.

    Use it for loops of your own, and for Keras's `fit`, `evaluate` and `predict` without a
    StatefulTrainer. Inside the context the state carries over from batch to batch and from call to
    call. Keras itself does so only with TensorFlow. With PyTorch, training an LSTM or a GRU raises.
    With JAX the state does not change.

    Args:
        model: keras.Model, built.

    Yields:
        the model.

    Raises:
        ValueError: if the model has no stateful layer, or is not built.

    Example:

    >>> import keras, numpy as np
    >>> from seqframe import carry_state, get_states
    >>> layers = [keras.Input(batch_shape=(1, 1, 1)), keras.layers.SimpleRNN(1, stateful=True)]
    >>> model = keras.Sequential(layers)
    >>> with carry_state(model):
    ...     _ = model.predict(np.ones((3, 1, 1)), batch_size=1, verbose=0)
    >>> bool(get_states(model)[0][0] != 0)
    True
    """
    with backend.carried_states(model, _require_built(require_stateful(model))):
        yield model


def stateful_layers(model: keras.Model) -> list[Any]:
    """Return the stateful layers of a model, in the order of its layers."""
    return [
        layer
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.RNN) and layer.stateful
    ]


def state_variables(layers: list[Any]) -> list[Any]:
    """Return the state variables of stateful layers, flat."""
    return tree.flatten([_plain(layer.states) for layer in layers])


def state_batch_size(layer: Any) -> int:
    """Return the batch size that a built stateful layer is tied to."""
    return int(tree.flatten(layer.states)[0].shape[0])


def model_batch_size(model: keras.Model) -> int | None:
    """Return the batch size that a model's stateful layers are tied to; None if there is none."""
    sizes = {
        state_batch_size(layer) for layer in stateful_layers(model) if layer.states is not None
    }
    return min(sizes) if sizes else None


def fresh_state(layer: Any, batch_size: int) -> list[Any]:
    """Return a stateful layer's initial state, as nested tensors."""
    return _plain(layer.get_initial_state(batch_size))


def assign_states(layers: list[Any], states: list[Any]) -> None:
    """Write nested values into the state variables of layers, unchecked."""
    for layer, state in zip(layers, states, strict=True):
        for variable, value in zip(tree.flatten(layer.states), tree.flatten(state), strict=True):
            variable.assign(value)


def require_stateful(model: keras.Model) -> list[Any]:
    """Return the stateful layers of a model, or raise if there is none."""
    check_model(model)
    layers = stateful_layers(model)
    if not layers:
        raise ValueError(
            f"`model` must have a stateful layer. Received: {model.name!r}, which has none. "
            "Pass `stateful=True` to its recurrent layers."
        )
    for wrapper in all_layers(model):
        if isinstance(wrapper, keras.layers.TimeDistributed) and stateful_layers(wrapper):
            raise ValueError(
                "A stateful layer inside `TimeDistributed` has no state to carry, because the time "
                f"steps become samples. Received: {wrapper.name!r}. Take the layer out, or make it "
                "stateless."
            )
    return layers


def _require_built(layers: list[Any]) -> list[Any]:
    for layer in layers:
        if layer.states is None:
            raise ValueError(
                f"The stateful layer {layer.name!r} has no state yet, because it is not built. "
                "Give the model an `Input(batch_shape=…)`, or call it on one batch."
            )
    return layers


def checked_states(states: Any, layers: list[Any], name: str) -> list[Any]:
    """Return `states` if they have the structure and shapes of the layers' states, or raise."""
    _require_built(layers)
    own = [_shapes(_plain(layer.states)) for layer in layers]
    given = _shapes(
        [_plain(state) for state in states] if isinstance(states, (list, tuple)) else states
    )
    if own != given:
        raise ValueError(
            f"`{name}` must have a list for each stateful layer, as `get_states` returns them, of "
            f"arrays of shapes {own}. Received: shapes {given}."
        )
    for value in tree.flatten(states):
        check_unmasked(value, name)
        dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
        # Also of tensors and variables: "torch.float32" has no name, "float32" is one.
        dtype = getattr(dtype, "name", str(dtype)).removeprefix("torch.")
        if not dtype.startswith(("float", "bfloat", "int", "uint", "bool")):
            raise TypeError(
                f"`{name}` must hold real numbers. Received: an array of dtype {dtype}. Convert it "
                "first, for instance with `.real`."
            )
    return list(states)


def _shapes(state: Any) -> Any:
    """Return the shapes of a nested state, nested the same."""
    if isinstance(state, (list, tuple)):
        return [_shapes(item) for item in state]
    return tuple(np.shape(state))


def row_mask(rows: Any, batch_size: int) -> np.ndarray:
    """Return rows, given as numbers or as a mask, as a mask `(batch_size,)`, or raise."""
    rows = np.atleast_1d(np.asarray(rows))
    if rows.dtype == bool:
        fits = rows.shape == (batch_size,)
    else:
        rows = rows if rows.size else rows.astype(int)
        fits = rows.dtype.kind in "iu" and bool(((rows >= 0) & (rows < batch_size)).all())
    if not fits:
        raise ValueError(
            f"`rows` must be row numbers in 0 … {batch_size - 1}, or a bool array of shape "
            f"({batch_size},). Received: rows={rows.tolist()}."
        )
    mask = np.zeros(batch_size, bool)
    mask[rows] = True
    return mask


def _plain(state: Any) -> list[Any]:
    """Return a layer's state as nested lists. Some layers keep tuples, or a single variable."""
    if isinstance(state, (list, tuple)):
        return [_plain(item) if isinstance(item, (list, tuple)) else item for item in state]
    return [state]
