"""PyTorch: programs are plain loops, because it cannot compile a loop of training steps."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from threading import RLock
from typing import Any

import keras
import numpy as np
import torch
from keras import ops, tree

from seqframe.aliases import JitCompile
from seqframe.backend import common
from seqframe.backend.common import (
    Form,
    Given,
    HeldValues,
    SizeCheck,
    Traits,
    by_row,
    checked_batch,
    first_batch,
    named_outputs,
    update_rows,
    values_of,
)
from seqframe.backend.internals import build_for_training, copied_states
from seqframe.backend.interrupts import PutOff
from seqframe.backend.locks import between_calls
from seqframe.backend.threefry import bits_of_rows
from seqframe.backend.torch_ranks import (
    agreed,
    check_processes,
    from_first,
    is_first_process,
    is_shared,
    joined,
    own_metrics,
    shared_step,
    sharing,
    whole_metrics,
)

__all__ = [
    "agreed",
    "check_processes",
    "from_first",
    "is_first_process",
    "joined",
    "own_metrics",
    "sharing",
    "whole_metrics",
]

COMPILES_ROLLOUTS = False

_LOCK = RLock()


def compile_program(function: Callable[..., Any], xla: JitCompile = "auto") -> Callable[..., Any]:
    """Return a function of tensors that records no gradients."""

    def run(*args: Any) -> Any:
        # A rollout assigns its variables, and reads the model's in place: one at a time.
        # `_LOCK` is taken last, because a training step may run a rollout.
        return between_calls(partial(alone, *args))

    def alone(*args: Any) -> Any:
        with _LOCK, lasting(), torch.no_grad():
            return function(*args)

    return run


def lasting() -> AbstractContextManager[None]:
    """Make tensors that can be assigned anywhere.

    The user may be in PyTorch's inference mode, whose tensors cannot be assigned outside of it.
    """
    return torch.inference_mode(False)


# PyTorch has no XLA: there, `jit_compile` means `torch.compile`, as in Keras.
FORMS = (Form(False, False), Form(False, True))
COMPILATION = dict.fromkeys(FORMS, 1.0)
XLA_REFUSALS = ()


def promising(known: Traits, forms: list[Form], steps: int, trains: bool) -> list[Form]:
    """Return the first form: PyTorch compiles only if it is told to, as under Keras."""
    return forms[:1]


def may_save(form: Form, seconds: float) -> float:
    """Return 0: only one form is promising."""
    return 0.0


class StepLoop(common.StepLoop):
    """Many steps of a model's own step, one by one."""

    def _compile(self) -> None:
        if self.form.xla:
            self._step = torch.compile(self._step)

    def run(
        self, given: Given, first: int, steps: int, epochs: int, fresh: bool
    ) -> dict[str, np.ndarray]:
        if self.form.xla and is_shared(self._kind):
            raise ValueError(
                "Several processes share steps that are not compiled. Received: "
                "jit_compile=True. Leave `jit_compile` out."
            )
        if not epochs:
            # Nothing is compiled, but metrics are made now, so that their errors change nothing.
            if not self._is_built:
                build_for_training(self._model, first_batch(self._gather, given))
            return {}
        training = self._kind == "train"
        # Keras's own trainer does so too, for PyTorch layers inside the model.
        self._model.train(training)
        records = []
        # A function that `torch.compile` cannot compile runs uncompiled.
        fallback = torch._dynamo.config.patch(suppress_errors=True)
        with (
            fallback if self.form.xla else nullcontext(),
            torch.set_grad_enabled(training),
            PutOff() as interrupts,
        ):
            for number in range(epochs):
                if fresh:
                    self._model.reset_metrics()
                begin = first + number * steps
                for k in range(begin, begin + steps):
                    logs = self._one(given, k)
                    interrupts.serve()  # between two whole steps
                records.append(tree.map_structure(_as_numpy, logs))
        return {name: np.array([logs[name] for logs in records]) for name in records[0]}

    def _predict(self, data: Any) -> dict[str, torch.Tensor]:
        self.outputs, logs = named_outputs(self._model.predict_step(data))
        return logs

    def _one(self, given: Given, k: int) -> Any:
        arrays, schedule, initial = given
        row = tree.map_structure(lambda column: column[k], schedule)
        if "reset" in row and bool(row["reset"].any()):
            for variable, value in zip(self._states, initial, strict=True):
                variable.assign(ops.where(by_row(row["reset"], variable), value, variable))

        def step(row: dict[str, Any]) -> Any:
            return self._step_of_row(row, self._gather.batch(arrays, row))

        if is_shared(self._kind):
            return shared_step(self._model, row, self._gather.frame_weight, step)
        return step(row)


