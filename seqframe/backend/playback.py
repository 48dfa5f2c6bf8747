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
    was drawn at random, the branch that was taken. What reads values on the way is not recorded,
    nor what changes a tensor in place; and the first recording that is played on something else
    than it was recorded from is compared with the function itself. Otherwise the function goes on
    as it is.

    Args:
        function: function of tensors that returns a list of tensors, which are new ones.
    """

    def __init__(self, function: Callable[..., list[torch.Tensor]]):
        self._function, self._calls = function, 0
        self._play: Callable[..., list[torch.Tensor]] | None = None
        self._recorded_from: list[torch.Tensor] = []
        self._works: bool | None = None  # None: not known yet

    @property
    def is_trusted(self) -> bool:
        """Whether what is played was seen to be what the function returns."""
        return self._works is True

    def __call__(self, *tensors: torch.Tensor) -> list[torch.Tensor] | None:
        """Return what is played for tensors, of the same shapes each time; None: nothing yet."""
        if self._works is False or _autocasts():
            return None
        if self._play is None:
            self._calls += 1
            if self._calls >= WARM:
                self._record(tensors)
            return None
        if self._works is None and all(map(torch.equal, tensors, self._recorded_from)):
            return None  # it would play the same, whatever it holds
        return self._play(*tensors)

    def _record(self, tensors: Sequence[torch.Tensor]) -> None:
        try:
            # Without values, so that whatever reads one on the way is refused.
            record = make_fx(self._function, tracing_mode="fake", _allow_non_fake_inputs=True)
            recorded = record(*tensors)
        except Exception:
            # Whatever a layer does that cannot be recorded. Errors of its own it raises again when
            # it runs as it is.
            self._works = False
            return
        if any(map(_cannot_be_played, recorded.graph.nodes)):
            self._works = False
            return
        self._play = recorded.forward
        self._recorded_from = [tensor.clone() for tensor in tensors]

    def compare(self, played: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> None:
        """Decide whether to trust, by what was played and what the function returned."""
        self._works = len(played) == len(expected) and all(map(_is_same, played, expected))
        self._recorded_from = []
        if not self._works:
            self._play = None


def _autocasts() -> bool:
    """Whether PyTorch casts as it goes, which a recording would keep."""
    return torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")


def _cannot_be_played(node: torch.fx.Node) -> bool:
    """Whether an operation changes a tensor in place, or draws at random."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    draws = torch.Tag.nondeterministic_seeded in node.target.tags
    if "attention" in node.target.name():
        # It counts as random for its dropout, the only number among its arguments; here mostly 0.
        draws = any(isinstance(each, float) and each > 0 for each in node.args)
    return node.target._schema.is_mutable or draws


def _is_same(played: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether tensors differ by no more than rounding, for the size of their numbers."""
    if played.shape != expected.shape or played.dtype != expected.dtype:
        return False
    if not expected.is_floating_point():
        return torch.equal(played, expected)
    a, b = played.double(), expected.double()
    finite = b[torch.isfinite(b)].abs()
    scale = float(finite.max()) if finite.numel() else 0.0
    return torch.allclose(a, b, rtol=_CLOSE, atol=_CLOSE * scale, equal_nan=True)
