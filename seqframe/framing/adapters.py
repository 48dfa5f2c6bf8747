"""Adapters: frames for tf.data, PyTorch's DataLoader and Grain.

Each adapter imports its library on first use.
"""

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from seqframe.aliases import Batch, Shape, Shuffle
from seqframe.framing.batches import Batches, FrameArrays, resolve_batch
from seqframe.framing.checks import check_integer

if TYPE_CHECKING:
    import grain
    import tensorflow as tf
    import torch


def tf_dataset(batches: Batches, specs: list[tuple[Shape, np.dtype]]) -> "tf.data.Dataset":
    """Return batches as a tf.data.Dataset; see `Frames.to_tf`. The specs are of single frames."""
    tf = _imported("tensorflow", "to_tf")
    size = batches.batch_size if batches.drop_last else None
    epoch, last = batches.epoch, len(batches) - 1

    def first_batches() -> Iterator[Batch]:
        # tf.data calls this at the beginning of each pass.
        return itertools.islice(batches.at_epoch(epoch), max(last, 0))

    def last_batch() -> Iterator[Batch]:
        # Only a pass that takes its last batch is an epoch. A look at the first ones is none.
        nonlocal epoch
        epoch += 1
        yield batches.at_epoch(epoch - 1)[last]

    signature = batches.frames._pack(
        [tf.TensorSpec((size, *shape), dtype) for shape, dtype in specs]
    )

    def dataset_of(batches: Callable[[], Iterator[Batch]]) -> Any:
        return tf.data.Dataset.from_generator(batches, output_signature=signature)

    dataset = dataset_of(first_batches).prefetch(tf.data.AUTOTUNE)
    if last >= 0:
        # Not prefetched: it is made when somebody takes it.
        dataset = dataset.concatenate(dataset_of(last_batch))
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    return dataset.with_options(options)


def torch_dataset(frames: FrameArrays) -> "torch.utils.data.Dataset":
    """Return frames as a map-style dataset; see `Frames.to_torch`."""
    torch = _imported("torch", "to_torch")
    base: Any = torch.utils.data.Dataset

    class TorchFrames(base):
        """Frames for a `DataLoader`, which fetches a batch of them by one gather."""

        def __init__(self, frames: FrameArrays):
            self.frames = frames

        def __len__(self) -> int:
            return len(self.frames)

        def __getitem__(self, index: int) -> Batch:
            return self.frames[index]

        def __getitems__(self, index: list[int]) -> "Fetched":
            return Fetched(self.frames, index)

        def sampler(
            self,
            batch_size: int,
            *,
            shuffle: Shuffle = False,
            seed: int | None = None,
            drop_last: bool = False,
            num_shards: int | None = None,
            index: int | None = None,
        ) -> FrameSampler:
            """Return seqframe's order, for the `batch_sampler` of a DataLoader.

            `num_shards` and `index` are the size and the rank of the process group by default.
            """
            distributed = torch.distributed
            is_group = distributed.is_available() and distributed.is_initialized()
            if num_shards is None:
                num_shards = distributed.get_world_size() if is_group else 1
            if index is None:
                index = distributed.get_rank() if is_group else 0
            order = self.frames._order(shuffle, seed).shard(num_shards, index)
            self.frames = self.frames._read_by(in_order=order.is_local)
            return FrameSampler(FrameNumbers(self.frames, batch_size, order, 0, drop_last))

        def collate(self, fetched: "Fetched") -> Batch:
            """Return fetched frames as tensors, for the `collate_fn` of the DataLoader."""
            if not isinstance(fetched, Fetched):
                raise TypeError(
                    "`collate` takes the frames that a DataLoader fetches for a batch. Received: "
                    f"a {type(fetched).__name__}. Give the DataLoader a `batch_size`, or leave out "
                    "`collate_fn`."
                )
            return self.frames._pack([torch.from_numpy(array) for array in fetched.arrays])

        def __reduce__(self) -> tuple[Any, ...]:
            # PyTorch's first use makes this class, so a copy must make it too.
            return torch_dataset, (self.frames,)

    return TorchFrames(frames)