class PureFunction(common.PureFunction):
    """A function that reads and assigns variables, as a function of their values.

    The values do not travel: a scope that carries them takes longer than a small model's step. So
    variables are assigned in place. The values that are returned are the variables' own, and the
    next call overwrites them. The first call uses a scope, to see what the function assigns. So do
    all calls if it assigns variables of the user's model, such as the seeds of dropout.
    """

    _last: list[torch.Tensor] | None = None
    _needs_scope = True

    def __call__(
        self,
        read: list[torch.Tensor],
        fixed: list[tuple[Any, torch.Tensor]],
        values: list[torch.Tensor],
        *arguments: Any,
        rows: torch.Tensor | None = None,
    ) -> tuple[Any, list[torch.Tensor]]:
        if fixed or self._needs_scope:
            return super().__call__(read, fixed, values, *arguments, rows=rows)
        if rows is not None and rows.all():
            rows = None
        before = values if rows is None else [value.clone() for value in values]
        # What the last call returned is what the variables hold.
        moved = [] if values is self._last else list(zip(self._assigns, values, strict=True))
        result = call_with_values(moved, self._function, *arguments)
        self._last = after = values_of(self._assigns)
        return result, after if rows is None else update_rows(rows, before, after)

    def _check(self, scope: keras.StatelessScope) -> None:
        super()._check(scope)
        assigned = [scope.get_current_value(variable) for variable in self._reads]
        self._needs_scope = any(value is not None for value in assigned)


class SteppedProgram(common.SteppedProgram):
    """A function that reads and assigns variables, as one program that is called again and again.

    If Python always takes the same way, PyTorch traces it once and calls no layer again: Keras's
    Python around a small operation takes longer than the operation.
    """

    def __init__(self, step: common.OnVariables, examples: list[np.ndarray], is_fixed: bool):
        self._weights = HeldValues(step.reads)
        arguments = [ops.convert_to_tensor(each) for each in examples]
        fresh = [value.clone() for value in values_of(step.assigns)]
        self.values, self._device = fresh, arguments[0].device
        if is_fixed and hasattr(torch.jit, "trace"):
            self._step = self._traced(common.PureFunction(*step), arguments)
        else:
            in_place = PureFunction(*step)
            plain = compile_program(lambda *args: in_place(self._weights(), [], self.values, *args))

            def whole(*args: torch.Tensor) -> Any:
                with PutOff():  # an interruption would leave some variables assigned
                    return plain(*args)

            self._step = whole
        for _ in range(_WARM_UP):
            self(*examples)
        self.values = fresh

    def _traced(
        self, call: common.PureFunction, arguments: list[torch.Tensor]
    ) -> Callable[..., Any]:
        """Return a function of arguments that runs a trace of a pure one."""
        count = len(arguments)

        def flat(*tensors: torch.Tensor) -> Any:
            values = list(tensors[count : count + len(self.values)])
            result, after = call(list(tensors[count + len(values) :]), [], values, *tensors[:count])
            return result, *after

        with lasting(), torch.no_grad(), PutOff(), warnings.catch_warnings():
            # PyTorch warns of sizes, which never change here, and that `trace` will go. What
            # replaces it needs a compiler of C++, or is slower.
            warnings.simplefilter("ignore")
            example = (*arguments, *self.values, *self._weights())
            traced = torch.jit.trace(flat, example, check_trace=False)

        def step(*arguments: torch.Tensor) -> Any:
            with torch.no_grad():
                result, *after = traced(*arguments, *self.values, *self._weights())
            return result, after

        return lambda *args: between_calls(partial(step, *args))

    def __call__(self, *arguments: np.ndarray) -> np.ndarray:
        tensors = [torch.tensor(each, device=self._device) for each in arguments]
        result, self.values = self._step(*tensors)
        try:  # faster than Keras's function
            return result.numpy().copy()  # it may be the state itself
        except TypeError:  # of another device, or a dtype that NumPy does not know
            return np.array(ops.convert_to_numpy(result))


_WARM_UP = 3  # calls in which PyTorch compiles a trace


def call_with_values(
    fixed: list[tuple[Any, torch.Tensor]], function: Callable[..., Any], *arguments: Any
) -> Any:
    """Call a function with variables at given values, which they keep."""
    for variable, value in fixed:
        if value is not variable.value:
            variable.assign(value)
    return function(*arguments)


