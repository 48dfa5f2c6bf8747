"""Frames that touch a missing step are left out, and no others."""

from collections import Counter
from contextlib import nullcontext
from itertools import product

import numpy as np
import pytest
from batches import assert_same, peak_memory

from seqframe import SequenceFramer
from seqframe.framing import geometry, index

NAN = np.nan

# --- The oracle: plain framing. Frames are kept if they touch no missing step.

FRAMERS = [
    *(
        dict(mode="windows", sequence_length=length, sequence_stride=stride, sampling_rate=rate)
        for length, stride, rate in product((1, 3), (1, 2, 4), (1, 2))
    ),
    *(
        dict(mode="prefixes", sequence_length=length, min_length=least, padding=padding)
        for (length, least), padding in product(((1, 1), (3, 1), (3, 2), (3, 3)), ("pre", "post"))
    ),
]
AHEAD = [
    dict(horizon=horizon, gap=gap, return_sequences=return_sequences)
    for horizon, gap, return_sequences in product((1, 2), (-1, 0, 1, 2), (False, True))
]


def listed(rows):
    return rows if isinstance(rows, list) else [rows]


def whole_frames(frames, data, targets=None, future=None, sample_weight=None, valid=None):
    """Return the numbers of the frames whose touched steps are all there."""
    predicted = (data if targets is None else targets, future, sample_weight)
    kept = []
    for i in range(len(frames)):
        k, inputs, ahead = frames.steps(i)
        ahead = ahead.ravel()
        read = [listed(data)[k][inputs]]
        read += [listed(rows)[k][ahead] for rows in predicted if rows is not None]
        allowed = valid is None or listed(valid)[k][[*inputs, *ahead]].all()
        if allowed and not any(np.isnan(rows).any() for rows in read):
            kept.append(i)
    return kept


def assert_skips_missing_steps(framer, data, **given):
    """Compare skipping with plain framing; return how many frames are left, and how many were."""
    valid = given.pop("valid", None)
    plain = framer.frame(data, **given)
    kept = whole_frames(plain, data, valid=valid, **given)
    if not kept:
        with pytest.raises(ValueError, match=r"No frame is left"):
            framer.frame(data, valid=valid, skip_nan=True, **given)
        return 0, len(plain)
    every, whole = ({plain.steps(i)[0] for i in some} for some in (range(len(plain)), kept))
    warned = pytest.warns(UserWarning, match="left out: .*missing step in every frame")
    with warned if every - whole else nullcontext():
        frames = framer.frame(data, valid=valid, skip_nan=True, **given)
    assert len(frames) == len(kept)
    lost = [plain.steps(i)[0] for i in range(len(plain)) if i not in kept]
    assert frames.left_out.frames == sum(k in whole for k in lost)
    assert frames.left_out.missing == tuple(sorted(every - whole))
    assert_same(frames.arrays(), plain[kept])
    assert_same(frames[::-1], plain[kept[::-1]])
    for i, number in enumerate(kept):
        (k, inputs, ahead), (k0, inputs0, ahead0) = frames.steps(i), plain.steps(number)
        assert (k, inputs.tolist(), ahead.tolist()) == (k0, inputs0.tolist(), ahead0.tolist())
    assert frames.lengths().tolist() == plain.lengths(kept).tolist()
    # A run begins wherever a frame does not follow the one before.
    owner = [plain.steps(number)[0] for number in kept]
    jumps = [
        i
        for i in range(len(kept))
        if i == 0 or kept[i] != kept[i - 1] + 1 or owner[i] != owner[i - 1]
    ]
    assert frames._breaks.tolist() == jumps
    return len(kept), len(plain)


def sequence(steps, lost, columns=()):
    """Return distinct values, NaN at the `lost` steps, in one of the columns each."""
    values = np.arange(100.0, 100 + steps * np.prod(columns, dtype=int)).reshape(steps, *columns)
    for number, step in enumerate(lost):
        values[(step, *(number % size for size in columns))] = NAN
    return values


# --- Windows and prefixes.


