"""JAX: programs are jitted, and variables travel through them as values."""

import hashlib
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import tree

from seqframe.aliases import JitCompile
from seqframe.backend import common
from seqframe.backend.common import (
    Form,
    Given,
    HeldValues,
    PureFunction,
    SizeCheck,
    Traits,
    by_row,
    checked_batch,
    first_batch,
    named_outputs,
    values_of,
)
from seqframe.backend.internals import (
    all_layers,
    build_for_training,
    chosen_jit_compile,
    put_values_back,
    traveling_states,
    values_at_hand,
)
from seqframe.backend.interrupts import PutOff
from seqframe.backend.mesh import (
    Mesh,
    agreed,
    by_process,
    check_processes,
    check_shares,
    current_mesh,
    is_first_process,
    spans_processes,
    to_host,
)

COMPILES_MESHES = True
#: Parts of this backend.
__all__ = [
    "agreed",
    "by_process",
    "check_processes",
    "check_shares",
    "is_first_process",
    "spans_processes",
    "to_host",
]


def compile_program(function: Callable[..., Any], xla: JitCompile = "auto") -> Callable[..., Any]:
    """Return a function of tensors as one program. JAX always compiles with XLA."""
    return jax.jit(function)


# Under JAX every program is compiled with XLA. A loop saves the time of a call. Inside of it
# convolutions run on one thread of a CPU, and random numbers are drawn more slowly.
_STEPS, _LOOP = Form(False, True), Form(True, True)
FORMS = (_STEPS, _LOOP)
#: How many times as long as the first form it takes to compile each form, about.
COMPILATION = {_STEPS: 1.0, _LOOP: 1.5}
XLA_REFUSALS = ()

_CALL = 0.15e-3  # seconds of a call of a program, about


def promising(known: Traits, forms: list[Form], steps: int, trains: bool) -> list[Form]:
    """Return the forms that may be fastest for a model. The first one is tried first."""
    best = [_STEPS] if known.convolves else [_STEPS, _LOOP]
    return [form for form in best if form in forms] or forms


def may_save(form: Form, seconds: float) -> float:
    """Return how many seconds of a step a form may save, at best."""
    return min(_CALL, seconds)


