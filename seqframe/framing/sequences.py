"""Sequences: strings, lists of symbols, arrays and tables, converted to arrays.

A sequence is one run of steps: a string, a list of symbols or numbers, an array, a DataFrame or a
Series. Several sequences are a list or a tuple of sequences.
"""

import numbers
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from seqframe.framing.checks import each_name
from seqframe.framing.stores import Store
from seqframe.framing.tables import Table, check_unmasked, read_table, read_tables
from seqframe.framing.vocabulary import Vocabulary

_MOST_SHOWN = 12  # numbers in a line
_MOST_NAMES = 5  # of sequences, in a message


def split_sequences(sequences: Any, vocabulary: Vocabulary | None = None) -> list[Any]:
    """Return the user's sequences as a list, whether one or several.

    A list of strings is several texts, unless the vocabulary's symbols are not characters or
    every string is a single character: then it is one sequence of symbols. So is a list of tuples
    if the vocabulary's symbols are tuples.

    >>> split_sequences("ABC"), split_sequences(["AB", "CD"]), split_sequences([1, 2, 3])
    (['ABC'], ['AB', 'CD'], [[1, 2, 3]])
    >>> split_sequences(["the", "cat"], Vocabulary(["the", "cat"]))
    [['the', 'cat']]
    """
    if not isinstance(sequences, (list, tuple)) or not len(sequences):
        return [sequences]
    if all(isinstance(item, str) for item in sequences):
        words = vocabulary is not None and not vocabulary.is_text
        characters = len(sequences) > 1 and all(len(item) == 1 for item in sequences)
        return [sequences] if words or characters else list(sequences)
    tuples = vocabulary is not None and isinstance(vocabulary.symbols[0], tuple)
    if all(_is_scalar(item) or (tuples and isinstance(item, tuple)) for item in sequences):
        read_table(sequences[0])  # lazy tables have no length either: they raise here
        return [sequences]
    return list(sequences)


def name_sequences(
    sequences: Any, vocabulary: Vocabulary | None
) -> tuple[list[Any], Sequence[Hashable]]:
    """Return the user's sequences as a list, and their labels: names of a dict, else numbers.

    >>> name_sequences({"Ann": "ABC", "Bob": "AB"}, None)
    (['ABC', 'AB'], ['Ann', 'Bob'])
    >>> name_sequences(["ABC", "AB"], None)
    (['ABC', 'AB'], range(0, 2))
    """
    if not isinstance(sequences, dict):
        given = split_sequences(sequences, vocabulary)
        return given, range(len(given))
    if not sequences:
        raise ValueError(
            "`sequences`, as a dict, must hold one sequence for each name. Received: an empty dict."
        )
    return list(sequences.values()), list(sequences)


def take_named(values: Any, name: str, labels: Sequence[Hashable]) -> Any:
    """Return the values of a dict in the order of the sequences' labels; others as they are.

    >>> take_named({"Bob": [3, 4], "Ann": [1, 2]}, "targets", ["Ann", "Bob"])
    [[1, 2], [3, 4]]
    """
    if not isinstance(values, dict):
        return values
    if isinstance(labels, range):
        raise TypeError(
            f"`{name}` may be a dict only if `sequences` is a dict of the same names. Received: a "
            f"dict of {list(values)[:_MOST_NAMES]}. Name the sequences too, or pass a list."
        )
    for these, those, fault in ((labels, values, "lacks"), (values, labels, "has too")):
        other = [label for label in these if label not in those][:_MOST_NAMES]
        if other:
            raise ValueError(
                f"`{name}` must have the names of `sequences`. Received: a dict that {fault} "
                f"{', '.join(map(repr, other))}."
            )
    each = [values[label] for label in labels]
    return each[0] if len(each) == 1 else each


def is_symbolic(sequence: Any) -> bool:
    """Whether a sequence holds symbols (text) rather than numbers."""
    if isinstance(sequence, str):
        return True
    if isinstance(sequence, (list, tuple)):
        return bool(sequence) and isinstance(sequence[0], str)
    array = as_plain(sequence)
    if isinstance(array, np.ndarray) and array.ndim == 1:
        return array.dtype.kind in "UT" or (
            array.dtype.kind == "O" and len(array) > 0 and isinstance(array[0], str)
        )
    return False


def as_plain(sequence: Any) -> Any:
    """Return the array of a Series, an Index or an extension array, and anything else as it is."""
    table = read_table(sequence)
    if isinstance(table, Table):
        return table if table.ndim == 2 else table.data
    return table.to_numpy() if hasattr(table, "to_numpy") else table