@pytest.mark.parametrize("how", FRAMERS, ids=lambda how: "-".join(map(str, how.values())))
def test_frames_without_missing_steps_stay(how):
    cases = [
        dict(data=sequence(17, [5, 12])),
        dict(data=sequence(17, [0, 16])),  # the first and the last step
        dict(data=sequence(17, []), targets=sequence(17, [8])),
        dict(
            data=sequence(17, [13]), future=sequence(20, [1, 18]), sample_weight=sequence(17, [9])
        ),
        dict(data=np.arange(17), valid=np.arange(17) % 11 != 6),
        dict(
            data=[sequence(17, [7], (2,)), sequence(14, [], (2,)), sequence(15, [2, 13], (2,))],
            targets=[sequence(17, []), sequence(14, [3]), sequence(15, [9])],
            future=[sequence(17, [4], (2,)), sequence(15, [14], (2,)), sequence(15, [], (2,))],
            sample_weight=[sequence(17, []), sequence(14, [13]), sequence(15, [])],
            valid=[np.arange(17) > 1, np.arange(14) != 8, np.ones(15, bool)],
        ),
    ]
    left, all_ = 0, 0
    for ahead, case in product(AHEAD, cases):
        counts = assert_skips_missing_steps(SequenceFramer(**how, **ahead), **case)
        left, all_ = left + counts[0], all_ + counts[1]
    assert 0 < left < all_


@pytest.mark.parametrize(
    "framer",
    [
        SequenceFramer(2),
        SequenceFramer(2, sampling_rate=2, horizon=2),
        SequenceFramer(1, sequence_stride=2, gap=1),
        SequenceFramer(2, gap=-1, return_sequences=True),
        SequenceFramer(3, mode="prefixes"),
        SequenceFramer(3, mode="prefixes", min_length=2, return_sequences=True),
    ],
    ids=repr,
)
def test_every_pattern_of_missing_steps(framer):
    for lost in product((False, True), repeat=7):
        data = np.where(lost, NAN, np.arange(7.0))
        assert_skips_missing_steps(framer, data)
        assert_skips_missing_steps(framer, np.arange(7), valid=~np.array(lost))


@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_size_of_chunks_does_not_matter(monkeypatch, chunk):
    rng = np.random.default_rng(chunk)
    data = np.where(rng.random((40, 2)) < 0.03, NAN, rng.random((40, 2)))
    targets = np.where(rng.random(40) < 0.05, NAN, rng.random(40))
    framers = [SequenceFramer(**how, **ahead) for how, ahead in product(FRAMERS, AHEAD)]
    framers += [
        SequenceFramer(4, mode="subsequences", num_samples=40, min_length=least, seed=7)
        for least in (1, 3)
    ]
    whole = [framer.frame(data, targets, skip_nan=True) for framer in framers]
    monkeypatch.setattr(index, "_CHUNK", chunk)
    monkeypatch.setattr(geometry, "_CHUNK", chunk)
    for framer, expected in zip(framers, whole, strict=True):
        frames = framer.frame(data, targets, skip_nan=True)
        assert frames._breaks.tolist() == expected._breaks.tolist()
        assert_same(frames.arrays(), expected.arrays())


# --- Subsequences: the whole stretch from first input to last target is there.


