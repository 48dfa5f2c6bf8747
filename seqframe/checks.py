"""Whether a model and its data fit, said before anything is trained."""

from typing import Any

import keras


def check_compiled(model: keras.Model) -> None:
    """Raise if a model is not ready to train."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a `keras.Model`. Received: {type(model).__name__}.")
    if not model.compiled:
        raise ValueError(
            f"`model` must be compiled. Received: {model.name!r}, which is not. "
            "Call `model.compile(optimizer, loss)` first."
        )


def check_shapes(
    model: keras.Model,
    x_shape: tuple[int, ...],
    y_shape: tuple[int, ...],
    symbols: int | None = None,
) -> None:
    """Raise if inputs or targets cannot be a model's.

    Args:
        model: keras.Model. Where it declares no shapes, nothing is checked.
        x_shape: shape of an input, without the sample axis.
        y_shape: shape of a target, without the sample axis.
        symbols: number of ids that targets may be, where they are ids of a vocabulary.
    """
    expected = declared_shape(model, "input_shape")
    if expected is not None and not _same(expected, x_shape):
        raise ValueError(
            f"The frames do not fit the model: it takes inputs of shape {expected}. "
            f"Received: frames with inputs of shape {x_shape}. Change `sequence_length` or "
            "`layout` of the framer, or the model's `Input`."
        )
    output = declared_shape(model, "output_shape")
    if output is None:
        return
    sparse = output[:-1]
    if not (_same(output, y_shape) or _same(sparse, y_shape) or _same((*sparse, 1), y_shape)):
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
