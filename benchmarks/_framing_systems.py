"""The systems that `framing.py` compares: seqframe, plain NumPy, and other libraries that frame.

Each function sets a system up for some series and a workload, and returns its epochs. Every library
goes its own usual way, in one process without workers. If it has several, it goes the fastest.
"""

import functools
import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from _epochs import Batches, Epoch, Series, Workload
from numpy.lib.stride_tricks import sliding_window_view

SEED = 7
BUFFER = 1_000  # windows of a shuffle buffer, if its size is left to the user


def _frame_windows(data: Series, workload: Workload) -> Any:
    from seqframe import SequenceFramer

    return SequenceFramer(workload.length).frame(data)


def seqframe_batches(data: Series, workload: Workload) -> Epoch:
    frames, batch, shuffle = _frame_windows(data, workload), workload.batch, workload.shuffle
    return lambda epoch: frames.batches(batch, shuffle=shuffle, seed=SEED, epoch=epoch)


def seqframe_arrays(data: Series, workload: Workload) -> Epoch:
    x, y = _frame_windows(data, workload).arrays()
    return lambda epoch: ((x[part], y[part]) for part in _slices(workload))


def _join(data: Series, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all series as one array, and where windows that cross no boundary begin in it."""
    if len(data) == 1:
        return data[0], np.arange(len(data[0]) - length)
    ends = np.cumsum([len(series) for series in data])
    starts = [np.arange(end - len(s), end - length) for s, end in zip(data, ends, strict=True)]
    return np.concatenate(data), np.concatenate(starts)


def _slices(workload: Workload) -> Iterable[slice]:
    return (slice(k, k + workload.batch) for k in range(0, workload.windows, workload.batch))


def _gather(values: np.ndarray, starts: np.ndarray, workload: Workload) -> Batches:
    steps = np.arange(workload.length)
    for k in range(0, len(starts), workload.batch):
        first = starts[k : k + workload.batch]
        yield values[first[:, None] + steps], values[first + workload.length]


def numpy_index_matrix(data: Series, workload: Workload) -> Epoch:
    values, starts = _join(data, workload.length)
    return lambda epoch: _gather(values, np.random.permutation(starts), workload)


def numpy_given_starts(data: Series, workload: Workload) -> Epoch:
    size = workload.total * workload.batch
    starts = np.random.default_rng(SEED).integers(workload.windows, size=size)
    return lambda epoch: _gather(data[0], starts, workload)


def _views(values: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    return sliding_window_view(values, length, 0)[:-1].swapaxes(1, 2), values[length:]


def view_slices(data: Series, workload: Workload) -> Epoch:
    x, y = _views(data[0], workload.length)
    return lambda epoch: ((x[part], y[part]) for part in _slices(workload))


def view_slices_copied(data: Series, workload: Workload) -> Epoch:
    x, y = _views(data[0], workload.length)
    return lambda epoch: ((x[part].copy(), y[part].copy()) for part in _slices(workload))


def copyto(data: Series, workload: Workload) -> Epoch:
    values, starts = _join(data, workload.length)
    order = np.random.permutation(starts)
    x = np.ascontiguousarray(_views(values, workload.length)[0][order])
    y = values[order + workload.length]
    x_buffer, y_buffer = x[: workload.batch].copy(), y[: workload.batch].copy()

    def epoch(number: int) -> Batches:
        for part in _slices(workload):
            size = len(y[part])
            np.copyto(x_buffer[:size], x[part])
            np.copyto(y_buffer[:size], y[part])
            yield x_buffer[:size], y_buffer[:size]

    return epoch


def _keras_datasets(data: Series, workload: Workload, **options: Any) -> Epoch:
    import keras

    @functools.cache
    def dataset(number: int) -> Batches:
        series = data[number]
        return keras.utils.timeseries_dataset_from_array(
            series[:-1],
            series[workload.length :],
            workload.length,
            batch_size=workload.batch,
            shuffle=True,
            seed=SEED,
            **options,
        )

    dataset(0)
    return lambda epoch: itertools.chain.from_iterable(map(dataset, range(len(data))))


def keras_tf(data: Series, workload: Workload) -> Epoch:
    return _keras_datasets(data, workload)


def keras_grain(data: Series, workload: Workload) -> Epoch:
    return _keras_datasets(data, workload, format="grain")


def tf_window(data: Series, workload: Workload) -> Epoch:
    import tensorflow as tf

    size = workload.length + 1

    def windows(series: Any) -> Any:
        steps = tf.data.Dataset.from_tensor_slices(series)
        nested = steps.window(size, shift=1, drop_remainder=True)
        return nested.flat_map(lambda window: window.batch(size))

    dataset = tf.data.Dataset.from_tensor_slices(np.stack(data)).flat_map(windows)
    dataset = dataset.shuffle(BUFFER).map(lambda window: (window[:-1], window[-1]))
    dataset = dataset.batch(workload.batch).prefetch(tf.data.AUTOTUNE)
    return lambda epoch: dataset


class _Windows:
    """The usual map-style dataset: a window is a slice."""

    def __init__(self, data: Series, length: int):
        self.data, self.length = data, length
        self.ends = np.cumsum([len(series) - length for series in data]).tolist()

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        number = bisect_right(self.ends, index)
        first = index - (self.ends[number - 1] if number else 0)
        last = first + self.length
        return self.data[number][first:last], self.data[number][last]


def torch_loader(data: Series, workload: Workload) -> Epoch:
    import torch

    windows = _Windows([torch.from_numpy(series) for series in data], workload.length)
    loader = torch.utils.data.DataLoader(windows, batch_size=workload.batch, shuffle=True)
    return lambda epoch: loader


def grain_map(data: Series, workload: Workload) -> Epoch:
    import grain

    source = grain.MapDataset.source(_Windows(data, workload.length))
    # In this thread, which is faster than in 16.
    here = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    return lambda epoch: source.shuffle(epoch).batch(workload.batch).to_iter_dataset(here)


def darts_sequential(data: Series, workload: Workload) -> Epoch:
    import torch
    from darts import TimeSeries
    from darts.utils.data.torch_datasets.training_dataset import SequentialTorchTrainingDataset

    def collate(samples: list[Any]) -> tuple[Any, Any]:
        x = np.stack([sample.past_target for sample in samples])
        y = np.stack([sample.future_target for sample in samples])
        return torch.from_numpy(x), torch.from_numpy(y)

    windows = SequentialTorchTrainingDataset(
        [TimeSeries.from_values(series) for series in data],
        input_chunk_length=workload.length,
        output_chunk_length=1,
        use_static_covariates=False,
    )
    loader = torch.utils.data.DataLoader(
        windows, batch_size=workload.batch, shuffle=True, collate_fn=collate
    )
    return lambda epoch: loader


def gluonts_splitter(data: Series, workload: Workload) -> Epoch:
    import pandas as pd
    from gluonts.dataset.loader import as_stacked_batches
    from gluonts.transform import InstanceSplitter, UniformSplitSampler

    begin = pd.Period("2000-01-01", freq="D")
    splitter = InstanceSplitter(
        target_field="target",
        is_pad_field="is_pad",
        start_field="start",
        forecast_start_field="forecast_start",
        # Each window once: samplers that draw at random repeat some windows and miss others.
        instance_sampler=UniformSplitSampler(p=1.0, min_past=workload.length, min_future=1),
        past_length=workload.length,
        future_length=1,
    )
    windows = splitter.apply([{"target": series.T, "start": begin} for series in data], True)

    def epoch(number: int) -> Batches:
        fields = ["past_target", "future_target"]
        for batch in as_stacked_batches(
            windows, batch_size=workload.batch, shuffle_buffer_length=BUFFER, field_names=fields
        ):
            yield batch["past_target"], batch["future_target"]

    return epoch


def pytorch_forecasting_dataset(data: Series, workload: Workload) -> Epoch:
    import pandas as pd
    from pytorch_forecasting import TimeSeriesDataSet
    from pytorch_forecasting.data import MultiNormalizer, TorchNormalizer

    columns = [f"feature {k}" for k in range(workload.features)]
    sizes = [len(series) for series in data]
    table = pd.DataFrame(np.concatenate(data), columns=columns)
    table["series"] = np.repeat(np.arange(len(data)).astype(str), sizes)
    table["step"] = np.concatenate([np.arange(size) for size in sizes])
    # By default it scales the values.
    identity = [TorchNormalizer(method="identity") for _ in columns]
    windows = TimeSeriesDataSet(
        table,
        time_idx="step",
        target=columns if len(columns) > 1 else columns[0],
        group_ids=["series"],
        min_encoder_length=workload.length,
        max_encoder_length=workload.length,
        max_prediction_length=1,
        time_varying_unknown_reals=columns,
        target_normalizer=MultiNormalizer(identity) if len(columns) > 1 else identity[0],
    )
    loader = windows.to_dataloader(train=True, batch_size=workload.batch, num_workers=0)
    return lambda epoch: ((x["encoder_cont"], x["decoder_cont"]) for x, _ in loader)


def tsai_windows(data: Series, workload: Workload) -> Epoch:
    from tsai.data.core import get_ts_dls
    from tsai.data.preparation import SlidingWindow

    slide = SlidingWindow(workload.length, horizon=1)
    x, y = (np.concatenate(parts) for parts in zip(*map(slide, data), strict=True))
    # With `inplace=True`, the default, a batch takes longer the more windows there are.
    loaders = get_ts_dls(x, y, splits=(list(range(len(x))), []), bs=workload.batch, inplace=False)
    return lambda epoch: loaders.train


FRAMINGS: dict[str, Callable[[Series, Workload], Epoch]] = {
    "seqframe": seqframe_batches,
    "seqframe-arrays": seqframe_arrays,
    "numpy-index-matrix": numpy_index_matrix,
    "numpy-given-starts": numpy_given_starts,
    "view-slices": view_slices,
    "view-slices-copied": view_slices_copied,
    "copyto": copyto,
    "keras-tf": keras_tf,
    "keras-grain": keras_grain,
    "tf-window": tf_window,
    "torch-loader": torch_loader,
    "grain": grain_map,
    "darts": darts_sequential,
    "gluonts": gluonts_splitter,
    "pytorch-forecasting": pytorch_forecasting_dataset,
    "tsai": tsai_windows,
}
