"""Frames equal plain Python slices, for every small combination of the framer's arguments."""

import json
import re
from itertools import chain, product

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqframe import SequenceFramer, Vocabulary

LIBRARIES = pytest.mark.parametrize("library", [pd, pl])

# --- The oracle: the contract in plain loops over lists, without NumPy or the package.


def naive_inputs(framer, steps):
    """Return the input steps of each frame that might fit a sequence of `steps`."""
    length, rate = framer.sequence_length, framer.sampling_rate
    if framer.mode == "windows":
        starts = range(0, steps, framer.sequence_stride)
        return [[start + rate * k for k in range(length)] for start in starts]
    return [list(range(max(0, t - length), t)) for t in range(framer.min_length or 1, steps + 1)]


def naive_targets(framer, inputs):
    """Return the target steps of a frame: a list for each step that has a target."""
    lasts = inputs if framer.return_sequences else inputs[-1:]
    return [[last + framer.gap + 1 + k for k in range(framer.horizon)] for last in lasts]


def naive_steps(framer, steps):
    """Return `(input steps, target steps)` of each frame whose every step exists."""
    pairs = [(inputs, naive_targets(framer, inputs)) for inputs in naive_inputs(framer, steps)]
    return [(x, y) for x, y in pairs if max(*x, *chain(*y)) < steps]


def naive_frame(framer, values, target_values, inputs, targets):
    """Return `(x, y)` of one frame as nested lists."""
    x = [values[step] for step in inputs]
    y = [[target_values[step] for step in steps] for steps in targets]
    if framer.horizon == 1:
        y = [steps[0] for steps in y]
    missing = framer.sequence_length - len(x)
    x = padded(framer, x, missing)
    y = padded(framer, y, missing) if framer.return_sequences else y[0]
    if framer.layout == "features":
        x = [list(chain(*x)) if isinstance(x[0], list) else x]
    if framer.layout == "timesteps" and not isinstance(x[0], list):
        x = [[step] for step in x]
    return x, y


def padded(framer, steps, missing):
    fill = [blank(steps[0], framer.padding_value)] * missing
    return fill + steps if framer.padding == "pre" else steps + fill


def blank(like, value):
    return [blank(part, value) for part in like] if isinstance(like, list) else value


# --- Frames compared with the oracle.


def assert_frames_are_slices(framer, arrays, targets=None):
    """Frame arrays, and compare every way to the frames with the oracle."""
    given = arrays[0] if len(arrays) == 1 else arrays
    steps = [naive_steps(framer, len(array)) for array in arrays]
    given_targets = targets[0] if targets and len(targets) == 1 else targets
    if not any(steps):
        with pytest.raises(ValueError, match="No frame fits"):
            framer.frame(given, given_targets)
        return
    if all(steps):
        frames = framer.frame(given, given_targets)
    else:
        message = rf"{steps.count([])} of {len(steps)} sequences .* left out: .* too short \("
        with pytest.warns(UserWarning, match=message):
            frames = framer.frame(given, given_targets)
    expected = [
        naive_frame(framer, array.tolist(), target.tolist(), inputs, outputs)
        for array, target, pairs in zip(arrays, targets or arrays, steps, strict=True)
        for inputs, outputs in pairs
    ]
    X, y = frames.arrays()
    assert X.tolist() == [x for x, _ in expected]
    assert y.tolist() == [y for _, y in expected]
    assert (X.dtype, y.dtype) == (arrays[0].dtype, (targets or arrays)[0].dtype)
    assert_steps(framer, frames, steps)
    assert_every_way_agrees(frames, X, y)


def assert_steps(framer, frames, steps):
    numbered = [(k, *pair) for k, pairs in enumerate(steps) for pair in pairs]
    found = [frames.steps(i) for i in range(len(frames))]
    assert [(f.sequence, f.inputs.tolist()) for f in found] == [(k, x) for k, x, _ in numbered]
    assert [np.atleast_2d(f.targets).tolist() for f in found] == [y for _, _, y in numbered]
    assert frames.lengths().tolist() == [len(x) for _, x, _ in numbered]
    real = [[True] * len(x) + [False] * (framer.sequence_length - len(x)) for _, x, _ in numbered]
    side = -1 if framer.padding == "pre" else 1
    assert frames.mask().tolist() == [row[::side] for row in real]


