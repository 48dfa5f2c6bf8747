"""The newest window of a sequence is the last one that `frame` makes once its targets have come."""

import numpy as np
import pandas as pd
import pytest
from libraries import EACH_LIBRARY

from seqframe import SequenceFramer, Vocabulary

LENGTHS = (12, 7, 9)
FRAMERS = {
    "windows": SequenceFramer(3),
    "horizon and gap": SequenceFramer(3, horizon=2, gap=1),
    "the same step": SequenceFramer(3, gap=-1),
    "strided": SequenceFramer(3, sequence_stride=4, sampling_rate=2),
    "prefixes": SequenceFramer(8, mode="prefixes"),
    "post": SequenceFramer(8, mode="prefixes", padding="post", min_length=2, horizon=3),
    "subsequences": SequenceFramer(8, mode="subsequences", num_samples=5, wrap=True, seed=1),
    "features": SequenceFramer(3, layout="features"),
    "return_sequences": SequenceFramer(3, return_sequences=True, horizon=2),
}


def last_frames(framer, sequences, **arguments):
    """Return what `frame` makes of each sequence's last possible window, if targets follow."""
    ahead = max(framer.gap + framer.horizon, 0)
    rule = framer.get_config() | {"sequence_stride": 1}
    if framer.mode == "subsequences":
        rule |= {"mode": "prefixes", "num_samples": None, "wrap": False, "seed": None}
    longer = [np.concatenate([each, np.zeros((ahead, *each.shape[1:]))]) for each in sequences]
    frames = SequenceFramer.from_config(rule).frame(longer, **arguments)
    labels = frames.labels()
    return frames, [int(np.flatnonzero(labels == k)[-1]) for k in range(len(sequences))]


@pytest.mark.parametrize("kind", FRAMERS)
@pytest.mark.parametrize("columns", [0, 2])
@pytest.mark.parametrize("listed", [True, False])
def test_the_newest_window_is_the_last_one(kind, columns, listed):
    framer = FRAMERS[kind]
    shape = (columns,) if columns else ()
    rng = np.random.default_rng(0)
    sequences = [rng.normal(size=(n, *shape)) for n in (LENGTHS if listed else LENGTHS[:1])]
    ahead = max(framer.gap + framer.horizon, 0)
    futures = [rng.normal(size=(len(each) + ahead + 2, 2)) for each in sequences]
    given = (sequences, futures) if listed else (sequences[0], futures[0])
    frames, last = last_frames(framer, sequences, future=futures)
    for newest in framer.newest(given[0]), framer.newest(given[0], future=given[1]):
        x, y = newest.arrays()
        expected = frames[last][0]
        if isinstance(x, dict):
            np.testing.assert_array_equal(x["future"], expected["future"])
            x = x["past"]
        np.testing.assert_array_equal(x, expected["past"])
        assert y.shape == (len(sequences), *frames.y_shape)
        assert np.isnan(y).sum() >= len(sequences)
        np.testing.assert_array_equal(newest.lengths(), frames.lengths(last))
        for k, i in enumerate(last):
            for one, other in zip(newest.steps(k), frames.steps(i), strict=True):
                np.testing.assert_array_equal(one, other)


@EACH_LIBRARY
def test_labels_need_not_have_come(library):
    known = {"store": [*"nnnnnsss"], "units": np.arange(8.0)}
    table = library.DataFrame(known | {"label": np.arange(8) % 2})
    framer = SequenceFramer(2, columns=["units"], gap=-1)
    frames = framer.frame(table, targets="label", by="store")
    np.testing.assert_array_equal(frames[:][1], [1, 0, 1, 0, 0, 1])  # a label that is no input
    for today in table, library.DataFrame(known):
        newest = frames.framer.newest(today)
        np.testing.assert_array_equal(newest[:][0], frames[[3, 5]][0])
        assert newest.labels().tolist() == ["n", "s"]
        assert (newest.y_shape, newest.x_shape) == (frames.y_shape, frames.x_shape)
        np.testing.assert_array_equal(framer.newest(today, by="store")[:][0], newest[:][0])
    # The framer goes on to frame the labels, once they have come.
    assert newest.framer.target_columns == "label"


