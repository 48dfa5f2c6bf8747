"""Adapters: frames for tf.data, PyTorch's DataLoader and Grain.

Each of these libraries is imported when its adapter is asked for.
"""

import itertools
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grain
    import tensorflow as tf
    import torch

    from seqframe.framing.batches import Batches
    from seqframe.framing.frames import Frames


def tf_dataset(batches: "Batches") -> "tf.data.Dataset":
    """Return batches as a tf.data.Dataset; see `Frames.to_tf`."""
    tf = _imported("tensorflow", "to_tf")
    frames = batches.frames
    size = batches.batch_size if batches.drop_last else None
    epochs = itertools.count(batches.epoch)

    def passes() -> Iterator[Any]:
        # Called by tf.data at the beginning of each pass.
        return iter(batches.at_epoch(next(epochs)))

    signature = frames.pack(
        [tf.TensorSpec((size, *shape), dtype) for shape, dtype in frames.array_specs]
    )
    dataset = tf.data.Dataset.from_generator(passes, output_signature=signature)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
    return dataset.prefetch(tf.data.AUTOTUNE)


def torch_dataset(frames: "Frames") -> "torch.utils.data.Dataset":
    """Return frames as a map-style dataset; see `Frames.to_torch`."""
    torch = _imported("torch", "to_torch")
    base: Any = torch.utils.data.Dataset

    class TorchFrames(base):
        """Frames for a `DataLoader`, which fetches a batch of them by one gather."""

        def __init__(self, frames: "Frames"):
            self.frames = frames

        def __len__(self) -> int:
            return len(self.frames)

        def __getitem__(self, index: int) -> Any:
            return self.frames[index]

        def __getitems__(self, index: list[int]) -> "Fetched":
            return Fetched(self.frames, index)

        def collate(self, fetched: "Fetched") -> Any:
            """Return what was fetched as tensors, for the `collate_fn` of the DataLoader."""
            if not isinstance(fetched, Fetched):
                raise TypeError(
                    "`collate` takes the frames that a DataLoader fetches for a batch. Received: "
                    f"a {type(fetched).__name__}. Give the DataLoader a `batch_size`, or leave out "
                    "`collate_fn`."
                )
            return self.frames.pack([torch.from_numpy(array) for array in fetched.arrays])

        def __reduce__(self) -> tuple[Any, ...]:
            # The class is made where PyTorch is first needed, so that is where a copy finds it.
            return torch_dataset, (self.frames,)

    return TorchFrames(frames)


class Fetched(Sequence[Any]):
    """Frames fetched together: their arrays, and as a sequence, one frame after the other."""

    def __init__(self, frames: "Frames", index: list[int]):
        self._pack = frames.pack
        arrays = frames.gather(frames.place(frames.resolve(index)))
        # PyTorch knows this machine's order of bytes alone.
        self.arrays = [a.astype(a.dtype.newbyteorder("="), copy=False) for a in arrays]

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, k: Any) -> Any:
        return self._pack([array[k] for array in self.arrays])


def grain_dataset(frames: "Frames") -> "grain.MapDataset":
    """Return frames as a Grain dataset; see `Frames.to_grain`."""
    return _imported("grain", "to_grain").MapDataset.source(frames)


def _imported(name: str, method: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ImportError(
            f"`{method}` needs the library {name!r}. Install it with `pip install {name}`."
        ) from error