@contextmanager
def seeded_draws(seed: int) -> Iterator[None]:
    """Let layers without a seed draw by this one.

    Keras drops units by PyTorch's global generator, which gets its own state back afterwards.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def random_state() -> list[np.ndarray]:
    """Return the states of PyTorch's generators, by which Keras drops units without a seed."""
    states = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
    return [state.numpy() for state in states]


def set_random_state(state: list[np.ndarray]) -> None:
    """Give PyTorch's generators the states that `random_state` returned."""
    own, *others = map(torch.from_numpy, state)
    torch.set_rng_state(own)
    # A machine with fewer devices draws for those that it has.
    torch.cuda.set_rng_state_all(others[: torch.cuda.device_count()])


def scalars(*numbers: int) -> list[int]:
    """Return integers as they are: a plain loop counts in Python."""
    return list(numbers)


def repeat(count: int, body: Callable[..., Any], *carry: Any) -> tuple[Any, ...]:
    """Return what `carry = body(number, *carry)` becomes after `count` times."""
    for number in range(count):
        carry = body(number, *carry)
    # Some are the values of variables, which the next loop overwrites.
    return tree.map_structure(lambda x: x.clone() if torch.is_tensor(x) else x, carry)


def seed_of_step(seed: int, step: int) -> torch.Tensor:
    """Return the state of a `keras.random.SeedGenerator` for one step of a rollout."""
    return torch.tensor([seed, step * common.DRAWS_A_STEP], dtype=torch.int64)


def random_bits(seed: torch.Tensor, rows: int, count: int) -> torch.Tensor:
    """Return random integers below 2**32, `(rows, count)`, by the seed and the row only.

    NumPy computes them, because PyTorch takes longer for operations on small arrays.
    """
    key = seed.cpu().numpy().astype(np.uint32)
    with np.errstate(over="ignore"):  # scalars warn where arrays wrap around
        bits = bits_of_rows(key, rows, count, np)
    return ops.convert_to_tensor(bits.astype(np.int64))


def read_steps(buffer: torch.Tensor, begin: int, count: int) -> torch.Tensor:
    """Return a copy of `count` steps of a buffer `(batch_size, steps, …)` from `begin` on.

    A layer may change its input in place, so it gets no view.
    """
    return buffer[:, begin : begin + count].clone()


def cast(tensor: torch.Tensor, dtype: Any) -> torch.Tensor:
    """Return a tensor in a dtype."""
    return tensor.to(getattr(torch, dtype) if isinstance(dtype, str) else dtype)


def likeliest(logits: torch.Tensor, none: int) -> torch.Tensor:
    """Return the id of each row's largest logit; -1 if one is NaN, and `none` if all are -inf.

    Keras's operations take longer than PyTorch's own. The largest of a row with NaN is NaN.
    """
    largest, ids = logits.max(-1)
    # The largest is neither, as a rule: one comparison tells.
    if not (largest > -math.inf).all():
        ids = ids.masked_fill(largest.isnan(), -1).masked_fill(largest == -math.inf, none)
    return ids


def threshold(values: torch.Tensor, weights: torch.Tensor, amount: Any) -> torch.Tensor:
    """Return the largest value of each row at which the weights from it on reach `amount`."""
    falling, order = values.sort(-1, descending=True)
    short = (weights.gather(-1, order).cumsum(-1) < amount).sum(-1, keepdim=True)
    return falling.gather(-1, short.clamp_(max=values.shape[-1] - 1))


def write_steps(buffer: torch.Tensor, begin: int, steps: Any, due: bool) -> torch.Tensor:
    """Return the buffer with `steps` cast and written into it from `begin` on, if `due`."""
    if due:
        buffer[:, begin : begin + steps.shape[1]] = steps
    return buffer


def checked_function(model: keras.Model, kind: str, check: SizeCheck) -> Any:
    """Return Keras's train, test or predict function with a check of each batch's size."""
    plain = getattr(model, f"{kind}_function")
    return lambda data: plain([checked_batch(batch, check) for batch in data])


def _as_numpy(log: Any) -> Any:
    return ops.convert_to_numpy(log) if torch.is_tensor(log) else log


def to_device(value: Any) -> Any:
    """Return a nest of NumPy arrays as tensors.

    On the CPU they share memory. Nothing writes there: each step gathers copies of its rows.
    """
    return tree.map_structure(ops.convert_to_tensor, value)


def give_to_device(value: Any, batch_size: int) -> Any:
    """Return a nest of NumPy arrays, which nobody else has, as tensors."""
    return to_device(value)


def carried_states(model: keras.Model, layers: list[Any]) -> AbstractContextManager[None]:
    """Let stateful layers compute from a copy of their state, which their step overwrites."""
    return copied_states(layers)
