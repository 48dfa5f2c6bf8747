"""Frames of a store equal the frames of the same array, and read only what they need."""

import logging
import multiprocessing
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pandas
import pytest

from seqframe import SequenceFramer
from seqframe.framing import batches as batches_module
from seqframe.framing import gather, stored

VALUES = np.random.default_rng(0).normal(size=(203, 3)).astype("float32")
TABLE = pandas.DataFrame(VALUES, columns=[*"abc"])


def assert_same(found, expected):
    """Assert that two nests of arrays have the same values."""
    if isinstance(expected, dict):
        found, expected = (
            [each[name] for name in sorted(each)] for each in (dict(found), expected)
        )
    if isinstance(expected, list | tuple):
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(found, expected, strict=True)


class Noted:
    """An array with chunks that notes which rows are read."""

    chunks = (16, 3)
    ndim = 2

    def __init__(self, values=VALUES):
        self.values, self.shape, self.dtype, self.reads = values, values.shape, values.dtype, []

    def __getitem__(self, rows):
        self.reads.append((rows.start, rows.stop))
        return self.values[rows]


def hdf5(folder, **how):
    h5py = pytest.importorskip("h5py", reason="the store is its dataset")
    with h5py.File(folder / "values.h5", "w") as file:
        file.create_dataset("group/values", data=VALUES, **how)
    return h5py.File(folder / "values.h5", "r")["group/values"]


def compressed(folder):
    return hdf5(folder, chunks=(16, 3), compression="gzip")


def zarr_array(folder):
    zarr = pytest.importorskip("zarr", reason="the store is its array")
    kwargs = {"shape": VALUES.shape, "chunks": (10, 2), "dtype": "float32"}
    array = zarr.create_array(folder / "values.zarr", **kwargs)
    array[:] = VALUES
    return array


def npy(folder):
    np.save(folder / "values.npy", VALUES)
    return folder / "values.npy"


def parquet(folder):
    pytest.importorskip("pyarrow", reason="the store is a Parquet file")
    TABLE.to_parquet(folder / "values.parquet", row_group_size=20)
    return folder / "values.parquet"


STORES = {
    "HDF5": hdf5,
    "HDF5 in chunks": compressed,
    "Zarr": zarr_array,
    "npy": npy,
    "Parquet": parquet,
}
FRAMERS = [
    SequenceFramer(5),
    SequenceFramer(5, sequence_stride=3, sampling_rate=2, horizon=2),
    SequenceFramer(4, return_sequences=True, layout="features"),
    SequenceFramer(3, sampling_rate=30),
    SequenceFramer(5, min_length=2),
    SequenceFramer(5, sequence_stride=5, return_sequences=True, pad_end=True),
    SequenceFramer(6, mode="prefixes", return_sequences=True),
    SequenceFramer(5, mode="subsequences", num_samples=50, seed=3),
]
HOLES = np.where(np.arange(203)[:, None] % 50 == 7, np.nan, VALUES).astype("float32")