class StepLoop(common.StepLoop):
    """Many steps of a model's own step, over several epochs, in one form."""

    def _compile(self) -> None:
        self._programs: dict[Any, Callable[..., Any]] = {}  # by shapes
        self._mesh = current_mesh()

    def run(
        self, given: Given, first: int, steps: int, epochs: int, fresh: bool
    ) -> dict[str, np.ndarray]:
        if not self._is_built:
            batch = jax.eval_shape(lambda given: first_batch(self._gather, given), given)
            build_for_training(self._model, batch)
            self._is_built = True
        groups = self._variables()
        if self._mesh is not None:
            _lay_out(self._mesh, groups)
            given = (*given[:2], tree.map_structure(self._mesh.put, given[2]))
        program = self._program(_values(groups), given)
        if not epochs:
            return {}
        held = [_values_to_donate(groups)]

        def assign() -> None:
            # After an error, these are the values after the last whole step.
            pairs = zip(tree.flatten(groups), tree.flatten(held[0]), strict=True)
            for variable, value in pairs:
                if not value.is_deleted():
                    variable.assign(value)

        with PutOff() as interrupts:
            try:
                if self.form.loop:
                    numbers = [np.int32(number) for number in (first, steps, epochs)]
                    held[0], logs = program(held[0], given, *numbers, np.bool_(fresh))
                else:
                    k, no, yes = to_device((np.int32(first), np.bool_(False), np.bool_(fresh)))
                    records = []
                    for number in range(epochs * steps):
                        # The next step's number stays on the device: to send one takes longer.
                        is_first = number % steps == 0
                        held[0], k, logs = program(held[0], given, k, yes if is_first else no)
                        if (number + 1) % steps == 0:
                            records.append(logs)
                        if interrupts.received:
                            assign()
                            interrupts.serve()
                    logs = {name: np.stack([log[name] for log in records]) for name in records[0]}
            finally:
                assign()
        return {name: np.asarray(value)[:epochs] for name, value in logs.items()}

    def seconds_alone(self, given: Given, steps: int) -> float | None:
        values = _values(self._variables())
        tensors = tree.flatten((values, given))
        if self._mesh is None or not all(tensor.is_fully_replicated for tensor in tensors):
            return None
        values, given = tree.map_structure(lambda x: x.addressable_data(0), (values, given))
        function, calls = (self._loop, 1) if self.form.loop else (self._counted, steps)
        numbers = [np.int32(number) for number in (0, steps, 1)[: 3 if self.form.loop else 1]]
        mesh, self._mesh = self._mesh, None
        try:
            program = jax.jit(function).lower(values, given, *numbers, np.bool_(False)).compile()
        finally:
            self._mesh = mesh

        def clock() -> float:
            begin = time.perf_counter()
            for _ in range(calls):
                found = program(values, given, *numbers, np.bool_(False))
            jax.block_until_ready(found)
            return time.perf_counter() - begin

        return min(clock() for _ in range(3)) / steps

    def _program(self, values: Any, given: Given) -> Callable[..., Any]:
        """Return the compiled program for tensors of these shapes."""
        shapes = tuple((x.shape, x.dtype) for x in tree.flatten((values, given)))
        if shapes not in self._programs:
            number, flag = np.int32(0), np.bool_(False)
            if self._mesh is not None:
                self._layouts = tree.map_structure(lambda value: value.sharding, values)
            self._programs[shapes] = (
                self._shared(self._loop, values, given, number, number, number, flag)
                if self.form.loop
                else self._shared(self._counted, values, given, number, flag)
            )
        return self._programs[shapes]

    def _shared(self, function: Callable[..., Any], *args: Any) -> Callable[..., Any]:
        """Return a program, whose values end on a mesh as they begin, and logs are everywhere."""
        if self._mesh is None:
            return _shared_program(function, *args)
        logs = self._mesh.whole
        ends = (self._layouts, *[logs] * (1 if self.form.loop else 2))
        return _shared_program(function, *args, out_shardings=ends, devices=self._mesh.devices)

    def _variables(self) -> tuple[list[Any], ...]:
        """Return the variables that a step takes and returns, in Keras's order."""
        model = self._model
        groups = [list(model.trainable_variables), list(model.non_trainable_variables)]
        if self._kind == "train":
            groups.append(list(model.optimizer.variables))
        if self._kind != "predict":
            groups.append(list(model.metrics_variables))
        return tuple(groups)

    def _counted(self, values: Any, given: Given, k: Any, fresh: Any) -> Any:
        """Run one step, and return the values after it, the next step's number, and the logs."""
        logs, values = self._one(self._refreshed(values, fresh), given, k)
        return values, k + 1, logs

    def _loop(
        self, values: Any, given: Given, first: Any, steps: Any, epochs: Any, fresh: Any
    ) -> Any:
        logs, _ = jax.eval_shape(self._one, values, given, first)
        nothing = tree.map_structure(lambda log: jnp.zeros(log.shape, log.dtype), logs)
        capacity = tree.flatten(given[1])[0].shape[0]
        records = tree.map_structure(
            lambda zero: jnp.zeros((capacity, *zero.shape), zero.dtype), nothing
        )

        def epoch(number: Any, carry: Any) -> Any:
            values, records = carry
            values = self._refreshed(values, fresh)
            begin = first + number * steps

            def step(k: Any, carry: Any) -> Any:
                logs, values = self._one(carry[0], given, k)
                return values, logs

            values, logs = jax.lax.fori_loop(begin, begin + steps, step, (values, nothing))
            records = tree.map_structure(
                lambda record, log: record.at[number].set(log), records, logs
            )
            return values, records

        return jax.lax.fori_loop(0, epochs, epoch, (values, records))

    def _one(self, values: Any, given: Given, k: Any) -> Any:
        arrays, schedule, initial = given
        row = tree.map_structure(lambda column: column[k], schedule)
        if self._mesh is not None:
            row, values = self._mesh.share_rows(row), self._shared_out(values)
        if "reset" in row:
            values = self._reset_rows(values, row["reset"], initial)
        batch = self._gather.batch(arrays, row)
        apart: AbstractContextManager[Any] = nullcontext()
        if self._mesh is not None:
            batch = self._mesh.share_rows(batch)
            apart = self._mesh.rows_apart(all_layers(self._model))
        with apart:
            logs, values = self._step_of_row(row, values, batch)
        values = tuple(list(group) for group in values)
        return logs, self._shared_out(values)

    def _shared_out(self, values: Any) -> Any:
        """Lay values out on a mesh: variables as their distribution says, states by rows.

        Otherwise XLA might gather or divide them in each step.
        """
        if self._mesh is None:
            return values
        shared = jax.lax.with_sharding_constraint(values, self._layouts)
        trainable, others, *rest = shared
        for i in self._places_of_states():
            others[i] = self._mesh.share_rows(values[1][i])
        return (trainable, others, *rest)

    def _places_of_states(self) -> list[int]:
        """Return where the states are among the variables that are not trained."""
        place = {id(variable): i for i, variable in enumerate(self._model.non_trainable_variables)}
        return [place[id(variable)] for variable in self._states]

    def _reset_rows(self, values: Any, reset: Any, initial: Any) -> Any:
        trainable, others, *rest = values
        others = list(others)
        for i, fresh in zip(self._places_of_states(), initial, strict=True):
            others[i] = jnp.where(by_row(reset, fresh), fresh, others[i])
        return (trainable, others, *rest)

    def _predict(self, values: Any, data: Any) -> Any:
        outputs, others = self._model.predict_step(values, data)
        self.outputs, logs = named_outputs(outputs)
        return logs, (values[0], others)

    def _refreshed(self, values: Any, fresh: Any) -> Any:
        """Return values with metrics reset, if `fresh`."""
        if self._kind == "predict":
            return values
        *others, metrics = values
        variables = self._model.metrics_variables
        with keras.StatelessScope(list(zip(variables, metrics, strict=True))) as scope:
            self._model.reset_metrics()
        reset = [scope.get_current_value(variable) for variable in variables]
        metrics = [jnp.where(fresh, new, old) for new, old in zip(reset, metrics, strict=True)]
        return (*others, metrics)


