"""The parts that several backends share.

Variables that travel through a program as values suit TensorFlow and JAX. PyTorch overrides these
parts. The functions that do nothing are for backends that need nothing there.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from operator import is_
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops, tree

from seqframe.backend.internals import all_layers, counted_rows, raw_values
from seqframe.backend.locks import between_calls
from seqframe.backend.threefry import bits_of_rows

COMPILES_ROLLOUTS = True  # or runs them as plain loops
COMPILES_MESHES = False  # whether a program may run on the devices of a `keras.distribution`
DRAWS_A_STEP = 1024  # random draws that one step of a rollout may make

# A tensor, a variable, or a nest of these: each backend has its own types.
Tensor = Any
Variable = Any
Nest = Any
#: Arrays to gather from; a schedule's columns, one row a step; the states to reset to.
Given = tuple[dict[str, Any], dict[str, Any], list[Any]]
#: Raises if a batch has not the expected size, which it returns; None: no size is expected.
SizeCheck = Callable[[int | None], int | None]


class Form(NamedTuple):
    """How steps become programs: a loop of them or each by itself, with XLA or without."""

    loop: bool
    xla: bool

    def __str__(self) -> str:
        unit = "a loop of steps" if self.loop else "single steps"
        return f"{unit}, {'compiled' if self.xla else 'not compiled'} with XLA"


class Traits(NamedTuple):
    """What decides which form of a model's steps is fast."""

    recurrent: bool
    convolves: bool
    draws: bool  # random numbers in training
    draws_much: bool  # many numbers for each sample
    needs_no_xla: bool  # a layer says that it has better kernels, or none for XLA


_CONVOLUTIONS = tuple(
    getattr(keras.layers, f"{kind}{size}D{transposed}")
    for kind in ("Conv", "SeparableConv", "DepthwiseConv", "ConvLSTM")
    for size in (1, 2, 3)
    for transposed in ("", "Transpose")
    if hasattr(keras.layers, f"{kind}{size}D{transposed}")
)
_DRAWS = ("rate", "stddev")  # attributes of Keras's layers
_DRAWS_MASKS = ("dropout", "recurrent_dropout")  # of its recurrent ones: one mask for all steps
_MUCH = 256  # random numbers for a sample


def traits(model: keras.Model) -> Traits:
    """Return what decides which form of a model's steps is fast.

    >>> layers = [keras.layers.Conv1D(2, 3), keras.layers.LSTM(2, dropout=0.1)]
    >>> traits(keras.Sequential([keras.Input((48, 8)), *layers]))[:4]
    (True, True, True, False)
    >>> traits(keras.Sequential([keras.Input((48, 8)), keras.layers.Dropout(0.1)]))[:4]
    (False, False, True, True)
    """
    layers = all_layers(model)
    draw_each_time = [
        layer for layer in layers if _is_positive(layer, _DRAWS) or _has_own_generator(layer)
    ]
    return Traits(
        recurrent=any(isinstance(layer, keras.layers.RNN) for layer in layers),
        convolves=any(isinstance(layer, _CONVOLUTIONS) for layer in layers),
        draws=bool(draw_each_time) or any(_is_positive(layer, _DRAWS_MASKS) for layer in layers),
        draws_much=sum(map(_numbers_drawn, draw_each_time)) > _MUCH,
        needs_no_xla=not all(layer.supports_jit for layer in layers),
    )


def _is_positive(layer: keras.Layer, names: tuple[str, ...]) -> bool:
    values = [getattr(layer, name, None) for name in names]
    return any(isinstance(value, float) and value > 0 for value in values)


def _has_own_generator(layer: keras.Layer) -> bool:
    """Whether a layer that is not Keras's own draws random numbers."""
    own = not type(layer).__module__.startswith("keras.")
    return own and any(isinstance(x, keras.random.SeedGenerator) for x in vars(layer).values())


def _numbers_drawn(layer: keras.Layer) -> float:
    """Return how many random numbers a layer draws for a sample; infinity if that is unknown."""
    try:
        shape = layer.output.shape[1:]
    except (AttributeError, ValueError):  # the layer is called inside of another one
        return math.inf
    masks = (keras.layers.SpatialDropout1D, keras.layers.SpatialDropout2D)
    sizes = shape[-1:] if isinstance(layer, masks) else shape
    return math.inf if None in sizes else math.prod(sizes)


