"""Parts of frames have the right steps, and share only the history that they may share."""

import warnings
from itertools import chain, pairwise, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqframe import SequenceFramer
from seqframe.framing.splits import cut_points

SEQUENCES = [np.arange(60), 1000 + np.arange(37), 2000 + np.arange(44)]
MODES = {
    "windows": {},
    "prefixes": {"mode": "prefixes"},
    "subsequences": {"mode": "subsequences", "num_samples": 80, "seed": 3},
}


def framed(sequences=SEQUENCES, length=3, **arguments):
    """Return frames with a future and weights. Each value tells its step and its sequence."""
    several = isinstance(sequences, list)

    def like(change):
        return [change(one) for one in sequences] if several else change(sequences)

    return SequenceFramer(length, **arguments).frame(
        sequences,
        future=like(lambda one: one + 0.25),
        sample_weight=like(lambda one: one + 0.5),
    )


def steps_only(lengths, **arguments):
    """Return frames of one step, which is both input and target."""
    sequences = [1000 * k + np.arange(n) for k, n in enumerate(lengths)]
    return SequenceFramer(1, gap=-1, **arguments).frame(sequences)


def numbers(frames):
    return frames[:][1].tolist()


def used(frames):
    """Return the inputs and the targets that frames use, as sets of values; check each frame."""
    inputs, targets = set(), set()
    for i in range(len(frames)):
        number, input_steps, target_steps = frames.steps(i)
        x, y, *weight = frames[i]
        past = x["past"] if isinstance(x, dict) else x
        own_inputs = 1000 * number + input_steps
        own_targets = 1000 * number + target_steps.ravel()
        assert past.ravel()[-len(input_steps) :].tolist() == own_inputs.tolist()
        assert np.ravel(y).tolist() == own_targets.tolist()
        if weight:
            assert x["future"].ravel().tolist() == (own_targets + 0.25).tolist()
            assert weight[0] == own_targets.mean() + 0.5
        inputs |= set(own_inputs.tolist())
        targets |= set(own_targets.tolist())
    return inputs, targets


# --- Where the cuts are.


@given(
    steps=st.integers(0, 10**12),
    fractions=st.lists(st.integers(1, 1000), min_size=1, max_size=8),
    part=st.floats(0.01, 1),
)
def test_cut_points_rise_and_use_every_step(steps, fractions, part):
    whole = tuple(fraction / sum(fractions) for fraction in fractions)
    cuts = cut_points(steps, whole)
    assert cuts == sorted(cuts)
    assert (cuts[0], cuts[-1]) == (0, steps)
    some = cut_points(steps, tuple(fraction * part for fraction in whole))
    exact = steps * part * np.cumsum((0, *whole))
    np.testing.assert_allclose(some, exact, rtol=1e-9, atol=1)


def test_folds_in_time_equal_scikit_learn():
    selection = pytest.importorskip("sklearn.model_selection", reason="the oracle")
    for size, n, gap, test_size in product(range(2, 13), (1, 2, 3, 5), (0, 1, 3), (None, 1, 3)):
        frames = steps_only([size])
        for mode in ("expanding", "sliding"):
            arguments = {"gap": gap, "test_size": test_size}
            try:
                if n == 1:  # scikit-learn wants two; the last of two is what one is
                    share = size // 2 if test_size is None else test_size
                    first = size - share - gap
                    expected = [(np.arange(first), np.arange(size - share, size))]
                    if first < 1 or share < 1:
                        raise ValueError
                else:
                    oracle = selection.TimeSeriesSplit(n, **arguments)
                    expected = list(oracle.split(np.zeros(size)))
            except ValueError:
                with pytest.raises(ValueError, match=r"part of fold 0 has no frame"):
                    frames.folds(n, mode=mode, **arguments)
                continue
            if mode == "sliding" and n > 1:
                longest = len(expected[0][0])
                oracle = selection.TimeSeriesSplit(n, max_train_size=longest, **arguments)
                expected = list(oracle.split(np.zeros(size)))
            found = frames.folds(n, mode=mode, **arguments)
            for (train, test), (one, other) in zip(found, expected, strict=True):
                assert (numbers(train), numbers(test)) == (one.tolist(), other.tolist())


