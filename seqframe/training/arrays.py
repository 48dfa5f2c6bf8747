"""Arrays as a model takes them: of real numbers, in Keras's precision."""

from typing import Any

import keras
import numpy as np
from keras import tree

from seqframe.framing.tables import check_unmasked, is_table, table_array


def to_model_arrays(items: Any, name: str) -> Any:
    """Return an array or table, or a nest of them, as arrays of what a model can take.

    Args:
        items: array, DataFrame, or a nest of these.
        name: str. What to call them in an error.

    Raises:
        TypeError: if one is masked, or holds dates or complex numbers, or a table no numbers.
    """

    def to_array(item: Any) -> np.ndarray:
        check_unmasked(item, name)
        array = table_array(item, name) if is_table(item) else np.asarray(item)
        check_real(array.dtype, name)
        return array

    return tree.map_structure(to_array, items)


def check_real(dtype: np.dtype, name: str) -> None:
    """Raise if values of a dtype are none that a model takes: dates, or complex numbers."""
    if dtype.kind in "mMc":
        raise TypeError(
            f"`{name}` must hold real numbers for a model. Received: dtype={dtype}. Convert it "
            "first, for instance a time to seconds, or a complex number to two columns."
        )


def as_keras_takes_it(array: Any) -> np.ndarray:
    """Return real numbers in Keras's own precision, as Keras's `fit` does with arrays; and all in
    the order of bytes that this machine has."""
    array = np.asarray(array)
    if array.dtype.kind == "f":
        return array.astype(keras.config.floatx(), copy=False)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
