"""Stepper: a recurrent model that is given one time step at a time, as data arrive."""

from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops, tree

from seqframe import backend
from seqframe.aliases import Layout, Numbers, Shape, States, Tensor
from seqframe.backend.common import by_row
from seqframe.backend.internals import inference_copy
from seqframe.framing.checks import check_integer
from seqframe.framing.framer import SequenceFramer
from seqframe.framing.frames import Framer
from seqframe.framing.sequences import holds_symbols, to_array
from seqframe.framing.tables import (
    Table,
    check_unmasked,
    is_table,
    read_table,
    select_columns,
    table_array,
)
from seqframe.framing.vocabulary import Vocabulary
from seqframe.model.inspect import (
    adapted_places,
    arranged,
    check_embedding,
    check_input_names,
    check_model,
    check_one_output,
    declared_shape,
    has_steps,
    infers_by_default,
    input_embedding,
    input_steps,
    named_inputs,
    takes_one_way,
)
from seqframe.model.state import checked_states, fresh_state, row_mask, stateful_layers
from seqframe.rollout.loop import carried_variables, own_states, own_variables
from seqframe.rollout.saving import load_stepper, save_stepper
from seqframe.rollout.stepping import Step, check_steps, layers_to_step


class Stepper:
    """Gives a recurrent model one time step at a time and keeps its state, as data arrive.

    A stateful model goes on as in training. A stateless model of recurrent layers is run as if it
    were stateful: after each step it says what it would say to the whole sequence so far. Batch
    size and time steps of training do not matter. A step is one call of a compiled program; PyTorch
    compiles nothing. The model's own state does not change. If the model is trained on, the next
    step sees it.

    Several threads may call a stepper: their steps follow each other. A step that the model masks
    leaves the state of its row as it is. Ignore the output of that row.

    Args:
        model: keras.Model, built. It has one output, and one input or two named "past" and
            "future". Its recurrent layers are all stateful or all stateless, and read forward.
            Layers that read several steps at once, such as convolutions, attention and
            `Bidirectional`, are an error: a small random input must give the same output both ways.
        framer: SequenceFramer of the training data, `frames.framer`. It has the vocabulary, for
            steps that are symbols, and the names of columns, for steps that are rows of a table.
            None: what the model declares.
        rows: int ≥ 1. Number of sequences that are read side by side. Rows are independent.

    Each argument is an attribute of the same name.

    Raises:
        ValueError: if the model cannot be read step by step, or does not fit the framer.

    Example:

    >>> import keras, numpy as np
    >>> from seqframe import Stepper
    >>> keras.utils.set_random_seed(7)
    >>> model = keras.Sequential([
    ...     keras.Input((None, 2)),
    ...     keras.layers.LSTM(4, return_sequences=True),
    ...     keras.layers.Dense(3, activation="softmax"),
    ... ])
    >>> recording = np.random.default_rng(7).normal(size=(50, 2)).astype("float32")
    >>> stepper = Stepper(model)
    >>> labels = [stepper(x) for x in recording]
    >>> np.allclose(labels, model.predict(recording[None], verbose=0)[0], atol=1e-6)
    True
    """

    def __init__(self, model: keras.Model, framer: Framer | None = None, *, rows: int = 1):
        check_model(model)
        if not model.built:
            raise ValueError(
                f"`model` must be built. Received: {model.name!r}, which is not. "
                "Train it, or call it on one batch."
            )
        check_input_names(model)
        check_one_output(model, "Pass one output: `keras.Model(model.inputs, output)`.")
        if framer is not None and not isinstance(framer, SequenceFramer):
            raise TypeError(
                f"`framer` must be a `SequenceFramer`. Received: {type(framer).__name__}. "
                "Pass `frames.framer`."
            )
        self.model, self.framer = model, framer
        self.rows = check_integer("rows", rows, 1)
        self._rule = _framer_of_steps(model) if framer is None else framer
        _check_layout(model, self._rule)
        if self._rule.vocabulary is not None:
            check_embedding(model, len(self._rule.vocabulary))
        steps = input_steps(model) or (None if framer is None else framer.sequence_length)
        self._carried = layers_to_step(model, self._rule, steps)
        self._inputs = _read_inputs(model, self._rule, self.rows)
        self._lock = RLock()
        if steps == 1:
            self._make_program()  # of a model that was trained on single steps
        else:
            check_steps(model, self._carried, self._rule, self.rows, self._checked_step)
            self.reset()

    def __call__(self, x: Any) -> np.ndarray:
        """Give the model one step, and return its output.

        Args:
            x: array `(rows, features)`; `(rows,)` of ids or of single values; or `rows` symbols of
                the framer's vocabulary, as a list or string. A DataFrame of `rows` rows is read by
                the names of its columns, if the framer has them. With one row the axis of rows may
                be left out. A model of a "past" and a "future" takes a dict of these.

        Returns:
            array `(rows, …)`. Without the axis of rows in `x`, it has none either.

        Raises:
            ValueError: if `x` has another number of rows or features, a NaN, an infinite value, or
                an id or symbol that is unknown. The state does not change then.
            TypeError: if `x` does not hold real numbers, or ids that are not integers.

        Example:

        >>> import keras
        >>> from seqframe import SequenceFramer, Stepper, Vocabulary
        >>> model = keras.Sequential([
        ...     keras.Input((None,)), keras.layers.Embedding(3, 2), keras.layers.GRU(4),
        ... ])
        >>> framer = SequenceFramer(8, layout="tokens", vocabulary=Vocabulary("ABC"))
        >>> Stepper(model, framer)("A").shape
        (4,)
        >>> Stepper(model, framer, rows=2)("AC").shape
        (2, 4)
        """
        arrays, is_single = self._arrays(x)
        with self._lock:
            if self._places and not self._is_current():
                self._make_program(self._program.values)
            y: np.ndarray = self._program(*arrays)
        return y[0] if is_single else y

    def reset(self, rows: int | Numbers | None = None) -> None:
        """Begin new sequences: give rows the model's initial state, which is mostly zeros.

        Args:
            rows: the rows to reset, as integers or as a bool array `(rows,)`. None: all.

        Raises:
            ValueError: if there is no such row.

        Example:

        >>> import keras, numpy as np
        >>> from seqframe import Stepper
        >>> model = keras.Sequential([keras.Input((None, 1)), keras.layers.SimpleRNN(1)])
        >>> stepper = Stepper(model, rows=2)
        >>> _ = stepper(np.ones((2, 1)))
        >>> stepper.reset(rows=0)
        >>> [[state]] = stepper.state
        >>> bool(state[0] == 0), bool(state[1] == 0)
        (True, False)
        """
        mask = None if rows is None else row_mask(rows, self.rows)
        with self._lock:
            # Computed each time: a cell's initial state may depend on its weights.
            fresh = tree.flatten([fresh_state(layer, self.rows) for layer in self._layers])
            before = self._program.values
            fresh = [ops.cast(new, old.dtype) for new, old in zip(fresh, before, strict=True)]
            if mask is not None:
                fresh = [
                    ops.where(by_row(mask, new), new, old)
                    for new, old in zip(fresh, before, strict=True)
                ]
            self._program.values = fresh

    @property
    def state(self) -> States:
        """The recurrent state, to read and to write.

        A list for each recurrent layer of arrays `(rows, …)`, nested if its cells are stacked, as
        `get_states` returns it.

        >>> import keras, numpy as np
        >>> from seqframe import Stepper
        >>> model = keras.Sequential([keras.Input((None, 1)), keras.layers.LSTM(3)])
        >>> stepper = Stepper(model)
        >>> before = stepper.state
        >>> once = stepper([0.5])
        >>> stepper.state = before
        >>> bool((stepper([0.5]) == once).all())
        True
        """
        with self._lock:
            flat = [np.array(ops.convert_to_numpy(value)) for value in self._program.values]
        nested: States = tree.pack_sequence_as([layer.states for layer in self._layers], flat)
        return nested

    @state.setter
    def state(self, states: States) -> None:
        flat = tree.flatten(checked_states(states, self._layers, "state"))
        variables = tree.flatten([layer.states for layer in self._layers])
        with self._lock, backend.lasting():
            self._program.values = [
                ops.convert_to_tensor(np.array(ops.convert_to_numpy(value)), variable.dtype)
                for value, variable in zip(flat, variables, strict=True)
            ]

    def save(self, path: str | Path) -> None:
        """Save the stepper with its state: a `.keras` file, which Keras can load as a model.

        Args:
            path: path that ends in ".keras".

        Raises:
            ValueError: if the path does not end in ".keras", or its folder does not exist.

        Example:

        >>> import keras, tempfile
        >>> from seqframe import Stepper
        >>> model = keras.Sequential([keras.Input((None, 1)), keras.layers.SimpleRNN(2)])
        >>> stepper = Stepper(model)
        >>> _ = stepper([1.0])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     stepper.save(f"{folder}/stepper.keras")
        ...     loaded = Stepper.load(f"{folder}/stepper.keras")
        >>> bool((loaded([2.0]) == stepper([2.0])).all())
        True
        """
        # As Python's numbers, which hold every state as it is.
        state = [each.astype("float64").tolist() for each in tree.flatten(self.state)]
        save_stepper(path, self.model, self.framer, self.rows, state)

    @staticmethod
    def load(
        path: str | Path,
        custom_objects: dict[str, Any] | None = None,
        *,
        rows: int | None = None,
    ) -> "Stepper":
        """Load a stepper that `save` wrote, or step the model of a `Generator` that was saved.

        No code of the file is run.

        Args:
            path: path of the file.
            custom_objects: dict of name to class or function, as for Keras's `load_model`.
            rows: int ≥ 1. The number of rows, which then begin new sequences. None: go on with the
                rows and the state of the file. The file of a generator has one row.

        Returns:
            Stepper.

        Raises:
            ValueError: if the file is neither, or is damaged.

        Example:

        >>> import keras, tempfile
        >>> from seqframe import Generator, SequenceFramer, Stepper
        >>> model = keras.Sequential([keras.Input((3, 1)), keras.layers.LSTM(2)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Generator(model, SequenceFramer(3)).save(f"{folder}/model.keras")
        ...     Stepper.load(f"{folder}/model.keras", rows=8).rows
        8
        """
        if rows is not None:
            check_integer("rows", rows, 1)

        def make(*, model: Any, framer: Any, state: list[Any] | None, **saved: int) -> Stepper:
            stepper = Stepper(model, framer, rows=saved["rows"] if rows is None else rows)
            if state is not None and rows is None:
                arrays = [np.asarray(value) for value in state]
                own = [layer.states for layer in stepper._layers]
                stepper.state = tree.pack_sequence_as(own, arrays)
            return stepper

        return load_stepper(path, custom_objects, make)

    def __getstate__(self) -> dict[str, Any]:
        # Compiled programs and locks belong to the process.
        parts = {name: getattr(self, name) for name in ("model", "framer", "rows", "state")}
        return parts

    def __setstate__(self, parts: dict[str, Any]) -> None:
        state = parts.pop("state")
        Stepper.__init__(self, **parts)
        self.state = state

    def __repr__(self) -> str:
        framer = "" if self.framer is None else f", {self.framer!r}"
        return f"Stepper({self.model.name!r}{framer}, rows={self.rows})"

    def _make_program(self, values: list[Tensor] | None = None) -> None:
        """Compile the program for the model as it is, and give it a state; None: a fresh one."""
        model = self.model
        self._places = adapted_places(model)
        self._adapted = self._constants()
        states = carried_variables(self._carried, self.rows)
        self._copy = inference_copy(model, self._carried, states)
        self._layers = stateful_layers(self._copy)
        for layer in self._layers:
            layer.unroll = True  # a loop of a single step costs more than the step
        self._is_plain = infers_by_default(model)
        step = backend.OnVariables(
            self._step, own_variables(model), tree.flatten(states), own_states(model)
        )
        examples = [np.zeros(each.shape, each.dtype) for each in self._inputs]
        self._program = backend.SteppedProgram(step, examples, takes_one_way(model))
        if values is not None:
            self._program.values = values

    def _checked_step(self) -> Step:
        """Return the program as a function of inputs by name."""
        self._make_program()

        def step(inputs: dict[str, np.ndarray]) -> np.ndarray:
            arrays = [inputs[each.name].astype(each.dtype) for each in self._inputs]
            output: np.ndarray = self._program(*arrays)
            return output

        return step

    def _constants(self) -> list[tuple[Any, int]]:
        """Return what layers learned by `adapt`, each with how often it was changed in place."""
        return [
            (value := getattr(layer, name, None), _version(value)) for layer, name in self._places
        ]

    def _is_current(self) -> bool:
        """Whether layers hold the constants that the program was compiled with."""
        return all(
            one is other and version == compiled
            for (one, version), (other, compiled) in zip(
                self._constants(), self._adapted, strict=True
            )
        )

    def _step(self, *arrays: Tensor) -> Tensor:
        """Return the model's output for one step: the program, a function of tensors."""
        inputs = {
            each.name: array[:, None] if each.has_steps else array
            for each, array in zip(self._inputs, arrays, strict=True)
        }
        x = arranged(self.model, inputs) if len(inputs) > 1 else inputs["past"]
        y = self._copy(x) if self._is_plain else self._copy(x, training=False)
        return y[:, 0] if self._rule.return_sequences else y

    def _arrays(self, x: Any) -> tuple[list[np.ndarray], bool]:
        """Return the arrays of all inputs, and whether the axis of rows was left out."""
        if len(self._inputs) == 1:
            array, is_single = self._array(x, self._inputs[0])
            return [array], is_single
        names = [each.name for each in self._inputs]
        if not isinstance(x, dict) or x.keys() != {*names}:
            received = list(x) if isinstance(x, dict) else type(x).__name__
            raise ValueError(f"`x` must be a dict of {names}. Received: {received}.")
        found = [self._array(x[each.name], each) for each in self._inputs]
        single = {is_single for _, is_single in found}
        if len(single) > 1:
            raise ValueError(
                f"`x` must have the axis of rows in all of {names}, or in none of them. Received: "
                f"shapes {[np.shape(x[name]) for name in names]}."
            )
        return [array for array, _ in found], single.pop()

    def _array(self, x: Any, own: "_Input") -> tuple[np.ndarray, bool]:
        """Return an input as an array, and whether the axis of rows was left out."""
        is_single = False
        if type(x) is not np.ndarray or x.dtype.kind not in _NUMBERS:
            x, is_single = self._opened(x, own)
        if own.limit is not None:
            array = _as_ids(x, own, own.limit)
        else:
            array = x if x.dtype == own.dtype else _as_real(x, own)
            if not np.isfinite(array).all():
                raise ValueError(
                    f"`{own.called}` must be finite: a NaN would stay in the state. Received: "
                    f"{array.tolist()}. Fill missing values first."
                )
        if array.shape == own.shape:
            return array, is_single
        step = own.shape[1:]
        shapes = [step, ()] if step == (1,) else [step]
        if self.rows == 1 and array.shape in shapes:
            return array.reshape(own.shape), True
        if step == (1,) and array.shape == own.shape[:1]:
            return array.reshape(own.shape), is_single
        expected = f"{step} or {own.shape}" if self.rows == 1 and step else f"{own.shape}"
        raise ValueError(
            f"`{own.called}` must have shape {expected}: one step of each row. Received: shape "
            f"{array.shape}. Pass the features that the model was trained on, or make a `Stepper` "
            "with other `rows`."
        )

    def _opened(self, x: Any, own: "_Input") -> tuple[np.ndarray, bool]:
        """Return symbols, tables and lists as an array, and whether they are of a single row."""
        check_unmasked(x, own.called)
        is_past, vocabulary = own.name == "past", self._rule.vocabulary
        if is_past and (_is_symbol(x, vocabulary) or holds_symbols(x, vocabulary)):
            return self._encoded(x, vocabulary)
        columns = self._rule.columns if is_past else self._rule.future_columns
        row = _named_row(x, columns)
        if isinstance(x, dict) and row is None:
            raise TypeError(
                f"`{own.called}` must be an array. Received: a dict of {list(x)}, and no framer "
                "that knows these columns."
            )
        if row is not None or is_table(x):
            table = select_columns(x if row is None else row, columns, own.called)
            found = table_array(table, own.called)
            # The other columns of a row may have been text.
            return (found if row is None else np.array(found[0].tolist())), False
        try:
            return np.asarray(x), False
        except ValueError:
            raise ValueError(
                f"`{own.called}` is ragged: its rows do not have the same number of features."
            ) from None

    def _encoded(self, x: Any, vocabulary: Vocabulary | None) -> tuple[np.ndarray, bool]:
        """Return symbols as ids, and whether they are one symbol rather than a list."""
        if vocabulary is None:
            raise ValueError(
                "`x` holds symbols, which need a `framer` with a vocabulary. Received: none. Pass "
                "`frames.framer`, or ids instead of symbols."
            )
        is_single = self.rows == 1 and _is_symbol(x, vocabulary)
        ids = to_array([x] if is_single else x, "x", vocabulary)
        step = self._inputs[0].shape[1:]
        return (ids.reshape((-1, *step)) if step in ((), (1,)) else ids), is_single