def test_test_parts_lie_next_to_each_other_in_every_sequence():
    # Some are too short for the first folds, whose parts are then cut off.
    lengths = [40, 13, 10, 7, 3, 1]
    frames = steps_only(lengths)
    for n, test_size, gap, mode in product((1, 2, 3), (1, 4, 10), (0, 2), ("expanding", "sliding")):
        folds = frames.folds(n, test_size=test_size, gap=gap, mode=mode)
        for k, length in enumerate(lengths):
            rest = list(range(max(length - n * test_size, 0), length))
            tested = [[y - 1000 * k for y in numbers(test) if y // 1000 == k] for _, test in folds]
            assert list(chain(*tested)) == rest
            for fold, ((train, _), test) in enumerate(zip(folds, tested, strict=True)):
                begin = length - (n - fold) * test_size
                first = fold * test_size if mode == "sliding" else 0
                trained = [y - 1000 * k for y in numbers(train) if y // 1000 == k]
                assert trained == list(range(first, max(begin - gap, first, 0)))
                assert not set(trained) & set(test)


def test_sequences_are_whole_in_a_part():
    for size in range(1, 9):
        frames = steps_only([2, 3] * size)
        for fractions in ((1.0,), (0.5, 0.5), (0.6, 0.2, 0.2), (0.5, 0.25)):
            ends = [int(2 * size * total + 1e-9) for total in np.cumsum((0, *fractions))]
            if any(a == b for a, b in pairwise(ends)):
                with pytest.raises(ValueError, match=r"Part \d of the split has no sequence"):
                    frames.split(*fractions, by="sequences")
                continue
            parts = frames.split(*fractions, by="sequences")
            for part, (a, b) in zip(parts, pairwise(ends), strict=True):
                assert list(part.source.labels) == list(range(a, b))
                assert numbers(part) == [y for y in numbers(frames) if a <= y // 1000 < b]


def test_sequences_can_be_drawn_for_the_parts():
    frames = steps_only([2] * 20)

    def labels(seed):
        parts = frames.split(0.5, 0.3, 0.2, by="sequences", seed=seed)
        return [list(part.source.labels) for part in parts]

    drawn = [labels(seed) for seed in range(20)]
    assert labels(7) == drawn[7]
    assert len({str(one) for one in drawn}) == 20
    for parts in drawn:
        assert list(map(len, parts)) == [10, 6, 4]
        assert sorted(chain(*parts)) == list(range(20))
        assert all(part == sorted(part) for part in parts)  # in each part, the order stays
    assert {part[0] for parts in drawn for part in parts} > set(range(5))


@pytest.mark.parametrize("at", [1, 5, 11, 12, 30, [5, 12], (5, 7, 30)])
@pytest.mark.parametrize("gap", [0, 1, 4])
def test_a_split_at_a_step_cuts_each_sequence_there(at, gap):
    lengths = [40, 13, 8, 1]
    frames = steps_only(lengths)
    edges = [0, *np.atleast_1d(at).tolist(), 40]
    expected = []
    for a, b in pairwise(edges):
        # A sequence that has no later step keeps its last ones.
        ends = [n if b >= n else max(b - gap, a) for n in lengths]
        expected.append([1000 * k + t for k, end in enumerate(ends) for t in range(a, end)])
    if not all(expected):
        with pytest.raises(ValueError, match="has no frame"):
            frames.split(at=at, gap=gap)
        return
    assert [numbers(part) for part in frames.split(at=at, gap=gap)] == expected


def test_a_split_at_a_negative_step_holds_out_the_last_steps():
    lengths = [40, 13, 8]
    train, test = steps_only(lengths).split(at=-5)
    assert numbers(train) == [1000 * k + t for k, n in enumerate(lengths) for t in range(n - 5)]
    assert numbers(test) == [1000 * k + n - 5 + t for k, n in enumerate(lengths) for t in range(5)]


def test_steps_are_counted_from_the_whole_sequence_also_in_a_part():
    rest = steps_only([40]).split(at=10)[1]
    assert [numbers(part)[0] for part in rest.split(at=25)] == [10, 25]


CLOCKS = {
    "days": lambda: pd.date_range("2026-01-01", periods=30),
    "hours in Berlin": lambda: pd.date_range(
        "2026-03-28", periods=30, freq="h", tz="Europe/Berlin"
    ),
    "months": lambda: pd.period_range("2024-01", periods=30, freq="M"),
    "uneven": lambda: pd.DatetimeIndex(
        pd.Timestamp("2026-01-01") + pd.to_timedelta(np.cumsum(np.arange(30) % 4 + 1), "h")
    ),
    "time differences": lambda: pd.timedelta_range("0h", periods=30, freq="h"),
}


@pytest.mark.parametrize("kind", CLOCKS)
@pytest.mark.parametrize("share_history", [False, True])
def test_a_split_at_a_date_frames_the_rows_before_and_after_it(kind, share_history):
    clock = CLOCKS[kind]()
    panel = pd.concat(
        [
            pd.DataFrame(
                {"store": k, "units": 1000.0 * k + np.arange(stop - start)}, clock[start:stop]
            )
            for k, (start, stop) in enumerate([(0, 30), (8, 24), (14, 30), (0, 15)])
        ]
    )
    framer = SequenceFramer(3, horizon=2, by="store", target_columns="units")
    frames = framer.frame(panel)
    for at in clock[12], str(clock[12]), clock[12:13], [clock[12]]:
        train, test = frames.split(at=at, share_history=share_history)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some series are too short then
            before = framer.frame(panel[panel.index < clock[12]])
            after = framer.frame(panel[panel.index >= clock[12 - 3 * share_history]])
        assert_same_arrays(train, before)
        if share_history:
            dates = pd.Index(after.dates()[:, 0])
            after = after.subset(dates >= clock[[12]].to_numpy()[0])
        assert_same_arrays(test, after)
        assert (train.dates() < clock[[12]].to_numpy()[0]).all()


def assert_same_arrays(found, expected):
    for one, other in zip(found.arrays(), expected.arrays(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found.labels(), expected.labels())
    np.testing.assert_array_equal(found.dates(), expected.dates())


def test_a_date_that_is_none_of_the_clock_is_refused():
    days = CLOCKS["days"]()
    series = pd.Series(np.arange(30.0), days)
    frames = SequenceFramer(3).frame([series, series[:20]])
    for at in "2030-01-01", "2025-01-01", days[0]:
        with pytest.raises(ValueError, match=r"`at` .* 2 sequences, 0, with the dates 2026.* …"):
            frames.split(at=at)
    for at in "some day", True, 2.5, pd.NaT, pd.Timestamp("2026-01-05", tz="UTC"):
        with pytest.raises(ValueError, match="`at` must be a step, or a date of the kind datetime"):
            frames.split(at=at)


@pytest.mark.parametrize("n", [2, 3, 5])
@given(
    lengths=st.lists(st.integers(2, 9), min_size=5, max_size=14)
    | st.lists(st.integers(2, 30), min_size=5, max_size=14, unique=True)
)
@settings(max_examples=40, deadline=None)
def test_folds_of_sequences_equal_scikit_learn(n, lengths):
    selection = pytest.importorskip("sklearn.model_selection", reason="the oracle")
    frames = steps_only(lengths)
    oracle = selection.GroupKFold(n).split(np.zeros(len(frames)), groups=frames.labels())
    found = frames.folds(n, mode="kfold", by="sequences")
    for (train, test), (one, other) in zip(found, oracle, strict=True):
        assert (len(train), len(test)) == (len(one), len(other))
        if len(set(lengths)) < len(lengths):
            continue  # versions of scikit-learn differ in the order of sequences of one length
        assert numbers(train) == numbers(frames.subset(one))
        assert numbers(test) == numbers(frames.subset(other))
    drawn = [
        test.source.labels for _, test in frames.folds(n, mode="kfold", by="sequences", seed=3)
    ]
    assert sorted(chain(*drawn)) == list(range(len(lengths)))
    assert max(map(len, drawn)) - min(map(len, drawn)) <= 1


def test_a_seed_draws_the_sequences_of_folds():
    frames = steps_only([2] * 12)

    def tests(seed):
        folds = frames.folds(3, mode="kfold", by="sequences", seed=seed)
        return [tuple(test.source.labels) for _, test in folds]

    assert tests(7) == tests(7)
    assert len({str(tests(seed)) for seed in range(20)}) == 20


@pytest.mark.parametrize("gap", [0, 2])
@pytest.mark.parametrize("lengths", [[12], [13, 7], [11, 2, 20]])
def test_folds_in_time_without_order_equal_scikit_learn(lengths, gap):
    selection = pytest.importorskip("sklearn.model_selection", reason="the oracle")
    frames = steps_only(lengths)
    for fold, (train, test) in enumerate(frames.folds(3, mode="kfold", gap=gap)):
        for k, length in enumerate(lengths):
            own = [
                [y - 1000 * k for y in numbers(part) if y // 1000 == k] for part in (train, test)
            ]
            if length < 3:  # scikit-learn refuses, and some folds test no step of it
                assert own[1] == [[0], [1], []][fold]
                continue
            others, tested = list(selection.KFold(3).split(np.zeros(length)))[fold]
            near = {step + d for step in tested for d in range(-gap, gap + 1)}
            assert own[1] == tested.tolist()
            assert own[0] == [step for step in others if step not in near]


def test_no_frame_of_a_train_part_crosses_its_test_part():
    frames = SequenceFramer(3, horizon=2).frame(np.arange(30))
    for train, test in frames.folds(3, mode="kfold"):
        assert not set().union(*used(train)) & set().union(*used(test))


# --- What parts share.


FRAMERS = st.fixed_dictionaries(
    {
        "length": st.integers(1, 4),
        "horizon": st.integers(1, 3),
        "gap": st.integers(-1, 3),
        "sampling_rate": st.integers(1, 3),
        "sequence_stride": st.integers(1, 2),
        "return_sequences": st.booleans(),
    }
)


@settings(max_examples=60, deadline=None)
@given(
    framer=FRAMERS,
    lengths=st.lists(st.integers(33, 60), min_size=1, max_size=3),
    cut=st.sampled_from(["split", "expanding", "sliding"]),
)
def test_with_shared_history_targets_never_overlap_and_none_is_lost(framer, lengths, cut):
    length = framer.pop("length")
    sequences = [1000 * k + np.arange(n) for k, n in enumerate(lengths)]
    frames = SequenceFramer(length, **framer).frame(sequences)
    if cut == "split":
        pairs = [frames.split(0.6, 0.4, share_history=True)]
        begins = [int(n * 0.6 * (1 + 1e-12)) for n in lengths]
    else:
        pairs = frames.folds(1, mode=cut, share_history=True)
        begins = [n - n // 2 for n in lengths]
    for train, test in pairs:
        inputs, targets = used(test)
        assert not used(train)[1] & targets
        for k, (n, begin) in enumerate(zip(lengths, begins, strict=True)):
            own = sorted(step - 1000 * k for step in targets if step // 1000 == k)
            first = int(frames.steps(0).targets.min())  # where a window first has a target
            assert min(own) >= begin
            if framer["sequence_stride"] == 1:
                assert own == list(range(max(begin, first), n))
            reach = (length - 1) * framer["sampling_rate"] + framer["gap"] + 1
            back = begin - min(step - 1000 * k for step in inputs if step // 1000 == k)
            assert back <= max(reach, 0)


@pytest.mark.parametrize("lengths", list(product((1, 2, 3, 10), repeat=3)))
def test_a_part_may_have_no_step_of_a_sequence(lengths):
    # An empty stretch of memory still has an address.
    layout = np.arange(6000).reshape(2, 3000)[1][::-2]
    for change in (np.copy, lambda one: np.repeat(one, 2)[::2], lambda one: one[::-1].copy()[::-1]):
        sequences = [change(layout[100 * k : 100 * k + n]) for k, n in enumerate(lengths)]
        frames = SequenceFramer(1, gap=-1).frame(sequences)
        for fractions in ((0.5, 0.5), (0.1, 0.9), (0.9, 0.1)):
            cuts = [int(n * fractions[0] * (1 + 1e-12)) for n in lengths]
            expected = [
                np.concatenate([one[:cut] for one, cut in zip(sequences, cuts, strict=True)]),
                np.concatenate([one[cut:] for one, cut in zip(sequences, cuts, strict=True)]),
            ]
            if not len(expected[0]):
                with pytest.raises(ValueError, match="Part 0 of the split has no frame"):
                    frames.split(*fractions)
                continue
            for part, values in zip(frames.split(*fractions), expected, strict=True):
                np.testing.assert_array_equal(part[:][1], values)
                np.testing.assert_array_equal(part[::-1][0].ravel(), values[::-1])
                batches = part.batches(4, shuffle=True, seed=1)
                assert sorted(y for _, some in batches for y in some) == sorted(values)


# --- What parts keep.


def test_weights_of_frames_stay_with_their_frames():
    frames = SequenceFramer(2).frame(
        [np.arange(20), np.arange(9)], sample_weight=[np.arange(18.0), 100 + np.arange(7.0)]
    )
    shared = frames.split(0.3, 0.7, share_history=True)
    folds = *frames.folds(2, mode="sliding"), *frames.folds(1)
    for parts in (frames.split(0.5, 0.5), shared, *folds):
        for part in parts:
            x, y, weight = part[:]
            of_sequence = [part.steps(i).sequence for i in range(len(part))]
            assert weight.tolist() == (x[:, 0, 0] + 100 * np.array(of_sequence)).tolist()
            assert (y == x[:, -1, 0] + 1).all()
    second = frames.split(0.5, 0.5, by="sequences")[1]
    assert second[:][2].tolist() == list(range(100, 107))


@pytest.mark.parametrize("arguments", [{"sequence_stride": 2}, {"mode": "prefixes"}])
def test_split_raises_if_weights_of_frames_cannot_be_cut(arguments):
    framer = SequenceFramer(2, **arguments)
    counts = [len(framer.frame(np.arange(n))) for n in (20, 12)]
    frames = framer.frame([np.arange(20), np.arange(12)], sample_weight=list(map(np.ones, counts)))
    message = 'by="sequences"'
    with pytest.raises(ValueError, match=message):
        frames.split(0.5, 0.5)
    with pytest.raises(ValueError, match=message):
        frames.folds(2)
    assert [len(part) for part in frames.split(0.5, 0.5, by="sequences")] == counts


def test_parts_draw_their_own_subsequences():
    framer = SequenceFramer(4, mode="subsequences", num_samples=50)
    for train, test in framer.frame(SEQUENCES).folds(2):
        assert (len(train), len(test)) == (50, 50)
        assert used(train) == used(train)  # also without a seed


# --- Errors.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 5}, r"The test part of fold 0 .*`share_history=True`"),
        ({"n": 5, "test_size": 1, "gap": 12, "share_history": True}, "The train part of fold 0"),
        ({"n": 2, "gap": 5}, "The train part of fold 0"),
        ({"n": 2, "by": "sequences"}, "The test part of fold 0"),
        ({"n": 5, "mode": "kfold", "by": "sequences"}, '`n` .* n=5 and 1 sequence, 0.*by="time"'),
        ({"n": 21, "mode": "kfold"}, "`n` .* n=21 and 20 steps"),
        ({"n": 2, "mode": "kfold", "gap": 10}, "The train part of fold 0 has no step.*`gap`"),
        ({"n": 1, "mode": "kfold"}, "`n` must be at least 2"),
        ({"n": 2, "mode": "kfold", "test_size": 3}, "`test_size` has no meaning"),
        ({"n": 2, "mode": "kfold", "gap": 1, "by": "sequences"}, "`gap` needs an order"),
        ({"n": 2, "mode": "kfold", "seed": 1}, "`seed` needs `by"),
        ({"n": 2, "by": "sequences", "seed": 1}, "`seed` needs `mode"),
    ],
)
def test_folds_raise_for_too_few_steps(arguments, message):
    frames = SequenceFramer(3).frame(np.arange(20))
    with pytest.raises(ValueError, match=message):
        frames.folds(**arguments)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("n", 0, ValueError),
        ("n", 2.0, TypeError),
        ("gap", -1, ValueError),
        ("test_size", 0, ValueError),
        ("test_size", 0.2, TypeError),
        ("mode", "rolling", ValueError),
        ("by", "groups", ValueError),
    ],
)
def test_folds_check_their_arguments(name, value, error):
    with pytest.raises(error, match=f"`{name}` must"):
        framed().folds(**{"n": 2, name: value})


@pytest.mark.parametrize("mode", ["prefixes", "subsequences"])
def test_only_windows_share_history(mode):
    message = f"`share_history=True`.*{mode}"
    frames = framed(**MODES[mode])
    with pytest.raises(ValueError, match=message):
        frames.folds(2, share_history=True)
    with pytest.raises(ValueError, match=message):
        frames.split(0.5, 0.5, share_history=True)


@pytest.mark.parametrize(
    ("fractions", "arguments", "error", "message"),
    [
        (([0.5, 0.5],), {}, TypeError, r"`split\(0.7, 0.3\)`"),
        (("2026-01-01",), {}, TypeError, r"`split\(at=-7\)`"),
        ((0.5, 0.5), {"at": 3}, ValueError, "`at` .*Leave one of the two out"),
        ((), {"at": 3, "by": "sequences"}, ValueError, '`at` .*by="sequences"'),
        ((), {"at": [9, 8]}, ValueError, "`at` .* rise"),
        ((), {"at": 60}, ValueError, "`at` .* longest of 3 sequences, 0, with the steps 0 … 59"),
        ((), {"at": 0}, ValueError, "`at` must lie within"),
        ((), {"at": -60}, ValueError, "`at` must lie within"),
        ((), {"at": "2026-01-01"}, ValueError, "`at` must be a step.*no dates.*`table.set_index`"),
        ((), {"at": 2.5}, ValueError, "`at` must be a step"),
        ((), {"at": 3, "gap": -1}, ValueError, "`gap`"),
        ((0.5, 0.5), {"by": "sequences", "gap": 1, "seed": 1}, ValueError, "`gap`"),
        ((70, 20, 10), {}, ValueError, "Pass shares"),
        ((), {}, ValueError, "`fractions`"),
        ((0.5, 0), {}, ValueError, "`fractions`"),
        ((0.7, 0.4), {}, ValueError, "`fractions`"),
        ((float("nan"),), {}, ValueError, "`fractions`"),
        ((0.5, 0.5), {"by": 2}, ValueError, "`by`"),
        ((0.5, 0.5), {"seed": 1}, ValueError, "`seed`"),
        ((0.5, 0.5), {"seed": -1, "by": "sequences"}, ValueError, "`seed`"),
        ((0.2, 0.8), {"by": "sequences"}, ValueError, 'Part 0 .*`by="time"`'),
        ((0.5, 0.5), {"by": "sequences", "share_history": True}, ValueError, "`share_history"),
    ],
)
def test_a_split_checks_its_arguments(fractions, arguments, error, message):
    with pytest.raises(error, match=message):
        framed().split(*fractions, **arguments)


def test_the_last_steps_of_each_sequence_can_be_held_out():
    series = [np.arange(20), np.arange(100, 111), np.arange(200, 212)]
    frames = SequenceFramer(3, gap=1, horizon=2).frame(series)
    train, test = frames.folds(1, test_size=4, share_history=True)[0]
    last = np.concatenate([values[-4:] for values in series]).tolist()
    assert np.unique(test.arrays()[1]).tolist() == last
    assert set(np.unique(train.arrays()[1])).isdisjoint(last)


def test_stretches_of_a_sequence_are_not_cut_apart():
    frames = SequenceFramer(1).frame([np.arange(9.0), np.arange(9.0)])
    train, _ = frames.folds(3, mode="kfold")[1]
    for cut in (
        lambda: train.split(0.5, 0.5, by="sequences"),
        lambda: train.folds(2, mode="kfold", by="sequences"),
    ):
        with pytest.raises(ValueError, match="2 sequences of the label 0"):
            cut()


def test_labels_may_be_tuples_of_any_length():
    named = {("a", 1): np.arange(3.0), ("b",): np.arange(3.0)}
    assert SequenceFramer(2).frame(named).labels().tolist() == list(named)
    named = {("a", 1): np.arange(3.0), ("b", 2): np.arange(3.0)}
    assert SequenceFramer(2).frame(named).labels().tolist() == list(named)