class StepLoop:
    """Many steps of a model's own `train_step`, `test_step` or `predict_step`, in one form.

    `gather.batch(arrays, row)` makes the batch of a step. `states` are the variables that a
    schedule can reset. `outputs` is a nest like the predictions, of their names in the logs of
    `run`. `compiled_for` holds the shapes compiled so far. If not `compiles_ahead`, the first step
    compiles the program.
    """

    compiles_ahead = True

    def __init__(
        self, model: keras.Model, kind: str, gather: Any, states: list[Variable], form: Form
    ):
        self._model, self._kind, self._gather, self._states = model, kind, gather, states
        self._step = self._predict if kind == "predict" else getattr(model, f"{kind}_step")
        self._is_built = kind == "predict"
        self.form = form
        self.outputs: Nest = None
        self.compiled_for: set[Any] = set()
        self._compile()

    def run(
        self, given: Given, first: int, steps: int, epochs: int, fresh: bool
    ) -> dict[str, np.ndarray]:
        """Run `epochs` times `steps` steps of a schedule.

        Args:
            given: tensors. The schedule has the column "index" for `gather`. It may have "weight"
                (sample weights) and "reset" (bool, rows whose state is reset).
            first: int. The schedule's row to begin with. The epochs of a schedule follow each
                other.
            steps: int. Steps of an epoch, or of the part of one that runs.
            epochs: int. With 0, the program is compiled, and nothing runs.
            fresh: bool. Whether metrics are reset before each epoch.

        Returns:
            dict of arrays `(epochs, …)`: the result of each epoch's last step.
        """
        raise NotImplementedError

    def seconds_alone(self, given: Given, steps: int) -> float | None:
        """Return the seconds of a step on one device alone, which changes nothing.

        None: the program runs on one device, or one device lacks a part of the tensors.
        """
        return None

    def _compile(self) -> None:
        raise NotImplementedError

    def _predict(self, *args: Any) -> Any:
        raise NotImplementedError

    def _step_of_row(self, row: dict[str, Any], *args: Any) -> Any:
        """Run the model's own step. In `evaluate`, only frames count, as opposed to idle rows."""
        if self._kind != "test" or "weight" not in row:
            return self._step(*args)
        with counted_rows(self._model, lambda: row["weight"], self._gather.frame_weight):
            return self._step(*args)


def first_batch(gather: Any, given: Given) -> tuple[Any, ...]:
    """Return the batch of a schedule's first step."""
    arrays, schedule, _ = given
    return gather.batch(arrays, tree.map_structure(lambda column: column[0], schedule))


def share_of(row: dict[str, Any], number: int, count: int) -> tuple[dict[str, Any], int]:
    """Return a device's rows of a batch, of which `count` devices share the rows, and how many.

    A device without a row gets one of weight 0, so that it takes part in the step.

    >>> batch = {"index": np.arange(5)}
    >>> [share_of(batch, number, 2) for number in range(2)]
    [({'index': array([0, 1])}, 2), ({'index': array([2, 3, 4])}, 3)]
    """
    size = tree.flatten(row)[0].shape[0]
    first, stop = size * number // count, size * (number + 1) // count
    rows = tree.map_structure(lambda column: column[first : max(stop, first + 1)], row)
    if first == stop:
        rows["weight"] = ops.zeros((1,))
    return rows, stop - first


def averages_rows(model: keras.Model) -> bool:
    """Whether a model's loss is a mean over the rows of a batch, as Keras's losses are by default.

    >>> def compiled(loss):
    ...     model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    ...     model.compile(loss=loss)
    ...     return model
    >>> [averages_rows(compiled(loss)) for loss in ("mse", keras.losses.MeanSquaredError("sum"))]
    [True, False]
    """
    losses = [each for each in tree.flatten(model.loss) if isinstance(each, keras.losses.Loss)]
    return all(each.reduction in ("sum_over_batch_size", "mean") for each in losses)


