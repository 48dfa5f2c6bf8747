"""Interruptions, such as Ctrl-C, that wait until a model is whole again."""

import signal
import threading
from collections.abc import Callable
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGALRM")
_INSISTENT = 3  # times Ctrl-C is pressed before it is heard at once


class PutOff:
    """Puts off what interrupts Python while a model is half built, half assigned or half reset.

    The handlers run at the end of the `with` block, or when `serve` is called.

    Attributes:
        received: the numbers and frames of the signals that wait.

    >>> interrupts = PutOff()
    >>> try:
    ...     with interrupts:
    ...         signal.raise_signal(signal.SIGINT)
    ...         print(len(interrupts.received))
    ... except KeyboardInterrupt:
    ...     print("interrupted")
    1
    interrupted
    """

    def __init__(self) -> None:
        self.received: list[tuple[int, Any]] = []
        self._handlers: dict[int, Callable[..., Any]] = {}
        self._replaced: list[int] = []

    def __enter__(self) -> "PutOff":
        if threading.current_thread() is not threading.main_thread():
            return self  # signals interrupt the main thread only
        try:
            for name in _NAMES:
                number = getattr(signal, name, None)  # Windows has fewer
                if number is not None and callable(handler := signal.getsignal(number)):
                    self._handlers[number] = handler
                    self._replaced.append(number)
                    signal.signal(number, self._receive)
        except BaseException:  # the handler of a later signal has raised
            try:
                self._restore()
            finally:
                self.serve()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._restore()
        finally:
            self.serve()

    def serve(self) -> None:
        """Call the handlers of what was received. They may raise."""
        while self.received:
            number, frame = self.received.pop(0)
            try:
                self._handlers[number](number, frame)
            except BaseException:
                self.serve()
                raise

    def _receive(self, number: int, frame: Any) -> None:
        self.received.append((number, frame))
        if [each for each, _ in self.received].count(signal.SIGINT) >= _INSISTENT:
            # What is under way may hang. Its values count less than the user's wish.
            self.received.clear()
            self._handlers[signal.SIGINT](signal.SIGINT, frame)

    def _restore(self) -> None:
        """Put all handlers back, also if one of them raises meanwhile."""
        try:
            while self._replaced:
                number = self._replaced[-1]
                if signal.getsignal(number) == self._receive:  # no handler has chosen another one
                    signal.signal(number, self._handlers[number])
                self._replaced.pop()
        finally:
            if self._replaced:
                self._restore()