def assert_every_way_agrees(frames, x, y):
    """Compare every way to the frames with all of them, `(x, y)`."""
    size = len(frames)
    assert x.shape == (size, *frames.x_shape)
    assert y.shape == (size, *frames.y_shape)
    some = np.arange(size)[::-2]
    ways = {
        "all": (frames[:], slice(None)),
        "slice": (frames[1:-1:2], slice(1, -1, 2)),
        "backwards": (frames[::-1], slice(None, None, -1)),
        "list": (frames[some.tolist()], some),
        "array": (frames[some - size], some),
        "mask": (frames[np.arange(size) % 3 == 1], np.arange(size) % 3 == 1),
        "none": (frames[[]], []),
    }
    for way, ((some_x, some_y), index) in ways.items():
        np.testing.assert_array_equal(some_x, x[index], err_msg=way)
        np.testing.assert_array_equal(some_y, y[index], err_msg=way)
        assert (some_x.dtype, some_y.dtype) == (x.dtype, y.dtype)
    for i in (0, size // 2, -1):
        one_x, one_y = frames[i]
        np.testing.assert_array_equal(one_x, x[i])
        np.testing.assert_array_equal(one_y, y[i])
    batches = list(frames.batches(3))
    np.testing.assert_array_equal(np.concatenate([some_x for some_x, _ in batches]), x)
    np.testing.assert_array_equal(np.concatenate([some_y for _, some_y in batches]), y)
    np.testing.assert_array_equal(frames.lengths(some), frames.lengths()[some])
    np.testing.assert_array_equal(frames.mask(some), frames.mask()[some])


def sequence(steps, features=None, first=1, dtype=np.int64):
    """Return values that are all different, and different from padding."""
    size = steps * (features or 1)
    array = np.arange(first, first + size, dtype=dtype)
    return array if features is None else array.reshape(steps, features)


# Layouts and the number of features they take.
SHAPES = [
    ("timesteps", None),
    ("features", None),
    ("tokens", None),
    ("timesteps", 2),
    ("features", 2),
]


@pytest.mark.parametrize("lengths", [(7,), (8, 5)])
@pytest.mark.parametrize(("layout", "features"), SHAPES)
def test_windows_are_slices(layout, features, lengths):
    arrays = [sequence(n, features, first=1 + 100 * k) for k, n in enumerate(lengths)]
    for length, stride, rate, horizon, gap, return_sequences in product(
        (1, 2, 3), (1, 2, 3), (1, 2), (1, 2), (-1, 0, 1, 2), (False, True)
    ):
        framer = SequenceFramer(
            length,
            layout=layout,
            horizon=horizon,
            gap=gap,
            return_sequences=return_sequences,
            sequence_stride=stride,
            sampling_rate=rate,
        )
        assert_frames_are_slices(framer, arrays)


@pytest.mark.parametrize("lengths", [(6,), (7, 4)])
@pytest.mark.parametrize(("layout", "features"), SHAPES)
def test_prefixes_are_padded_slices(layout, features, lengths):
    arrays = [sequence(n, features, first=1 + 100 * k) for k, n in enumerate(lengths)]
    for length, shortest, horizon, gap, return_sequences, padding in product(
        (1, 2, 3, 9), (1, 2, 3), (1, 2), (-1, 0, 1, 2), (False, True), ("pre", "post")
    ):
        if shortest > length:
            continue
        framer = SequenceFramer(
            length,
            mode="prefixes",
            layout=layout,
            horizon=horizon,
            gap=gap,
            return_sequences=return_sequences,
            min_length=shortest,
            padding=padding,
            padding_value=-9,
        )
        assert_frames_are_slices(framer, arrays)


@settings(max_examples=120)
@given(data=st.data())
def test_any_frames_are_slices(data):
    mode = data.draw(st.sampled_from(["windows", "prefixes"]))
    length = data.draw(st.integers(1, 12))
    layout, features = data.draw(st.sampled_from(SHAPES))
    foreign = {"windows": ("sequence_stride", "sampling_rate"), "prefixes": ("min_length",)}[mode]
    framer = SequenceFramer(
        length,
        mode=mode,
        layout=layout,
        horizon=data.draw(st.integers(1, 5)),
        gap=data.draw(st.integers(-1, 8)),
        return_sequences=data.draw(st.booleans()),
        padding=data.draw(st.sampled_from(["pre", "post"])),
        padding_value=data.draw(st.integers(-5, 0)),
        **{name: data.draw(st.integers(1, min(length, 6))) for name in foreign},
    )
    lengths = data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=4))
    arrays = [sequence(n, features, first=1 + 1000 * k) for k, n in enumerate(lengths)]
    targets, columns = None, data.draw(st.sampled_from([0, None, 1, 3]))
    if columns != 0:  # targets of their own
        targets = [sequence(n, columns, 1000 * k, np.float32) for k, n in enumerate(lengths)]
    assert_frames_are_slices(framer, arrays, targets)


# --- Subsequences: only the draws are random.