class OnVariables(NamedTuple):
    """A function that reads and assigns variables.

    Attributes:
        function: function of tensors that returns a tensor or a nest of them.
        reads: list of variables that the function only reads.
        assigns: list of variables `(batch_size, …)` that it assigns.
        others: list of variables that it must not assign.
    """

    function: Callable[..., Nest]
    reads: list[Variable]
    assigns: list[Variable]
    others: list[Variable]


class PureFunction:
    """A function that reads and assigns variables, as a function of their values.

    Args:
        function, reads, assigns, others: the attributes of `OnVariables`.
    """

    def __init__(
        self,
        function: Callable[..., Nest],
        reads: list[Variable],
        assigns: list[Variable],
        others: list[Variable],
    ):
        self._function, self._reads, self._assigns = function, reads, assigns
        self._others = others

    def __call__(
        self,
        read: list[Tensor],
        fixed: list[tuple[Variable, Tensor]],
        values: list[Tensor],
        *arguments: Tensor,
        rows: Tensor = None,
    ) -> tuple[Nest, list[Tensor]]:
        """Return the function's result, and the assigned variables' values after it.

        `read` are values from `values_of`. `fixed` are pairs of another variable and its
        value. `values` are the assigned variables' values before. Only `rows` change; None: all.
        """
        # Without values to read, as in an exported function, variables are read where they are.
        mapping = [
            *zip(self._reads, read, strict=False),
            *fixed,
            *zip(self._assigns, values, strict=True),
        ]
        with keras.StatelessScope(mapping) as scope:
            result = self._function(*arguments)
            after = [scope.get_current_value(variable) for variable in self._assigns]
            self._check(scope)
        return result, after if rows is None else update_rows(rows, values, after)

    def _check(self, scope: keras.StatelessScope) -> None:
        """Raise if the function has assigned one of the others."""
        if any(scope.get_current_value(variable) is not None for variable in self._others):
            raise ValueError(
                "A stateful layer must be an attribute of the model or layer that calls it. "
                "Received: one that is called through a function or another object, so it would "
                "change its own state here. Call it as `self.layer(x)`."
            )


class SteppedProgram:
    """A function that reads and assigns variables, as one program that is called again and again.

    Between calls the assigned variables' values stay on the device. It runs once at the beginning,
    so that it is compiled, and ends that with the values that the variables have.

    Args:
        step: OnVariables. Its function returns a tensor.
        examples: list of arrays like the function's arguments.
        is_fixed: bool. Whether Python takes the same way through the function for all values.

    `values` are those of the assigned variables.
    """

    values: list[Tensor]

    def __init__(self, step: OnVariables, examples: list[np.ndarray], is_fixed: bool):
        raise NotImplementedError

    def __call__(self, *arguments: np.ndarray) -> np.ndarray:
        """Return the function's result in memory of its own."""
        raise NotImplementedError


class HeldValues:
    """The values of variables, read anew when they have changed.

    To compare them takes less than to wait for a turn, and than to read them. A value that is held
    is not overwritten: JAX's programs copy it first.
    """

    def __init__(self, variables: list[Variable]):
        self._variables, self._values = variables, values_of(variables)

    def __call__(self) -> list[Tensor]:
        """Return the values, as they are after a whole training step."""
        if not all(map(is_, raw_values(self._variables), self._values)):
            self._values = between_calls(lambda: values_of(self._variables))
        return self._values


def update_rows(rows: Tensor, before: list[Tensor], after: list[Tensor]) -> list[Tensor]:
    """Return the values after a step in `rows`, and the values before it in other rows."""
    return [ops.where(by_row(rows, new), new, old) for old, new in zip(before, after, strict=True)]


def by_row(rows: Tensor, value: Tensor) -> Tensor:
    """Return one value a row in a shape that broadcasts over the axes of `value`."""
    return ops.reshape(rows, (-1, *(1,) * (len(value.shape) - 1)))


def call_with_values(
    fixed: list[tuple[Variable, Tensor]], function: Callable[..., Nest], *arguments: Tensor
) -> Nest:
    """Call a function while variables have given values."""
    with keras.StatelessScope(fixed):
        return function(*arguments)


def values_of(variables: list[Variable]) -> list[Tensor]:
    """Return the present values of variables, for a `PureFunction` to read."""
    return [variable.value for variable in variables]


def finish(tensors: Nest) -> None:
    """Wait until tensors are computed."""