def holds_symbols(sequence: Any, vocabulary: Vocabulary | None) -> bool:
    """Whether a sequence holds symbols to encode, rather than numbers or ids.

    Lists of numbers do if the vocabulary's symbols are numbers; arrays of numbers never do.

    >>> holds_symbols([60, 62], Vocabulary([60, 62])), holds_symbols([0, 1], Vocabulary("AB"))
    (True, False)
    """
    if is_symbolic(sequence):
        return True
    own = vocabulary is not None and not isinstance(vocabulary.symbols[0], str)
    return own and isinstance(sequence, (list, tuple))


def to_array(sequence: Any, name: str, vocabulary: Vocabulary | None = None) -> Any:
    """Return a sequence as an array `(steps, …)`: arrays as they are, symbols as ids.

    A Store stays one.
    """
    check_unmasked(sequence, name)
    plain = as_plain(sequence)
    if isinstance(plain, Table):
        return plain.to_numpy(name)
    if holds_symbols(plain, vocabulary):
        if vocabulary is None:
            raise ValueError(
                f"`{name}` holds symbols, which need a `vocabulary`. Received: vocabulary=None. "
                "Pass `vocabulary=Vocabulary(symbols)` to the framer, or ids instead of symbols."
            )
        try:
            return vocabulary.encode(plain)
        except ValueError as error:
            raise ValueError(f"`{name}`: {error}") from None
    array: Any
    if isinstance(plain, Store):
        array = plain
    elif isinstance(plain, (list, tuple)) or hasattr(plain, "__array__"):
        try:
            array = np.asarray(plain)
        except ValueError:
            raise ValueError(
                f"`{name}` is ragged: its steps do not all have the same shape. Give every step "
                "the same number of features, or pass a list of sequences."
            ) from None
    else:
        kind = type(sequence).__name__
        way_out = " Pass `[part for _, part in …]` of it." if kind.endswith("GroupBy") else ""
        if kind in ("File", "Group"):
            way_out = " Pass one of its arrays, as `file[name]`, or a list or dict of them."
        raise TypeError(
            f"`{name}` must be a string, a list, an array or a DataFrame, or a list of these. "
            f"Received: {kind}.{way_out}"
        )
    # Records are void to NumPy. So are short floats such as bfloat16, but of a type of their own.
    if array.dtype.kind in "OSTU" or issubclass(array.dtype.type, np.void):
        raise TypeError(
            f"`{name}` must hold numbers, or be one-dimensional and hold symbols. Received: "
            f"dtype={array.dtype} and {array.ndim} dimensions. Convert it first, for instance with "
            "`.astype('float32')`."
        )
    if array.ndim == 0:
        raise ValueError(f"`{name}` must have a time axis. Received: a single value, {array!r}.")
    return array


def to_arrays(
    raw: list[Any],
    name: str,
    vocabulary: Vocabulary | None = None,
    labels: Sequence[Hashable] | None = None,
) -> list[Any]:
    """Return several sequences as arrays, or Stores, that agree in features, columns and dtype."""
    raw = read_tables(raw)

    def called(number: int) -> str:
        return each_name(name, number, labels or len(raw))

    arrays: list[Any] = [_array_of_numbers(item) for item in raw]
    for number, item in enumerate(raw):
        if arrays[number] is None:
            arrays[number] = to_array(item, called(number), vocabulary)
    full = next((array for array in arrays if len(array)), arrays[0])
    for number, item in enumerate(raw):
        if isinstance(item, (list, tuple)) and not len(item):  # it has no dtype of its own
            arrays[number] = np.empty((0, *full.shape[1:]), full.dtype)
    first = arrays[0]
    number = _first_other([(array.shape[1:], array.dtype) for array in arrays])
    if number:
        other = arrays[number]
        raise ValueError(
            f"`{name}` must agree in features and dtype. Received: `{called(0)}` with "
            f"steps of shape {first.shape[1:]} and dtype {first.dtype}, `{called(number)}` "
            f"with {other.shape[1:]} and {other.dtype}."
        )
    columns = [item.columns if isinstance(item, Table) else () for item in raw]
    number = _first_other(columns)
    if number:
        known, others = (list(columns[k]) or None for k in (0, number))
        raise ValueError(
            f"`{name}` must have the same columns in the same order. Received: "
            f"`{called(0)}` with {known}, `{called(number)}` with {others}."
        )
    if 0 in first.shape[1:]:
        raise ValueError(
            f"`{name}` must have at least one feature. Received: steps of shape {first.shape[1:]}."
        )
    return arrays


def _first_other(items: Sequence[Hashable]) -> int:
    """Return the number of the first item that differs from item 0; 0 if all are equal."""
    if len(set(items)) == 1:
        return 0
    return next(number for number, item in enumerate(items) if item != items[0])