@pytest.mark.parametrize("gap", [-1, 0, 1, 2])
@pytest.mark.parametrize("horizon", [1, 2])
@pytest.mark.parametrize("least", [1, 2])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_subsequences_are_drawn_between_missing_steps(gap, horizon, least, return_sequences):
    data = [sequence(20, [6, 7, 15]), sequence(9, [0, 8])]
    targets = [sequence(20, [14]), sequence(9, [])]
    weights = [sequence(20, [13]), sequence(9, [])]
    valid = [np.arange(20) != 18, np.ones(9, bool)]
    free = [
        ~(np.isnan(x) | np.isnan(y) | np.isnan(w)) & v
        for x, y, w, v in zip(data, targets, weights, valid, strict=True)
    ]
    ahead = max(gap + horizon, 0)
    fitting = {
        (k, start): [
            length
            for length in range(least, 4)
            if start + length + ahead <= len(free[k]) and free[k][start:][: length + ahead].all()
        ]
        for k in range(2)
        for start in range(len(free[k]))
    }
    fitting = {place: lengths for place, lengths in fitting.items() if lengths}
    samples = 300 * len(fitting)
    framer = SequenceFramer(
        3,
        mode="subsequences",
        num_samples=samples,
        min_length=least,
        horizon=horizon,
        gap=gap,
        return_sequences=return_sequences,
        padding_value=-1,
        seed=3,
    )
    frames = framer.frame(data, targets, sample_weight=weights, valid=valid, skip_nan=True)
    located = frames._locate(np.arange(samples))
    places = located.sequence, located.inputs.start, located.inputs.length
    drawn = Counter(zip(*(part.tolist() for part in places), strict=True))
    assert set(drawn) == {(*place, length) for place, all_ in fitting.items() for length in all_}
    for place, fit in fitting.items():
        counts = [drawn[(*place, length)] for length in fit]
        assert abs(sum(counts) - 300) < 5 * 300**0.5  # five standard deviations
        assert np.abs(np.array(counts) - sum(counts) / len(fit)).max() < 5 * 300**0.5
    assert not any(np.isnan(array).any() for array in frames.arrays())
    for i in range(15):
        x, y, weight = frames[i]
        k, inputs, ahead_steps = frames.steps(i)
        real = frames.mask(i)[0]
        np.testing.assert_array_equal(x[real, 0], data[k][inputs])
        shown = y[real] if return_sequences else y
        np.testing.assert_array_equal(shown.ravel(), targets[k][ahead_steps].ravel())
        mean = weights[k][ahead_steps].mean(axis=-1)
        np.testing.assert_allclose(weight[real] if return_sequences else weight, mean)


def test_frame_raises_for_missing_steps_of_a_cycle():
    framer = SequenceFramer(3, mode="subsequences", num_samples=5, wrap=True, seed=1)
    for missing_steps in (dict(skip_nan=True), dict(valid=np.array([True, True, True, False]))):
        with pytest.raises(ValueError, match=r"`wrap=True`.*Leave"):
            framer.frame(sequence(4, [1]), **missing_steps)
    with pytest.raises(ValueError, match=r"Received: missing steps in sequence 'b'"):
        framer.frame(sequence(4, [3]), by=np.array(["a", "a", "b", "b"]), skip_nan=True)
    clean = framer.frame(np.arange(4.0), skip_nan=True, valid=np.ones(4, bool))
    assert_same(clean.arrays(), framer.frame(np.arange(4.0)).arrays())


# --- Which values are missing.


@pytest.mark.parametrize(
    ("values", "lost"),
    [
        (np.array([1, NAN, 3, 4, 5], np.float16), [1]),
        (np.array([1, 2, complex(0, NAN), 4, 5], np.complex64), [2]),
        (np.array([1, np.inf, -np.inf, 0, -0.0]), []),  # infinity is a value
        (np.array(["2026", "NaT", "2028", "2029", "2030"], "M8[Y]"), [1]),
        (np.array([1, 2, 3, 4, 5], np.uint8), []),
        (np.array([True, False, True, True, False]), []),
        (np.array([1.0, NAN, 3, 4, 5])[::-1], [3]),
        (np.full((5, 2, 3), 1.0) * [[[1]], [[1]], [[1]], [[1]], [[NAN]]], [4]),
    ],
    ids=["float16", "complex", "inf", "dates", "uint8", "bool", "reversed", "images"],
)
def test_values_that_count_as_missing(values, lost):
    framer = SequenceFramer(1, gap=-1)
    frames = framer.frame([values], skip_nan=True)
    assert [frames.steps(i).inputs[0] for i in range(len(frames))] == [
        step for step in range(5) if step not in lost
    ]
    assert frames.arrays()[0].dtype == values.dtype