def arguments(values):
    """Return the other arguments of `frame`, some of which are stores too."""
    return [
        {},
        {"targets": 1},
        {"targets": [2, 0]},
        {"targets": VALUES[:, 0], "future": values},
        {"sample_weight": np.arange(203.0) + 1},
        {"valid": np.arange(203) % 50 > 1},
    ]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Pages of some rows, so that small stores are large."""
    for module, name, value in (
        (batches_module, "_GATHER_BYTES", 256),
        (gather, "PAGE_BYTES", 256),
        (stored, "PAGE_BYTES", 256),
        (stored, "HELD_BYTES", 1024),
        (stored, "_NEAR_BYTES", 64),
        (stored, "_PIECE_BYTES", 512),
    ):
        monkeypatch.setattr(module, name, value)


def in_batches(frames, index, size=16):
    return [frames[index[k : k + size]] for k in range(0, len(index), size)]


@pytest.mark.parametrize("kind", STORES)
def test_frames_of_a_store_are_the_frames_of_its_array(kind, tmp_path):
    store = STORES[kind](tmp_path)
    given = [*zip(arguments(store), arguments(VALUES), strict=True)]
    # Each read of a Zarr array takes a millisecond.
    cases = product(FRAMERS, given) if kind != "Zarr" else product(FRAMERS[::3], given[::3])
    for framer, (ours, theirs) in cases:
        if kind == "Parquet" and "future" in ours:  # it has the names of the targets
            continue
        frames, expected = framer.frame(store, **ours), framer.frame(VALUES, **theirs)
        assert len(frames) == len(expected)
        for index in slice(None), [3, 1, 4, 1], 7:
            assert_same(frames[index], expected[index])
        assert_same(frames.arrays(), expected.arrays())
        for shuffle in False, "frames":
            kwargs = {"shuffle": shuffle, "seed": 7}
            assert_same([*frames.batches(16, **kwargs)], [*expected.batches(16, **kwargs)])
        if framer.mode == "subsequences":
            continue
        batches = frames.batches(16, shuffle="blocks", seed=7)
        order = batches.order(np.arange(len(frames)), epoch=0)
        assert_same([*batches], in_batches(expected, order))
        assert_same(batches[1], expected[order[16:32]])
        if "sample_weight" not in ours and "valid" not in ours:
            for part, own in zip(frames.split(0.5, 0.5), expected.split(0.5, 0.5), strict=True):
                assert_same(part[:], own[:])
            (_, test), (_, own) = frames.folds(2)[0], expected.folds(2)[0]
            assert_same([*test.batches(7)], [*own.batches(7)])
        assert_same(frames.subset([5, 9, 2])[:], expected.subset([5, 9, 2])[:])
        assert_same(frames.shard(2, 1)[:], expected.shard(2, 1)[:])


@pytest.mark.parametrize("kind", STORES)
def test_several_stores_are_several_sequences(kind, tmp_path):
    parts = []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        parts.append(STORES[kind](tmp_path / str(number)))
    frames, expected = SequenceFramer(5).frame(parts), SequenceFramer(5).frame([VALUES] * 3)
    assert_same([*frames.batches(16)], [*expected.batches(16)])
    batches = frames.batches(16, shuffle="blocks", seed=1)
    order = batches.order(np.arange(len(frames)), epoch=0)
    assert_same([*batches], in_batches(expected, order))
    apart = SequenceFramer(5, sequence_stride=5)
    assert_same([*apart.frame(parts).lanes(4)], [*apart.frame([VALUES] * 3).lanes(4)])
    named = SequenceFramer(5).frame({"a": parts[0], "b": parts[1]})
    assert set(named.labels().tolist()) == {"a", "b"}


def test_columns_and_groups_of_a_parquet_file_are_read_by_name(tmp_path):
    table = TABLE.assign(store=["north"] * 80 + ["south"] * 123, count=np.arange(203))
    table["day"] = pandas.date_range("2026-01-01", periods=203, tz="UTC")
    table["kind"] = table["store"].astype("category")
    table.to_parquet(tmp_path / "table.parquet", row_group_size=20)
    kwargs = {"columns": ["a", "count"], "target_columns": "b", "by": "store"}
    frames, expected = (
        SequenceFramer(4, **kwargs).frame(one) for one in (tmp_path / "table.parquet", table)
    )
    assert_same([*frames.batches(16)], [*expected.batches(16)])
    assert_same(frames.labels(), expected.labels())
    assert frames.framer == expected.framer
    with pytest.raises(TypeError, match=r"'store' \(.*'day' .*'kind' .*`columns=\['a'"):
        SequenceFramer(4).frame(tmp_path / "table.parquet")


def test_missing_values_are_found_in_pieces():
    noted = Noted(HOLES)
    frames = SequenceFramer(5).frame(noted, skip_nan=True)
    assert_same(frames[:], SequenceFramer(5).frame(HOLES, skip_nan=True)[:])


# --- What is read.


def test_framing_reads_nothing_and_a_batch_what_it_needs():
    noted = Noted()
    frames = SequenceFramer(5).frame(noted)
    assert len(frames) == 198
    assert noted.reads == []
    frames[100:104]
    assert noted.reads == [(100, 108), (105, 109)]  # inputs, and targets
    noted.reads.clear()
    frames.describe(1)
    assert noted.reads == [(0, 5), (5, 6)]


@pytest.mark.parametrize("shuffle", [False, "blocks"])
def test_an_epoch_reads_each_page_once(shuffle):
    noted = Noted()
    frames = SequenceFramer(5).frame(noted)
    for _ in frames.batches(8, shuffle=shuffle, seed=3):
        pass
    begins = sorted(start for start, _ in noted.reads)
    assert begins == [*range(0, 198, 32)]  # pages of two chunks
    assert max(stop - start for start, stop in noted.reads) == 32 + 5


@pytest.mark.parametrize("shuffle", [False, "blocks"])
def test_few_pages_are_in_memory(shuffle, monkeypatch):
    made, memory_of = [], stored._Memory
    monkeypatch.setattr(stored, "HELD_BYTES", 2048)
    monkeypatch.setattr(stored, "_Memory", lambda *args: made.append(memory_of(*args)) or made[-1])
    for _ in SequenceFramer(5).frame(Noted()).batches(8, shuffle=shuffle, seed=3):
        pass
    (memory,) = made  # inputs and targets share it
    assert memory._rows.nbytes <= 2048 * 5 / 4


def test_threads_share_pages():
    frames = SequenceFramer(5).frame(Noted())
    batches = frames.batches(8, shuffle="blocks", seed=3)
    numbers = [*range(len(batches))] * 8
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(batches.__getitem__, numbers)]
    assert_same(
        found, [frames[batches.order(np.arange(8 * k, min(8 * k + 8, 198)), 0)] for k in numbers]
    )


def test_a_shard_reads_few_weights_before_they_are_needed():
    values = np.linspace(1, 2, 2000, dtype="float32")
    noted = Noted(values)
    given, expected = (SequenceFramer(5).frame(values, sample_weight=w) for w in (noted, values))
    noted.reads.clear()
    parts = [given.shard(4, index) for index in range(4)]
    assert sum(stop - start for start, stop in noted.reads) < 4 * 100
    for index, part in enumerate(parts):
        assert_same(part[:], expected.shard(4, index)[:])
    assert len(parts[3][:][2]) == len(parts[0])  # a frame of weight 0 makes them equally large


# --- The order of blocks.


def test_blocks_are_a_function_of_seed_and_epoch():
    frames = SequenceFramer(5).frame(Noted())
    one, again = (frames.batches(16, shuffle="blocks", seed=7, epoch=2) for _ in range(2))
    assert_same([*one], [*again])
    orders = [
        frames.batches(16, shuffle="blocks", seed=seed, epoch=epoch).order(np.arange(198), epoch)
        for seed, epoch in ((7, 2), (7, 3), (8, 2))
    ]
    assert len({tuple(order.tolist()) for order in orders}) == 3
    for order in orders:
        assert sorted(order.tolist()) == [*range(198)]


def test_blocks_are_resumed_and_shared_out():
    frames = SequenceFramer(5).frame(Noted())
    kwargs = {"shuffle": "blocks", "seed": 7}
    batches, again = (frames.batches(16, **kwargs) for _ in range(2))
    for _ in range(3):
        next(batches)
    again.set_state(batches.get_state())
    assert_same([*again], [*batches])
    with pytest.raises(ValueError, match="shuffle"):
        frames.batches(16, shuffle="frames", seed=7).set_state(batches.get_state())
    shards = [[*frames.batches(1, **kwargs).shard(3, k)] for k in range(3)]
    seen = [shards[n % 3][n // 3] for n in range(198)]
    assert_same(seen, [*frames.batches(1, **kwargs)])


def test_an_array_has_blocks_too():
    frames = SequenceFramer(5).frame(VALUES)
    batches = frames.batches(16, shuffle="blocks", seed=7)
    order = batches.order(np.arange(198), 0)
    assert not np.array_equal(order, frames.batches(16, shuffle=True, seed=7).order(order, 0))
    assert_same([*batches], in_batches(frames, order))


@pytest.mark.parametrize("library", ["tensorflow", "torch", "grain"])
def test_datasets_of_other_libraries_shuffle_blocks(library):
    module = pytest.importorskip(library, reason="the store is of this library")
    noted = Noted()
    frames, kwargs = SequenceFramer(5).frame(noted), {"shuffle": "blocks", "seed": 7}
    expected = [*frames.batches(16, **kwargs)]
    noted.reads.clear()
    if library == "tensorflow":
        found = [tuple(part.numpy() for part in batch) for batch in frames.to_tf(16, **kwargs)]
    elif library == "grain":
        found = [*frames.to_grain(16, **kwargs)]
    else:
        dataset = frames.to_torch()
        loader = module.utils.data.DataLoader(
            dataset,
            batch_sampler=dataset.sampler(16, **kwargs),
            collate_fn=dataset.collate,
        )
        found = [tuple(part.numpy() for part in batch) for batch in loader]
    assert_same(found, expected)
    # Threads of Grain may read a page at the same time.
    assert len(set(noted.reads) if library == "grain" else noted.reads) == 7  # pages


def test_blocks_are_said_once_and_only_for_large_stores(caplog, monkeypatch):
    frames = SequenceFramer(5).frame(Noted())
    with caplog.at_level(logging.WARNING, "seqframe"):
        frames.batches(16, shuffle="blocks")
        frames.batches(16, shuffle="frames")
        frames.batches(16)
        assert not caplog.records
        for _ in range(2):
            assert frames.batches(16, shuffle=True, seed=1).order.blocks is not None
        assert len(caplog.records) == 1
        assert 'shuffle="frames"' in caplog.text
        monkeypatch.setattr(stored, "HELD_BYTES", 2**20)
        small = SequenceFramer(5).frame(Noted()).batches(16, shuffle=True, seed=1)
        assert small.order.blocks is None
        assert len(caplog.records) == 1


def test_a_wrong_shuffle_is_refused():
    frames = SequenceFramer(5).frame(VALUES)
    with pytest.raises(ValueError, match=r"`shuffle` must be one of \('blocks', 'frames'\)"):
        frames.batches(16, shuffle="batch")
    drawn = SequenceFramer(5, mode="subsequences", num_samples=9).frame(VALUES)
    with pytest.raises(ValueError, match="random subsequences"):
        drawn.batches(4, shuffle="blocks")


# --- Pickles and workers.


@pytest.mark.parametrize("kind", ["npy", "a part", "columns", "backwards", "repeated weights"])
def test_a_memory_map_is_pickled_as_its_place(kind, tmp_path):
    values = np.lib.format.open_memmap(tmp_path / "big.npy", "w+", "float32", (2**22, 4))
    values[:: 2**12] = np.arange(2**10, dtype="float32")[:, None]
    values.flush()
    values = np.load(tmp_path / "big.npy", mmap_mode="r")
    framer, rows, kwargs = SequenceFramer(3), values, {}
    if kind == "a part":
        rows = values[5000:, 1:3]
    elif kind == "columns":
        kwargs = {"targets": 2}
    elif kind == "backwards":
        rows = values[::-1]
    elif kind == "repeated weights":
        framer = SequenceFramer(3, pad_end=True, sequence_stride=3, return_sequences=True)
    frames = framer.frame(rows, **kwargs)
    if kind == "columns":
        frames = frames.split(0.5, 0.5)[1]
    content = pickle.dumps(frames)
    assert len(content) < 100_000
    again = pickle.loads(content)
    index = np.arange(0, len(frames), len(frames) // 50)
    assert_same(again[index], frames[index])
    assert len(pickle.dumps(again)) < 100_000


def read_in_worker(frames, k):
    return frames[k]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_open_the_files_again(start, tmp_path):
    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{sys.platform} cannot {start}")
    all_frames = []
    for number, make in enumerate(STORES.values()):
        (tmp_path / str(number)).mkdir()
        frames = SequenceFramer(5).frame(make(tmp_path / str(number)))
        frames[:3]  # the parent has read, too
        assert len(pickle.dumps(frames)) < 100_000
        all_frames.append(frames)
    asked = [(frames, slice(k, k + 9)) for frames in all_frames for k in range(0, 190, 30)]
    with multiprocessing.get_context(start).Pool(2) as pool:
        for found, (frames, k) in zip(pool.starmap(read_in_worker, asked), asked, strict=True):
            assert_same(found, frames[k])


def test_a_closed_file_is_opened_again(tmp_path):
    store = hdf5(tmp_path)
    frames = SequenceFramer(5).frame(store)
    store.file.close()
    assert_same(frames[:9], SequenceFramer(5).frame(VALUES)[:9])


# --- Bad input.


def test_a_file_that_changed_its_size_is_named(tmp_path):
    frames = SequenceFramer(5).frame(npy(tmp_path))
    content = pickle.dumps(frames)
    np.save(tmp_path / "values.npy", VALUES[:100])
    with pytest.raises(ValueError, match=r"values\.npy, which was 2564 bytes .* 1328 bytes"):
        pickle.loads(content)
    (tmp_path / "values.npy").unlink()
    with pytest.raises(ValueError, match=r"needs its file.*values\.npy"):
        pickle.loads(content)


def test_a_store_that_changed_its_length_is_named(tmp_path):
    h5py = pytest.importorskip("h5py", reason="the store is its dataset")
    file = h5py.File(tmp_path / "growing.h5", "w")
    store = file.create_dataset("values", data=VALUES, maxshape=(None, 3))
    frames = SequenceFramer(5).frame(store)
    content = pickle.dumps(frames)
    store.resize(210, axis=0)
    with pytest.raises(ValueError, match=r"growing\.h5.*was \(203, 3\) and is \(210, 3\)"):
        frames[:]
    file.close()
    with pytest.raises(ValueError, match=r"growing\.h5.*'/values'"):
        pickle.loads(content)
    short = Noted()
    frames = SequenceFramer(5).frame(short)
    short.values = VALUES[:50]
    with pytest.raises(ValueError, match="must keep its rows"):
        frames[:]


def test_what_cannot_be_opened_again_is_not_pickled(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", reason="it writes the file")
    opened = pq.ParquetFile(parquet(tmp_path))
    frames = SequenceFramer(5).frame(opened)
    assert_same(frames[:], SequenceFramer(5).frame(VALUES)[:])
    with pytest.raises(TypeError, match=r"`pathlib\.Path\(name\)`"):
        pickle.dumps(frames)
    h5py = pytest.importorskip("h5py", reason="the store is its dataset")
    memory = h5py.File("none.h5", "w", driver="core", backing_store=False)
    memory["values"] = VALUES
    frames = SequenceFramer(5).frame(memory["values"])
    with pytest.raises(TypeError, match="Write it to a file"):
        pickle.dumps(frames)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda folder: hdf5(folder).file, r"`file\[name\]`"),
        (lambda folder: Path(folder / "values.csv"), r"\.npy or a \.parquet"),
        (lambda folder: [Path(folder / "a.npy"), Path(folder / "values.h5")], r"a\.npy|values\.h5"),
    ],
)
def test_what_is_no_store_is_refused(make, match, tmp_path):
    with pytest.raises((TypeError, ValueError, FileNotFoundError), match=match):
        SequenceFramer(5).frame(make(tmp_path))


def test_a_store_of_text_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py", reason="the store is its dataset")
    with h5py.File(tmp_path / "text.h5", "w") as file:
        file["text"] = ["a", "b", "c"]
        with pytest.raises(TypeError, match="must hold numbers"):
            SequenceFramer(1).frame(file["text"])


@pytest.mark.parametrize(
    ("module", "name", "way_out"),
    [
        ("dask.dataframe.dask_expr._collection", "DataFrame", "table.compute"),
        ("pyspark.sql.classic.dataframe", "DataFrame", "table.toPandas"),
    ],
)
def test_lazy_tables_name_the_way_out(module, name, way_out):
    # Neither library is among the test requirements. A type is known by its module.
    table = type(name, (), {"__module__": module, "columns": ["a"]})()
    with pytest.raises(TypeError, match=rf"lazy table.*`{way_out}\(\)`.*Parquet"):
        SequenceFramer(5).frame(table)
