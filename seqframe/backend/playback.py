"""PyTorch: a function's operations, recorded once and played back without what surrounds them.

A step of a small Keras model takes PyTorch some 20 operations of a few microseconds each, and Keras
several hundred microseconds of Python around them.
"""

from collections.abc import Callable, Sequence

import torch
from torch.fx.experimental.proxy_tensor import make_fx

WARM = 256  # calls: recording takes about as long as these
_CLOSE = 1e-4  # the same operations are played: what differs more is another result


class Playback:
    """A function of tensors that is played back once it has been called often.

    A recording holds what did not depend on the tensors as it was: a number read from Python, what
    was drawn at random, the branch that was taken. So the first one that is played is compared with
    the function itself, which then goes on as it is if it cannot be recorded.

    Args:
        function: function of tensors that returns a list of tensors, which are new ones.
    """

    def __init__(self, function: Callable[..., list[torch.Tensor]]):
        self._function, self._calls = function, 0
        self._play: Callable[..., list[torch.Tensor]] | None = None
        self._works: bool | None = None  # None: not known yet

    @property
    def is_trusted(self) -> bool:
        """Whether what is played was seen to be what the function returns."""
        return self._works is True

    def __call__(self, *tensors: torch.Tensor) -> list[torch.Tensor] | None:
        """Return what is played for tensors, of the same shapes each time; None: nothing yet."""
        if self._play is not None:
            return self._play(*tensors)
        self._calls += 1
        if self._works is None and self._calls >= WARM:
            try:
                self._play = make_fx(self._function)(*tensors).forward
            except Exception:
                # Whatever a layer does that cannot be recorded. Errors of its own it raises again
                # when it runs as it is.
                self._works = False
        return None

    def compare(self, played: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> None:
        """Decide whether to trust, by what was played and what the function returned."""
        self._works = all(map(_is_same, played, expected)) and len(played) == len(expected)
        if not self._works:
            self._play = None


def _is_same(played: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether tensors differ by no more than rounding, for the size of their numbers."""
    if played.shape != expected.shape or played.dtype != expected.dtype:
        return False
    a, b = played.double(), expected.double()
    finite = b[torch.isfinite(b)].abs()
    scale = float(finite.max()) if finite.numel() else 0.0
    return torch.allclose(a, b, rtol=_CLOSE, atol=_CLOSE * scale, equal_nan=True)
