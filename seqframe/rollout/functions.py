"""Functions of the user's that compute the same, so that one program serves them all.

A call such as `forecast(…, noise=lambda prediction, seed: …)` makes a new function each time.
TensorFlow frees no program that XLA compiled, so a new program for each would fill the memory.
"""

import inspect
from collections.abc import Callable, Hashable
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

_PLAIN = (bool, int, float, str, bytes, type(None))
#: Packages whose functions stay as they are.
_FIXED = frozenset({"builtins", "jax", "keras", "math", "numpy", "tensorflow", "torch"})


class SharedFunction:
    """A function that equals another one which computes the same.

    That is known of a function that uses only its arguments, plain constants, and well-known
    packages. Any other function equals itself only.

    >>> def shift(scale):
    ...     return SharedFunction(lambda x: x + scale)
    >>> shift(0.5) == shift(0.5), shift(0.5) == shift(2.0)
    (True, False)
    """

    def __init__(self, function: Callable[..., Any]):
        self._function, self._key = function, _key_of(function)

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SharedFunction) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def hashable(function: Any) -> Any:
    """Return a function, or one that equals it only, if the function cannot be hashed.

    >>> import dataclasses
    >>> @dataclasses.dataclass
    ... class Shift:
    ...     by: int
    ...     def __call__(self, x):
    ...         return x + self.by
    >>> shift = Shift(2)
    >>> hashable(shift) == hashable(shift), hashable(shift)(3)
    (True, 5)
    """
    try:
        hash(function)
    except TypeError:
        return _Same(function)
    return function


def _key_of(function: Any) -> Hashable:
    """Return what decides the results of a function; the function itself if that is not known."""
    if not isinstance(function, FunctionType):
        return _Same(function)
    code = function.__code__
    used = {name: function.__globals__.get(name) for name in code.co_names}
    try:
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:  # a cell that is empty may still get any value
        return _Same(function)
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    values = [*used.values(), *cells, *defaults]
    # A function inside this one may use anything.
    if any(isinstance(constant, CodeType) for constant in code.co_consts):
        return _Same(function)
    if not all(_is_plain(value) or _is_fixed(value) for value in values):
        return _Same(function)
    # `repr` tells 1 from 1.0 and True.
    parts = [repr(value) if _is_plain(value) else _Same(value) for value in values]
    return code, tuple(parts)


class _Same:
    """A function or a key that equals only that of the very same object, whatever its own `__eq__`
    says."""

    def __init__(self, value: Any):
        self._value = value

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._value(*args, **options)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._value is other._value

    def __hash__(self) -> int:
        return id(self._value)


def check_function(name: str, function: Any, *arguments: str) -> None:
    """Raise if an argument is no function, or cannot take these arguments.

    >>> check_function("sampler", 3, "logits", "seed")
    Traceback (most recent call last):
        ...
    TypeError: `sampler` must be a function (logits, seed). Received: sampler=3.
    """
    called = f"`{name}` must be a function ({', '.join(arguments)})."
    if not callable(function) or isinstance(function, type):
        raise TypeError(f"{called} Received: {name}={function!r}.")
    try:
        inspect.signature(function).bind(*arguments)
    except ValueError:  # functions in C may have no signature
        pass
    except TypeError as error:
        raise TypeError(f"{called} Received: one with {error}.") from None


def takes(function: Callable[..., Any], argument: str) -> bool:
    """Whether a function has an argument of this name.

    >>> takes(lambda logits, ids: logits, "ids"), takes(max, "ids")
    (True, False)
    """
    try:
        return argument in inspect.signature(function).parameters
    except ValueError:  # functions in C may have no signature
        return False


def _is_plain(value: Any) -> bool:
    """Whether a value cannot change, and its `repr` tells all of it."""
    if type(value) is tuple:
        return all(map(_is_plain, value))
    return type(value) in _PLAIN


def _is_fixed(value: Any) -> bool:
    """Whether a value is a well-known package, or a function or a class of one."""
    kinds = (ModuleType, FunctionType, BuiltinFunctionType, type)
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return isinstance(value, kinds) and str(name).split(".")[0] in _FIXED