class _Input(NamedTuple):
    """How an input of the model looks in one step.

    `called` is what errors call it. `limit` is the number of ids; None for real values.
    """

    name: str
    called: str
    shape: Shape
    dtype: str
    limit: int | None
    has_steps: bool


_NUMBERS = "fiub"  # NumPy's kinds of real numbers


def _read_inputs(model: keras.Model, framer: SequenceFramer, rows: int) -> list[_Input]:
    """Return the inputs of a model, in the order of their names."""
    layout, columns = framer.layout, len(framer.columns or [0])
    undeclared = (None,) if layout == "tokens" else (None, columns)
    named = named_inputs(model) or {"past": declared_shape(model, "input_shape") or undeclared}
    dtypes = _input_dtypes(model, framer)
    inputs = []
    for name, shape in named.items():
        stepped = has_steps(name, framer)
        step = shape[1:] if stepped else shape
        known = tuple(size for size in step if size is not None)
        if len(known) < len(step):
            raise ValueError(
                "A `Stepper` must know the shape of a step. Received: a model whose input "
                f"{name!r} declares {step}. Give its `Input` the number of features."
            )
        limit = _number_of_ids(model, framer) if name == "past" else None
        called = "x" if len(named) == 1 else f"x[{name!r}]"
        inputs.append(_Input(name, called, (rows, *known), dtypes[name], limit, stepped))
    return inputs


