"""What TensorFlow and JAX share: steps, calls and loops as functions of their variables' values."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
from keras import ops, tree

DRAWS_A_STEP = 1024


class PureFunction:
    """A function that reads and assigns variables, as one of their values.

    Args:
        function: function of tensors that returns a tensor or a nest of them.
        reads: list of variables that it only reads.
        assigns: list of variables that it assigns, whose values are `(batch_size, …)`.
    """

    def __init__(self, function: Callable[..., Any], reads: list[Any], assigns: list[Any]):
        self._function, self._reads, self._assigns = function, reads, assigns

    def __call__(
        self,
        read: list[Any],
        fixed: list[Any],
        values: list[Any],
        *arguments: Any,
        rows: Any = None,
    ) -> tuple[Any, list[Any]]:
        """Return what the function returns, and the values of the assigned variables after it.

        Args:
            read: values of the read variables, as `traveling_values` has them.
            fixed: pairs of a variable and its value, for others that are only read.
            values: values of the assigned variables before.
            *arguments: tensors.
            rows: bool tensor `(batch_size,)`. In other rows the values stay as they were. None:
                all.
        """
        # But for JAX's, read variables are taken where they are.
        mapping = [
            *zip(self._reads, read, strict=False),
            *fixed,
            *zip(self._assigns, values, strict=True),
        ]
        with keras.StatelessScope(mapping) as scope:
            result = self._function(*arguments)
            after = [scope.get_current_value(variable) for variable in self._assigns]
        return result, after if rows is None else _update_rows(rows, values, after)


def call_with_values(fixed: list[Any], function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function with variables, which it only reads or forgets, at given values."""
    with keras.StatelessScope(fixed):
        return function(*arguments)


def seeded_draws(seed: int) -> AbstractContextManager[None]:
    """Nothing to do: layers draw by their seed generators alone."""
    return nullcontext()


def named_outputs(outputs: Any) -> tuple[Any, dict[str, Any]]:
    """Return a nest of predictions as a nest of names, and as a dict by these names.

    >>> named_outputs([10, {"a": 20}])
    (['0', {'a': '1'}], {'0': 10, '1': 20})
    """
    flat = tree.flatten(outputs)
    names = [str(number) for number in range(len(flat))]
    return tree.pack_sequence_as(outputs, names), dict(zip(names, flat, strict=True))


def lasting() -> AbstractContextManager[None]:
    """Nothing to do: tensors can be used anywhere."""
    return nullcontext()


def scalars(*numbers: int) -> list[Any]:
    """Return integers as what a program takes: tensors, so that it is compiled once for all.

    Not a single one for all: where XLA has to know one of them, it compiles anew for each value.
    """
    return [ops.convert_to_tensor(number, "int32") for number in numbers]


def repeat(count: Any, body: Callable[..., Any], *carry: Any) -> tuple[Any, ...]:
    """Return what `carry = body(number, *carry)` has become after `count` times."""
    _, *carry = ops.while_loop(
        lambda number, *_: number < count,
        lambda number, *carry: (number + 1, *body(number, *carry)),
        (ops.zeros_like(count), *carry),
    )
    return tuple(carry)


def seed_of_step(seed: Any, step: Any) -> Any:
    """Return the state of a `keras.random.SeedGenerator` for one step of a rollout.

    Each draw of a step adds one to the second number, so steps are well apart.
    """
    return ops.stack([seed, step * DRAWS_A_STEP])


def read_steps(buffer: Any, begin: Any, count: int) -> Any:
    """Return `count` steps of a buffer `(batch_size, steps, …)` from `begin` on."""
    return ops.slice(buffer, _start(buffer, begin), (buffer.shape[0], count, *buffer.shape[2:]))


def write_steps(buffer: Any, begin: Any, steps: Any, due: Any) -> Any:
    """Return a buffer with `steps` written from `begin` on, where `due`."""
    if due is not True:
        steps = ops.where(due, steps, read_steps(buffer, begin, steps.shape[1]))
    return ops.slice_update(buffer, _start(buffer, begin), steps)


def _update_rows(rows: Any, before: list[Any], after: list[Any]) -> list[Any]:
    def update(old: Any, new: Any) -> Any:
        return ops.where(ops.reshape(rows, (-1, *(1,) * (len(old.shape) - 1))), new, old)

    return [update(old, new) for old, new in zip(before, after, strict=True)]


def _start(buffer: Any, begin: Any) -> Any:
    zero = ops.zeros_like(begin)
    return ops.stack([zero, begin, *[zero] * (len(buffer.shape) - 2)])