def naive_draws(framer, steps):
    """Return every `(start, length)` that may be drawn from a sequence."""
    lengths = range(framer.min_length or 1, framer.sequence_length + 1)
    pairs = product(range(steps), lengths)
    if framer.wrap:
        return set(pairs)
    ahead = framer.gap + framer.horizon
    return {(s, n) for s, n in pairs if s + n - 1 < steps and s + n - 1 + ahead < steps}


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("wrap", [False, True])
def test_every_subsequence_that_fits_is_drawn(padding, wrap):
    for steps, length, shortest, horizon, gap in product(
        (1, 2, 5), (1, 2, 3), (1, 2, 3), (1, 2), (-1, 0, 2)
    ):
        if shortest > length:
            continue
        framer = SequenceFramer(
            length,
            mode="subsequences",
            layout="tokens",
            horizon=horizon,
            gap=gap,
            min_length=shortest,
            num_samples=300,
            wrap=wrap,
            padding=padding,
            padding_value=-1,
            seed=1,
        )
        possible = naive_draws(framer, steps)
        if not possible:
            with pytest.raises(ValueError, match="No frame fits"):
                framer.frame(np.arange(steps))
            continue
        X, y = framer.frame(np.arange(steps)).arrays()
        real = [row[row >= 0].tolist() for row in X]
        assert {(row[0], len(row)) for row in real} == possible
        for x, row, target in zip(X.tolist(), real, y.reshape(300, horizon).tolist(), strict=True):
            run = [(row[0] + k) % steps for k in range(len(row) + gap + horizon)]
            assert row == run[: len(row)]
            assert x == padded(framer, row, length - len(row))
            assert target == [(row[0] + len(row) + gap + k) % steps for k in range(horizon)]


@pytest.mark.parametrize(("layout", "features"), SHAPES)
def test_subsequences_equal_the_slices_that_their_steps_name(layout, features):
    arrays = [sequence(n, features, first=1 + 100 * k) for k, n in enumerate((9, 6, 7))]
    for horizon, gap, return_sequences, wrap, padding in product(
        (1, 2), (-1, 0, 2), (False, True), (False, True), ("pre", "post")
    ):
        framer = SequenceFramer(
            4,
            mode="subsequences",
            layout=layout,
            horizon=horizon,
            gap=gap,
            return_sequences=return_sequences,
            min_length=2,
            num_samples=30,
            wrap=wrap,
            padding=padding,
            padding_value=-9,
            seed=3,
        )
        frames = framer.frame(arrays)
        X, y = frames.arrays()
        assert_every_way_agrees(frames, X, y)
        for i in range(len(frames)):
            number, inputs, targets = frames.steps(i)
            values = arrays[number].tolist()
            outputs = np.atleast_2d(targets).tolist()
            expected = naive_frame(framer, values, values, inputs.tolist(), outputs)
            assert (X[i].tolist(), y[i].tolist()) == expected
            assert frames.lengths(i).tolist() == [len(inputs)]


def test_starts_are_drawn_uniformly_then_lengths_uniformly():
    framer = SequenceFramer(
        4, mode="subsequences", layout="tokens", min_length=2, num_samples=40_000, seed=5
    )
    first = sequence(11, first=1)
    frames = framer.frame([first, sequence(5, first=21)])
    X, _ = frames.arrays()
    lengths = frames.lengths()
    starts = X[np.arange(len(X)), 4 - lengths]
    possible = [*range(1, 10), 21, 22, 23]  # with two steps and a target after them
    counts = np.array([(starts == start).sum() for start in possible])
    assert counts.sum() == len(X)
    assert (abs(counts / len(X) - 1 / len(possible)) < 0.005).all()
    for start, fitting in [(1, [2, 3, 4]), (8, [2, 3]), (9, [2]), (21, [2, 3, 4]), (23, [2])]:
        shares = [(lengths[starts == start] == n).mean() for n in fitting]
        np.testing.assert_allclose(shares, 1 / len(fitting), atol=0.03)


# --- Kinds of data.


@pytest.mark.parametrize(
    ("dtype", "padding_value"),
    [
        ("uint8", 255),
        ("int8", -128),
        ("int64", 0),
        ("uint8", 7.0),  # a float that is whole
        ("bool", 0),
        ("bool", True),
        ("float16", -0.5),
        ("float16", 65504),
        ("float32", float("nan")),
        ("float32", float("-inf")),
        (">f8", 1.5),
        ("complex64", 2),
        ("float32", np.float64(0.5)),
    ],
)
def test_data_keep_their_dtype(dtype, padding_value):
    data = np.array([1, 0, 1, 1], dtype)
    windows = SequenceFramer(2).frame(data)
    prefixes = SequenceFramer(3, mode="prefixes", padding_value=padding_value).frame(data)
    for x, y in (windows.arrays(), prefixes.arrays(), windows[[0]], prefixes[[0, 1]]):
        assert (x.dtype, y.dtype) == (dtype, dtype)
    np.testing.assert_array_equal(
        prefixes[0][0].ravel(), np.array([padding_value] * 2 + [1], dtype)
    )