class SteppedProgram(common.SteppedProgram):
    """A function that reads and assigns variables, as one program that is called again and again.

    The values travel through the program.
    """

    def __init__(self, step: common.OnVariables, examples: list[np.ndarray], is_fixed: bool):
        call = PureFunction(*step)

        def pure(weights: Any, values: Any, *arguments: Any) -> Any:
            return call(weights, [], values, *arguments)

        self._step = compile_program(pure)
        self._weights = HeldValues(step.reads)
        self.values = values_of(step.assigns)
        with PutOff():
            self._step(self._weights(), self.values, *examples)

    def __call__(self, *arguments: np.ndarray) -> np.ndarray:
        result, self.values = self._step(self._weights(), self.values, *arguments)
        return np.array(result)


_MOST_SHARED = 64  # compiled programs that are kept for other models
_SHARED: OrderedDict[Any, Callable[..., Any]] = OrderedDict()


def _shared_program(
    function: Callable[..., Any], *args: Any, devices: tuple[int, ...] = (), **options: Any
) -> Callable[..., Any]:
    """Return a function as a compiled program for tensors like these. It donates the first ones.

    Compilation takes some twenty times as long as lowering. So models whose programs are the same,
    letter for letter, share one: clones, folds, the seeds of a search.
    """
    lowered = jax.jit(function, donate_argnums=0, **options).lower(*args)
    text = lowered.as_text()
    where = tuple(sorted({str(value.sharding) for value in tree.flatten(args[:2])}))
    digest = hashlib.sha256(text.encode()).digest()  # the text itself may have a megabyte
    key = (digest, lowered.in_tree, lowered.out_tree, where, devices)
    # The text names no Python function that it calls, and constants may lie outside of it.
    if "callback" in text or getattr(jax.config, "jax_use_simplified_jaxpr_constants", False):
        return lowered.compile()
    if key not in _SHARED:
        _SHARED[key] = lowered.compile()
        if len(_SHARED) > _MOST_SHARED:
            _SHARED.popitem(last=False)
    _SHARED.move_to_end(key)
    return _SHARED[key]


