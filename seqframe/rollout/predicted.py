"""Which columns a model predicts: what it was trained on, unless that is told otherwise."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from seqframe.framing.sequences import find_columns
from seqframe.framing.tables import Table, table_names

if TYPE_CHECKING:
    from seqframe.framing.framer import SequenceFramer


def choose_targets(targets: Any, framer: "SequenceFramer", has_feedback: bool) -> Any:
    """Return the columns that a model predicts, by name or position, or None where it predicts all.

    Args:
        targets: what the user passed as `targets` of a `Generator`.
        framer: SequenceFramer. Its `target_columns` are taken where none are passed.
        has_feedback: bool. Whether a function of the user's makes an input of a prediction, which
            then need not be of the targets.

    Raises:
        ValueError: if they are none of the framer's columns, or others than its target columns.

    Example:

    >>> from seqframe import SequenceFramer
    >>> framer = SequenceFramer(2, columns=["units", "price"], target_columns="units")
    >>> choose_targets(None, framer, has_feedback=False)
    'units'
    >>> choose_targets("price", framer, has_feedback=False)
    Traceback (most recent call last):
        ...
    ValueError: `targets` must be those that the model was trained on, 'units'. Received:
    targets='price'. Leave `targets` out.
    """
    trained, columns = framer.target_columns, framer.columns
    own = trained if trained is None or isinstance(trained, str) else list(trained)
    names = None if own is None else tuple(np.atleast_1d(own).tolist())
    if targets is None:
        return None if has_feedback or names == columns else own
    given = as_list(targets)
    if columns is not None:
        places = find_columns(given, list(columns), len(columns))
        given = [columns[place] for place in np.atleast_1d(places)]
    given = tuple(given) if isinstance(given, list) else (given,)
    if names is not None and given != names and all(isinstance(name, str) for name in given):
        raise ValueError(
            f"`targets` must be those that the model was trained on, {own!r}. Received: "
            f"targets={targets!r}. Leave `targets` out."
        )
    # Of an array or an Index a list, which can be saved.
    return targets if isinstance(targets, tuple) else as_list(targets)


def warn_of_places(table: Any, targets: Any, framer: "SequenceFramer", stacklevel: int = 3) -> None:
    """Warn if targets are found by name in a table whose columns are else read by position.

    Args:
        table: DataFrame that is forecast, or what has no names.
        targets: the generator's.
        framer: SequenceFramer. One that knows columns reads all of them by name.
        stacklevel: int. As of `warnings.warn`: 3 is the caller's caller.
    """
    names = None if isinstance(table, Table) else table_names(table)
    named = any(isinstance(name, str) for name in np.atleast_1d(as_list(targets)).tolist())
    if framer.columns is None and named and names is not None and len(names) > 1:
        warnings.warn(
            "The framer knows no columns, so those of a table are taken in the order they have. "
            f"Received: targets={targets!r} of a table with the columns {list(names)}. Pass the "
            "frames' own framer, as `Generator(model, frames.framer)`, to read tables by name.",
            stacklevel=stacklevel,
        )


def as_list(targets: Any) -> Any:
    """Return several columns, as an array or Index of them too, as a list, and one as it is.

    >>> as_list("price"), as_list(("price",)), as_list(np.array([1, 0]))
    ('price', ['price'], [1, 0])
    """
    if hasattr(targets, "tolist"):
        return targets.tolist()
    return list(targets) if isinstance(targets, tuple) else targets