def _input_dtypes(model: keras.Model, framer: SequenceFramer) -> dict[str, str]:
    """Return the dtype of each input by name."""
    named, tensors = named_inputs(model), getattr(model, "inputs", None) or []
    if named is None:
        return {"past": "int32" if framer.layout == "tokens" else keras.config.floatx()}
    if len(named) > 1 and isinstance(model.input, dict):
        tensors = [model.input[name] for name in named]
    dtypes = [keras.backend.standardize_dtype(tensor.dtype) for tensor in tensors]
    return dict(zip(named, dtypes, strict=True))


def _number_of_ids(model: keras.Model, framer: SequenceFramer) -> int | None:
    """Return how many ids a model reads; None if it reads real values."""
    if framer.vocabulary is not None:
        return len(framer.vocabulary)
    if framer.layout != "tokens":
        return None
    embedding = input_embedding(model)
    return _MOST_IDS if embedding is None else int(embedding.input_dim)


_MOST_IDS = np.iinfo(np.int32).max


def _framer_of_steps(model: keras.Model) -> SequenceFramer:
    """Return a framer of the steps that a model declares."""
    shape, output = declared_shape(model, "input_shape"), declared_shape(model, "output_shape")
    if not shape or output is None:
        raise ValueError(
            "`framer` can be left out only for a model that declares its one input and its output. "
            f"Received: {model.name!r}. Pass the framer of its training data."
        )
    layout: Layout = "tokens" if len(shape) == 1 else "timesteps"
    is_stepped = len(output) > 1 or shape[0] is None
    return SequenceFramer(
        shape[0] or 1,
        layout=layout,
        return_sequences=bool(output) and output[0] == shape[0] and is_stepped,
    )