def test_only_steps_that_are_read_can_be_missing():
    # A target is read at its own step, an input at its own.
    inputs, targets = sequence(6, [5]), sequence(6, [0, 1])
    assert len(SequenceFramer(2).frame(inputs, targets, skip_nan=True)) == 4
    # Columns that are no target are not read as one, and the last step is no input.
    table = sequence(6, [5], (3,))
    for columns, left in ((1, 4), ([1, 2], 4), ([0], 3), ([1, 0], 3)):
        assert len(SequenceFramer(2).frame(table, columns, skip_nan=True)) == left
    wide = sequence(6, [5], (4,))
    for columns, left in (([1, 2, 0], 3), ([3, 1, 2], 4)):
        assert len(SequenceFramer(2).frame(wide, columns, skip_nan=True)) == left
    # What lies beyond the sequence is no frame's.
    assert (
        len(SequenceFramer(2).frame(np.zeros(6), future=sequence(9, [6, 7, 8]), skip_nan=True)) == 4
    )
    # Without `skip_nan`, what is not valid is left out, and NaN stays.
    frames = SequenceFramer(2).frame(sequence(6, [0]), valid=np.arange(6) < 5)
    assert len(frames) == 3
    assert np.isnan(frames[0][0]).any()


# --- Parts and errors.


@pytest.mark.parametrize(
    "given",
    [
        dict(sequences=np.full(9, NAN), skip_nan=True),
        dict(sequences=[np.full(9, NAN), np.full(9, NAN)], skip_nan=True),
        dict(sequences=np.zeros(9), valid=np.zeros(9, bool)),
        dict(sequences=np.zeros(9), targets=np.full(9, NAN), skip_nan=True),
        dict(sequences=np.arange(9.0), valid=np.arange(9) % 3 > 0),  # no three in a row
    ],
)
def test_frame_raises_if_no_subsequence_is_left(given):
    framer = SequenceFramer(2, mode="subsequences", min_length=2, num_samples=5)
    with pytest.raises(ValueError, match=r"No frame is left.*`skip_nan`.*`valid`"):
        framer.frame(**given)


def test_split_raises_if_a_part_loses_all_frames():
    frames = SequenceFramer(2).frame(sequence(20, range(10, 20)), skip_nan=True)
    for cut, part in (
        (lambda: frames.split(0.5, 0.5), "Part 1 of the split"),
        (lambda: frames.folds(1, test_size=8), "The test part of fold 0"),
    ):
        with pytest.raises(ValueError, match=f"{part} has no frame: .* missing.*Give it more"):
            cut()


@pytest.mark.parametrize("weights", [np.ones(7), [np.ones(7)]])
@pytest.mark.parametrize("given", [dict(skip_nan=True), dict(valid=np.ones(9, bool))])
def test_skipping_frames_needs_weights_for_steps(given, weights):
    with pytest.raises(
        ValueError, match=r"one number for each of the 9 steps. Received: 7 numbers"
    ):
        SequenceFramer(2).frame(np.arange(9.0), sample_weight=weights, **given)


# --- Memory.


@pytest.mark.parametrize(
    "framer",
    [SequenceFramer(100), SequenceFramer(50, mode="prefixes", return_sequences=True)],
    ids=lambda framer: framer.mode,
)
@pytest.mark.parametrize("shape", [(8_000_000,), (80_000, 100), (800, 10_000)], ids=str)
def test_search_for_missing_steps_copies_nothing(tmp_path, shape, framer):
    data = np.memmap(tmp_path / "data", np.float32, "w+", shape=shape)
    data[150] = NAN
    targets = [0, 1, 3] if len(shape) == 2 else None
    valid = np.ones(len(data), bool)
    frames = []

    def look():
        frames.append(framer.frame(data, targets, valid=valid, skip_nan=True))

    assert peak_memory(look) < data.nbytes / 8
    assert np.shares_memory(frames[0].source.inputs.arrays[0], data)
    assert frames[0]._counts.sum() < framer.geometry.count(len(data))