@pytest.mark.parametrize(
    ("dtype", "padding_value"),
    [
        ("uint8", 256),
        ("uint8", -1),
        ("int64", 0.5),
        ("int64", float("nan")),
        ("int64", float("inf")),
        ("bool", 2),
        ("float16", 1e6),
        ("M8[D]", 0),
    ],
)
def test_padding_value_must_fit_the_dtype(dtype, padding_value):
    framer = SequenceFramer(3, mode="prefixes", padding_value=padding_value)
    with pytest.raises(ValueError, match="`padding_value`"):
        framer.frame(np.zeros(5, dtype))
    x, _ = SequenceFramer(3).frame(np.zeros(5, dtype))[0]  # windows are never padded
    assert x.dtype == dtype
    # Targets are padded only if each input step has one.
    values = np.zeros(5)
    assert framer.frame(values, np.zeros(5, dtype)).arrays()[1].dtype == dtype
    each = SequenceFramer(3, mode="prefixes", padding_value=padding_value, return_sequences=True)
    with pytest.raises(ValueError, match="`padding_value`"):
        each.frame(values, np.zeros(5, dtype))


@pytest.mark.filterwarnings("ignore:`sequences` may be a stack")
def test_steps_may_have_any_shape():
    images = np.arange(7 * 4 * 5).reshape(7, 4, 5)
    frames = SequenceFramer(2, horizon=2).frame(images)
    x, y = frames[1]
    np.testing.assert_array_equal(x, images[1:3])
    np.testing.assert_array_equal(y, images[3:5])
    flat = SequenceFramer(2, layout="features").frame(images)
    assert (flat.x_shape, flat.y_shape) == ((1, 40), (4, 5))
    np.testing.assert_array_equal(flat[1][0].ravel(), images[1:3].ravel())
    padded_frames = SequenceFramer(3, mode="prefixes", return_sequences=True).frame(images)
    x, y = padded_frames[1]
    np.testing.assert_array_equal(x, [np.zeros((4, 5)), *images[:2]])
    np.testing.assert_array_equal(y, [np.zeros((4, 5)), *images[1:3]])


@pytest.mark.parametrize(
    ("sequences", "vocabulary", "lines"),
    [
        ("ABCD", None, ["AB -> C", "BC -> D"]),
        (["ABC", "XYZ"], None, ["AB -> C", "XY -> Z"]),
        (["ABC"], None, ["AB -> C"]),
        (["A", "B", "C"], None, ["AB -> C"]),
        (list("ABC"), Vocabulary("CBA"), ["AB -> C"]),
        ("a😀é😀", None, ["a😀 -> é", "😀é -> 😀"]),
        (["the", "cat", "sat"], Vocabulary(["cat", "sat", "the"]), ["the cat -> sat"]),
        ([["the", "cat", "sat"]], None, ["the cat -> sat"]),
        (np.array(["the", "cat", "sat"]), None, ["the cat -> sat"]),
        (pd.Series(["the", "cat", "sat"], index=[1, 1, 0]), None, ["the cat -> sat"]),
        (pl.Series(["the", "cat", "sat"]), None, ["the cat -> sat"]),
        ([60, 64, 60], Vocabulary([60, 64]), ["60 64 -> 60"]),
        ([(60, 64), (60,), (60,)], Vocabulary([(60,), (60, 64)]), ["(60, 64) (60,) -> (60,)"]),
        ([1, 2, 3], None, ["1 2 -> 3"]),
        ((0.5, 1, 2), None, ["0.5 1 -> 2"]),
        ([np.int64(1), 2, 3], None, ["1 2 -> 3"]),
        ([(1, 2, 3), [4, 5, 6]], None, ["1 2 -> 3", "4 5 -> 6"]),
        ([True, False, True], None, ["True False -> True"]),
        (pd.Series([1.5, 2.0, 3.0], index=[9, 9, -1]), None, ["1.5 2 -> 3"]),
        ([pl.Series([1, 2, 3])], None, ["1 2 -> 3"]),
        (np.array([[1, 2], [3, 4], [5, 6]]), None, ["[1 2] [3 4] -> [5 6]"]),
    ],
)
def test_all_kinds_of_sequences_are_framed(sequences, vocabulary, lines, capsys):
    SequenceFramer(2, vocabulary=vocabulary).frame(sequences).describe()
    assert capsys.readouterr().out.splitlines() == lines