def _lay_out(mesh: Mesh, groups: tuple[list[Any], ...]) -> None:
    """Move variables that were made before a mesh was set onto it."""
    for variable in tree.flatten(groups):
        value = variable.value
        if value.sharding.device_set != mesh.whole.device_set:
            variable.assign(mesh.put(value, mesh.of_variable(variable)))


def _values(groups: tuple[list[Any], ...]) -> Any:
    return tree.map_structure(lambda variable: variable.value, groups)


def _values_to_donate(groups: tuple[list[Any], ...]) -> Any:
    """Return the values of variables, copied if anybody else holds them.

    A program overwrites what it is given. The user may have kept a value, or assigned it to a
    variable of another model.
    """

    def value(variable: Any) -> Any:
        found = variable.value
        # The variable holds it, this function, and the call that counts.
        return found if sys.getrefcount(found) <= _HOLDERS else jnp.copy(found)

    return tree.map_structure(value, groups)


_HOLDERS = 3


def to_device(value: Any) -> Any:
    """Return a nest of NumPy arrays as tensors.

    On the CPU they may share memory. JAX's arrays are immutable, so nothing writes there.
    `jnp.asarray` would compile a program for each new shape. Each device of a mesh holds them.
    """
    mesh = current_mesh()
    return tree.map_structure(jax.device_put if mesh is None else mesh.put, value)


def scalars(*numbers: int) -> list[Any]:
    """Return integers as arguments of a program, which is compiled once for all values."""
    return [np.int32(number) for number in numbers]


def operand(array: np.ndarray) -> Any:
    """Return an array as an argument of a program."""
    return to_device(array)


def threshold(values: Any, weights: Any, amount: Any) -> Any:
    """Return the largest value of each row at which the weights from it on reach `amount`."""
    on_cpu = jax.default_backend() == "cpu"
    return (common.threshold if on_cpu else common.sorted_threshold)(values, weights, amount)


def compiles(model: keras.Model) -> bool:
    """Whether a model is compiled without `jit_compile=False`."""
    return chosen_jit_compile(model) is not False


def give_to_device(value: Any, batch_size: int) -> Any:
    """Return a nest of batches `(steps, rows, …)`, which nobody writes to again, as tensors.

    On the CPU they share memory, if it is aligned. On a mesh each device gets its own rows.
    """
    mesh = current_mesh()
    if mesh is not None:
        return tree.map_structure(lambda array: mesh.put_block(array, batch_size), value)
    return tree.map_structure(lambda array: jax.device_put(array, may_alias=True), value)


def own_rows(batch_size: int) -> slice:
    """Return the rows of a streamed batch that this process loads."""
    mesh = current_mesh()
    return slice(None) if mesh is None else mesh.own_rows(batch_size)


def carried_states(model: keras.Model, layers: list[Any]) -> AbstractContextManager[None]:
    """Let stateful layers keep their state inside `fit`, `evaluate` and `predict`."""
    return traveling_states(model, layers)


def values_kept(model: keras.Model) -> AbstractContextManager[None]:
    """Let a model keep its values if one of Keras's loops raises."""
    return values_at_hand(model)


def checked_function(model: keras.Model, kind: str, check: SizeCheck) -> Any:
    """Return Keras's train, test or predict function with a check of each batch's size."""
    plain = getattr(model, f"{kind}_function")
    if keras.distribution.distribution() is not None:
        plain = _made_anew(model, kind)

    def checked_function(state: Any, batches: Any) -> Any:
        def checked(batch: Any) -> Any:
            try:
                return checked_batch(batch, check)
            except ValueError:
                put_values_back(model, state)
                raise

        return plain(state, map(checked, batches))

    return checked_function


def _made_anew(model: keras.Model, kind: str) -> Any:
    """Return Keras's function made anew.

    It knows on which devices the variables lie, and was made before the states were among them.
    """
    name, make = f"{kind}_function", getattr(model, f"make_{kind}_function")
    before = getattr(model, name)
    make(force=True)
    made = getattr(model, name)
    setattr(model, name, before)
    return made
