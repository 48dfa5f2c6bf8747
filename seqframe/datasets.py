"""Frames and lanes as datasets for Keras's own `fit`, `evaluate` and `predict`."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from seqframe.order import random_seed
from seqframe.windows import check_integer

if TYPE_CHECKING:
    from seqframe.frames import Frames
    from seqframe.lanes import Lanes


class FramesDataset(keras.utils.PyDataset):
    """Batches of frames, shuffled anew each epoch if asked. Made by `Frames.dataset`."""

    def __init__(
        self,
        frames: "Frames",
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.frames, self.shuffle = frames, shuffle
        self.batch_size = check_integer("batch_size", batch_size, 1)
        self.seed = random_seed() if seed is None else check_integer("seed", seed, 0)
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.frames) // self.batch_size)

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        first = k * self.batch_size
        positions = np.arange(first, min(first + self.batch_size, len(self.frames)))
        return self.frames.take(self.frames.order(positions, self.shuffle, self.seed, self.epoch))

    def on_epoch_end(self) -> None:
        self.epoch += 1


class LanesDataset(keras.utils.PyDataset):
    """Batches of lanes, in their order. Made by `Lanes.dataset`."""

    def __init__(self, lanes: "Lanes"):
        super().__init__()
        self.lanes = lanes

    def __len__(self) -> int:
        return len(self.lanes)

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.lanes[k]