def test_symbols_are_collected_without_a_vocabulary():
    framer = SequenceFramer(1)
    frames = framer.frame(["BAB", "CA"])
    assert frames.vocabulary == Vocabulary("ABC")
    assert frames.framer.vocabulary is frames.vocabulary
    assert framer.vocabulary is None  # a framer is not changed by what it frames
    assert SequenceFramer(1).frame([1, 2]).vocabulary is None


# --- Targets.


@LIBRARIES
@pytest.mark.parametrize(
    ("targets", "columns"),
    [
        ("b", 1),
        (1, 1),
        (-1, 2),
        (np.int64(0), 0),
        (["b"], [1]),
        ([0], [0]),
        (["a", "c"], [0, 2]),
        (("c", "a"), [2, 0]),
        (["a", 1, "c"], [0, 1, 2]),
        ([2, 0, 1], [2, 0, 1]),
    ],
)
def test_targets_are_columns_by_name_or_position(library, targets, columns):
    values = np.arange(21.0).reshape(7, 3)
    table = library.DataFrame({name: values[:, k] for k, name in enumerate("abc")})
    framer = SequenceFramer(2, horizon=2)
    frames = framer.frame(table, targets)
    expected = framer.frame(values, values[:, columns])
    np.testing.assert_array_equal(frames.arrays()[0], expected.arrays()[0])
    np.testing.assert_array_equal(frames.arrays()[1], expected.arrays()[1])
    assert frames.y_shape == (2, *np.shape(columns))
    several = framer.frame([table, table[3:]], targets)
    np.testing.assert_array_equal(several.arrays()[1][: len(frames)], expected.arrays()[1])


@pytest.mark.parametrize(
    ("sequences", "targets", "y"),
    [
        # One sequence, and its targets as one might write them.
        ([1, 2, 3], [4, 5, 6], [5, 6]),
        ([1, 2, 3], np.array([4, 5, 6]), [5, 6]),
        ([1, 2, 3], [np.array([4, 5, 6])], [5, 6]),
        ([1, 2, 3], [[4], [5], [6]], [[5], [6]]),
        ([[1, 2, 3]], [4, 5, 6], [5, 6]),
        ([[1, 2, 3]], [[4, 5, 6]], [5, 6]),
        ("ABC", "CBA", [1, 0]),  # symbols of the same vocabulary
        # Labels, which are not columns though there are columns.
        (np.zeros((3, 2)), [0, 1, 0], [1, 0]),
        (np.zeros((3, 3)), [1, 1, 0], [1, 0]),
        (np.zeros((3, 3)), [True, False, True], [False, True]),
        # Several.
        ([[1, 2, 3], [4, 5]], [[6, 7, 8], [9, 10]], [7, 8, 10]),
        ([[1, 2, 3], [4, 5]], (np.array([6, 7, 8]), np.array([9, 10])), [7, 8, 10]),
        (["ABC", "AB"], ["BCA", "CB"], [2, 0, 1]),
        ([np.zeros((3, 2)), np.zeros((2, 2))], [[6, 7, 8], [9, 10]], [7, 8, 10]),
    ],
)
def test_targets_are_values_on_the_same_clock(sequences, targets, y):
    assert SequenceFramer(1).frame(sequences, targets).arrays()[1].tolist() == y


# --- Errors.


@pytest.mark.parametrize(
    "arguments",
    [
        {"sequence_length": 0},
        {"horizon": 0},
        {"gap": -2},
        {"sequence_stride": 0},
        {"sampling_rate": 0},
        {"min_length": 0, "mode": "prefixes"},
        {"num_samples": 0, "mode": "subsequences"},
        {"seed": -1, "mode": "subsequences", "num_samples": 9},
        {"mode": "window"},
        {"layout": "steps"},
        {"padding": "left"},
        {"min_length": 4, "mode": "prefixes"},  # more than `sequence_length`
        {"num_samples": None, "mode": "subsequences"},
        # Arguments of another mode, which would be ignored.
        {"num_samples": 2},
        {"wrap": True},
        {"seed": 0},
        {"sequence_stride": 2, "mode": "prefixes"},
        {"sampling_rate": 2, "mode": "prefixes"},
        {"pad_end": True, "mode": "prefixes"},
        {"num_samples": 2, "mode": "prefixes"},
        {"sampling_rate": 2, "mode": "subsequences", "num_samples": 2},
    ],
    ids=str,
)
def test_framer_raises_for_wrong_values(arguments):
    (name, value), *_ = arguments.items()
    with pytest.raises(ValueError, match=f"`{name}`.*Received: .*{name}={value!r}"):
        SequenceFramer(**{"sequence_length": 3, **arguments})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sequence_length", 3.0),
        ("horizon", "2"),
        ("gap", None),
        ("sequence_stride", True),
        ("padding_value", "0"),
        ("vocabulary", "ABC"),
    ],
)
def test_framer_raises_for_wrong_types(name, value):
    with pytest.raises(TypeError, match=f"`{name}` must"):
        SequenceFramer(**{"sequence_length": 3, name: value})


