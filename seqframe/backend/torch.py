"""PyTorch: it has no compiled loop, so programs are plain loops without anything around them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
import torch
from keras import ops, tree

from seqframe.backend.internals import build_for_training, copied_states
from seqframe.backend.stateless import DRAWS_A_STEP, named_outputs


def compile_program(function: Callable[..., Any], xla: bool | str = "auto") -> Callable[..., Any]:
    """Return a function of tensors that records no gradients."""

    def run(*args: Any) -> Any:
        with torch.no_grad():
            return function(*args)

    return run


class StepLoop:
    """Many steps of a model's own step, over several epochs, one by one.

    See `seqframe.backend.tensorflow.StepLoop` for the arguments.
    """

    def __init__(
        self,
        model: keras.Model,
        kind: str,
        gather: Any,
        states: list[Any],
        xla: bool | str = "auto",
    ):
        self._model, self._kind = model, kind
        self._gather, self._states = gather, states
        # Keras's own switch, `model.compile(jit_compile=True)`: off unless the user asks for it.
        self._compiles = bool(getattr(model, "jit_compile", False)) if xla == "auto" else xla
        step = self._predict if kind == "predict" else getattr(model, f"{kind}_step")
        self._step = torch.compile(step) if self._compiles else step
        self.outputs: Any = None
        self.compiled_for: set[Any] = set()

    def run(
        self,
        arrays: Any,
        schedule: dict[str, Any],
        initial: list[Any],
        *,
        first: int,
        steps: int,
        epochs: int,
        fresh: bool,
    ) -> dict[str, np.ndarray]:
        """Run `epochs` times `steps` steps of a schedule; see the TensorFlow backend."""
        if not epochs:
            # There is nothing to compile, but metrics are made, and fail where they must, before
            # anything has run.
            if self._kind != "predict":
                row = tree.map_structure(lambda column: column[0], schedule)
                build_for_training(self._model, self._gather.batch(arrays, row))
            return {}
        training = self._kind == "train"
        # As Keras's own trainer does: PyTorch layers among Keras's look at this.
        self._model.train(training)
        records = []
        # What `torch.compile` cannot compile runs as it is.
        fallback = torch._dynamo.config.patch(suppress_errors=True)
        with (
            fallback if self._compiles else nullcontext(),
            torch.set_grad_enabled(training),
        ):
            for number in range(epochs):
                if fresh:
                    self._model.reset_metrics()
                begin = first + number * steps
                for k in range(begin, begin + steps):
                    logs = self._step(self._batch(arrays, schedule, initial, k))
                records.append(tree.map_structure(_as_numpy, logs))
        return {name: np.array([logs[name] for logs in records]) for name in records[0]}

    def _predict(self, data: Any) -> Any:
        self.outputs, logs = named_outputs(self._model.predict_step(data))
        return logs

    def _batch(self, arrays: Any, schedule: Any, initial: Any, k: Any) -> Any:
        row = tree.map_structure(lambda column: column[k], schedule)
        if "reset" in row and bool(row["reset"].any()):
            for variable, value in zip(self._states, initial, strict=True):
                mask = ops.reshape(row["reset"], (-1, *(1,) * (len(variable.shape) - 1)))
                variable.assign(ops.where(mask, value, variable))
        return self._gather.batch(arrays, row)


def call_with_values(
    function: Callable[[], Any],
    fixed: list[Any],
    variables: list[Any],
    values: list[Any],
    rows: Any = None,
) -> tuple[Any, list[Any]]:
    """Call a function with variables at given values; see `seqframe.backend.stateless`.

    Variables are assigned in place: without a compiled program to trace there is no need for
    values to travel, and a scope that carries them costs more than a small model's step. So what
    is returned is the variables' own, and the next call overwrites it.
    """
    if rows is not None and rows.all():
        rows = None
    before = values if rows is None else [value.clone() for value in values]
    for variable, value in (*fixed, *zip(variables, values, strict=True)):
        if value is not variable.value:
            variable.assign(value)
    result, after = function(), [variable.value for variable in variables]
    if rows is not None:
        shaped = [rows.reshape(-1, *(1,) * (value.dim() - 1)) for value in after]
        after = [torch.where(*each) for each in zip(shaped, after, before, strict=True)]
    return result, after


def traveling_values(variables: list[Any]) -> list[Any]:
    """Return no values: weights stay in their variables."""
    return []


@contextmanager
def seeded_draws(seed: int) -> Iterator[None]:
    """Have layers that were given no seed draw by this one.

    Keras drops units by PyTorch's global generator there, which is afterwards what it was before.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def scalars(*numbers: int) -> list[int]:
    """Return integers as what a program takes: a plain loop counts in Python."""
    return list(numbers)


def repeat(count: int, body: Callable[..., Any], *carry: Any) -> tuple[Any, ...]:
    """Return what `carry = body(number, *carry)` has become after `count` times."""
    for number in range(count):
        carry = body(number, *carry)
    # Some are the values of variables, which the next loop overwrites.
    return tree.map_structure(torch.clone, carry)


def seed_of_step(seed: int, step: int) -> Any:
    """Return the state of a `keras.random.SeedGenerator` for one step of a rollout."""
    return torch.tensor([seed, step * DRAWS_A_STEP], dtype=torch.int64)


def read_steps(buffer: Any, begin: int, count: int) -> Any:
    """Return `count` steps of a buffer `(batch_size, steps, …)` from `begin` on."""
    return buffer[:, begin : begin + count]


def write_steps(buffer: Any, begin: int, steps: Any, due: bool) -> Any:
    """Return the buffer with `steps` written into it from `begin` on, if `due`."""
    if due:
        buffer[:, begin : begin + steps.shape[1]] = steps
    return buffer


def checked_function(model: keras.Model, kind: str, check: Callable[[Any], Any]) -> Any:
    """Return Keras's train, test or predict function with a check of its batch first."""
    plain = getattr(model, f"{kind}_function")

    def checked(data: Any) -> Any:
        return plain([check(batch) for batch in data])

    return checked


def _as_numpy(log: Any) -> Any:
    return ops.convert_to_numpy(log) if torch.is_tensor(log) else log


def is_distributed(model: keras.Model) -> bool:
    """Whether a model is under a strategy of the backend's own: Keras knows none for PyTorch."""
    return False


def to_device(value: Any) -> Any:
    """Return a nest of NumPy arrays as tensors."""
    return tree.map_structure(ops.convert_to_tensor, value)


def carried_states(model: keras.Model, layers: list[Any]) -> AbstractContextManager[None]:
    """Have stateful layers compute from a copy of their state, which their step then overwrites."""
    return copied_states(layers)


def with_batch_size(data: Any, expected: int) -> Any:
    """Return a batch as it is: PyTorch knows every shape beforehand."""
    return data


def batch_size_errors(explain: Callable[[str], str]) -> Any:
    """Nothing to do: batches are checked before they run."""
    return nullcontext()
