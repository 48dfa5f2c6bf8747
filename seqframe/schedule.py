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
        resets: bool array `(steps, batch_size)`. Rows whose state each step resets first, or None.

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
        resets: np.ndarray | None = None,
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
        self._fixed: dict[str, np.ndarray] = {}
        if lanes is not None:
            frames, weight, _ = lanes.index(np.arange(self.steps))
            self._fixed["index"] = feed.index(frames)
            if not weight.all():
                self._fixed["weight"] = weight
        if resets is not None and resets.any():
            self._fixed["reset"] = resets

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
        if "index" in self._fixed:
            return self._fixed
        positions = np.arange(self.steps * self.batch_size)
        index = self.feed.index(self._order(positions, epoch))
        return {**self._fixed, "index": index.reshape(self.steps, self.batch_size)}

    def _order(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return positions
        return epoch_order(self.feed.size, self.seed, epoch, positions)


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