@pytest.mark.parametrize(
    ("framer", "sequences", "needed", "received"),
    [
        (SequenceFramer(30), np.zeros(24), 31, 24),
        (SequenceFramer(1, gap=10**12), [0] * 5, 10**12 + 2, 5),
        (SequenceFramer(1), [[0], [], [0]], 2, 1),
        (SequenceFramer(3, mode="subsequences", num_samples=9, wrap=True), [], 1, 0),
        (SequenceFramer(1), "", 2, 0),
        (SequenceFramer(1), [[]], 2, 0),
        (SequenceFramer(1), ["", ""], 2, 0),
        (SequenceFramer(1), np.zeros((0, 3)), 2, 0),
    ],
)
def test_frame_raises_for_a_sequence_that_is_too_short(framer, sequences, needed, received):
    with pytest.raises(ValueError, match=rf"No frame fits.*\b{needed} steps.*\b{received} steps"):
        framer.frame(sequences)


def test_frame_tells_how_to_pass_words():
    """A list of words is read as many texts, and a Series of texts as one sequence of symbols."""
    words = ["all", "that", "is", "the", "case"]
    with pytest.raises(ValueError, match=r"No frame fits.*`\[words\]`.*`vocabulary`"):
        SequenceFramer(4).frame(words)
    assert len(SequenceFramer(4).frame([words])) == 1
    with pytest.raises(ValueError, match=r"No frame fits.*`list\(texts\)`"):
        SequenceFramer(2).frame(pd.Series(["hello world", "good bye"]))


@pytest.mark.parametrize(
    ("sequences", "targets", "name"),
    [
        ([np.zeros((5, 2)), np.zeros((5, 3))], None, "sequences[1]"),
        ([np.zeros(5), np.zeros((5, 1))], None, "sequences"),
        ([[1, 2], [0.5, 1]], None, "sequences[0]"),
        ([[1, 2], ["A", "B"]], None, "sequences[1]"),
        (np.zeros((5, 0)), None, "sequences"),
        (np.zeros(5), np.zeros((5, 0)), "targets"),
        ([1, 2, 3], [1, 2, 3, 4], "targets"),
        ([[1, 2], [1, 2, 3]], [[1, 2], [1, 2]], "targets"),
        ([[1, 2], [1, 2, 3]], [[1, 2]], "targets"),
        ([[1, 2], [1, 2]], [[1, 2], [0.5, 2]], "targets"),
        ([[1, 2], [3]], [1, 2, 3], "targets"),
        ([1, 2, 3], "ABC", "targets"),
        ("ABC", "ABX", "targets"),
    ],
)
def test_frame_raises_if_sequences_and_targets_do_not_match(sequences, targets, name):
    with pytest.raises(ValueError, match=re.escape(f"`{name}`")):
        SequenceFramer(1).frame(sequences, targets)


def test_tokens_have_one_feature():
    with pytest.raises(ValueError, match='Use `layout="timesteps"`'):
        SequenceFramer(1, layout="tokens").frame(np.zeros((5, 2)))


def test_an_unknown_symbol_is_found_in_its_sequence():
    framer = SequenceFramer(1, vocabulary=Vocabulary("ABC"))
    with pytest.raises(ValueError, match="`sequences`: Unknown symbol 'Z' at position 3"):
        framer.frame("ABCZ")
    with pytest.raises(ValueError, match=r"`sequences\[1\]`: Unknown symbol '😀' at position 1"):
        framer.frame(["ABC", "A😀"])


@pytest.mark.parametrize("sequences", [None, 5, [None, None], b"AB", [{1}, {2}]])
def test_frame_raises_for_values_that_are_no_sequence(sequences):
    with pytest.raises(TypeError, match=r"`sequences.*` must"):
        SequenceFramer(1).frame(sequences)


# --- Configs.


@pytest.mark.parametrize(
    "framer",
    [
        SequenceFramer(3),
        SequenceFramer(3, horizon=2, gap=-1, return_sequences=True, layout="features"),
        SequenceFramer(3, sequence_stride=2, sampling_rate=np.int64(3)),
        SequenceFramer(5, mode="prefixes", padding="post", padding_value=np.float32(0.5)),
        SequenceFramer(5, mode="prefixes", padding_value=np.int8(-1), min_length=2),
        SequenceFramer(5, mode="subsequences", num_samples=np.int64(9), wrap=True, seed=2**40),
        SequenceFramer(3, vocabulary=Vocabulary("a😀", reserve_padding=True)),
        SequenceFramer(3, vocabulary=Vocabulary(np.array([60, 64]))),
        SequenceFramer(3, vocabulary=Vocabulary([(60, 64), (60,)])),
        SequenceFramer(2).frame("ABC").framer,
    ],
)
def test_a_config_survives_json(framer):
    config = json.loads(json.dumps(framer.get_config()))
    restored = SequenceFramer.from_config(config)
    assert restored == framer
    assert hash(restored) == hash(framer)
    assert repr(restored) == repr(framer)
    assert config == json.loads(json.dumps(restored.get_config()))  # neither was changed


