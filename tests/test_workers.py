"""Workers that are forked or spawned see the same frames as their parent."""

import multiprocessing
import sys

import numpy as np
import pandas
import pytest
from batches import assert_same

from seqframe import SequenceFramer

pytestmark = pytest.mark.once

STEPS = np.arange(60, dtype="float32")


def on_disk(folder):
    path = folder / "steps.bin"
    STEPS.tofile(path)
    return SequenceFramer(3).frame(np.memmap(path, "float32", "r"))


def panel(folder):
    table = pandas.DataFrame({"store": ["a"] * 40 + ["b"] * 20, "units": STEPS, "price": -STEPS})
    return SequenceFramer(2).frame(table, targets="units", by="store", skip_nan=True)


KINDS = {
    "an array": lambda folder: SequenceFramer(3).frame(STEPS, future=STEPS, sample_weight=STEPS),
    "a file": on_disk,
    "a panel": panel,
    "text": lambda folder: SequenceFramer(4, mode="prefixes").frame("to be or not to be"),
    "a part of a split": lambda folder: SequenceFramer(3).frame(STEPS).split(0.5, 0.5)[1],
    "random": lambda folder: SequenceFramer(5, mode="subsequences", num_samples=30, seed=7).frame(
        STEPS
    ),
    "random, without a seed": lambda folder: SequenceFramer(
        5, mode="subsequences", num_samples=30
    ).frame(STEPS),
}


# Python, and JAX, warn of forks where threads run.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_see_the_frames_of_their_parent(start, tmp_path):
    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{sys.platform} cannot {start}")
    index = [slice(None), 3, np.array([4, 0, 4])]
    with multiprocessing.get_context(start).Pool(2) as pool:
        for make in KINDS.values():
            frames = make(tmp_path)
            batches = frames.batches(4, shuffle=True, seed=7)
            next(batches)
            for one, rest in ((frames, index), (batches, range(len(batches)))):
                for found, k in zip(pool.map(one.__getitem__, rest), rest, strict=True):
                    assert_same(found, one[k])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
def test_keras_workers_feed_each_frame_once(processes):
    keras = pytest.importorskip("keras")
    dataset = SequenceFramer(1).frame(STEPS).dataset(7, shuffle=True, seed=7)
    dataset.workers, dataset.use_multiprocessing = 2, processes
    model = keras.Sequential([keras.Input((1, 1)), keras.layers.Rescaling(1.0)])
    model.compile()
    predicted = model.predict(dataset, verbose=0)
    seen = predicted.ravel().tolist()
    expected = [
        x.ravel() for x, _ in SequenceFramer(1).frame(STEPS).batches(7, shuffle=True, seed=7)
    ]
    assert seen == np.concatenate(expected).tolist()
    assert sorted(seen) == STEPS[:-1].tolist()
