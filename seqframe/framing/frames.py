"""Frames: training samples, and what is made of them: batches, datasets, lanes, splits."""

from typing import TYPE_CHECKING, Any

from seqframe.aliases import FoldMode, SplitBy
from seqframe.framing.batches import Batches
from seqframe.framing.collection import FrameCollection
from seqframe.framing.lanes import Lanes
from seqframe.framing.order import Order
from seqframe.framing.source import Source
from seqframe.framing.splits import fold_frames, split_frames
from seqframe.framing.windows import check_integer

if TYPE_CHECKING:
    import grain
    import tensorflow as tf
    import torch
    from matplotlib.axes import Axes

    from seqframe.training.datasets import FramesDataset


class Frames(FrameCollection):
    """Input windows and their targets: a lazy, immutable, random-access collection.

    Made by `SequenceFramer.frame`. Holds the user's arrays and index arithmetic; every batch is one
    vectorised copy.

    Attributes:
        framer: SequenceFramer that made them, with the vocabulary they were encoded with.
        source: Source of their arrays.
        epoch: int. Whose random subsequences these are.

    Example:

    >>> from seqframe import SequenceFramer
    >>> frames = SequenceFramer(3).frame([10, 20, 30, 40, 50])
    >>> len(frames), frames.x_shape, frames.y_shape
    (2, (3, 1), ())
    >>> x, y = frames[1]
    >>> x.ravel(), y
    (array([20, 30, 40]), np.int64(50))
    """

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        epoch: int = 0,
        drop_last: bool = False,
        redraw: bool = False,
    ) -> Batches:
        """Iterate over NumPy batches `(x, y)`.

        A batch is a copy: frameworks may write into what they are given. For read-only views that
        copy nothing use `arrays()`.

        Args:
            batch_size: int ≥ 1.
            shuffle: bool. In an order that is a function of `seed` and `epoch` alone.
            seed: int ≥ 0; None draws one.
            epoch: int ≥ 0. Each epoch has an order of its own.
            drop_last: bool. Leave out a last batch of fewer than `batch_size` frames.
            redraw: bool. Random subsequences: draw them anew for the epoch.

        Returns:
            Batches: an iterator that can also be indexed, sharded, stopped and resumed.

        Example:

        >>> from seqframe import SequenceFramer
        >>> frames = SequenceFramer(2).frame("ABCDEFG")
        >>> [len(y) for x, y in frames.batches(2)]
        [2, 2, 1]
        """
        order = Order(len(self), shuffle, seed)
        return Batches(self, batch_size, order, epoch, drop_last, redraw)

    def dataset(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        drop_last: bool = False,
        redraw: bool = False,
        **kwargs: Any,
    ) -> "FramesDataset":
        """Return the frames as a `keras.utils.PyDataset`, for `model.fit(…, shuffle=False)`.

        Without `shuffle=False`, Keras mixes the batches of an epoch once more, by a random state of
        its own: each frame still comes once an epoch, but no seed tells when.

        Args:
            batch_size: int ≥ 1.
            shuffle: bool. Anew each epoch.
            seed: int ≥ 0; None draws one.
            drop_last: bool. Leave out a last batch of fewer than `batch_size` frames.
            redraw: bool. Random subsequences: draw them anew each epoch.
            **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of the PyDataset.

        Returns:
            FramesDataset: a `keras.utils.PyDataset`.

        Example:

        >>> import keras
        >>> from seqframe import SequenceFramer
        >>> frames = SequenceFramer(2).frame([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        >>> dataset = frames.dataset(2, shuffle=True, seed=7)
        >>> model = keras.Sequential([keras.Input((2, 1)), keras.layers.Flatten()])
        >>> model.compile("sgd", "mse")
        >>> len(dataset), len(model.evaluate(dataset, return_dict=True, verbose=0))
        (2, 1)
        """
        from seqframe.training.datasets import FramesDataset

        order = Order(len(self), shuffle, seed)
        return FramesDataset(Batches(self, batch_size, order, 0, drop_last, redraw), **kwargs)

    def to_tf(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        epoch: int = 0,
        drop_last: bool = False,
        redraw: bool = False,
    ) -> "tf.data.Dataset":
        """Return the frames as a `tf.data.Dataset` of batches.

        Batches are made in NumPy, so that one crossing into TensorFlow serves a batch. Each pass
        over the dataset is an epoch. Its element spec and cardinality are known.

        Args:
            batch_size: int ≥ 1.
            shuffle: bool. Anew each epoch.
            seed: int ≥ 0; None draws one.
            epoch: int ≥ 0. Number of the first pass.
            drop_last: bool. Leave out a last batch of fewer than `batch_size` frames; all batches
                then have a static shape.
            redraw: bool. Random subsequences: draw them anew each epoch.

        Returns:
            tf.data.Dataset of `(x, y)`, or `(x, y, sample_weight)`.

        Raises:
            ImportError: if TensorFlow is not installed.

        Example:

        >>> import tensorflow as tf
        >>> from seqframe import SequenceFramer
        >>> dataset = SequenceFramer(2).frame("ABCDEFG").to_tf(2)
        >>> isinstance(dataset, tf.data.Dataset)
        True
        >>> [len(y) for x, y in dataset]
        [2, 2, 1]
        """
        from seqframe.framing.adapters import tf_dataset

        order = Order(len(self), shuffle, seed)
        return tf_dataset(Batches(self, batch_size, order, epoch, drop_last, redraw))

    def to_torch(self) -> "torch.utils.data.Dataset":
        """Return the frames as a map-style dataset for PyTorch's `DataLoader`.

        The loader's sampler says which frames make a batch, and one gather fetches them. Pass
        `collate_fn=dataset.collate`, which makes tensors of the batch as it is; PyTorch's own
        takes it apart first.

        Returns:
            torch.utils.data.Dataset of `(x, y)`, or `(x, y, sample_weight)`.

        Raises:
            ImportError: if PyTorch is not installed.

        Example:

        >>> import torch
        >>> from seqframe import SequenceFramer
        >>> dataset = SequenceFramer(2).frame("ABCDEFG").to_torch()
        >>> loader = torch.utils.data.DataLoader(
        ...     dataset, batch_size=2, shuffle=True, collate_fn=dataset.collate
        ... )
        >>> [len(y) for x, y in loader]
        [2, 2, 1]
        """
        from seqframe.framing.adapters import torch_dataset

        return torch_dataset(self)

    def to_grain(self) -> "grain.MapDataset":
        """Return the frames as a Grain dataset of single frames, random access.

        Grain shuffles, shards, batches and checkpoints it, as in
        `frames.to_grain().shuffle(seed=7).batch(32)`. Where seqframe shuffles and gathers whole
        batches, Grain has less to do:
        `grain.MapDataset.source(frames.batches(32, shuffle=True, seed=7))` is one of batches.

        Returns:
            grain.MapDataset of `(x, y)`, or `(x, y, sample_weight)`.

        Raises:
            ImportError: if Grain is not installed.

        Example:

        >>> import grain
        >>> from seqframe import SequenceFramer
        >>> dataset = SequenceFramer(2).frame("ABCDEFG").to_grain()
        >>> isinstance(dataset, grain.MapDataset), len(dataset.shuffle(seed=7).batch(2))
        (True, 3)
        """
        from seqframe.framing.adapters import grain_dataset

        return grain_dataset(self)

    def lanes(self, batch_size: int) -> Lanes:
        """Return the frames as stateful batches: each row continues from batch to batch.

        Args:
            batch_size: int ≥ 1. Number of lanes: the batch size of the stateful model.

        Returns:
            Lanes.

        Raises:
            ValueError: if `batch_size` exceeds the number of frames, or the frames are random.

        Example:

        >>> from seqframe import SequenceFramer
        >>> lanes = SequenceFramer(1).frame("ABCDEFG").lanes(2)
        >>> [y.tolist() for x, y, weight in lanes]
        [[1, 4], [2, 5], [3, 6]]
        """
        return Lanes(self, batch_size)

    def split(
        self,
        *fractions: float,
        by: SplitBy = "time",
        share_history: bool = False,
        seed: int | None = None,
    ) -> list["Frames"]:
        """Cut into consecutive parts: no step is in two of them.

        Args:
            *fractions: floats that sum to at most one: the parts' shares of each sequence's steps,
                or of the sequences.
            by: "time": each sequence is cut in raw time. "sequences": each sequence is whole in one
                part.
            share_history: bool. Windows cut in time: let the inputs of a later part reach back
                before its start, as is usual in forecasting. Its targets still begin at its start.
            seed: int ≥ 0. By sequences: which go to which part is drawn; None keeps their order.

        Returns:
            list of Frames, one for each fraction.

        Raises:
            ValueError: if fractions are not positive or sum to more than one, or a part has no
                frame.

        Example:

        >>> from seqframe import SequenceFramer
        >>> train, test = SequenceFramer(2).frame("ABCDEFGHIJ").split(0.6, 0.4)
        >>> test.describe()
        GH -> I
        HI -> J
        """
        return split_frames(self, fractions, by, share_history, seed)

    def folds(
        self,
        n: int,
        *,
        mode: FoldMode = "expanding",
        gap: int = 0,
        test_size: int | None = None,
        by: SplitBy = "time",
        share_history: bool = False,
    ) -> list[tuple["Frames", "Frames"]]:
        """Cut for walk-forward evaluation: train on what came before, test on what comes next.

        The test parts lie next to each other and reach up to the end. Cuts are those of
        scikit-learn's `TimeSeriesSplit`.

        Args:
            n: int ≥ 1. Number of folds.
            mode: "expanding": each train part begins at the beginning. "sliding": all are as long
                as the first.
            gap: int ≥ 0. Steps (or sequences) left out between a train part and its test part.
            test_size: int ≥ 1. Steps (or sequences) of a test part; None: an equal share of
                `1 / (n + 1)`.
            by: "time": each sequence is cut in raw time. "sequences": whole sequences, in their
                order.
            share_history: bool. Windows cut in time: let the inputs of a test part reach back
                before its start.

        Returns:
            list of `(train, test)`, both Frames.

        Raises:
            ValueError: if a part has no frame.

        Example:

        >>> from seqframe import SequenceFramer
        >>> frames = SequenceFramer(2).frame("ABCDEFGHIJKL")
        >>> for train, test in frames.folds(2):
        ...     len(train), test.describe()
        EF -> G
        FG -> H
        (2, None)
        IJ -> K
        JK -> L
        (6, None)
        """
        return fold_frames(self, n, mode, gap, test_size, by, share_history)

    def plot(self, count: int = 8, *, index: Any = None, ax: "Axes | None" = None) -> "Axes":
        """Draw how frames lie over the raw sequences: input, gap, target, padding, time rightwards.

        Args:
            count: int ≥ 1. How many of the first frames; of several sequences, shared among the
                first four. Of many features the first four are drawn.
            index: int, slice, list or array. Which frames instead.
            ax: matplotlib.axes.Axes to draw on; None makes a figure.

        Returns:
            matplotlib.axes.Axes.

        Raises:
            ImportError: if matplotlib is not installed.
            IndexError: if there is no such frame.

        Example:

        >>> import matplotlib
        >>> from seqframe import SequenceFramer
        >>> ax = SequenceFramer(3, gap=1).frame("ABCDEFGHIJ").plot()
        """
        from seqframe.framing.pictures import plot_frames

        return plot_frames(self, count, index, ax)

    def _repr_html_(self) -> str:
        from seqframe.framing.html import frames_html

        return frames_html(self)

    def on(self, source: Source) -> "Frames":
        """Return the frames of another source, such as a part of this one's.

        Args:
            source: Source.

        Example:

        >>> from seqframe import SequenceFramer
        >>> frames = SequenceFramer(2).frame("ABCDEFG")
        >>> frames.on(frames.source.cut([2], [6])).describe()
        CD -> E
        DE -> F
        """
        return Frames(self.framer, source, seed=self._seed, epoch=self.epoch)

    def redraw(self, epoch: int) -> "Frames":
        """Return these frames with another epoch's random subsequences.

        Args:
            epoch: int ≥ 0.

        Returns:
            Frames.

        Example:

        >>> from seqframe import SequenceFramer
        >>> framer = SequenceFramer(5, mode="subsequences", num_samples=2, seed=7)
        >>> frames = framer.frame("ABCDEFGHIJ")
        >>> frames.describe()
        FG -> H
        HI -> J
        >>> frames.redraw(1).describe()
        GHI -> J
        I -> J
        """
        epoch = check_integer("epoch", epoch, 0)
        return Frames(self.framer, self.source, seed=self._seed, epoch=epoch, runs=self._runs)
