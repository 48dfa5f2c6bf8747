"""Which frames each step of an epoch takes, and which rows of the state it resets first."""

from typing import TYPE_CHECKING

import numpy as np

from seqframe.order import epoch_order

if TYPE_CHECKING:
    from seqframe.feed import Feed
    from seqframe.lanes import Lanes

# Short epochs run together; a call's schedule has room for about this many steps, and no more than
# this many indices.
_ROOM_STEPS = 4096
_ROOM_INDICES = 2**20


class Schedule:
    """The steps of each epoch, as data for a `StepLoop`.

    Args:
        feed: Feed that the steps gather from.
        batch_size: int.
        shuffle: bool.
        seed: int. Of the shuffle.
        lanes: Lanes whose batches are the steps, or None.
        reset_every: int. Steps from one reset of the whole state to the next; 0: none.
        reset_first: bool. Whether lanes reset at the first step too.

    Attributes:
        steps: int. Full batches of an epoch.
        remainder: int. Frames of a smaller last batch; 0 where there is none.
        epochs_a_call: int. Epochs for which one call's schedule has room.
    """

    def __init__(
        self,
        feed: "Feed",
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        lanes: "Lanes | None" = None,
        reset_every: int = 0,
        reset_first: bool = True,
    ):
        self.feed, self.batch_size = feed, batch_size
        self.shuffle, self.seed, self.lanes = shuffle, seed, lanes
        if lanes is None:
            self.steps, self.remainder = divmod(feed.size, batch_size)
        else:
            self.steps, self.remainder = len(lanes), 0
        room = min(
            _ROOM_STEPS // max(self.steps, 1), _ROOM_INDICES // (self.steps * batch_size or 1)
        )
        self.epochs_a_call = max(room, 1)
        every = (
            np.arange(self.steps) % reset_every == 0 if reset_every else np.zeros(self.steps, bool)
        )
        self._reset = np.repeat(every[:, None], batch_size, axis=1)
        self._lane_rows: dict[str, np.ndarray] = {}
        if lanes is not None:
            frames, weight, starts = lanes.index(np.arange(self.steps))
            starts[0] &= reset_first
            self._reset |= starts
            self._lane_rows["index"] = feed.index(frames)
            if not weight.all():
                self._lane_rows["weight"] = weight

    def epochs(self, first: int, count: int) -> dict[str, np.ndarray]:
        """Return the full batches of several epochs, one row a step, filled up to the room of a
        call.

        Returns:
            dict of arrays `(steps of a call, batch_size)`: "index", and where needed "weight",
            "reset".
        """
        epochs = [self._epoch(epoch) for epoch in range(first, first + count)]
        rows = self.steps * self.epochs_a_call
        return {
            name: _filled(np.concatenate([epoch[name] for epoch in epochs]), rows)
            for name in epochs[0]
        }

    def last_batch(self, epoch: int) -> dict[str, np.ndarray]:
        """Return the smaller last batch of an epoch, as a schedule of one step."""
        positions = np.arange(self.steps * self.batch_size, self.feed.size)
        return {"index": self.feed.index(self._order(positions, epoch))[None]}

    def _epoch(self, epoch: int) -> dict[str, np.ndarray]:
        rows = dict(self._lane_rows)
        if not rows:
            positions = np.arange(self.steps * self.batch_size)
            index = self.feed.index(self._order(positions, epoch))
            rows["index"] = index.reshape(self.steps, self.batch_size)
        if self._reset.any():
            rows["reset"] = self._reset
        return rows

    def _order(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return positions
        return epoch_order(self.feed.size, self.seed, epoch, positions)


def _filled(rows: np.ndarray, count: int) -> np.ndarray:
    missing = np.zeros((count - len(rows), *rows.shape[1:]), rows.dtype)
    return np.concatenate([rows, missing])
