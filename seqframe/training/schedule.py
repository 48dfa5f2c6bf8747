"""Which frames each step of an epoch takes, and which rows of the state it resets first."""

from typing import TYPE_CHECKING, Any

import numpy as np
from keras import tree

from seqframe.framing.order import epoch_order

if TYPE_CHECKING:
    from seqframe.framing.lanes import Lanes
    from seqframe.training.feed import Feed

# Short epochs run together; a call's schedule has room for about this many steps, and no more than
# this many indices.
_ROOM_STEPS = 4096
_ROOM_INDICES = 2**20
# A long epoch runs in several calls, each of no more than this many indices, or bytes of a stream.
_MOST_INDICES = 2**22
_MOST_BYTES = 2**26


class Schedule:
    """The steps of each epoch, as data for a `StepLoop`.

    Args:
        feed: Feed that the steps gather from.
        batch_size: int.
        shuffle: bool.
        seed: int. Of the shuffle.
        lanes: Lanes whose batches are the steps, or None.
        resets: bool array `(steps, batch_size)`. Rows whose state each step resets first, or None.
        nbytes: int. Bytes that are kept of each frame, such as predictions; they limit a chunk.

    Attributes:
        steps: int. Full batches of an epoch.
        remainder: int. Frames of a smaller last batch; 0 where there is none.
        epochs_a_call: int. Epochs for which one call's schedule has room.
        chunk: int. Steps of an epoch that one call's schedule has, at most.
    """

    def __init__(
        self,
        feed: "Feed",
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        lanes: "Lanes | None" = None,
        resets: np.ndarray | None = None,
        nbytes: int = 0,
    ):
        self.feed, self.batch_size = feed, batch_size
        self.shuffle, self.seed, self.lanes, self.resets = shuffle, seed, lanes, resets
        if lanes is None:
            self.steps, self.remainder = divmod(feed.size, batch_size)
        else:
            self.steps, self.remainder = len(lanes), 0
        indices = self.steps * batch_size or 1
        room = min(_ROOM_STEPS // max(self.steps, 1), _ROOM_INDICES // indices)
        most = _MOST_INDICES
        for bytes_each in filter(None, (feed.nbytes_streamed, nbytes)):
            room, most = 1, min(most, _MOST_BYTES // bytes_each)
        self.epochs_a_call = max(room, 1)
        self.chunk = min(self.steps, max(most // batch_size, 1))
        self._frames: np.ndarray | None = None
        self._fixed: dict[str, np.ndarray] = {}
        if lanes is not None:
            self._frames, weight, _ = lanes.index(np.arange(self.steps))
            if not weight.all():
                self._fixed["weight"] = weight
        if resets is not None and resets.any():
            self._fixed["reset"] = resets

    @property
    def can_group(self) -> bool:
        """Whether several epochs can run in one call."""
        whole = self.chunk == self.steps and not self.remainder
        return whole and not self.feed.nbytes_streamed

    def epochs(self, first: int, count: int) -> dict[str, np.ndarray]:
        """Return the full batches of several epochs, one row a step, filled up to the room of a
        call.

        Returns:
            dict of arrays `(steps of a call, batch_size)`: "index", and where needed "weight",
            "reset".
        """
        orders = [self._frame_numbers(first + k, 0, self.steps) for k in range(count)]
        fixed = {name: np.concatenate([column] * count) for name, column in self._fixed.items()}
        rows = {"index": self.feed.index(np.concatenate(orders)), **fixed}
        return {
            name: _filled(column, self.steps * self.epochs_a_call) for name, column in rows.items()
        }

    def load(self, epoch: int, number: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the chunk number `number` of an epoch: its arrays, and its rows as `epochs`."""
        first = number * self.chunk
        arrays, rows = self._rows(epoch, first, min(first + self.chunk, self.steps), self.chunk)
        room = self.chunk * (self.epochs_a_call if self.chunk == self.steps else 1)
        return arrays, {name: _filled(column, room) for name, column in rows.items()}

    def places(self, first: int, stop: int) -> np.ndarray:
        """Return which frame each row of some batches of an unshuffled epoch is, for `place_rows`.

        It is -1 where a row counts for nothing.
        """
        if self.lanes is None:
            return np.arange(first * self.batch_size, min(stop * self.batch_size, self.feed.size))
        frames = self._frame_numbers(0, first, stop).ravel()
        if "weight" not in self._fixed:
            return frames
        return np.where(self._fixed["weight"][first:stop].ravel() > 0, frames, -1)

    def batch(self, epoch: int, number: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the batch number `number` of an epoch, as a chunk of one step."""
        if number == self.steps:
            return self.last_batch(epoch)
        return self._rows(epoch, number, number + 1, room=1)

    def last_batch(self, epoch: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the smaller last batch of an epoch, as a chunk of one step."""
        positions = np.arange(self.steps * self.batch_size, self.feed.size)
        arrays, index = self.feed.load(self._order(positions, epoch)[None], 1, epoch)
        return arrays, {"index": index}

    def _rows(
        self, epoch: int, first: int, stop: int, room: int
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the arrays, with room for so many steps, and the rows of the steps
        `first … stop - 1` of an epoch."""
        frames = self._frame_numbers(epoch, first, stop)
        arrays, index = self.feed.load(frames, room, epoch)
        fixed = {name: column[first:stop] for name, column in self._fixed.items()}
        return arrays, {"index": index, **fixed}

    def _frame_numbers(self, epoch: int, first: int, stop: int) -> np.ndarray:
        if self._frames is not None:
            return self._frames[first:stop]
        positions = np.arange(first * self.batch_size, stop * self.batch_size)
        return self._order(positions, epoch).reshape(-1, self.batch_size)

    def _order(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return positions
        return epoch_order(self.feed.size, self.seed, epoch, positions)


def place_rows(rows: Any, place: np.ndarray, size: int, into: Any = None) -> Any:
    """Return a nest of arrays of `size` rows, with rows at their places; those at -1 are left out.

    Args:
        rows: nest of arrays.
        place: int array, the place of each row.
        size: int.
        into: nest of arrays that other rows have been placed in; None makes new ones.

    >>> place_rows(np.array([10, 20, 30]), np.array([1, -1, 0]), 2)
    array([30, 10])
    """
    if into is None:
        into = tree.map_structure(lambda row: np.empty((size, *row.shape[1:]), row.dtype), rows)
    for whole, part in zip(tree.flatten(into), tree.flatten(rows), strict=True):
        whole[place[place >= 0]] = part[place >= 0]
    return into


def resets_every(every: int, steps: int, batch_size: int) -> np.ndarray:
    """Return resets of the whole state before every so many steps; 0: none.

    >>> resets_every(2, steps=4, batch_size=1).ravel()
    array([ True, False,  True, False])
    """
    whole = np.arange(steps) % every == 0 if every else np.zeros(steps, bool)
    return np.repeat(whole[:, None], batch_size, axis=1)


def _filled(rows: np.ndarray, count: int) -> np.ndarray:
    missing = np.zeros((count - len(rows), *rows.shape[1:]), rows.dtype)
    return np.concatenate([rows, missing])