def _check_layout(model: keras.Model, framer: SequenceFramer) -> None:
    """Raise if the layout of a framer is not that of a model's input."""
    past = (named_inputs(model) or {}).get("past")
    if past is not None and (len(past) == 1) != (framer.layout == "tokens"):
        raise ValueError(
            f"The `framer` does not fit the model, whose input has shape {past}. Received: a "
            f'framer with layout="{framer.layout}". Pass the framer of its training data.'
        )


def _version(value: Any) -> int:
    """Return how often a tensor was changed in place, as PyTorch's `set_weights` does it."""
    try:
        return int(getattr(value, "_version", 0))
    except RuntimeError:  # in its inference mode PyTorch does not count
        return 0


def _is_symbol(x: Any, vocabulary: Vocabulary | None) -> bool:
    """Whether a value is one symbol, rather than an id or several of them."""
    if isinstance(x, str):
        return vocabulary is None or not vocabulary.is_text or len(x) == 1
    if vocabulary is None or isinstance(vocabulary.symbols[0], str):
        return False
    is_tuple = isinstance(x, tuple) and isinstance(vocabulary.symbols[0], tuple)
    return is_tuple or isinstance(x, (int, float, bytes))


def _named_row(x: Any, columns: tuple[str, ...] | None) -> Table | None:
    """Return one row of a table by its names, as `iterrows` of pandas and `row` of polars give it.

    >>> _named_row({"price": 2.5, "units": 3}, ("units", "price")).columns
    ('price', 'units')
    """
    if columns is None:
        return None
    if isinstance(x, dict):
        return Table(np.array([[*x.values()]], object), tuple(map(str, x)))
    table = read_table(x)
    if not isinstance(table, Table) or table.ndim != 1 or table.index is None:
        return None
    names = tuple(map(str, table.index))
    return Table(table.data[None], names) if {*names} & {*columns} else None


