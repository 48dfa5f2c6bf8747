"""PyTorch: it has no compiled loop, so programs are plain loops without anything around them.

What a rollout computes over and over is recorded and played back, see `seqframe.backend.playback`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import RLock
from typing import Any

import keras
import numpy as np
import torch
from keras import ops, tree

from seqframe.backend.internals import build_for_training, copied_states
from seqframe.backend.playback import Playback
from seqframe.backend.stateless import DRAWS_A_STEP, named_outputs


def compile_program(function: Callable[..., Any], xla: bool | str = "auto") -> Callable[..., Any]:
    """Return a function of tensors that records no gradients."""

    def run(*args: Any) -> Any:
        # A rollout borrows the model's layers and assigns variables: one at a time.
        with _LOCK, lasting(), torch.no_grad():
            return function(*args)

    return run


_LOCK = RLock()


def lasting() -> AbstractContextManager[None]:
    """Have tensors that are made here be such as can be assigned anywhere.

    Those of PyTorch's inference mode, which the user may be in, cannot be outside of it.
    """
    return torch.inference_mode(False)


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


class PureFunction:
    """A function that reads and assigns variables, as one of their values.

    Variables are assigned in place: without a compiled program to trace there is no need for
    values to travel, and a scope that carries them costs more than a small model's step. So what
    is returned is the variables' own, and the next call overwrites it. Where nothing is drawn at
    random, it is played back once it has been called often.

    See `seqframe.backend.stateless.PureFunction` for the arguments.
    """

    def __init__(self, function: Callable[..., list[Any]], reads: list[Any], assigns: list[Any]):
        self._function, self._reads, self._assigns = function, reads, assigns
        self._playbacks: dict[Any, Playback] = {}
        self._read: tuple[list[Any], Any] = ([], None)

    def __call__(
        self,
        read: list[Any],
        fixed: list[Any],
        values: list[Any],
        *arguments: Any,
        rows: Any = None,
    ) -> tuple[list[Any], list[Any]]:
        if rows is not None and rows.all():
            rows = None
        before = values if rows is None else [value.clone() for value in values]
        found = self._call(read, fixed, values, arguments)
        split = len(found) - len(values)
        result, after = found[:split], found[split:]
        if rows is not None:
            shaped = [rows.reshape(-1, *(1,) * (value.dim() - 1)) for value in after]
            after = [torch.where(*each) for each in zip(shaped, after, before, strict=True)]
        return result, after

    def _call(self, read: Any, fixed: Any, values: Any, arguments: Any) -> list[Any]:
        """Return the function's result, and the values of the assigned variables after it."""
        played = None
        if not fixed:
            leaves = _leaves(arguments)
            playback = self._playback(read, values, arguments, leaves)
            played = playback(*read, *values, *leaves)
            if played is not None and playback.is_trusted:
                return played
        pairs = [*fixed, *zip(self._assigns, values, strict=True)]
        result = call_with_values(pairs, self._function, *arguments)
        found = [*result, *(variable.value for variable in self._assigns)]
        if played is not None:
            playback.compare(played, found)
        return found

    def _playback(self, read: Any, values: Any, arguments: Any, leaves: list[Any]) -> Playback:
        """Return what plays back for arguments like these."""
        if self._read[0] is not read:  # once a run: they are many
            self._read = read, _shapes(read)
        key = (self._read[1], _shapes(leaves))
        if key not in self._playbacks:
            structure = tree.map_structure(lambda _: None, (read, values, arguments))

            def flat(*tensors: Any) -> list[Any]:
                return self._flat(*tree.pack_sequence_as(structure, list(tensors)))

            self._playbacks[key] = Playback(flat)
        return self._playbacks[key]

    def _flat(self, read: Any, values: Any, arguments: Any) -> list[Any]:
        """Call the function without a variable being assigned; raise if it assigns one it only
        reads, or if the model has other variables by now."""
        given = [*zip(self._reads, read, strict=True), *zip(self._assigns, values, strict=True)]
        with keras.StatelessScope(given) as scope:
            result = self._function(*arguments)
            after = [scope.get_current_value(variable) for variable in self._assigns]
        for variable, value in zip(self._reads, read, strict=True):
            if scope.get_current_value(variable) is not value:
                raise RuntimeError(f"{variable.path} is assigned.")
        return [*result, *after]


def _shapes(tensors: list[Any]) -> tuple[Any, ...]:
    return tuple((tensor.shape, tensor.dtype) for tensor in tensors)


def _leaves(arguments: Any) -> list[Any]:
    """Return the tensors of arguments, most of which are tensors themselves."""
    leaves: list[Any] = []
    for argument in arguments:
        leaves += [argument] if torch.is_tensor(argument) else tree.flatten(argument)
    return leaves


def call_with_values(fixed: list[Any], function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function with variables at given values, which they keep."""
    for variable, value in fixed:
        if value is not variable.value:
            variable.assign(value)
    return function(*arguments)


def traveling_values(variables: list[Any]) -> list[Any]:
    """Return the values of variables, for a `PureFunction` to take them."""
    return [variable.value for variable in variables]


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
    """Return `count` steps of a buffer `(batch_size, steps, …)` from `begin` on.

    A copy: a layer may change its input in place.
    """
    return buffer[:, begin : begin + count].clone()


def write_steps(buffer: Any, begin: int, steps: Any, due: bool) -> Any:
    """Return the buffer with `steps` written into it from `begin` on, if `due`."""
    if due:
        buffer[:, begin : begin + steps.shape[1]] = steps
    return buffer


def values_kept(model: keras.Model) -> AbstractContextManager[None]:
    """Nothing to do: variables hold their values all the time."""
    return nullcontext()


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


def num_replicas(model: keras.Model) -> int:
    """Return among how many devices a strategy of the backend's own divides a batch."""
    return 1


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