def named_outputs(outputs: Nest) -> tuple[Nest, dict[str, Tensor]]:
    """Return a nest of predictions as a nest of names, and as a dict by these names.

    >>> named_outputs([10, {"a": 20}])
    (['0', {'a': '1'}], {'0': 10, '1': 20})
    """
    flat = tree.flatten(outputs)
    names = [str(number) for number in range(len(flat))]
    return tree.pack_sequence_as(outputs, names), dict(zip(names, flat, strict=True))


def scalars(*numbers: int) -> list[Any]:
    """Return integers as tensors, so that a program is compiled once for all values.

    Each is a tensor of its own. If XLA must know one number of a vector, it compiles for each.
    """
    return [ops.convert_to_tensor(number, "int32") for number in numbers]


def operand(array: np.ndarray) -> Tensor:
    """Return an array as an argument of a program."""
    return ops.convert_to_tensor(array)


def repeat(count: Tensor, body: Callable[..., Any], *carry: Nest) -> tuple[Nest, ...]:
    """Return what `carry = body(number, *carry)` becomes after `count` times."""
    _, *carry = ops.while_loop(
        lambda number, *_: number < count,
        lambda number, *carry: (number + 1, *body(number, *carry)),
        (ops.zeros_like(count), *carry),
    )
    return tuple(carry)


def seed_of_step(seed: Tensor, step: Tensor) -> Tensor:
    """Return the state of a `keras.random.SeedGenerator` for one step of a rollout.

    Each draw adds one to the second number, so that the steps' numbers are well apart.
    """
    return ops.stack([seed, step * DRAWS_A_STEP])


def random_bits(seed: Tensor, rows: int, count: int) -> Tensor:
    """Return random integers below 2**32, `(rows, count)`, by the seed and the row only."""
    return bits_of_rows(ops.cast(seed, "uint32"), rows, count, ops)


def read_steps(buffer: Tensor, begin: Tensor, count: int) -> Tensor:
    """Return `count` steps of a buffer `(batch_size, steps, …)` from `begin` on."""
    return ops.slice(buffer, _start(buffer, begin), (buffer.shape[0], count, *buffer.shape[2:]))


def cast(tensor: Tensor, dtype: Any) -> Tensor:
    """Return a tensor in a dtype, and the tensor itself if it has it: an operation costs time."""
    same = keras.backend.standardize_dtype(tensor.dtype) == keras.backend.standardize_dtype(dtype)
    return tensor if same else ops.cast(tensor, dtype)


def likeliest(logits: Tensor, none: int) -> Tensor:
    """Return the id of each row's largest logit; -1 if one is NaN, and `none` if all are -inf."""
    largest = ops.max(logits, axis=-1)  # NaN in a row with NaN
    ids = cast(ops.argmax(logits, axis=-1), "int32")
    return ops.where(ops.isnan(largest), -1, ops.where(largest == -float("inf"), none, ids))


def threshold(values: Tensor, weights: Tensor, amount: Tensor) -> Tensor:
    """Return the largest value of each row at which the weights of the values from it on reach
    `amount`; the row's least value if none does.

    It is found bit by bit. XLA takes 20 times as long to sort 50,000 numbers on a CPU.

    Args:
        values: float32 tensor `(rows, count)`.
        weights: float32 tensor `(rows, count)`, at least 0.
        amount: float tensor that broadcasts with `(rows, 1)`.

    Returns:
        tensor `(rows, 1)`.
    """
    # As integers in the order of the values.
    bits = ops.view(values, "int32")
    places = ops.where(bits < 0, ops.bitwise_xor(bits, np.int32(2**31 - 1)), bits)

    def halve(number: Tensor, least: Tensor) -> Tensor:
        bit = ops.left_shift(ops.ones_like(least), ops.cast(31 - number, "int32"))
        found = ops.sum(ops.where(places >= least + bit, weights, 0.0), axis=-1, keepdims=True)
        return ops.where(found >= amount, least + bit, least)

    lowest = ops.full((values.shape[0], 1), -(2**31), "int32")
    least = ops.fori_loop(0, 32, halve, lowest)
    return ops.min(ops.where(places >= least, values, float("inf")), axis=-1, keepdims=True)