def _as_real(x: np.ndarray, own: _Input) -> np.ndarray:
    """Return real numbers in the dtype of an input, or raise."""
    if x.dtype.kind not in _NUMBERS and not x.dtype.name.startswith(("bfloat", "float")):
        raise TypeError(
            f"`{own.called}` must hold real numbers. Received: dtype={x.dtype}. Convert it first, "
            "for instance with `.astype('float32')`."
        )
    if own.dtype.startswith(("int", "uint")) and x.dtype.kind not in "iub":
        raise TypeError(
            f"`{own.called}` must hold integers, as the model's input does. Received: "
            f"dtype={x.dtype}. Convert it first."
        )
    return x.astype(own.dtype)


def _as_ids(x: np.ndarray, own: _Input, limit: int) -> np.ndarray:
    """Return ids in the dtype of an input, or raise."""
    if x.dtype.kind not in "iu":
        raise TypeError(
            f"`{own.called}` must hold integer ids. Received: dtype={x.dtype}. Convert it first, "
            "for instance with `.astype('int32')`."
        )
    if x.size and not 0 <= x.min() <= x.max() < limit:
        raise ValueError(
            f"The ids of `{own.called}` must be in 0 … {limit - 1}. Received: {x.tolist()}."
        )
    return x.astype(own.dtype)