def test_the_dates_of_predictions_are_known():
    days = pd.date_range("2026-01-01", periods=8)
    table = pd.DataFrame({"units": np.arange(8.0), "label": 1}, days)
    panel = pd.concat([table[:5].assign(store="n"), table.assign(store="s")])
    for gap, horizon in (0, 1), (-1, 1), (2, 3):
        framer = SequenceFramer(2, gap=gap, horizon=horizon, columns=["units"], by="store")
        found = framer.newest(panel).dates()
        ends = days[[4, 7]]
        expected = [[end + pd.Timedelta(gap + 1 + h, "D") for h in range(horizon)] for end in ends]
        np.testing.assert_array_equal(found.reshape(2, horizon), np.array(expected, "M8[us]"))
    uneven = table.set_axis(days + pd.to_timedelta(np.arange(8) ** 2, "h"))
    assert np.isnat(SequenceFramer(2).newest(uneven).dates()).all()
    assert SequenceFramer(2, gap=-1).newest(uneven).dates()[0] == uneven.index[-1]


def test_a_future_that_is_an_input_too_is_taken():
    table = pd.DataFrame({"units": np.arange(6.0), "price": 10 + np.arange(6.0)})
    plans = pd.DataFrame({"price": 10 + np.arange(8.0)})
    framer = SequenceFramer(2, horizon=2, target_columns="units", columns=["units", "price"])
    x, _ = framer.newest(table, future=plans)[0]
    assert x["future"].ravel().tolist() == [16, 17]


def test_symbols_are_encoded():
    framer = SequenceFramer(3, vocabulary=Vocabulary("ABCD"), layout="tokens")
    assert framer.newest(["ABCD", "BBA"])[:][0].tolist() == [[1, 2, 3], [1, 1, 0]]
    assert framer.newest("ABCD")[:][0].tolist() == [[1, 2, 3]]


def test_sequences_without_a_window_are_left_out():
    sequences = [np.arange(5.0), np.arange(2.0), np.arange(3.0), np.arange(1.0)]
    with pytest.warns(
        UserWarning, match=r"2 of 4 sequences .* too short .* 1, 3\. .* 3 steps"
    ) as w:
        newest = SequenceFramer(3, horizon=4).newest(sequences)
    assert [each.filename for each in w] == [__file__]
    assert newest.labels().tolist() == [0, 2]
    with pytest.raises(ValueError, match=r"needs 3 steps.*at most 2 steps"):
        SequenceFramer(3).newest(sequences[1])


def test_newest_checks_its_arguments():
    framer = SequenceFramer(2, horizon=2)
    sequences = [np.arange(5.0), np.arange(6.0)]
    with pytest.raises(ValueError, match=r"`future` must reach .* 2 after .* 7 rows for 6 .* of 1"):
        framer.newest(sequences, future=[np.arange(7.0), np.arange(7.0)])
    with pytest.raises(ValueError, match="`sequences` must have the columns"):
        SequenceFramer(2, columns=["units"]).newest(pd.DataFrame({"price": [1.0, 2.0]}))
    newest = framer.newest(sequences)
    with pytest.raises(ValueError, match="Split first"):
        newest.split(0.5, 0.5, by="sequences")


def test_a_series_of_one_date_follows_the_others():
    days = pd.date_range("2026-01-01", periods=4)
    panel = pd.DataFrame({"plant": [*"aaaab"], "heat": np.arange(5.0)}, days[[0, 1, 2, 3, 3]])
    newest = SequenceFramer(2, min_length=1, by="plant").newest(panel)
    assert newest.dates().astype("M8[D]").tolist() == [np.datetime64("2026-01-05").item()] * 2
