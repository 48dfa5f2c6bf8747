"""A subset holds some of the frames, and does what frames do."""

import pickle

import numpy as np
import pandas as pd
import pytest

from seqframe import SequenceFramer

SEQUENCES = [np.arange(20), 1000 + np.arange(8), 2000 + np.arange(17)]
FRAMERS = {
    "windows": SequenceFramer(3, horizon=2),
    "strided": SequenceFramer(3, sequence_stride=2, sampling_rate=2),
    "prefixes": SequenceFramer(4, mode="prefixes", min_length=2),
    "subsequences": SequenceFramer(4, mode="subsequences", num_samples=30, seed=3),
    "return_sequences": SequenceFramer(3, return_sequences=True),
}
INDEXES = {
    "an integer": 4,
    "a slice": slice(2, 9),
    "steps": slice(None, None, -3),
    "a list": [5, 3, 11, 3, -1],
    "an array": np.array([0, 1, 2, 7, 8]),
    "bools": np.arange(1000) % 3 == 1,
}
HOLES = np.arange(20) == 9


def framed(framer, sequences=SEQUENCES, **arguments):
    return framer.frame(
        sequences,
        future=[each + 0.25 for each in sequences],
        sample_weight=[each + 0.5 for each in sequences],
        **arguments,
    )


def numbers(frames, index):
    every = np.arange(len(frames))
    index = index[: len(frames)] if isinstance(index, np.ndarray) and index.dtype == bool else index
    return index, np.atleast_1d(every[index])


def assert_same(found, expected):
    x, y, weight = found
    for one, other in [(x["past"], 0), (x["future"], 1)]:
        np.testing.assert_array_equal(one, list(expected[0].values())[other])
    np.testing.assert_array_equal(y, expected[1])
    np.testing.assert_array_equal(weight, expected[2])


@pytest.mark.parametrize("kind", FRAMERS)
@pytest.mark.parametrize("how", INDEXES)
@pytest.mark.parametrize("skip", [False, True])
def test_a_subset_has_the_frames_of_its_index(kind, how, skip):
    """A law: what a subset returns is what the frames return for its index."""
    valid = [np.ones(len(each), bool) for each in SEQUENCES]
    valid[0] = ~HOLES
    frames = framed(FRAMERS[kind], **({"valid": valid} if skip else {}))
    index, chosen = numbers(frames, INDEXES[how])
    subset = frames.subset(index)
    assert len(subset) == len(chosen)
    for each in subset, pickle.loads(pickle.dumps(subset)):
        assert_same(each.arrays(), frames[chosen])
        assert_same(each[:], frames[chosen])
        assert_same(each[::-1], frames[chosen[::-1]])
    assert (subset.x_shape, subset.y_shape) == (frames.x_shape, frames.y_shape)
    np.testing.assert_array_equal(subset.lengths(), frames.lengths(chosen))
    np.testing.assert_array_equal(subset.mask(), frames.mask(chosen))
    np.testing.assert_array_equal(subset.labels(), frames.labels(chosen))
    for i, number in enumerate(chosen.tolist()):
        for one, other in zip(subset.steps(i), frames.steps(number), strict=True):
            np.testing.assert_array_equal(one, other)
    batches = list(subset.batches(4, shuffle=True, seed=1))
    found = np.sort(np.concatenate([np.ravel(batch[2]) for batch in batches]))
    np.testing.assert_array_equal(found, np.sort(np.ravel(frames[chosen][2])))
    # A subset of a subset.
    assert_same(subset.subset([-1, 0]).arrays(), frames[chosen[[-1, 0]]])


@pytest.mark.parametrize("kind", [kind for kind in FRAMERS if kind != "subsequences"])
def test_weights_of_frames_stay_with_a_subset(kind):
    framer = FRAMERS[kind]
    plain = framer.frame(SEQUENCES)
    weights = [np.arange(np.sum(plain.labels() == k)) + 100.0 * k for k in range(3)]
    frames = framer.frame(SEQUENCES, sample_weight=weights)
    chosen = [len(frames) - 1, 2, 3]
    np.testing.assert_array_equal(
        frames.subset(chosen)[:][2].ravel(), np.concatenate(weights)[chosen]
    )


def test_a_run_of_one_sequence_is_still_a_view():
    frames = SequenceFramer(3).frame(np.arange(20))
    X, y = frames.subset(slice(4, 9)).arrays()
    assert not X.flags.owndata
    np.testing.assert_array_equal(y, np.arange(7, 12))


def test_a_subset_is_drawn_anew_for_an_epoch():
    frames = FRAMERS["subsequences"].frame(SEQUENCES)
    again = frames.subset([7, 2]).redraw(3)
    np.testing.assert_array_equal(again[:][1], frames.redraw(3)[[7, 2]][1])
    assert (again[:][1] != frames[[7, 2]][1]).any()


def test_rows_of_lanes_reset_where_a_subset_leaves_frames_out():
    frames = SequenceFramer(1).frame(SEQUENCES)
    index = [0, 1, 2, 6, 7, 20, 21]
    lanes = frames.subset(index).lanes(1)
    assert [int(y[0]) for _, y, _ in lanes] == frames[index][1].tolist()
    starts = [k for k in range(len(lanes)) if lanes.resets(k)[0]]
    found = [int(lanes[k][1][0]) for k in starts]
    assert found == frames[[0, 6, 20]][1].tolist()
    with pytest.raises(ValueError, match=r"order of the sequences.*`subset` an index that rises"):
        frames.subset([21, 0]).lanes(1)


