"""Frames and lanes as datasets for Keras's own `fit`, `evaluate` and `predict`. Needs Keras."""

from collections.abc import Sized
from typing import Any, Protocol

import keras

from seqframe.aliases import Batch
from seqframe.framing.batches import Batches, BatchIterator


class StatefulBatches(Sized, Protocol):
    """Batches that continue each other: `Lanes`."""

    def __getitem__(self, k: int) -> Batch: ...

    def batches(self) -> BatchIterator: ...


class FramesDataset(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Batches of frames, shuffled anew each epoch if asked. `Frames.dataset` makes it.

    Each pass over all batches is an epoch, counted from 0. With Keras's `steps_per_epoch`, a pass
    may take several of Keras's epochs. Under JAX and PyTorch, Keras looks at the first batch before
    a new model's first epoch. If it is the only batch, the look counts as an epoch.

    >>> from seqframe import SequenceFramer
    >>> dataset = SequenceFramer(2).frame([1.0, 2.0, 3.0, 4.0]).dataset(2)
    >>> x, y = dataset[0]
    >>> len(dataset), y
    (1, array([3., 4.]))
    """

    def __init__(self, batches: Batches):
        super().__init__()
        self._batches = batches
        self._in_epoch = False
        self._seen: set[int] = set()

    @property
    def epoch(self) -> int:
        """Number of the next epoch, counted from 0."""
        return self._batches.epoch

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, k: int) -> Batch:
        if self._in_epoch:
            self._seen.add(k)
        return self._batches[k]

    def on_epoch_begin(self) -> None:
        self._in_epoch = True

    def on_epoch_end(self) -> None:
        # Keras also calls this before the first epoch. Under JAX and PyTorch it begins and ends an
        # epoch to look at the first batch. Neither is a pass over all batches.
        if self._in_epoch and len(self._seen) >= len(self):
            self._batches = self._batches.at_epoch(self.epoch + 1)
            self._seen = set()
        self._in_epoch = False

    def shard(self, num_shards: int, index: int) -> "FramesDataset":
        """Return the dataset of one of `num_shards` workers, as `Batches.shard` does.

        >>> from seqframe import SequenceFramer
        >>> dataset = SequenceFramer(1).frame("ABCDEFG").dataset(2).shard(2, 1)
        >>> [dataset[k][1].tolist() for k in range(len(dataset))]
        [[2, 4], [6]]
        """
        return FramesDataset(self._batches.shard(num_shards, index))

    def get_state(self) -> dict[str, Any]:
        """Return the next epoch, as JSON-safe values for `set_state`.

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(1).frame("ABCDEFG").dataset(2, shuffle=True).get_state()["epoch"]
        0
        """
        return self._batches.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue with the next epoch of the dataset whose `get_state` returned `state`.

        Raises:
            ValueError: if the state belongs to other frames or batches, or lies within an epoch.

        Example:

        >>> from seqframe import SequenceFramer
        >>> frames = SequenceFramer(1).frame("ABCDEFG")
        >>> dataset, again = frames.dataset(2, shuffle=True), frames.dataset(2, shuffle=True)
        >>> again.set_state(dataset.get_state())  # with the seed that it drew
        """
        _check_between_epochs(state)
        batches = self._batches.at_epoch(self.epoch)
        batches.set_state(state)
        self._batches, self._seen = batches, set()


class LanesDataset(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Batches of lanes, in their order. `Lanes.dataset` makes it.

    Raises:
        ValueError: in Keras's `fit`, if that shuffles the batches: pass it `shuffle=False`.

    Example:

    >>> from seqframe import SequenceFramer
    >>> dataset = SequenceFramer(1).frame("ABCDEFG").lanes(2).dataset()
    >>> x, y, weight = dataset[0]
    >>> len(dataset), y
    (3, array([1, 4], dtype=int32))
    """

    def __init__(self, lanes: StatefulBatches):
        super().__init__()
        self.lanes = lanes
        self._in_epoch = False
        self._last: int | None = None

    def __len__(self) -> int:
        return len(self.lanes)

    def __getitem__(self, k: int) -> Batch:
        last, self._last = self._last, k
        if self._in_epoch and last is not None and k != last + 1:
            self._in_epoch = False
            raise ValueError(
                "The batches of lanes must come in their order. Received: "
                f"batch {k} after batch {last}. Pass `shuffle=False` to Keras's `fit`."
            )
        return self.lanes[k]

    def on_epoch_begin(self) -> None:
        # Outside an epoch anybody may look at any batch, as Keras does.
        self._in_epoch, self._last = True, None

    def on_epoch_end(self) -> None:
        self._in_epoch = False

    def get_state(self) -> dict[str, Any]:
        """Return the identity of these lanes. Each epoch has the same batches.

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(1).frame("ABCDEFG").lanes(2).dataset().get_state()["lanes"]
        2
        """
        return self.lanes.batches().get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Check that `state` belongs to the same lanes. It changes nothing.

        Raises:
            ValueError: if the state belongs to other lanes.

        Example:

        >>> from seqframe import SequenceFramer
        >>> dataset = SequenceFramer(1).frame("ABCDEFG").lanes(2).dataset()
        >>> dataset.set_state(dataset.get_state())
        """
        _check_between_epochs(state)
        self.lanes.batches().set_state(state)


def _check_between_epochs(state: Any) -> None:
    if isinstance(state, dict) and state.get("batch"):
        raise ValueError(
            "`state` must lie between epochs: Keras begins each epoch with its first batch. "
            f"Received: batch={state['batch']}. Finish that epoch with its batches and "
            "`model.train_on_batch`."
        )