# --- Names of columns.

SHOP = {
    "store": ["a"] * 6 + ["b"] * 5,
    "units": np.arange(11.0),
    "price": np.arange(11.0) * 10,
    "holiday": np.arange(11.0) % 2,
}


@LIBRARIES
def test_frames_framer_has_the_names_of_columns(library):
    table = library.DataFrame({name: SHOP[name] for name in ("units", "price", "holiday")})
    framer = SequenceFramer(2)
    frames = framer.frame(table, targets="units", future=["holiday", "price"])
    assert frames.framer.columns == ("units", "price", "holiday")
    assert frames.framer.future_columns == ("holiday", "price")
    assert (framer.columns, framer.future_columns) == (None, None)
    # It finds them in another table, in another order and with more columns.
    other = library.DataFrame({name: SHOP[name] for name in reversed(SHOP)})
    again = frames.framer.frame(other, targets="units", future=["holiday", "price"])
    assert again.framer is frames.framer
    assert_same_frames(again, frames)
    ahead = other[["price", "store", "holiday"]]
    assert_same_frames(frames.framer.frame(other, targets="units", future=ahead), frames)
    for future in table[["price"]], [1]:
        found = framer.frame(table, targets="units", future=future)
        assert found.framer.future_columns == ("price",)


def assert_same_frames(found, expected):
    which = np.array([0, 3])
    for one, other in zip(
        found._gather(found._place(which)), expected._gather(expected._place(which)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_arrays_and_numbered_columns_have_no_names():
    framer = SequenceFramer(2)
    array = np.zeros((5, 2))
    for sequences in (
        array,
        [array, array],
        "ABCDE",
        pd.Series(np.arange(5), name="units"),
        pd.DataFrame(array),  # its columns are but numbered
        pd.DataFrame(array, columns=["a", "a"]),
    ):
        framed = framer.frame(sequences).framer
        assert (framed.columns, framed.future_columns) == (None, None)
    table = pd.DataFrame(array, columns=["a", "b"])
    for future in array, array[:, 0], table["a"]:
        assert framer.frame(table, "b", future=future).framer.future_columns is None


@LIBRARIES
@pytest.mark.parametrize(
    ("targets", "names"),
    [
        (None, None),
        ("units", "units"),
        (1, "price"),
        (["units"], ("units",)),
        ((2, "units"), ("holiday", "units")),
        (np.arange(11.0), None),
    ],
    ids=str,
)
def test_frames_framer_has_the_target_columns(library, targets, names):
    table = library.DataFrame({name: SHOP[name] for name in ("units", "price", "holiday")})
    frames = SequenceFramer(2).frame(table, targets=targets)
    assert frames.framer.target_columns == names
    config = json.loads(json.dumps(frames.framer.get_config()))
    assert SequenceFramer.from_config(config) == frames.framer == eval(repr(frames.framer))
    # It frames another table by them. Targets that are passed replace them.
    other = library.DataFrame({name: SHOP[name] for name in reversed(SHOP)})
    again = frames.framer.frame(other, targets=None if names else targets)
    assert again.framer is frames.framer
    assert_same_frames(again, frames)
    third = frames.framer.frame(other, targets="holiday")
    assert third.framer.target_columns == "holiday"
    np.testing.assert_array_equal(third[0][1], 0)
    assert frames.framer.frame(other, targets=np.arange(11)).framer.target_columns is None


@LIBRARIES
@pytest.mark.parametrize("by", ["store", ["store"], ["store", "holiday"]])
def test_frames_framer_has_the_columns_of_groups(library, by):
    table = library.DataFrame(SHOP | {"holiday": [0] * 11})
    frames = SequenceFramer(2).frame(table, targets="units", by=by)
    assert frames.framer.by == ((by,) if isinstance(by, str) else tuple(by))
    config = json.loads(json.dumps(frames.framer.get_config()))
    assert SequenceFramer.from_config(config) == frames.framer == eval(repr(frames.framer))
    again = frames.framer.frame(table)
    assert again.framer is frames.framer
    assert again.steps(6).sequence == frames.steps(6).sequence
    assert_same_frames(again, frames)
    # One series, with the column or without it; and each of a list.
    alone = table[:6]
    for one in alone, alone[["price", "units"]]:
        framer = SequenceFramer(2, columns=["price", "units"], by=by)
        assert framer.frame(one).x_shape == (2, 2)
    assert len(framer.frame([table[:6], table[6:]])) == len(frames)
    with pytest.raises(ValueError, match=r"`sequences\[1\]`.*'store'"):
        framer.frame([alone, table])


NUMBERS = pd.DataFrame({"units": SHOP["units"], "price": SHOP["price"]})
WRONG_COLUMNS = [
    (lambda: SequenceFramer(2, target_columns=3), TypeError, "target_columns"),
    (lambda: SequenceFramer(2, by=[]), TypeError, "by"),
    (lambda: SequenceFramer(2, columns="units"), TypeError, "columns"),
    (lambda: SequenceFramer(2, columns=[]), TypeError, "columns"),
    (lambda: SequenceFramer(2, columns=[0]), TypeError, "columns"),
    (lambda: SequenceFramer(2, future_columns=["a", "a"]), ValueError, "future_columns"),
    (
        lambda: SequenceFramer(2, target_columns=["units", "c"]).frame(NUMBERS),
        ValueError,
        "targets",
    ),
    (
        lambda: SequenceFramer(2, target_columns="a").frame(pd.DataFrame(SHOP)[["units"]]),
        ValueError,
        "targets",
    ),
    (lambda: NAMED.frame(pd.DataFrame(SHOP)[["units", "holiday"]]), ValueError, "sequences"),
    (lambda: NAMED.frame(np.zeros((5, 3))), ValueError, "sequences"),
    (lambda: NAMED.frame(np.zeros(5)), ValueError, "sequences"),
    *(
        (lambda future=future: NAMED.frame(pd.DataFrame(SHOP), future=future), ValueError, "future")
        for future in (pd.DataFrame(SHOP)[["price"]], np.zeros((11, 2)), ["price"])
    ),
]
NAMED = SequenceFramer(2, columns=["units", "price"], future_columns=["units"])


@pytest.mark.parametrize(("make", "error", "name"), WRONG_COLUMNS)
def test_framing_raises_for_wrong_columns(make, error, name):
    with pytest.raises(error, match=f"`{name}`"):
        make()


@pytest.mark.parametrize("name", ["targets", "future"])
def test_frame_raises_if_a_label_could_be_a_position(name):
    months = pd.DataFrame(np.arange(12.0).reshape(4, 3), columns=[1, 2, 3])
    for columns in 1, [2], [3], (0, 1):
        with pytest.raises(ValueError, match=f"`{name}`.*strings"):
            SequenceFramer(2).frame(months, **{name: columns})
    others = {} if name == "targets" else {"targets": "3"}
    by_label, by_place = (
        SequenceFramer(2).frame(months, **others, **{name: key})[0] for key in ("1", 0)
    )
    assert str(by_label) == str(by_place)


def test_columns_of_one_name_are_told_apart():
    table = pd.DataFrame(np.arange(12.0).reshape(4, 3), columns=["a", "a", "b"])
    for name in "targets", "future":
        with pytest.raises(ValueError, match=f"`{name}`.*'a'"):
            SequenceFramer(2).frame(table, **{name: ["a"]})
    with pytest.raises(ValueError, match="'a'"):
        SequenceFramer(2, columns=["a", "b"]).frame(table)
    assert len(SequenceFramer(2).frame(table, targets="b")) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"sequences": np.arange(8.0), "by": np.ma.array([0] * 4 + [1] * 4, mask=[0, 1] * 4)},
        {
            "sequences": [np.arange(4.0), np.arange(4.0)],
            "sample_weight": np.ma.array(np.ones(8), mask=[0, 1] * 4),
        },
    ],
)
def test_frame_raises_for_masked_arrays(arguments):
    with pytest.raises(TypeError, match="masked"):
        SequenceFramer(1).frame(**arguments)


@pytest.mark.parametrize("make", [np.array, pd.Series, pl.Series])
def test_frame_raises_for_symbols_in_place_of_ids(make):
    notes = Vocabulary([60, 62, 64])
    framer = SequenceFramer(2, layout="tokens", vocabulary=notes)
    listed = framer.frame([60, 62, 60, 64]).arrays()
    for found, expected in zip(framer.frame(make([0, 1, 0, 2])).arrays(), listed, strict=True):
        np.testing.assert_array_equal(found, expected)
    for symbols in [60, 62, 60, 64], [0, 1, 3], [-1, 0, 1]:
        with pytest.raises(ValueError, match="tolist"):
            framer.frame(make(symbols))
    with pytest.raises(ValueError, match="64"):
        framer.frame([make([0, 1, 0, 2]), make([0, 1, 64])])
