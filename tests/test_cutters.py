"""Arrays have the shapes and dtypes that frames announce, and are views if they can be."""

from itertools import product

import numpy as np
import pytest
from batches import flat

from seqframe import SequenceFramer

MODES = (
    [
        dict(mode="windows", sequence_stride=stride, sampling_rate=rate)
        for stride, rate in product((1, 3), (1, 2))
    ]
    + [dict(mode="prefixes", min_length=2, padding=padding) for padding in ("pre", "post")]
    + [dict(mode="subsequences", num_samples=7, seed=1)]
)
HOW = pytest.mark.parametrize("how", MODES, ids=lambda how: "-".join(map(str, how.values())))
STEPS = 14


def rows(*shape, dtype=float):
    return np.arange(np.prod((STEPS, *shape))).reshape(STEPS, *shape).astype(dtype)


def given_to(framer):
    """Return arguments of `frame`: with and without targets, future and weights."""
    columns = () if framer.layout == "tokens" else (3,)
    images = () if framer.layout == "tokens" else (2, 3)
    given = [
        dict(sequences=rows(dtype=np.int16)),
        dict(sequences=rows(*columns), targets=rows(2, 3), future=rows(4), sample_weight=rows()),
        dict(sequences=rows(*images), targets=rows(2), future=rows(dtype=bool)),
        dict(sequences=rows(*columns), targets=rows(), sample_weight=rows(dtype=int)),
    ]
    if columns:
        given.append(dict(sequences=rows(4), targets=[0, 1, 3], future=rows(2, 2)))
        given.append(dict(sequences=rows(4), targets=[2], sample_weight=rows(dtype="f4")))
    if framer.mode != "subsequences":
        count = framer.geometry.count(STEPS)
        given.append(dict(sequences=rows(*columns), sample_weight=np.arange(100, 100 + count)))
    return given


def all_frames(how):
    """Frame these under every small combination of the framer's arguments."""
    shapes = product((2, 3), ("timesteps", "features", "tokens"), (1, 2), (False, True), (0, 1))
    for length, layout, horizon, each, gap in shapes:
        shape = dict(layout=layout, horizon=horizon, return_sequences=each, gap=gap)
        framer = SequenceFramer(length, **shape, **how)
        yield from (framer.frame(**given) for given in given_to(framer))


@HOW
def test_arrays_have_the_announced_shapes_and_dtypes(how):
    for frames in all_frames(how):
        shapes = [frames.x_shape, frames.y_shape, frames.sample_weight_shape]
        shapes = flat(shape for shape in shapes if shape is not None)
        assert [shape for shape, _ in frames._array_specs] == shapes
        for size, batch in (
            (3, frames[:3]),
            (0, frames[:0]),
            (None, frames[0]),
            (len(frames), frames.arrays()),
        ):
            arrays = flat(batch)
            assert [np.shape(array) for array in arrays] == [
                (*(() if size is None else (size,)), *shape) for shape in shapes
            ]
            assert [array.dtype for array in arrays] == [dtype for _, dtype in frames._array_specs]
        # Batches are gathered, and arrays are views if they can be.
        batches = zip(*(flat(batch) for batch in frames.batches(3)), strict=True)
        for array, parts in zip(flat(frames.arrays()), batches, strict=True):
            np.testing.assert_array_equal(np.concatenate(parts), array, strict=True)


WEIGHTS = np.arange(100.0)
TABLE = np.arange(400.0).reshape(100, 4)


@pytest.mark.parametrize(
    ("arguments", "given", "viewed"),
    [
        (dict(), dict(), True),
        (dict(horizon=3, return_sequences=True), dict(), True),
        (dict(sampling_rate=2), dict(sample_weight=WEIGHTS, future=WEIGHTS), True),
        (dict(), dict(sample_weight=np.ones(97)), True),  # a weight for each frame
        (dict(), dict(targets=[0, 2]), True),  # evenly spaced columns
        (dict(), dict(targets=[3, 2, 1]), True),
        (dict(), dict(targets=[0, 1, 3]), False),  # columns that no slice selects
        (dict(horizon=2), dict(targets=1, sample_weight=WEIGHTS), False),  # their mean
        (dict(horizon=2), dict(targets=[1], sample_weight=WEIGHTS), True),
        (dict(layout="features"), dict(), True),
        (dict(layout="features", sampling_rate=2), dict(), False),  # rows do not follow each other
        (dict(mode="prefixes"), dict(), False),  # filled up
        (dict(mode="subsequences", num_samples=5), dict(), False),  # in no order
        (dict(), dict(valid=np.arange(100) > 3), True),  # one run
        (dict(), dict(valid=np.arange(100) != 50), False),  # two
        (dict(), dict(by=np.zeros(100)), True),  # one group
        (dict(), dict(by=np.arange(100) // 50), False),
    ],
)
def test_arrays_are_views_if_they_can_be(arguments, given, viewed):
    frames = SequenceFramer(3, **arguments).frame(TABLE, **given)
    shares = [np.may_share_memory(array, TABLE) for array in flat(frames.arrays())[:1]]
    assert shares == [viewed]