def test_states_of_iterators_tell_subsets_apart():
    for framer in FRAMERS["windows"], FRAMERS["subsequences"]:
        frames = framer.frame(SEQUENCES)
        state = frames.subset([1, 2, 3]).batches(2).get_state()
        frames.subset([1, 2, 3]).batches(2).set_state(state)
        with pytest.raises(ValueError, match="same frames"):
            frames.subset([1, 2, 4]).batches(2).set_state(state)


def test_groups_of_scikit_learn_choose_frames():
    selection = pytest.importorskip("sklearn.model_selection", reason="takes the labels")
    table = pd.DataFrame(
        {"patient": [*"aaaabbbbccccdddd"], "side": [1, 1, 2, 2] * 4, "value": np.arange(16.0)}
    )
    frames = SequenceFramer(1).frame(table, by=["patient", "side"])
    assert frames.labels().tolist()[:2] == [("a", 1), ("a", 2)]
    patients = [patient for patient, _ in frames.labels()]
    for train, test in selection.GroupKFold(2).split(patients, groups=patients):
        tested = {patient for patient, _ in frames.subset(test).labels()}
        assert not tested & {patient for patient, _ in frames.subset(train).labels()}


LABELS = {
    "numbers": [3, 3, 7, 7],
    "names": np.array(["n", "n", "s", "s"]),
    "floats": [0.5, 0.5, 1.5, 1.5],
    "bools": [True, True, False, False],
    "dates": np.array(["2026-01-01"] * 2 + ["2026-01-02"] * 2, "M8[D]"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_are_an_array_of_their_kind(kind):
    frames = SequenceFramer(1).frame(np.arange(4.0), by=LABELS[kind])
    expected = np.asarray(LABELS[kind])[[0, 2]]
    assert frames.labels().dtype.kind == expected.dtype.kind
    assert frames.labels().tolist() == expected.tolist()
    assert frames.labels(1).tolist() == frames.labels([-1]).tolist() == expected[[1]].tolist()


def test_tables_of_a_list_have_the_labels_that_they_hold():
    table = pd.DataFrame({"store": [*"nnnsss"], "item": 7, "units": np.arange(6.0)})
    parts = [part for _, part in table.groupby("store")]
    framer = SequenceFramer(2)
    assert framer.frame(parts, by="store").labels().tolist() == ["n", "s"]
    assert framer.frame(parts, by=["store", "item"]).labels().tolist() == [("n", 7), ("s", 7)]
    # Others have numbers.
    same = [part[["item", "units"]] for part in parts]
    assert framer.frame(same, by="item").labels().tolist() == [0, 1]
    assert SequenceFramer(2, by="store").frame([np.arange(3.0)] * 2).labels().tolist() == [0, 1]
    named = framer.frame({"a": parts[0], "b": parts[1]}, by="store")
    assert named.labels().tolist() == ["a", "b"]


def test_dates_are_those_of_the_targets():
    days = pd.date_range("2026-01-01", periods=9)
    table = pd.DataFrame({"store": [*"nnnnnssss"], "units": np.arange(9.0)}, days)
    for options, shape in (
        ({}, (5,)),
        ({"horizon": 2}, (3, 2)),
        ({"return_sequences": True}, (5, 2)),
        ({"return_sequences": True, "horizon": 2, "gap": -1}, (5, 2, 2)),
        ({"gap": -1, "mode": "prefixes"}, (9,)),
    ):
        frames = SequenceFramer(2, **options).frame(table, by="store")
        assert frames.dates().shape == shape
        y = frames[:][1].reshape(shape)  # each value tells the row that it is from
        np.testing.assert_array_equal(frames.dates(), days.to_numpy()[y.astype(int)])
        np.testing.assert_array_equal(frames.dates([1, 0]), frames.dates()[[1, 0]])
        part = frames.folds(1, by="sequences")[0][1]
        np.testing.assert_array_equal(
            part.dates(), days.to_numpy()[part[:][1].astype(int)].reshape(part.dates().shape)
        )
    zoned = SequenceFramer(2).frame(pd.Series(np.arange(9.0), days.tz_localize("UTC")))
    assert zoned.dates()[0] == pd.Timestamp("2026-01-03", tz="UTC")
    months = pd.period_range("2026-01", periods=8, freq="M")
    assert SequenceFramer(2).frame(pd.Series(np.arange(8.0), months)).dates()[0] == months[2]


def test_frames_without_dates_have_none():
    with pytest.raises(ValueError, match=r"no dates.*`table.set_index`"):
        SequenceFramer(2).frame(np.arange(8.0)).dates()


def test_a_subset_refuses_what_has_no_meaning():
    frames = SequenceFramer(2).frame(np.arange(30))
    subset = frames.subset([1, 2, 3])
    for call in (
        lambda: subset.split(0.5, 0.5),
        lambda: subset.folds(2),
        lambda: subset.split(0.5, 0.5, by="sequences"),
    ):
        with pytest.raises(ValueError, match=r"subset .*Split first"):
            call()
    with pytest.raises(ValueError, match="`index` must choose at least one"):
        frames.subset([])
    with pytest.raises(IndexError, match="There are 28 frames"):
        frames.subset([28])
    with pytest.raises(TypeError, match="An index must be"):
        frames.subset([0.5])
