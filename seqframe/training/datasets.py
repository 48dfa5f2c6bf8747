"""Frames and lanes as datasets for Keras's own `fit`, `evaluate` and `predict`."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from seqframe.backend.internals import forget_a_look
from seqframe.framing.batches import Batches

if TYPE_CHECKING:
    from seqframe.framing.lanes import Lanes


class EpochDataset(keras.utils.PyDataset):
    """Batches that may differ from epoch to epoch.

    Each pass over it is an epoch, whatever Keras looks at in between.

    Args:
        batches: the first epoch's: with `len`, an index, their number `epoch`, and `at_epoch` for
            another's.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of the PyDataset.
    """

    def __init__(self, batches: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self._batches = batches
        self._in_epoch = False

    @property
    def epoch(self) -> int:
        """The epoch whose batches are next, counted from 0."""
        return self._batches.epoch

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, k: int) -> tuple[Any, ...]:
        return self._batches[k]

    def on_epoch_begin(self) -> None:
        self._in_epoch = True

    def on_epoch_end(self) -> None:
        # Keras also calls this after a look at the first batch, and where no epoch has begun.
        if not forget_a_look() and self._in_epoch:
            self._batches = self._batches.at_epoch(self.epoch + 1)
        self._in_epoch = False


class FramesDataset(EpochDataset):
    """Batches of frames, shuffled anew each epoch if asked. Made by `Frames.dataset`.

    Each pass over it is an epoch, counted from 0, whatever Keras looks at in between.

    Example:

    >>> from seqframe import SequenceFramer
    >>> dataset = SequenceFramer(2).frame([1.0, 2.0, 3.0, 4.0]).dataset(2)
    >>> x, y = dataset[0]
    >>> len(dataset), y
    (1, array([3., 4.]))
    """

    _batches: Batches

    def shard(self, num_shards: int, index: int) -> "FramesDataset":
        """Return the dataset of one of `num_shards` workers; see `Batches.shard`.

        Args:
            num_shards: int ≥ 1. Number of workers.
            index: int. Which of them this is, from 0.

        Returns:
            FramesDataset.

        Example:

        >>> from seqframe import SequenceFramer
        >>> dataset = SequenceFramer(1).frame("ABCDEFG").dataset(2).shard(2, 1)
        >>> [dataset[k][1].tolist() for k in range(len(dataset))]
        [[2, 4], [6]]
        """
        return FramesDataset(
            self._batches.shard(num_shards, index),
            workers=self.workers,
            use_multiprocessing=self.use_multiprocessing,
            max_queue_size=self.max_queue_size,
        )

    def get_state(self) -> dict[str, Any]:
        """Return the epoch that is next, as JSON-safe values for `set_state`.

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(1).frame("ABCDEFG").dataset(2, shuffle=True).get_state()["epoch"]
        0
        """
        return self._batches.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on with the epoch that the dataset that returned `state` had next.

        Args:
            state: dict that `get_state` returned.

        Raises:
            ValueError: if it is of other frames or batches, or stands within an epoch.

        Example:

        >>> from seqframe import SequenceFramer
        >>> frames = SequenceFramer(1).frame("ABCDEFG")
        >>> dataset, again = frames.dataset(2, shuffle=True), frames.dataset(2, shuffle=True)
        >>> again.set_state(dataset.get_state())  # its seed too, which was drawn
        >>> [bool((again[k][1] == dataset[k][1]).all()) for k in range(len(dataset))]
        [True, True, True]
        """
        _check_between_epochs(state)
        batches = self._batches.at_epoch(self.epoch)
        batches.set_state(state)
        self._batches = batches


class LanesDataset(keras.utils.PyDataset):
    """Batches of lanes, in their order. Made by `Lanes.dataset`.

    Raises:
        ValueError: in Keras's `fit`, if that mixes the batches: pass it `shuffle=False`.

    Example:

    >>> from seqframe import SequenceFramer
    >>> dataset = SequenceFramer(1).frame("ABCDEFG").lanes(2).dataset()
    >>> x, y, weight = dataset[0]
    >>> len(dataset), y
    (3, array([1, 4], dtype=int32))
    """

    def __init__(self, lanes: "Lanes"):
        super().__init__()
        self.lanes = lanes
        self._in_epoch = False
        self._last: int | None = None

    def __len__(self) -> int:
        return len(self.lanes)

    def __getitem__(self, k: int) -> tuple[Any, np.ndarray, np.ndarray]:
        last, self._last = self._last, k
        if self._in_epoch and last is not None and k != last + 1:
            self._in_epoch = False
            raise ValueError(
                "Batches of lanes continue each other, so they must come in their order. Received: "
                f"batch {k} after batch {last}. Pass `shuffle=False` to Keras's `fit`."
            )
        return self.lanes[k]

    def on_epoch_begin(self) -> None:
        # Outside of an epoch, Keras looks at some batches, and so may anybody.
        self._in_epoch, self._last = True, None

    def on_epoch_end(self) -> None:
        self._in_epoch = False

    def get_state(self) -> dict[str, Any]:
        """Return what lanes these are: each epoch has the same batches.

        >>> from seqframe import SequenceFramer
        >>> SequenceFramer(1).frame("ABCDEFG").lanes(2).dataset().get_state()["lanes"]
        2
        """
        return self.lanes.batches().get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Check that `state` is of the same lanes; there is nothing to go on with.

        Args:
            state: dict that `get_state` returned.

        Raises:
            ValueError: if it is of other lanes.

        Example:

        >>> from seqframe import SequenceFramer
        >>> frames = SequenceFramer(1).frame("ABCDEFG")
        >>> state = frames.lanes(2).dataset().get_state()
        >>> frames.lanes(2).dataset().set_state(state)
        """
        _check_between_epochs(state)
        self.lanes.batches().set_state(state)


def _check_between_epochs(state: Any) -> None:
    if isinstance(state, dict) and state.get("batch"):
        raise ValueError(
            "Keras begins each epoch of a dataset with its first batch. Received: a state at "
            f"batch {state['batch']} of an epoch. Finish that epoch with the batches that it is "
            "of, and `model.train_on_batch`."
        )
