"""JAX: programs are jitted, and variables travel through them as values."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import tree

from seqframe.aliases import JitCompile
from seqframe.backend import common
from seqframe.backend.common import (
    Given,
    SizeCheck,
    by_row,
    checked_batch,
    first_batch,
    named_outputs,
)
from seqframe.backend.internals import (
    build_for_training,
    put_values_back,
    traveling_states,
    values_at_hand,
)


def compile_program(function: Callable[..., Any], xla: JitCompile = "auto") -> Callable[..., Any]:
    """Return a function of tensors as one program. JAX always compiles with XLA."""
    return jax.jit(function)


class StepLoop(common.StepLoop):
    """Many steps of a model's own step, over several epochs, in one program."""

    def _compile(self, xla: JitCompile) -> None:
        self._run = jax.jit(self._loop)

    def run(
        self, given: Given, first: int, steps: int, epochs: int, fresh: bool
    ) -> dict[str, np.ndarray]:
        if not self._is_built:
            batch = jax.eval_shape(lambda given: first_batch(self._gather, given), given)
            build_for_training(self._model, batch)
            self._is_built = True
        variables = self._variables()
        values = tree.map_structure(lambda variable: variable.value, variables)
        values, logs = self._run(values, given, first, steps, epochs, fresh)
        for variable, value in zip(tree.flatten(variables), tree.flatten(values), strict=True):
            variable.assign(value)
        return {name: np.asarray(value)[:epochs] for name, value in logs.items()}

    def _variables(self) -> tuple[list[Any], ...]:
        """Return the variables that a step takes and returns, in Keras's order."""
        model = self._model
        groups = [list(model.trainable_variables), list(model.non_trainable_variables)]
        if self._kind == "train":
            groups.append(list(model.optimizer.variables))
        if self._kind != "predict":
            groups.append(list(model.metrics_variables))
        return tuple(groups)

    def _loop(
        self, values: Any, given: Given, first: Any, steps: Any, epochs: Any, fresh: Any
    ) -> Any:
        _, logs = jax.eval_shape(self._one, values, given, 0)
        nothing = tree.map_structure(lambda log: jnp.zeros(log.shape, log.dtype), logs)
        capacity = tree.flatten(given[1])[0].shape[0]
        records = tree.map_structure(
            lambda zero: jnp.zeros((capacity, *zero.shape), zero.dtype), nothing
        )

        def epoch(number: Any, carry: Any) -> Any:
            values, records = carry
            reset = self._reset_metrics(values)
            values = tree.map_structure(lambda new, old: jnp.where(fresh, new, old), reset, values)
            begin = first + number * steps

            def step(k: Any, carry: Any) -> Any:
                return self._one(carry[0], given, k)

            values, logs = jax.lax.fori_loop(begin, begin + steps, step, (values, nothing))
            records = tree.map_structure(
                lambda record, log: record.at[number].set(log), records, logs
            )
            return values, records

        return jax.lax.fori_loop(0, epochs, epoch, (values, records))

    def _one(self, values: Any, given: Given, k: Any) -> Any:
        arrays, schedule, initial = given
        row = tree.map_structure(lambda column: column[k], schedule)
        if "reset" in row:
            values = self._reset_rows(values, row["reset"], initial)
        logs, values = self._step(values, self._gather.batch(arrays, row))
        return tuple(list(group) for group in values), logs

    def _reset_rows(self, values: Any, reset: Any, initial: Any) -> Any:
        trainable, others, *rest = values
        place = {id(variable): i for i, variable in enumerate(self._model.non_trainable_variables)}
        others = list(others)
        for variable, fresh in zip(self._states, initial, strict=True):
            i = place[id(variable)]
            others[i] = jnp.where(by_row(reset, variable), fresh, others[i])
        return (trainable, others, *rest)

    def _predict(self, values: Any, data: Any) -> Any:
        outputs, others = self._model.predict_step(values, data)
        self.outputs, logs = named_outputs(outputs)
        return logs, (values[0], others)

    def _reset_metrics(self, values: Any) -> Any:
        if self._kind == "predict":
            return values
        *others, metrics = values
        variables = self._model.metrics_variables
        with keras.StatelessScope(list(zip(variables, metrics, strict=True))) as scope:
            self._model.reset_metrics()
        return (*others, [scope.get_current_value(variable) for variable in variables])


def to_device(value: Any) -> Any:
    """Return a nest of NumPy arrays as tensors.

    On the CPU they may share memory. JAX's arrays are immutable, so nothing writes there.
    """
    return tree.map_structure(jnp.asarray, value)


def give_to_device(value: Any) -> Any:
    """Return a nest of NumPy arrays, which nobody writes to again, as tensors.

    On the CPU they share memory, if it is aligned.
    """
    return tree.map_structure(lambda array: jax.device_put(array, may_alias=True), value)


def carried_states(model: keras.Model, layers: list[Any]) -> AbstractContextManager[None]:
    """Let stateful layers keep their state inside `fit`, `evaluate` and `predict`."""
    return traveling_states(model, layers)


def values_kept(model: keras.Model) -> AbstractContextManager[None]:
    """Let a model keep its values if Keras's `evaluate` raises."""
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