def sorted_threshold(values: Tensor, weights: Tensor, amount: Tensor) -> Tensor:
    """Return what `threshold` does, by sorting: for devices that start each operation slowly."""
    order = ops.argsort(-values, axis=-1)
    total = ops.cumsum(ops.take_along_axis(weights, order, axis=-1), axis=-1)
    short = ops.sum(ops.cast(total < amount, "int32"), axis=-1, keepdims=True)
    last = ops.minimum(short, values.shape[-1] - 1)
    return ops.take_along_axis(values, ops.take_along_axis(order, last, axis=-1), axis=-1)


def write_steps(buffer: Tensor, begin: Tensor, steps: Tensor, due: Tensor) -> Tensor:
    """Return a buffer with `steps`, cast to its dtype, written from `begin` on, if `due`."""
    steps = cast(steps, buffer.dtype)
    if due is not True:
        steps = ops.where(due, steps, read_steps(buffer, begin, steps.shape[1]))
    return ops.slice_update(buffer, _start(buffer, begin), steps)


def _start(buffer: Tensor, begin: Tensor) -> Tensor:
    zero = ops.zeros_like(begin)
    return ops.stack([zero, begin, *[zero] * (len(buffer.shape) - 2)])


def random_state() -> Any:
    """Return None: layers draw only by their seed generators."""
    return None


def set_random_state(state: Any) -> None:
    """Do nothing: the backend's own generator is not used."""


def lasting() -> AbstractContextManager[None]:
    """Do nothing: tensors can be used anywhere."""
    return nullcontext()


def seeded_draws(seed: int) -> AbstractContextManager[None]:
    """Do nothing: layers draw only by their seed generators."""
    return nullcontext()


def compiles(model: keras.Model) -> bool:
    """Return True: what a model is compiled with lets its steps be a program."""
    return True


def needs_keras_loop(model: keras.Model) -> bool:
    """Return False: no strategy of the backend distributes a model."""
    return False


def scope(model: keras.Model) -> AbstractContextManager[None]:
    """Do nothing: variables need no strategy to be made."""
    return nullcontext()


def joined(model: keras.Model, facts: Callable[[], dict[str, Any]]) -> AbstractContextManager[None]:
    """Return a context in which all processes train one model. `facts()` must agree in them."""
    return nullcontext()


def sharing() -> AbstractContextManager[None]:
    """Return a context in which all processes share the batches of a validation."""
    return nullcontext()


def whole_metrics(model: keras.Model) -> list[Tensor]:
    """Return the values of a model's metrics, over the rows of all processes."""
    return [variable.value for variable in model.metrics_variables]


def own_metrics(values: list[np.ndarray]) -> list[np.ndarray]:
    """Return the values that this process gives its metrics, when `values` are those of all."""
    return values


def from_first(value: Any) -> Any:
    """Return the value that the first process has."""
    return value


def own_rows(batch_size: int) -> slice:
    """Return the rows of a streamed batch that this process loads: all."""
    return slice(None)


def check_processes(model: keras.Model, kind: str, is_stateful: bool, by_keras: str | None) -> None:
    """Raise if several devices or processes cannot share the batches of a model's steps.

    `by_keras` is why Keras's own loop runs them, or None.
    """


def check_shares(batch_size: int) -> None:
    """Raise if the processes' shards cannot fill equal parts of a batch."""


def agreed(number: Any) -> Any:
    """Return a number, as all processes that run one program have it."""
    return number


def spans_processes() -> bool:
    """Whether several processes run one program together."""
    return False


def is_first_process() -> bool:
    """Whether this process writes the files of the processes that run one program."""
    return True


def to_host(tensor: Tensor) -> np.ndarray:
    """Return a tensor as a NumPy array."""
    return ops.convert_to_numpy(tensor)


def values_kept(model: keras.Model) -> AbstractContextManager[None]:
    """Do nothing: variables hold their values all the time."""
    return nullcontext()


def batch_size_of(data: Nest) -> int | None:
    """Return the size of a batch; None if it is known only at run time."""
    size = next(item for item in tree.flatten(data) if item is not None).shape[0]
    return None if size is None else int(size)


def checked_batch(data: Nest, check: SizeCheck) -> Nest:
    """Return a batch whose size has been checked."""
    check(batch_size_of(data))
    return data