class FrameNumbers(Batches):
    """The numbers of the frames of each batch. Every shard has equally many batches."""

    @property
    def num_frames(self) -> int:
        """Number of frames in all batches. Smaller shards repeat the last frame of the epoch."""
        if self.drop_last:
            return super().num_frames
        return -(-(self.order.size - self.order.begin) // self.order.num_shards)

    def __getitem__(self, k: int) -> Any:
        first = resolve_batch(k, len(self)) * self.batch_size
        return self._ordered(first, min(first + self.batch_size, self.num_frames)).tolist()

    def _run(self, numbers: Iterator[int]) -> Generator[Any, None, None]:
        return (self[k] for k in numbers)


class FrameSampler:
    """Batches of frames' numbers in seqframe's order; `to_torch().sampler` makes it.

    It is for the `batch_sampler` of PyTorch's DataLoader. Each pass is an epoch, counted from 0,
    with an order of its own. In a process group each rank takes its share, and all ranks have the
    same number of batches. Smaller shares repeat the last frame, as PyTorch's own sampler does.

    `state_dict` and `load_state_dict` are those of torchdata's StatefulDataLoader. A state counts
    the batches that were asked for, which workers do ahead. Any number of ranks can go on from it.

    Example:

    >>> import torch
    >>> from seqframe import SequenceFramer
    >>> dataset = SequenceFramer(1).frame("ABCDEF").to_torch()
    >>> sampler = dataset.sampler(2, shuffle=True, seed=7, num_shards=2, index=0)
    >>> loader = torch.utils.data.DataLoader(
    ...     dataset, batch_sampler=sampler, collate_fn=dataset.collate
    ... )
    >>> [y.tolist() for x, y in loader]
    [[3, 5], [4]]
    >>> sampler.epoch
    1
    """

    def __init__(self, batches: FrameNumbers):
        self._batches, self._resumes, self._has_ended = batches, False, False

    @property
    def epoch(self) -> int:
        """Number of the epoch that is under way, or comes next."""
        return self._batches.epoch

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> "FrameSampler":
        if not self._resumes:  # a pass that was given up begins anew
            self._batches = self._batches.at_epoch(self.epoch)
        self._resumes = self._has_ended = False
        return self

    def __next__(self) -> list[int]:
        if not self._has_ended:  # a DataLoader with workers asks on after the end
            for numbers in self._batches:
                return list(numbers)
            self.set_epoch(self.epoch + 1)
            self._has_ended = True
        raise StopIteration

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be another epoch; a position in this one stays."""
        if epoch != self.epoch:
            self._batches, self._resumes = self._batches.at_epoch(epoch), False

    def state_dict(self) -> dict[str, Any]:
        """Return the position, as JSON-safe values."""
        return self._batches.get_state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the position that `state_dict` returned, in any rank."""
        self._batches.set_state(state_dict)
        self._resumes, self._has_ended = True, False


class Fetched(Sequence[Batch]):
    """Frames fetched together: their arrays, and a sequence of single frames."""

    def __init__(self, frames: FrameArrays, index: list[int]):
        self._pack = frames._pack
        arrays = frames._gather(frames._place(frames._resolve(index)))
        # PyTorch knows only this machine's byte order.
        self.arrays = [a.astype(a.dtype.newbyteorder("="), copy=False) for a in arrays]

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, k: Any) -> Any:
        return self._pack([array[k] for array in self.arrays])


def grain_dataset(source: "FrameArrays | EpochSource") -> "grain.MapDataset":
    """Return frames or batches as a Grain dataset; see `Frames.to_grain`."""
    return _imported("grain", "to_grain").MapDataset.source(source)


class EpochSource:
    """The batches of several epochs, one epoch after the other: a source of Grain.

    Grain's `repeat` would repeat the order of the first epoch.
    """

    def __init__(self, batches: Batches, epochs: int):
        self._epoch, self.epochs = batches, check_integer("epochs", epochs, 1)

    def __len__(self) -> int:
        return self.epochs * len(self._epoch)

    def __getitem__(self, index: Any) -> Batch:
        batches = self._epoch  # at once: threads of Grain may ask at the same time
        epoch, k = divmod(resolve_batch(index, len(self)), len(batches))
        if epoch != batches.epoch:
            self._epoch = batches = batches.at_epoch(epoch)
        return batches[k]


def _imported(name: str, method: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        extra = "" if name == "tensorflow" else f", or with the extra `seqframe[{name}]`"
        raise ImportError(
            f"`{method}` needs the library {name!r}. Install it with `pip install {name}`{extra}."
        ) from error
