"""What the fuzz draws: cases of framing, as plain values that can be printed and made simpler."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import oracle
import pandas
import polars

from seqframe import SequenceFramer, Vocabulary

LETTERS = "abcdefg"
WORDS = ("the", "cat", "saw", "a", "dog", "and", "ran")
# What holds symbols, and the symbol that a vocabulary may know instead of all others.
TEXTS = {"text": (LETTERS, "?"), "words": (WORDS, "<unk>")}
TABLES = {"pandas": pandas, "polars": polars}


@dataclass(frozen=True)
class Case:
    """A framing, in plain values. The defaults are the simplest case.

    Attributes:
        rule: arguments of the framer.
        lengths: steps of each sequence.
        dtype: dtype of the values, or "text" or "words".
        row: shape of a step.
        form: "array", "list", "strided" (an array with gaps in its memory), "read-only", "store"
            (read by slices), or the library of a table.
        columns: the columns of a table that are inputs; None: all.
        one_of_many: whether the sequences are groups of one table or array, cut by `by`.
        named: whether the sequences, and what belongs to them, are dicts of names.
        targets: None, "array" (of shape `target_row`), or columns of the sequence.
        future: None, "array" (of shape `future_row`, `longer` steps longer), "table" (the same
            with labels of groups, which may come in another order), or columns.
        weight: None, "steps" or "frames".
        holes: steps that are not valid, as (sequence, step).
        nans: missing values, as (array, sequence, step).
        vocabulary: None, or how the symbols are given: "own", "padded" or "unknown".
        fault: None, or a bad argument: "rule" or "frame", its name, and what is wrong with it.
        batch_size: rows of batches and lanes.
        ask: seed of what is asked of the frames.
    """

    rule: dict[str, Any] = field(default_factory=lambda: {"sequence_length": 1})
    lengths: tuple[int, ...] = (6,)
    dtype: str = "int64"
    row: tuple[int, ...] = ()
    form: str = "array"
    columns: tuple[int, ...] | None = None
    one_of_many: bool = False
    named: bool = False
    targets: Any = None
    target_row: tuple[int, ...] = ()
    target_dtype: str = "int64"
    future: Any = None
    future_row: tuple[int, ...] = ()
    longer: int = 0
    weight: str | None = None
    weight_dtype: str = "float32"
    holes: tuple[tuple[int, int], ...] = ()
    nans: tuple[tuple[str, int, int], ...] = ()
    vocabulary: str | None = None
    fault: tuple[str, str, Any] | None = None
    batch_size: int = 1
    ask: int = 0

    def __repr__(self) -> str:
        return written(self)


def written(case: Any) -> str:
    """Return a case as a call with what is not the default, so that it can be read, and pasted."""
    plain = type(case)()
    shown = [
        f"{each.name}={getattr(case, each.name)!r}"
        for each in fields(case)
        if getattr(case, each.name) != getattr(plain, each.name)
    ]
    return f"Case({', '.join(shown)})"


# --- Drawing.

NUMBERS = ("int64", "int64", "float32", "float64", "int16", "uint8", "float16", "bool", "complex64")
ROWS = ((), (), (), (1,), (2,), (3,), (2, 2))
SMALL = (1, 1, 1, 2, 2, 3, 4)


def draw(seed: int) -> Case:
    """Return the case of a seed."""
    rng = random.Random(seed)
    kind = rng.choice(["numbers"] * 4 + ["table", "symbols"])
    shape = {"numbers": _numbers, "table": _table, "symbols": _symbols}[kind](rng)
    rule = _rule(rng, shape["dtype"])
    if rule["layout"] == "tokens" and rng.random() < 0.9:
        shape["row"] = ()
        if shape["form"] in TABLES:
            shape["form"] = "array"
    # Mostly long enough for a few frames, whatever the rule.
    room = _steps_of(rule)
    several = rng.choice([1, 1, 1, 2, 3, 5])
    lengths = tuple(room + rng.randint(0, 12) for _ in range(several))
    if rng.random() < 0.05:
        least = 2 if shape["dtype"] in TEXTS else int(shape.get("one_of_many", False))
        short = rng.randint(least, max(room - 1, least))
        lengths = (short,) * several if rng.random() < 0.3 else (*lengths[:-1], short)
    case = Case(rule, lengths, **shape, ask=rng.randrange(2**20), batch_size=rng.randint(1, 6))
    case = _values(rng, case)
    if not case.one_of_many and rng.random() < 0.15:
        case = replace(case, named=True)
    if rng.random() < 0.35:
        case = _missing(rng, case)
    return replace(case, fault=_fault(rng, case)) if rng.random() < 0.05 else case


def _numbers(rng: random.Random) -> dict[str, Any]:
    form = rng.choice(["array"] * 4 + ["list", "strided", "read-only", "store"])
    dtype, row = rng.choice(NUMBERS), rng.choice(ROWS)
    if form == "list":  # lists of lists would be many sequences
        dtype, row = rng.choice(["int64", "float64"]), ()
    return {"dtype": dtype, "row": row, "form": form, "one_of_many": rng.random() < 0.15}


def _table(rng: random.Random) -> dict[str, Any]:
    dtype = rng.choice(["int64", "float64", "float32"])
    row, form = (rng.choice([1, 2, 3, 3]),), rng.choice(sorted(TABLES))
    return {"dtype": dtype, "row": row, "form": form, "one_of_many": rng.random() < 0.6}


def _symbols(rng: random.Random) -> dict[str, Any]:
    vocabulary = rng.choice([None, "own", "padded", "unknown"])
    return {"dtype": rng.choice(sorted(TEXTS)), "row": (), "form": "list", "vocabulary": vocabulary}


def _rule(rng: random.Random, dtype: str) -> dict[str, Any]:
    mode = rng.choice(["windows", "windows", "prefixes", "subsequences"])
    length = rng.randint(1, 5)
    rule: dict[str, Any] = {
        "sequence_length": length,
        "mode": mode,
        "layout": rng.choice(["timesteps", "timesteps", "features", "tokens", "flat"]),
        "horizon": rng.choice(SMALL[:-1]),
        "gap": rng.choice([0, 0, 0, -1, 1, 2]),
        "return_sequences": rng.random() < 0.3,
    }
    if mode == "windows":
        rule["sequence_stride"] = rng.choice([*SMALL, length])
        rule["sampling_rate"] = rng.choice([1, 1, 2, 3])
        rule["pad_end"] = rng.random() < 0.3
        if rule["pad_end"] and rng.random() < 0.5:
            rule["sequence_stride"] = length
    least = rng.randint(1, length + (rng.random() < 0.05))
    rule["min_length"] = rng.choice([None, least, least])
    if mode == "windows" and rng.random() < 0.7:
        rule["min_length"] = None
    if mode != "windows" or rule["pad_end"] or rule["min_length"] is not None:
        rule["padding"] = rng.choice(["pre", "post"])
        rule["padding_value"] = rng.choice([0, 0, 1, -1, 0.5, 300, float("nan")])
        if rng.random() < 0.8 and dtype not in ("float32", "float64"):
            rule["padding_value"] = rng.choice([0, 1])
    if mode == "subsequences":
        rule["num_samples"], rule["seed"] = rng.randint(1, 20), rng.randint(0, 99)
        rule["wrap"] = rng.random() < 0.3
    return rule


def _steps_of(rule: dict[str, Any]) -> int:
    """Return the steps that a full frame takes."""
    own = oracle.Rule(**rule)
    return own.span + max(own.gap + own.horizon, 0)


def _values(rng: random.Random, case: Case) -> Case:
    """Draw targets, future and weights."""
    symbols, table = case.dtype in TEXTS, case.form in TABLES
    changes: dict[str, Any] = {}
    columns = list(range(case.row[0])) if len(case.row) == 1 and not symbols else []
    if table and len(columns) > 1 and rng.random() < 0.4:
        changes["columns"] = tuple(rng.sample(columns, rng.randint(1, len(columns) - 1)))
    if rng.random() < (0.7 if case.rule["gap"] < 0 else 0.3):
        changes |= {"targets": "array", "target_row": rng.choice(ROWS[:5])}
        changes["target_dtype"] = rng.choice(NUMBERS)
        if rng.random() < 0.9 and case.rule.get("padding_value", 0) not in (0, 1):
            changes["target_dtype"] = "float32"
    elif columns and rng.random() < 0.5:
        some = rng.sample(columns, rng.randint(1, len(columns)))
        changes["targets"] = rng.choice([some[0], some])
    if rng.random() < 0.25:
        changes |= {"future": "array", "future_row": rng.choice(ROWS)}
        changes["longer"] = 0 if case.one_of_many else rng.choice([0, 0, 1, 4])
        if table and rng.random() < 0.5:
            changes |= {"future": "table", "future_row": (rng.randint(1, 2),)}
            changes["longer"] = rng.choice([0, 0, 1, 4])
    elif columns and rng.random() < 0.2:
        changes["future"] = rng.sample(columns, rng.randint(1, len(columns)))
    if rng.random() < 0.25:
        changes["weight"] = rng.choice(["steps", "frames"])
        changes["weight_dtype"] = rng.choice(["float32", "float64", "int64"])
        if case.rule["mode"] == "subsequences":
            changes["weight"] = "steps"
    return replace(case, **changes)


def _missing(rng: random.Random, case: Case) -> Case:
    """Draw missing steps, if their frames can be left out."""
    if case.weight == "frames":
        return case
    steps = [(q, t) for q, length in enumerate(case.lengths) for t in range(length)]
    if rng.random() < (0.5 if case.rule.get("pad_end") else 0.1):  # where windows end
        steps = [(q, t) for q, t in steps if t >= case.lengths[q] - 3]
    some = rng.sample(steps, min(len(steps), rng.randint(1, 3)))
    if rng.random() < 0.4:
        return replace(case, holes=tuple(sorted(some)))
    there = [name for name in ("inputs", "targets", "future", "weight") if _can_be_nan(case, name)]
    nans = tuple(sorted((rng.choice(there), q, t) for q, t in some)) if there else ()
    return replace(case, nans=nans)


def _can_be_nan(case: Case, name: str) -> bool:
    beside = case.future in ("array", "table")
    has = {"inputs": True, "targets": case.targets == "array", "future": beside}
    dtypes = {"inputs": case.dtype, "targets": case.target_dtype, "future": "float32"}
    if name == "weight":
        return case.weight == "steps" and case.weight_dtype.startswith("float")
    return has[name] and dtypes[name].startswith(("float", "complex"))


# Bad values of the framer's arguments, whatever the others are.
BAD = {
    "sequence_length": (0, -1, 1.5, "3", None),
    "mode": ("window", None),
    "layout": ("time", 3),
    "horizon": (0, 2.5, None),
    "gap": (-2, 0.5, "1", None),
    "sequence_stride": (0, 1.5),
    "sampling_rate": (0, "2"),
    "padding": ("left", 0),
    "padding_value": ("0", None),
    "min_length": (0, 9, 1.5),
    "num_samples": (0, 2.5),
    "seed": (-1, 0.5),
    "vocabulary": ("abc",),
}


def _fault(rng: random.Random, case: Case) -> tuple[str, str, Any]:
    """Draw a bad argument of the framer or of `frame`."""
    there = {
        "targets": case.targets == "array",
        "future": case.future == "array",
        "sample_weight": case.weight is not None,
        "valid": bool(case.holes),
        "by": case.one_of_many and len(case.lengths) > 1,
    }
    names = [name for name, is_there in there.items() if is_there]
    if names and rng.random() < 0.6:
        name = rng.choice(names)
        if case.named and name != "by" and rng.random() < 0.5:
            return "frame", name, rng.choice(NAME_FAULTS)
        return "frame", name, rng.choice(FAULTS[name])
    if rng.random() < 0.2:
        return "frame", "targets", "no column"
    name = rng.choice(sorted(BAD))
    return "rule", name, rng.choice(BAD[name])


# What can be wrong with an argument of `frame`.
FAULTS = {
    "targets": ("shorter", "longer"),
    "future": ("shorter",),
    "sample_weight": ("longer", "wide", "words"),
    "valid": ("shorter", "longer", "numbers"),
    "by": ("shorter", "again"),
}
NAME_FAULTS = ("a name less", "another name", "no sequences")


def faulty(value: Any, fault: str) -> Any:
    """Return an argument of `frame` with a fault."""
    if fault == "no column":
        return "nowhere"
    if isinstance(value, dict):
        (first, one), *rest = value.items()
        if fault == "a name less":
            return dict(rest)
        changed = (first + "s", one) if fault == "another name" else (first, faulty(one, fault))
        return dict([changed, *rest])
    if isinstance(value, str):  # a column of labels
        return value + "s"
    if isinstance(value, list):
        return [faulty(value[0], fault), *value[1:]]
    return {
        "shorter": lambda: value[:-5],  # a future may be four steps longer
        "longer": lambda: np.concatenate([value, np.repeat(value[-1:], 50, axis=0)]),
        "wide": lambda: np.stack([value, value], axis=1),
        "words": lambda: np.array(["a"] * len(value)),
        "numbers": lambda: value.astype("float32"),
        "again": lambda: np.concatenate([value[1:], value[:1]]),
    }[fault]()


# --- Making what was drawn.


class Stored:
    """An array that is read by slices only, as those of HDF5 and Zarr.

    Args:
        chunk: int. Rows that a library would read at once.
    """

    def __init__(self, array: np.ndarray, chunk: int):
        self._array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim
        self.chunks = (chunk, *array.shape[1:])

    def __getitem__(self, rows: slice) -> np.ndarray:
        if not isinstance(rows, slice):
            raise TypeError(f"read by {type(rows).__name__}")
        return self._array[rows].copy()


def rule_of(case: Case) -> oracle.Rule:
    """Return the rule, for the oracle."""
    return oracle.Rule(**case.rule)


def values(dtype: str, length: int, row: tuple[int, ...], salt: int) -> np.ndarray:
    """Return values that tell steps, columns and sequences apart, as far as the dtype can."""
    size = int(np.prod((length, *row)))
    if dtype in TEXTS:
        return np.array([(salt * 3 + t * t * 5 + t // 2) % 7 for t in range(length)], np.int32)
    whole = [1 + 7 * salt * 97 + k for k in range(size)]
    if dtype == "bool":
        made = np.array([(k * k // 3 + k // 2) % 2 for k in whole], bool)
    elif dtype in ("uint8", "int16"):
        made = np.array([k % 120 for k in whole], dtype)
    elif dtype == "float16":
        made = np.array([k % 2000 for k in whole], dtype)
    else:
        made = np.array(whole, dtype)
    return made.reshape(length, *row)


def data_of(case: Case, frames_of: Any = None) -> oracle.Data:
    """Return the values, for the oracle."""
    numbers = range(len(case.lengths))
    inputs = [values(case.dtype, case.lengths[q], case.row, q) for q in numbers]
    made: dict[str, Any] = {}
    if case.targets == "array":
        made["targets"] = [
            values(case.target_dtype, case.lengths[q], case.target_row, 10 + q) for q in numbers
        ]
    if case.future in ("array", "table"):
        made["future"] = [
            values("float32", case.lengths[q] + case.longer, case.future_row, 20 + q)
            for q in numbers
        ]
    if case.weight == "steps":
        made["weight"] = [
            (np.arange(case.lengths[q]) % 5 + q).astype(case.weight_dtype) for q in numbers
        ]
    there = {**made, "inputs": inputs}
    for name, q, t in case.nans:
        there[name][q].reshape(len(there[name][q]), -1)[t, -1] = np.nan
    for name in ("targets", "future"):
        columns = getattr(case, name)
        if columns is not None and not isinstance(columns, str):
            made[name] = [array[:, columns] for array in inputs]
    if case.columns is not None:
        inputs = [array[:, list(case.columns)] for array in inputs]
    if case.holes:
        made["valid"] = [
            np.array([(q, t) not in case.holes for t in range(case.lengths[q])], bool)
            for q in numbers
        ]
    if case.vocabulary == "padded":
        inputs = [array + 1 for array in inputs]
    if case.vocabulary == "unknown":
        # The vocabulary knows "?", then the first symbols but one.
        inputs = [np.where(array < 6, array + 1, 0).astype(array.dtype) for array in inputs]
    if case.dtype in TEXTS and case.vocabulary is None:
        # The symbols that occur, sorted.
        symbols = TEXTS[case.dtype][0]
        known = sorted({symbols[k] for array in inputs for k in array})
        places = np.array([known.index(s) if s in known else -1 for s in symbols], np.int32)
        inputs = [places[array] for array in inputs]
    made.setdefault("targets", inputs)
    data = oracle.Data(
        inputs,
        **made,
        skip_nan=bool(case.nans),
        labels=tuple(label(q) if case.one_of_many or case.named else q for q in numbers),
    )
    if case.weight == "frames":
        every = oracle.frames(rule_of(case), data)
        counts = [sum(frame.sequence == q for frame in every) for q in numbers]
        weight = [(np.arange(n) % 5 + q).astype(case.weight_dtype) for q, n in enumerate(counts)]
        # As many weights as steps are weights of steps.
        data = replace(data, weight=weight, weight_per_frame=counts != data.lengths)
    return data


def label(number: int) -> str:
    """Return the name of a group. The order of names is not the order of groups."""
    return "zyxwv"[number]


def framer_of(case: Case) -> SequenceFramer:
    """Return the framer, or raise as it does."""
    options = dict(case.rule)
    if case.vocabulary is not None:
        symbols, unknown = TEXTS[case.dtype]
        own = {
            "own": lambda: Vocabulary(symbols),
            "padded": lambda: Vocabulary(symbols, reserve_padding=True),
            "unknown": lambda: Vocabulary([unknown, *symbols[:6]], unknown=unknown),
        }
        options["vocabulary"] = own[case.vocabulary]()
    if case.columns is not None:
        options["columns"] = [f"c{k}" for k in case.columns]
    if case.fault is not None and case.fault[0] == "rule":
        options[case.fault[1]] = case.fault[2]
    return SequenceFramer(**options)


def frames_of(case: Case) -> Any:
    """Return the frames of seqframe, or raise as it does."""
    data = data_of(case)
    arguments: dict[str, Any] = {"skip_nan": bool(case.nans)}
    for name in ("targets", "future"):
        columns = getattr(case, name)
        if columns is not None and not isinstance(columns, str):
            arguments[name] = _named(case, columns)
    if case.targets == "array":
        arguments["targets"] = _joined(case, data.targets)
    if case.future == "array":
        arguments["future"] = _joined(case, data.future)
    if case.future == "table":
        arguments["future"] = _tables_of(case, data.future or [])
    if data.weight is not None:
        arguments["sample_weight"] = _joined(case, data.weight, data.weight_per_frame)
    if data.valid is not None:
        arguments["valid"] = _joined(case, data.valid)
    if case.one_of_many:
        arguments["by"] = "group" if case.form in TABLES else np.array(_group_of_rows(case))
    if case.fault is not None and case.fault[0] == "frame":
        _, name, fault = case.fault
        if fault == "no sequences":
            return framer_of(case).frame(list(_sequences(case).values()), **arguments)
        arguments[name] = faulty(arguments.get(name), fault)
    return framer_of(case).frame(_sequences(case), **arguments)


def _named(case: Case, columns: Any) -> Any:
    """Return columns by name, if they have names and the case asks for them."""
    if case.form not in TABLES or (case.ask % 2 and case.columns is None):
        return columns
    return [f"c{k}" for k in columns] if isinstance(columns, list) else f"c{columns}"


def _tables_of(case: Case, arrays: list[np.ndarray]) -> Any:
    """Return future covariates as tables, which are matched by the labels of their groups."""
    library = TABLES[case.form]
    each = [{f"f{k}": array[:, k] for k in range(array.shape[1])} for array in arrays]
    if not case.one_of_many:
        return _in_form(case, [library.DataFrame(columns) for columns in each])
    tables = [
        library.DataFrame({"group": [label(q)] * len(array), **columns})
        for q, (array, columns) in enumerate(zip(arrays, each, strict=True))
    ]
    tables = tables[::-1] if case.ask % 3 else tables
    return (
        library.concat(tables, ignore_index=True) if library is pandas else library.concat(tables)
    )


def _group_of_rows(case: Case) -> list[str]:
    return [label(q) for q, length in enumerate(case.lengths) for _ in range(length)]


def _joined(case: Case, arrays: list[np.ndarray] | None, per_frame: bool = False) -> Any:
    """Return what belongs to the sequences, in the form in which these are given."""
    arrays = arrays or []
    if case.one_of_many and not per_frame:
        return np.concatenate(arrays)
    return _in_form(case, arrays)


def _in_form(case: Case, each: list[Any]) -> Any:
    """Return one thing for each sequence as a list or a dict; the only one as it is."""
    if case.named:
        # A dict may come in another order than the sequences.
        pairs = [(label(q), one) for q, one in enumerate(each)]
        return dict(pairs[::-1] if case.ask % 2 else pairs)
    return each[0] if len(each) == 1 else each


def _sequences(case: Case) -> Any:
    numbers = range(len(case.lengths))
    if case.dtype in TEXTS:
        symbols = TEXTS[case.dtype][0]
        each = [[symbols[k] for k in values(case.dtype, case.lengths[q], (), q)] for q in numbers]
        each = ["".join(one) for one in each] if case.dtype == "text" else each
        if case.named:
            return {label(q): one for q, one in enumerate(each)}
        return each[0] if case.dtype == "text" and len(each) == 1 else each
    arrays = [values(case.dtype, case.lengths[q], case.row, q) for q in numbers]
    for name, q, t in case.nans:
        if name == "inputs":
            arrays[q].reshape(len(arrays[q]), -1)[t, -1] = np.nan
    if case.one_of_many:
        arrays = [np.concatenate(arrays)]
    each = [_formed(case, array) for array in arrays]
    if case.named:
        return {label(q): one for q, one in enumerate(each)}
    return each[0] if len(each) == 1 else each


def _formed(case: Case, array: np.ndarray) -> Any:
    if case.form == "list":
        return array.tolist()
    if case.form == "strided":
        wide = np.empty((2 * len(array), *array.shape[1:], 3), array.dtype)
        wide[::2, ..., 1] = array
        return wide[::2, ..., 1]
    if case.form == "read-only":
        array.flags.writeable = False
        return array
    if case.form == "store":
        return Stored(array, 1 + case.ask % 3)
    if case.form in TABLES:
        columns: dict[str, Any] = {"group": _group_of_rows(case)} if case.one_of_many else {}
        columns |= {f"c{k}": array[:, k] for k in range(array.shape[1])}
        return TABLES[case.form].DataFrame(columns)
    return array


# --- What must be refused, by the documentation.


_OF_WINDOWS = ("sequence_stride", "sampling_rate", "pad_end")
_OF_SUBSEQUENCES = ("num_samples", "wrap", "seed")
# What an argument other than its default means nothing for.
FOREIGN = {
    "windows": _OF_SUBSEQUENCES,
    "prefixes": (*_OF_WINDOWS, *_OF_SUBSEQUENCES),
    "subsequences": _OF_WINDOWS,
}


def refused(case: Case, data: oracle.Data) -> str | None:
    """Return why a case must be refused, or None."""
    rule = rule_of(case)
    if case.fault is not None:
        return "a bad argument"
    plain = oracle.Rule(1)
    if any(getattr(rule, name) != getattr(plain, name) for name in FOREIGN[rule.mode]):
        return "of another mode"
    if (rule.mode == "subsequences") > (rule.num_samples is not None):
        return "num_samples"
    if rule.layout == "tokens" and data.inputs[0].ndim > 1:
        return "tokens"
    padded = [data.inputs[0]]
    if rule.return_sequences:
        padded += [] if data.future is None else [data.future[0]]
        padded += [] if rule.weighs_padding else [data.targets[0]]
    if rule.pads and not all(_holds(array.dtype, rule.padding_value) for array in padded):
        return "padding_value"
    whole = replace(data, valid=None, skip_nan=False)
    every = oracle.frames(rule, whole)
    if not every:
        return "too short"
    if _leaks(rule, case, data):
        return "a leak"
    if rule.wrap and oracle.has_missing(data):
        return "wrap"
    if not oracle.frames(rule, data):
        return "no frame left"
    return None


def _leaks(rule: oracle.Rule, case: Case, data: oracle.Data) -> bool:
    """Whether a target is an input at its own step, or among the future covariates."""
    every = set(range(case.row[0])) if len(case.row) == 1 else set()
    inputs = every if case.columns is None else set(case.columns)
    named = (
        set() if isinstance(case.targets, str | None) else {*np.atleast_1d(case.targets).tolist()}
    )
    own = rule.gap < 0 and (bool(named & inputs) or _has_copy(case, data))
    targets = inputs if case.targets is None else named
    ahead = set() if isinstance(case.future, str | None) else set(case.future)
    return own or bool(ahead & targets)


def _has_copy(case: Case, data: oracle.Data) -> bool:
    """Whether a column of targets varies, and equals a column of the inputs at every step."""
    if case.targets is None:
        return False
    x, y = (
        np.concatenate([array.reshape(len(array), int(np.prod(array.shape[1:]))) for array in each])
        for each in (data.inputs, data.targets)
    )
    return any(
        all(a == b or (a != a and b != b) for a, b in zip(x[:, i], y[:, j], strict=True))
        and any(b not in (y[0, j], None) and b == b for b in y[:, j])
        for i in range(x.shape[1])
        for j in range(y.shape[1])
    )


def _holds(dtype: np.dtype, value: float) -> bool:
    """Whether a dtype has a value as it is, or nearly."""
    if dtype.kind in "iub":
        with np.errstate(all="ignore"):
            return value == value and bool(np.array(value).astype(dtype) == value)
    return True


# --- Making a failing case simpler.


def simpler(case: Case) -> Iterator[Case]:
    """Yield cases with one thing less."""
    plain = Case()
    for each in fields(case):
        if each.name in ("rule", "lengths", "ask") or (case.fault and each.name != "fault"):
            continue
        if getattr(case, each.name) != getattr(plain, each.name):
            yield replace(case, **{each.name: getattr(plain, each.name)})
    for name in case.rule:
        if name != "sequence_length":
            yield replace(case, rule={key: v for key, v in case.rule.items() if key != name})
    for name, value in case.rule.items():
        if isinstance(value, int) and not isinstance(value, bool) and value > 1:
            yield replace(case, rule={**case.rule, name: value - 1})
    for q, length in enumerate(case.lengths):
        rest = case.lengths[:q] + case.lengths[q + 1 :]
        if rest and not case.holes and not case.nans:
            yield replace(case, lengths=rest)
        if length > 1 and not any(step[-1] == length - 1 for step in (*case.holes, *case.nans)):
            yield replace(case, lengths=(*case.lengths[:q], length - 1, *case.lengths[q + 1 :]))
    for name in ("holes", "nans"):
        steps = getattr(case, name)
        for k in range(len(steps)):
            yield replace(case, **{name: steps[:k] + steps[k + 1 :]})
    if case.ask > 1:
        yield replace(case, ask=case.ask // 2)
