"""A dict of sequences keeps its names, and errors use them."""

import numpy as np
import pandas as pd
import pytest
from batches import assert_same

from seqframe import SequenceFramer

FRAMER = SequenceFramer(2, gap=-1)
SERIES = {"Ann": np.arange(5.0), "Bob": np.arange(10.0, 14.0)}
LABELS = {name: np.arange(len(values)) for name, values in SERIES.items()}


def backwards(named):
    return dict(reversed(named.items()))


@pytest.mark.parametrize("library", [lambda values: values, pd.Series, list])
def test_a_dict_is_a_list_with_names(library):
    named = {name: library(values) for name, values in SERIES.items()}
    labels = {name: library(values) for name, values in LABELS.items()}
    given = dict(
        future={name: np.arange(9.0) for name in SERIES},
        sample_weight=LABELS,
        valid={name: np.ones(len(values), bool) for name, values in SERIES.items()},
    )
    frames = FRAMER.frame(
        named, backwards(labels), **{name: backwards(each) for name, each in given.items()}
    )
    listed = FRAMER.frame(
        list(SERIES.values()),
        list(LABELS.values()),
        **{name: list(each.values()) for name, each in given.items()},
    )
    assert_same(frames.arrays(), listed.arrays())
    assert [frames.steps(i).sequence for i in range(len(frames))] == ["Ann"] * 4 + ["Bob"] * 3


def test_names_stay_with_the_parts_of_a_split():
    series = {name: np.arange(6.0) for name in ("a", "b", "c")}
    parts = SequenceFramer(2).frame(series).split(0.67, 0.33, by="sequences")
    assert [part.steps(0).sequence for part in parts] == ["a", "c"]
    (_, test), *_ = SequenceFramer(2).frame(series).folds(1, test_size=3)
    assert {test.steps(i).sequence for i in range(len(test))} == {*series}


def test_a_dict_of_one_sequence_is_not_cut_into_groups():
    table = pd.DataFrame({"store": ["n"] * 4 + ["s"] * 4, "units": np.arange(8.0)})
    framer = SequenceFramer(2).frame(table, by="store").framer
    frames = framer.frame({"all": table[:4]})
    assert {frames.steps(i).sequence for i in range(len(frames))} == {"all"}


WRONG = [
    ({}, {}, "`sequences`.*empty dict"),
    ({**SERIES, "Bob": np.zeros((5, 2))}, {}, r"`sequences\['Bob'\]` with \(2,\)"),
    ({**SERIES, "Bob": [[1.0], [1.0, 2.0]]}, {}, r"`sequences\['Bob'\]` is ragged"),
    ({"Ann": np.zeros((4, 0))}, {}, "at least one feature"),
    (SERIES, dict(targets={"Ann": LABELS["Ann"]}), "`targets`.* lacks 'Bob'"),
    (SERIES, dict(targets={**LABELS, "Cy": [1]}), "`targets`.* has too 'Cy'"),
    (SERIES, dict(targets={**LABELS, "Bob": [1, 2]}), "2 targets for 4 steps of sequence 'Bob'"),
    (
        SERIES,
        dict(sample_weight={**LABELS, "Bob": np.arange(9)}),
        "4 steps of sequence 'Bob'",
    ),
]


@pytest.mark.parametrize(("series", "given", "message"), WRONG)
def test_errors_name_the_series(series, given, message):
    with pytest.raises(ValueError, match=message):
        FRAMER.frame(series, **{"targets": LABELS, **given} if len(series) > 1 else given)


def test_a_dict_of_targets_needs_a_dict_of_sequences():
    with pytest.raises(TypeError, match=r"`targets` may be a dict only if.*'Ann'.*Name the seq"):
        FRAMER.frame(list(SERIES.values()), LABELS)


def test_dates_of_a_named_series_are_named():
    days = pd.date_range("2026-01-01", periods=5)
    series = {"Ann": pd.Series(np.arange(5.0), days), "Bob": pd.Series(np.arange(5.0), days[::-1])}
    with pytest.raises(ValueError, match=r"sequences\['Bob'\]"):
        SequenceFramer(2).frame(series)


# --- What is left out.


def test_one_warning_counts_the_sequences_without_a_frame():
    series = {f"s{k}": np.arange(float(k)) for k in range(12)}
    series["holes"] = np.array([1, np.nan, 3, np.nan, 5, np.nan, 7, 8])
    message = (
        r"9 of 13 sequences .* left out: 8 too short \('s0', 's1', 's2', 's3', 's4', …\); "
        r"1 with a missing step in every frame \('holes'\)\. .* needs 8 steps, or pass `min_length`"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        frames = SequenceFramer(7).frame(series, skip_nan=True)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert frames.left_out == (tuple(f"s{k}" for k in range(8)), ("holes",), 0)
    assert [str(label) for label in frames.source.labels] == ["s8", "s9", "s10", "s11"]


def test_a_part_tells_which_sequences_it_lacks():
    frames = SequenceFramer(3).frame({"long": np.arange(20), "short": np.arange(8)})
    _, test = frames.split(0.7, 0.3)
    assert test.left_out.short == ("short",)
    assert frames.left_out == ((), (), 0)


def test_frames_and_pictures_of_padded_windows_show_their_padding(capsys):
    frames = SequenceFramer(4, min_length=3, pad_end=True, sequence_stride=4).frame("ABCDEFGHI")
    frames.describe()
    assert capsys.readouterr().out.split("\n")[:3] == ["ABC -> D", "DEFG -> H", "H -> I"]
    assert frames.mask().tolist() == [
        [False, True, True, True],
        [True, True, True, True],
        [True, False, False, False],
    ]