def _array_of_numbers(item: Any) -> np.ndarray | None:
    """Return what `to_array` would, if it is found much faster; else None."""
    if type(item) is Table:
        return item.small_array()
    is_array = type(item) is np.ndarray and item.dtype.kind in "biufcmM" and item.ndim > 0
    return item if is_array else None


def find_columns(
    columns: Any, names: list[str] | None, width: int, argument: str = "targets"
) -> int | list[int]:
    """Return the positions of columns given by name or position; an int for a single column.

    >>> names = ["price", "volume"]
    >>> find_columns("price", names, 2), find_columns(["volume", 0], names, 2)
    (0, [1, 0])
    """
    columns = as_names(columns)
    if isinstance(columns, (list, tuple)):
        found = [_find_column(column, names, width, argument) for column in columns]
        if len(set(found)) < len(found):
            raise ValueError(
                f"`{argument}` names a column twice. Received: {argument}={columns!r}, which are "
                f"the columns {found}. Leave one out."
            )
        return found
    return _find_column(columns, names, width, argument)


def _find_column(column: Any, names: list[str] | None, width: int, argument: str) -> int:
    if not isinstance(column, str):
        name, position = str(column), int(column) % width
        if names is not None and name in names and names.index(name) != position:
            raise ValueError(
                f"`{argument}` must say whether positions or names are meant: the column at "
                f"position {names.index(name)} is called {name}. Received: {argument}={column!r}. "
                f"Give names as strings, as {name!r}."
            )
        if not -width <= column < width:
            raise ValueError(
                f"`{argument}` must be a column in 0 … {width - 1}. Received: {argument}={column}."
            )
        return position
    if names is None or column not in names:
        known = f"columns {names}" if names else "no column names"
        raise ValueError(
            f"`{argument}` names the column {column!r}, but the sequence has {known}. "
            "Name one of its columns, or give a position."
        )
    if names.count(column) > 1:
        raise ValueError(
            f"`{argument}` must name one column. Received: {column!r}, which several of {names} "
            "are called. Rename them, or give a position."
        )
    return names.index(column)


def are_columns(targets: Any, width: int) -> bool:
    """Whether `targets` names some of `width` columns rather than holding a value for each step.

    A list that repeats itself, or is longer than there are columns, holds values, as does an array
    of numbers.

    >>> are_columns("price", 2), are_columns([1, 0], 2), are_columns([1, 0, 0, 1], 2)
    (True, True, False)
    >>> are_columns(np.array(["price"]), 2), are_columns(np.array([1]), 2)
    (True, False)
    """
    targets = as_names(targets)
    items = targets if isinstance(targets, (list, tuple)) else [targets]
    return (
        0 < len(items) <= width
        and all(
            isinstance(item, (str, numbers.Integral)) and not isinstance(item, bool)
            for item in items
        )
        and len(set(items)) == len(items)
    )


def as_names(columns: Any) -> Any:
    """Return an array, an Index or a Series of names as a list, and anything else as it is."""
    if isinstance(columns, (str, list, tuple)) or not is_symbolic(columns):
        return columns
    return list(map(str, as_plain(columns)))


def _is_scalar(item: Any) -> bool:
    if isinstance(item, (numbers.Number, str, np.generic)):
        return True
    if hasattr(item, "ndim"):
        return bool(item.ndim == 0)
    # Tables may have no `ndim`, and NumPy would convert them to find it.
    return not hasattr(item, "__len__")


def describe_step(step: np.ndarray) -> str:
    """Return one step's values as text.

    >>> describe_step(np.float32(0.5)), describe_step(np.array([1, 20]))
    ('0.5', '[1 20]')
    """
    if np.ndim(step) == 0:
        return f"{step:.6g}" if np.asarray(step).dtype.kind == "f" else str(step)
    return "[" + " ".join(describe_step(value) for value in step) + "]"


def join_steps(steps: Sequence[np.ndarray] | np.ndarray, vocabulary: Vocabulary | None) -> str:
    """Return several steps in one line: characters without spaces, words and numbers with them.

    If there are many numbers, only the first and last three are shown.

    >>> join_steps(np.array([0, 1]), Vocabulary("AB")), join_steps(np.array([0, 1]), None)
    ('AB', '0 1')
    >>> join_steps(np.arange(48), None)
    '0 1 2 … 45 46 47'
    """
    if vocabulary is None or np.asarray(steps).dtype.kind not in "iu":
        shown = (
            [describe_step(step) for step in steps]
            if len(steps) <= _MOST_SHOWN
            else [*map(describe_step, steps[:3]), "…", *map(describe_step, steps[-3:])]
        )
        return " ".join(shown)
    symbols = vocabulary.decode(np.ravel(steps))
    text = symbols if isinstance(symbols, str) else " ".join(map(str, symbols))
    # A lone surrogate cannot be printed.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
