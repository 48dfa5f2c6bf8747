"""Chunks of a schedule on the device."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from seqframe import backend
from seqframe.training.schedule import Schedule


class Chunks:
    """The chunks of a schedule on the device, the next one of a stream made in the meantime."""

    def __init__(self, schedule: Schedule):
        self.schedule = schedule
        self._streams = schedule.feed.nbytes_streamed > 0
        self._resident = None if self._streams else backend.to_device(schedule.feed.arrays)
        self._thread = ThreadPoolExecutor(1) if self._streams else None
        self._made: dict[tuple[int, int], Any] = {}
        self._kept: tuple[Any, Any] = (None, None)

    def __call__(self, epoch: int, number: int) -> tuple[Any, Any]:
        """Return the arrays and the rows of a chunk of an epoch."""
        if self._kept[0] != (epoch, number):
            self._kept = (None, None)  # no longer needed, and may be large
            made = self._made.pop((epoch, number), None)
            found = made.result() if made else self.schedule.load(epoch, number)
            self._made.clear()
            if (
                self._thread is not None
                and (number + 1) * self.schedule.chunk < self.schedule.steps
            ):
                following = (epoch, number + 1)
                self._made[following] = self._thread.submit(self.schedule.load, *following)
            self._kept = ((epoch, number), self._on_device(found))
        return self._kept[1]

    def last_batch(self, epoch: int) -> tuple[Any, Any]:
        """Return the smaller last batch of an epoch as a chunk."""
        return self._on_device(self.schedule.last_batch(epoch))

    def of_epochs(self, first: int, count: int) -> tuple[Any, Any]:
        """Return several epochs as a chunk."""
        return self._resident, backend.to_device(self.schedule.epochs(first, count))

    def _on_device(self, chunk: tuple[Any, Any]) -> tuple[Any, Any]:
        arrays, rows = chunk
        arrays = backend.to_device(arrays) if self._streams else self._resident
        return arrays, backend.to_device(rows)
