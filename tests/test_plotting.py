"""Pictures by their laws: what is drawn lies where the steps, the batches and the quantiles are."""

import subprocess
import sys
from itertools import pairwise, product
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas
import polars
import pytest

from seqframe import SequenceFramer, Vocabulary, plot_forecast, plot_history
from seqframe.plotting.strips import thin_line
from seqframe.framing.dates import continue_table

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.dates import date2num

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@pytest.fixture(autouse=True)
def _no_figure_is_left():
    pyplot.close("all")  # also those of examples in the docs that ran before
    yield
    pyplot.close("all")


@pytest.fixture(autouse=True)
def _never_shown(monkeypatch):
    monkeypatch.setattr(pyplot, "show", lambda: pytest.fail("the user shows pictures"))


def drawn(ax, gid):
    """Return the artists of a name."""
    return [artist for artist in ax.findobj() if artist.get_gid() == gid]


def steps_of(ax, gid):
    """Return the steps that bars cover, sorted; each covers one from -0.5 to +0.5 around it."""
    found = []
    for bars in drawn(ax, gid):
        for path in bars.get_paths():
            left, right = path.vertices[:, 0].min(), path.vertices[:, 0].max()
            assert (left + 0.5).is_integer()
            found += range(round(left + 0.5), round(right + 0.5))
    return sorted(found)


def height(ax, gid):
    """Return the middle of what is drawn by that name."""
    return np.mean([path.vertices[:4, 1].mean() for path in drawn(ax, gid)[0].get_paths()])


def texts(ax):
    """Return what is written in the axes, as (step, text)."""
    return {(text.get_position(), text.get_text()) for text in ax.texts}


# --- Frames.


def check_frames(frames, index):
    """Check that each frame is drawn at its own steps, one frame below the other."""
    ax = frames.plot(index=index)
    ax.figure.canvas.draw()
    framer, middles = frames.framer, []
    for i in index:
        _, inputs, targets = frames.steps(i)
        assert steps_of(ax, f"frame-{i}-inputs") == sorted(set(inputs.tolist()))
        assert steps_of(ax, f"frame-{i}-targets") == sorted(set(targets.ravel().tolist()))
        padding = steps_of(ax, f"frame-{i}-padding")
        assert len(padding) == framer.sequence_length - len(inputs)
        if padding and framer.padding == "pre":
            assert padding[-1] == inputs[0] - 1
        elif padding:
            assert padding[0] == inputs[-1] + 1
        for gap in drawn(ax, f"frame-{i}-gap"):
            (line,) = gap.get_segments()
            assert line[:, 0].tolist() == [inputs[-1] + 0.5, targets.min() - 0.5]
        overlap = {*inputs.tolist(), *padding} & set(targets.ravel().tolist())
        if overlap:  # one would hide the other
            assert height(ax, f"frame-{i}-inputs") < height(ax, f"frame-{i}-targets")
        middles.append(height(ax, f"frame-{i}-inputs"))
    assert middles == sorted(middles)
    return ax


@pytest.mark.parametrize(
    ("gap", "horizon", "rate", "each"), list(product((-1, 0, 2), (1, 3), (1, 2), (False, True)))
)
def test_windows_are_drawn_at_their_steps(gap, horizon, rate, each):
    framer = SequenceFramer(
        3, gap=gap, horizon=horizon, sampling_rate=rate, return_sequences=each, sequence_stride=2
    )
    for steps in (ALPHABET, np.arange(20.0)):
        frames = framer.frame(steps)
        check_frames(frames, [0, 2, len(frames) - 1])


@pytest.mark.parametrize(
    ("mode", "padding", "horizon", "gap", "each"),
    list(product(("prefixes", "subsequences"), ("pre", "post"), (1, 2), (0, 1), (False, True))),
)
def test_padded_frames_are_drawn_at_their_steps(mode, padding, horizon, gap, each):
    draws = {"num_samples": 9, "seed": 7} if mode == "subsequences" else {}
    framer = SequenceFramer(
        4, mode=mode, padding=padding, horizon=horizon, gap=gap, return_sequences=each, **draws
    )
    check_frames(framer.frame(ALPHABET), [0, 1, 3, 8])


def test_frames_of_a_cycle_are_drawn_at_their_steps():
    framer = SequenceFramer(5, mode="subsequences", num_samples=20, seed=7, wrap=True)
    check_frames(framer.frame("ABCDEF"), range(20))


def test_a_gap_is_drawn_where_there_is_one():
    gaps = {
        gap: len(drawn(SequenceFramer(2, gap=gap).frame(ALPHABET).plot(1), "frame-0-gap"))
        for gap in (-1, 0, 1, 5)
    }
    assert gaps == {-1: 0, 0: 0, 1: 1, 5: 1}


def test_a_part_of_a_split_keeps_raw_time():
    _, test = SequenceFramer(3).frame(np.arange(100.0)).split(0.5, 0.5)
    ax = check_frames(test, [0, 1])
    assert steps_of(ax, "frame-0-inputs") == [50, 51, 52]
    (line,) = drawn(ax, "sequence-0-values")
    assert line.get_xdata()[0] == 50


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ({}, range(8)),
        ({"count": 3}, range(3)),
        ({"count": 99}, range(24)),
        ({"index": 5}, [5]),
        ({"index": -1}, [23]),
        ({"index": slice(4, 9, 2)}, [4, 6, 8]),
        ({"index": [9, 2]}, [9, 2]),
    ],
)
def test_which_frames_are_drawn(arguments, shown):
    ax = SequenceFramer(2).frame(ALPHABET).plot(**arguments)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["sequence", *map(str, shown)]
    assert all(drawn(ax, f"frame-{i}-inputs") for i in shown)


def test_of_several_sequences_each_is_shown_with_its_own_frames():
    sequences = [np.arange(float(n)) for n in (9, 4, 5, 7, 6, 8, 9)]
    sequences[1][:] = np.nan  # so that it has no frame
    frames = SequenceFramer(2).frame(sequences, skip_nan=True)
    ax = frames.plot(7)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [
        *("sequence 0", "0", "1"),
        *("sequence 2", "7", "8"),
        *("sequence 3", "10", "11"),
        *("sequence 4", "15"),
    ]
    (line,) = drawn(ax, "sequence-3-values")
    assert line.get_xdata().tolist() == [*range(7)]
    check_frames(frames, [0, 6, 7, 9, 10])


def test_groups_are_called_by_their_names():
    table = pandas.DataFrame({"store": ["a$b$"] * 4 + ["c"] * 4, "sold": np.arange(8.0)})
    ax = SequenceFramer(2).frame(table, by="store").plot(4)
    ax.figure.canvas.draw()  # a name is no formula
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["a$b$", "0", "1", "c", "2", "3"]


def test_symbols_are_written_at_their_steps():
    ax = SequenceFramer(2, gap=1).frame("A BC$D$E").plot(1)
    ax.figure.canvas.draw()
    on_top = {(x, text) for (x, y), text in texts(ax) if y < 1}
    assert on_top == {*enumerate("A␣BC$D$E")}
    in_frame = {(x, text) for (x, y), text in texts(ax) if y > 1}
    assert in_frame == {(0, "A"), (1, "␣"), (3, "C")}


def test_targets_of_their_own_are_not_taken_for_symbols():
    ax = SequenceFramer(1).frame("ABCD", targets=np.arange(4)).plot(1)
    assert {(x, text) for (x, y), text in texts(ax) if y > 1} == {(0, "A")}


def test_words_that_do_not_fit_are_left_out():
    words = [f"word{'y' * 40}{i}" for i in range(40)]
    framer = SequenceFramer(2, vocabulary=Vocabulary(words))
    assert not framer.frame(words).plot(2).texts


@pytest.mark.parametrize("as_mask", [False, True])
def test_what_is_left_out_is_told(as_mask):
    steps = np.arange(14.0)
    missing = [2, 9]
    valid = np.ones(14, bool)
    valid[missing] = False
    if not as_mask:
        steps[missing] = np.nan
    frames = SequenceFramer(2, gap=1).frame(
        steps, skip_nan=not as_mask, valid=valid if as_mask else None
    )
    ax = frames.plot(99)
    (marks,) = drawn(ax, "sequence-0-missing")
    assert marks.get_xdata().tolist() == missing
    # By hand: a frame from `s` touches s, s + 1 and s + 3.
    kept = [s for s in range(11) if not {s, s + 1, s + 3} & set(missing)]
    assert [frames.steps(i).inputs[0] for i in range(len(frames))] == kept
    gids = sorted({str(a.get_gid()) for a in ax.findobj() if "left-out" in str(a.get_gid())})
    left_out = [s for s in range(11) if s not in kept]
    runs = np.split(left_out, np.flatnonzero(np.diff(left_out) > 1) + 1)
    assert gids == sorted(f"sequence-0-left-out-{run[0]}" for run in runs)
    for run in runs:
        assert steps_of(ax, f"sequence-0-left-out-{run[0]}") == [*range(run[0], run[-1] + 4)]
    assert {t for _, t in texts(ax)} == {f"{len(run)} left out" for run in runs}


def test_many_that_are_left_out_leave_room_for_the_frames():
    steps = np.arange(2000.0)
    steps[:1000] = np.nan
    steps[1100:] = np.nan
    frames = SequenceFramer(2).frame(steps, skip_nan=True)
    ax = frames.plot(3)
    assert steps_of(ax, "sequence-0-left-out-0") == [*range(1002)]
    assert ax.get_xlim()[0] > 900
    (((x, _), text),) = texts(ax) - {t for t in texts(ax) if t[1] == "…"}
    assert text == "1000 left out"
    assert ax.get_xlim()[0] < x < 1002


def test_prefixes_that_are_left_out():
    steps = np.arange(8.0)
    steps[3] = np.nan
    frames = SequenceFramer(2, mode="prefixes").frame(steps, skip_nan=True)
    ax = frames.plot(99)
    # Prefixes that end at step 2 (the target is missing), at 3 and at 4.
    assert steps_of(ax, "sequence-0-left-out-2") == [1, 2, 3, 4, 5]


TABLE = pandas.DataFrame(
    {"input": np.arange(9.0), "$a$": np.arange(9.0) ** 2, "_b": -np.arange(9.0)}
)


@pytest.mark.parametrize(
    ("data", "targets", "black", "orange"),
    [
        (TABLE["input"], None, [""], []),
        (TABLE[["input"]], None, [""], []),
        (TABLE, None, ["input", "$a$", "_b"], []),
        (TABLE.to_numpy(), None, ["feature 0", "feature 1", "feature 2"], []),
        (np.zeros((9, 2, 4)), None, [f"feature {k}" for k in range(4)], []),
        # A column that is a target is drawn as such, and not twice.
        (TABLE, "$a$", ["input", "_b"], ["$a$ (target)"]),
        (TABLE, ["_b", "input"], ["$a$"], ["_b (target)", "input (target)"]),
        (TABLE[["input"]], "input", [], ["input (target)"]),
        (TABLE["input"], TABLE["_b"], [""], ["target values"]),
        (TABLE[["input"]], TABLE["_b"], ["input"], ["target values"]),
        (TABLE["input"], TABLE.to_numpy(), [""], ["target 0", "target 1", "target 2"]),
    ],
)
def test_the_legend_names_each_line_of_values(data, targets, black, orange):
    frames = SequenceFramer(3).frame(data, targets=targets)
    ax = frames.plot(2)
    ax.figure.canvas.draw()
    drawn_in_black = drawn(ax, "sequence-0-values")
    drawn_in_orange = drawn(ax, "sequence-0-target values")
    assert [curve.get_label() for curve in drawn_in_black] == black
    assert [curve.get_label() for curve in drawn_in_orange] == orange
    for curves in (drawn_in_black, drawn_in_orange):
        assert len({curve.get_linestyle() for curve in curves}) == len(curves)
    named = [name for name in [*black, *orange] if name]
    more = ["… and 4 more"] if np.ndim(data) == 3 else []
    assert labels(ax) == ["input", "target", *named, *more]


def test_lines_of_values_are_those_of_their_columns():
    ax = SequenceFramer(3).frame(TABLE, targets=["_b"]).plot(2)
    for name, sign in (("input", 1), ("$a$", 1), ("_b (target)", -1)):
        (curve,) = (curve for curve in ax.get_lines() if curve.get_label() == name)
        wanted = TABLE[name.removesuffix(" (target)")]
        # Upwards is downwards in numbers: frames are below each other.
        assert np.corrcoef(-curve.get_ydata(), wanted)[0, 1] == pytest.approx(1)
        assert (-curve.get_ydata()[-1] > -curve.get_ydata()[0]) == (sign > 0)


@pytest.mark.parametrize(
    ("total", "arguments", "said"),
    [
        (20, {}, "frame\n(4 of 20 sequences)"),
        (20, {"count": 2}, "frame\n(2 of 20 sequences)"),
        (20, {"index": [0, 30]}, "frame\n(2 of 20 sequences)"),
        (4, {}, "frame"),
        (1, {"index": 3}, "frame"),
    ],
)
def test_how_many_sequences_are_not_drawn_is_told(total, arguments, said):
    frames = SequenceFramer(3).frame([np.arange(20.0)] * total)
    ax = frames.plot(**arguments)
    assert ax.get_ylabel() == said


def test_future_is_marked_at_the_steps_it_is_of():
    frames = SequenceFramer(3, gap=1, horizon=2).frame(np.arange(9.0), future=np.zeros(9))
    ax = frames.plot(2)
    for i in range(2):
        (marks,) = drawn(ax, f"frame-{i}-future")
        assert marks.get_xdata().tolist() == frames.steps(i).targets.tolist()
    assert not drawn(SequenceFramer(3).frame(np.arange(9.0)).plot(1), "frame-0-future")


@pytest.mark.parametrize(
    "steps",
    [
        np.arange(2.0),
        np.full(9, 3.0),
        np.full(9, np.nan),
        np.array([1, np.nan, np.inf, 4, 5]),
        np.array([True, False, True]),
        np.arange(60, dtype="uint8").reshape(6, 5, 2),
    ],
    ids=["two steps", "constant", "all NaN", "infinite", "bool", "many features"],
)
def test_values_of_any_kind(steps):
    ax = SequenceFramer(1).frame(steps).plot()
    ax.figure.canvas.draw()
    for line in drawn(ax, "sequence-0-values"):
        seen = line.get_ydata()[np.isfinite(line.get_ydata())]
        assert ((seen >= 0) & (seen <= 1.2)).all()


def test_long_sequences_are_fast_and_shown_where_frames_are():
    frames = SequenceFramer(5000, horizon=500, sequence_stride=100).frame(np.arange(1e6))
    ax = check_frames(frames, [100, 101])
    (line,) = drawn(ax, "sequence-0-values")
    assert len(line.get_xdata()) <= 2000
    assert line.get_xdata()[0] == 10_000
    assert len(ax.findobj()) < 200
    low, high = ax.get_xlim()
    assert (low, high) == pytest.approx((10_000, 15_602), abs=5)


def test_long_padding_leaves_room_for_the_steps():
    ax = SequenceFramer(1000, mode="prefixes").frame(np.arange(2000.0)).plot(3)
    assert len(steps_of(ax, "frame-0-padding")) == 999
    assert ax.get_xlim()[0] > -45


def test_a_thinned_line_keeps_the_extremes():
    y = np.random.default_rng(7).normal(size=12_345)
    y[5000] = np.nan
    x, thin = thin_line(np.arange(len(y)), y)
    assert len(x) == len(thin) <= 2000
    assert (np.nanmin(thin), np.nanmax(thin)) == (np.nanmin(y), np.nanmax(y))
    assert np.isfinite(thin).all()


# --- Lanes.

RNG = np.random.default_rng(7)
MANY = [np.arange(float(n)) for n in RNG.integers(2, 30, 15)]
HOLES = np.where(RNG.random(200) < 0.05, np.nan, np.arange(200.0))


@pytest.mark.parametrize(
    ("sequences", "rows"),
    [(ALPHABET, 1), (ALPHABET, 4), (ALPHABET, 25), (MANY, 3), (MANY, 15), (MANY, 50), (HOLES, 5)],
)
def test_lanes_are_drawn_as_their_batches_are(sequences, rows):
    frames = SequenceFramer(1).frame(sequences, skip_nan=sequences is HOLES)
    lanes = frames.lanes(rows)
    resets = np.array([lanes.resets(k) for k in range(len(lanes))])
    weights = lanes.index(np.arange(len(lanes)))[1]
    for batches in (None, 3, slice(len(lanes) // 2, None)):
        ax = lanes.plot(batches)
        ax.figure.canvas.draw()
        start, stop, _ = (batches if isinstance(batches, slice) else slice(batches)).indices(
            len(lanes)
        )
        shade = np.full((len(lanes), rows), "", object)
        for gid in ("continues-0", "continues-1", "ran-out"):
            for bars in drawn(ax, gid):
                for path in bars.get_paths():
                    (left, top), (right, bottom) = path.vertices[0], path.vertices[2]
                    cells = slice(round(left + 0.5), round(right + 0.5)), round((top + bottom) / 2)
                    assert (shade[cells] == "").all()  # nothing is drawn twice
                    shade[cells] = gid
        assert (shade[:start] == "").all()
        assert (shade[stop:] == "").all()
        shade, inside = shade[start:stop], weights[start:stop]
        assert ((shade == "ran-out") == (inside == 0)).all()
        assert (shade != "").all()
        # What continues keeps its colour, and what begins changes it.
        changes = (shade[1:] != shade[:-1]) & (inside[1:] > 0)
        assert (changes == resets[start + 1 : stop]).all()
        marks = drawn(ax, "resets")
        if rows <= 25:
            points = {(k, r) for k, r in np.argwhere(resets) if start <= k < stop}
            found = [zip(m.get_xdata() + 0.5, m.get_ydata(), strict=True) for m in marks]
            assert {point for points in found for point in points} == points


def test_only_the_batches_asked_for_are_in_view():
    lanes = SequenceFramer(1).frame(np.arange(1000.0)).lanes(4)
    assert lanes.plot().get_xlim() == (-0.5, 249.5)
    assert lanes.plot(20).get_xlim() == (-0.5, 19.5)
    assert lanes.plot(slice(-10, None)).get_xlim() == (239.5, 249.5)
    assert lanes.plot(slice(240, 250)).get_xlabel() == "batch (240 to 249 of 250)"
    assert lanes.plot(999).get_xlabel() == "batch"


def test_of_very_many_sequences_the_first_batches_are_drawn():
    lanes = SequenceFramer(1).frame([np.arange(3.0)] * 50_000).lanes(10)
    ax = lanes.plot()
    bars = [len(artist.get_paths()) for k in (0, 1) for artist in drawn(ax, f"continues-{k}")]
    assert 3900 <= sum(bars) <= 4000
    assert ax.get_xlim()[1] < len(lanes)
    assert f"of {len(lanes):,}" in ax.get_xlabel()


@pytest.mark.parametrize("batches", [slice(5, 5), slice(0, 9, 2), slice(99, 100), 0, -1])
def test_batches_that_there_are_not(batches):
    lanes = SequenceFramer(1).frame(ALPHABET).lanes(2)
    with pytest.raises(ValueError, match="`batches` must be"):
        lanes.plot(batches)


# --- Forecasts.

HISTORY = np.arange(30.0)
STEPS = 6
POINT = np.arange(30.0, 36.0)
PATHS = POINT + RNG.normal(size=(50, STEPS)).cumsum(axis=1)
LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95]


def edges(ax, label):
    """Return the lower and the upper edge of a band, in the order of time."""
    (band,) = drawn(ax, label)
    vertices = band.get_paths()[0].vertices
    places = np.unique(vertices[:, 0])
    at = [vertices[vertices[:, 0] == place, 1] for place in places]
    return np.array([values.min() for values in at]), np.array([values.max() for values in at])


def line(ax, label):
    (found,) = drawn(ax, label)
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def same(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_history_forecast_and_what_came_follow_each_other():
    ax = plot_forecast(HISTORY, POINT, actual=POINT[:4] + 1)
    same(line(ax, "history"), (range(18, 30), HISTORY[18:]))
    same(line(ax, "forecast"), (range(30, 36), POINT))
    same(line(ax, "what came"), (range(30, 34), POINT[:4] + 1))


@pytest.mark.parametrize(
    ("past", "ahead", "is_joined"),
    [
        (range(30), range(30, 36), True),
        (range(30), range(31, 37), False),  # a step between them is not known
        (range(29, -1, -1), range(-1, -7, -1), True),
        (np.arange(30) / 2, 15 + np.arange(6) / 2, True),
        (pandas.date_range("2024-08-31", periods=30, freq="ME"), None, True),
        # Over a weekend, as there are some in the history.
        (pandas.bdate_range("2026-01-02", "2026-02-13", name="day")[-30:], None, True),
        (pandas.date_range("2026-01-01", periods=30), "2026-02-02", False),
        (pandas.date_range("2026-03-01", periods=30, freq="h"), None, True),
    ],
    ids=["steps", "a hole", "backwards", "halves", "months", "business days", "lost days", "hours"],
)
def test_history_is_joined_to_what_follows_a_step_later(past, ahead, is_joined):
    past = pandas.Index(past)
    if ahead is None or isinstance(ahead, str):
        start = past[-1] + past.freq if ahead is None else ahead
        ahead = pandas.date_range(start, periods=STEPS, freq=past.freq)
    forecast, came = pandas.Series(POINT, ahead), pandas.Series(POINT[:2] + 5, ahead[:2])
    ax = plot_forecast(pandas.Series(HISTORY, past), forecast, paths=PATHS, actual=came)
    ax.figure.canvas.draw()
    for label, first in (("forecast", POINT[0]), ("what came", POINT[0] + 5)):
        if not is_joined:
            assert not drawn(ax, f"to {label}")
            continue
        x, y = line(ax, f"to {label}")
        same(y, [HISTORY[-1], first])
        assert [x[0], x[1]] == [line(ax, "history")[0][-1], line(ax, label)[0][0]]


def test_there_is_nothing_to_join_where_no_history_is_drawn_or_nothing_came():
    assert not drawn(plot_forecast(HISTORY, POINT, num_history=0), "to forecast")
    ax = plot_forecast(HISTORY, POINT, actual=[])
    assert drawn(ax, "to forecast")
    assert not drawn(ax, "to what came")
    assert drawn(plot_forecast(HISTORY[:1], POINT[:1]), "to forecast")


@pytest.mark.parametrize(("asked", "drawn_steps"), [(None, 12), (0, 0), (1, 1), (99, 30)])
def test_how_much_history_is_drawn(asked, drawn_steps):
    ax = plot_forecast(HISTORY, POINT, num_history=asked)
    assert len(line(ax, "history")[0] if drawn_steps else []) == drawn_steps
    assert bool(drawn(ax, "history")) == (drawn_steps > 0)


@pytest.mark.parametrize(("steps", "drawn_steps"), [(1, 12), (6, 12), (7, 14), (14, 28), (20, 30)])
def test_twice_as_much_history_is_drawn_as_is_forecast(steps, drawn_steps):
    assert len(line(plot_forecast(HISTORY, np.zeros(steps)), "history")[0]) == drawn_steps


@pytest.mark.parametrize(
    ("first", "freq", "size", "wanted"),
    [
        ("2026-01-15", "D", 20, "Jan 17, Jan 21, Jan 25, Jan 29, Feb 01, 2026"),
        ("2025-12-28", "D", 42, "Jan 01, Jan 08, Jan 15, Jan 22, Feb 01, Feb 08, 2026"),
        ("2025-11-20", "MS", 9, "Dec, Jan 2026, Feb, Mar, Apr, May, Jun, Jul, Aug, "),
        ("2026-02-01", "MS", 9, "Feb, Mar, Apr, May, Jun, Jul, Aug, Sep, Oct, 2026"),
        ("2020-01-01", "MS", 48, "2020, 2021, 2022, 2023, 2024, "),
        ("2026-03-01", "h", 72, "Mar 01, Mar 02, Mar 03, Mar 04, 2026"),
        ("2026-03-01", "h", 24, "Mar 01, 04:00, 08:00, 12:00, 16:00, 20:00, Mar 02, Mar 02, 2026"),
    ],
)
def test_ticks_tell_the_date(first, freq, size, wanted):
    index = pandas.date_range(first, periods=size, freq=freq)
    values = pandas.Series(np.zeros(size), index)
    for width in (9, 6, 5, 4):
        ax = pyplot.subplots(figsize=(width, 3), layout="constrained")[1]
        plot_forecast(values[:-6], values[-6:], num_history=size, ax=ax)
        ax.figure.canvas.draw()
        low, high = ax.get_xlim()
        ticks = [tick for tick in ax.get_xticklabels() if low <= tick.get_position()[0] <= high]
        boxes = [tick.get_window_extent() for tick in ticks]
        assert len(ticks) >= 2
        assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
        if width == 9:
            seen = [tick.get_text().replace("\n", " ") for tick in ticks]
            assert ", ".join([*seen, ax.xaxis.get_offset_text().get_text()]) == wanted


def test_bands_of_paths_are_their_quantiles():
    for ax in (plot_forecast(HISTORY, PATHS), plot_forecast(HISTORY, POINT, paths=PATHS)):
        same(edges(ax, "90 % of paths"), np.quantile(PATHS, [0.05, 0.95], axis=0))
        same(edges(ax, "50 % of paths"), np.quantile(PATHS, [0.25, 0.75], axis=0))
    same(line(plot_forecast(HISTORY, PATHS), "median")[1], np.median(PATHS, axis=0))
    same(line(ax, "forecast")[1], POINT)
    assert not drawn(ax, "median")


QUANTILES = np.quantile(PATHS, LEVELS, axis=0)


@pytest.mark.parametrize(
    "history",
    [HISTORY, pandas.Series(HISTORY), polars.Series("y", HISTORY), polars.Series(HISTORY)],
    ids=["array", "pandas", "polars", "polars without a name"],
)
def test_quantiles_are_bands_and_a_line(history):
    forecast = continue_table(history, QUANTILES, None, LEVELS)
    levels = LEVELS if forecast is QUANTILES else None
    ax = plot_forecast(history, forecast, quantiles=levels)
    same(edges(ax, "90 %"), QUANTILES[[0, 4]])
    same(edges(ax, "50 %"), QUANTILES[[1, 3]])
    same(line(ax, "median"), (range(30, 36), QUANTILES[2]))


def test_quantiles_without_an_opposite_are_lines():
    ax = plot_forecast(HISTORY, QUANTILES[[0, 4, 3]], quantiles=[0.05, 0.95, 0.75])
    same(edges(ax, "90 %"), QUANTILES[[0, 4]])
    same(line(ax, "75 % quantile")[1], QUANTILES[3])
    assert not drawn(ax, "median")


WIDE, NARROW = (POINT - 2, POINT + 3), (POINT - 1, POINT + 1)


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def is_hatched(ax, label):
    (band,) = drawn(ax, label)
    return bool(band.get_hatch())


@pytest.mark.parametrize(
    ("intervals", "label"),
    [
        (WIDE, "interval"),
        ({"conformal": WIDE}, "conformal"),
        ({0.9: WIDE}, "90 % interval"),
        ({np.float32(0.9): WIDE}, "90 % interval"),
        ({0.975: WIDE}, "97.5 % interval"),
    ],
)
def test_an_interval_is_a_band_that_the_legend_names(intervals, label):
    ax = plot_forecast(HISTORY, POINT, intervals=intervals)
    same(edges(ax, label), WIDE)
    assert labels(ax) == ["history", label, "forecast"]
    assert not is_hatched(ax, label)


def test_intervals_inside_each_other_are_as_bands_of_quantiles_are():
    quantiles = np.stack([WIDE[0], NARROW[0], NARROW[1], WIDE[1]])
    by_quantiles = plot_forecast(HISTORY, quantiles, quantiles=[0.05, 0.25, 0.75, 0.95])
    for intervals in ({"90 %": WIDE, "50 %": NARROW}, {"50 %": NARROW, "90 %": WIDE}):
        ax = plot_forecast(HISTORY, POINT, intervals=intervals)
        same(edges(ax, "90 %"), WIDE)
        same(edges(ax, "50 %"), NARROW)
        assert labels(ax) == ["history", "90 %", "50 %", "forecast"]
        wide, narrow = ax.get_legend().get_patches()
        assert wide.get_alpha() < narrow.get_alpha()  # the inner one lies on the outer one
        for patch, other in zip(
            (wide, narrow), by_quantiles.get_legend().get_patches(), strict=True
        ):
            assert patch.get_facecolor() == other.get_facecolor()


@pytest.mark.parametrize(
    ("arguments", "label"),
    [
        ({"paths": PATHS, "intervals": WIDE}, "interval"),
        ({"paths": PATHS, "intervals": {"90 %": WIDE}}, "90 %"),
        # Neither lies inside the other.
        ({"intervals": {"A": WIDE, "B": (POINT, POINT + 4)}}, "B"),
    ],
)
def test_intervals_that_shades_would_not_tell_apart_are_hatched(arguments, label):
    ax = plot_forecast(HISTORY, POINT, **arguments)
    assert is_hatched(ax, label)
    filled = [patch for patch in ax.get_legend().get_patches() if not patch.get_hatch()]
    hatched = {patch.get_hatch() for patch in ax.get_legend().get_patches()} - {None}
    assert len(filled) == (2 if "paths" in arguments else 0)
    assert len(hatched) == (1 if "paths" in arguments else 2)


def test_an_interval_may_be_called_as_quantiles_are():
    ax = plot_forecast(HISTORY, QUANTILES, quantiles=LEVELS, intervals={"90 %": WIDE})
    assert labels(ax) == ["history", "90 %", "50 %", "90 %", "median"]


@pytest.mark.parametrize("module", [pandas, polars])
def test_tables_of_several_columns(module):
    history = module.DataFrame({"a": HISTORY, "b_0": -HISTORY, "c": HISTORY * 2})
    values = np.stack([POINT * 2, POINT], axis=1)
    ax = plot_forecast(history, continue_table(history, values, [2, 0]))
    for found, wanted in zip(drawn(ax, "forecast"), values.T, strict=True):
        same(found.get_ydata(), wanted)
    for found, wanted in zip(drawn(ax, "history"), (HISTORY * 2, HISTORY), strict=True):
        same(found.get_ydata(), wanted[18:])
    quantiles = np.stack([values - 1, values, values + 2])
    table = continue_table(history, quantiles, [2, 0], [0.1, 0.5, 0.9])
    for columns in (None, ["c", "a"], [2, 0]):
        ax = plot_forecast(history, table, columns=columns)
        found = [band.get_paths()[0].vertices[:, 1] for band in drawn(ax, "80 %")]
        for vertices, k in zip(found, range(2), strict=True):
            assert vertices.min() == (values[:, k] - 1).min()
            assert vertices.max() == (values[:, k] + 2).max()
        assert labels(ax)[-2:] == ["c", "a"]
    one = continue_table(history, QUANTILES, 1, LEVELS)
    for columns in (1, "b_0"):
        ax = plot_forecast(history, one, columns=columns)
        same(edges(ax, "90 %"), QUANTILES[[0, 4]])
        same(line(ax, "history")[1], -HISTORY[18:])
    with pytest.raises(ValueError, match="`columns` must name the column that quantiles are of"):
        plot_forecast(history, one)  # which levels its columns are of they say, not of what


@pytest.mark.parametrize("module", [pandas, polars])
def test_only_columns_that_are_drawn_have_to_be_numbers(module):
    history = module.DataFrame({"store": ["north"] * 30, "price": -HISTORY, "sold": HISTORY})
    came = module.DataFrame({"sold": POINT + 1, "store": ["north"] * STEPS})
    one, several = module.Series("sold", POINT), module.DataFrame({"sold": POINT})
    if module is pandas:
        one = module.Series(POINT, name="sold")
    for forecast in (one, several):
        ax = plot_forecast(history, forecast, actual=came)
        same(line(ax, "history")[1], HISTORY[-len(line(ax, "history")[1]) :])
        same(line(ax, "forecast")[1], POINT)
        same(line(ax, "what came")[1], POINT + 1)
        assert ax.get_ylabel() == "sold"
    # Sample paths beside a Series, and those alone, have no axis of features either.
    same(edges(plot_forecast(history, one, paths=PATHS), "90 % of paths")[0], QUANTILES[0])
    ax = plot_forecast(history, PATHS, columns="sold")
    same(edges(ax, "90 % of paths")[0], QUANTILES[0])
    for columns in (None, ["store", "sold"]):
        with pytest.raises(TypeError, match=r"`history` must hold numbers.*'store'"):
            plot_forecast(history, np.stack([POINT, POINT], 1), columns=columns)
    with pytest.raises(TypeError, match="name the columns that the forecast is of, by `columns`"):
        plot_forecast(history, PATHS)


def test_a_column_whose_name_is_a_number_is_found():
    history = pandas.DataFrame({0: HISTORY, 1: -HISTORY})
    ax = plot_forecast(history, pandas.Series(POINT, name=0))
    assert ax.get_ylabel() == "0"
    same(line(ax, "history")[1][-1:], HISTORY[-1:])


def test_of_several_columns_the_legend_keeps_colours_for_these():
    table = pandas.DataFrame({"a": HISTORY, "b": -HISTORY})
    forecast = np.stack([POINT, -POINT], axis=1)
    intervals = {0.9: (forecast - 2, forecast + 2), "other": (forecast - 1, forecast + 3)}
    paths = np.stack([PATHS, -PATHS], axis=-1)
    ax = plot_forecast(table, forecast, paths=paths, intervals=intervals, actual=forecast + 1)
    black = matplotlib.colors.to_rgb("black")
    handles = dict(zip(labels(ax), ax.get_legend().legend_handles, strict=True))
    shades = {handles.pop(name).get_color() for name in ("a", "b")}
    assert len(shades) == 2
    for handle in handles.values():
        is_line = hasattr(handle, "get_color")
        color = handle.get_color() if is_line else handle.get_edgecolor()
        assert matplotlib.colors.to_rgb(color) == black
    assert {curve.get_color() for curve in drawn(ax, "forecast")} == shades


def test_tables_with_columns_of_several_levels():
    columns = pandas.MultiIndex.from_product([["shop"], ["a", "b"]], names=["store", "item"])
    history = pandas.DataFrame(np.stack([HISTORY, -HISTORY], axis=1), columns=columns)
    values = np.stack([POINT, 2 * POINT], axis=1)
    ax = plot_forecast(history, continue_table(history, values))
    for found, wanted in zip(drawn(ax, "forecast"), values.T, strict=True):
        same(found.get_ydata(), wanted)
    quantiles = np.stack([values - 1, values, values + 2])
    ax = plot_forecast(history, continue_table(history, quantiles, None, [0.1, 0.5, 0.9]))
    found = [band.get_paths()[0].vertices[:, 1] for band in drawn(ax, "80 %")]
    for vertices, wanted in zip(found, values.T, strict=True):
        assert (vertices.min(), vertices.max()) == (wanted.min() - 1, wanted.max() + 2)


def test_arrays_of_several_columns():
    history = np.stack([HISTORY, -HISTORY, 2 * HISTORY], axis=1)
    paths = np.stack([PATHS, 2 * PATHS], axis=-1)
    came = np.stack([POINT, -POINT, 2 * POINT], axis=1)
    ax = plot_forecast(history, paths, columns=[0, 2], actual=came)
    for k, (median, seen) in enumerate(
        zip(drawn(ax, "median"), drawn(ax, "what came"), strict=True)
    ):
        same(median.get_ydata(), np.median(paths[..., k], axis=0))
        same(seen.get_ydata(), came[:, 2 * k])
    ax = plot_forecast(history, -PATHS, columns=1, actual=came)
    same(line(ax, "median")[1], np.median(-PATHS, axis=0))
    same(line(ax, "what came")[1], -POINT)
    same(line(ax, "history")[1], -HISTORY[18:])


@pytest.mark.parametrize(
    ("index", "past", "ahead"),
    [
        (pandas.RangeIndex(0, 60, 2), [58], [60, 62]),
        (pandas.Index(np.arange(1900, 1930), name="year"), [1929], [1930, 1931]),
        (
            pandas.date_range("2024-01-01", periods=30),
            date2num(np.array(["2024-01-30"], "M8")),
            date2num(np.array(["2024-01-31", "2024-02-01"], "M8")),
        ),
        (
            pandas.date_range("2024-01-01", periods=30, tz="Asia/Tokyo"),
            date2num(np.array(["2024-01-30"], "M8")),
            date2num(np.array(["2024-01-31", "2024-02-01"], "M8")),
        ),
        (
            pandas.period_range("2024-01", periods=30, freq="M"),
            date2num(np.array(["2026-06-01"], "M8[D]")),
            date2num(np.array(["2026-07-01", "2026-08-01"], "M8[D]")),
        ),
        (pandas.timedelta_range("0s", periods=30, freq="2s"), [58], [60, 62]),
        (pandas.Index([f"day {k}" for k in range(30)]), [29], [30, 31]),
    ],
    ids=["range", "numbers", "dates", "dates of a zone", "periods", "durations", "names"],
)
def test_the_time_axis_is_the_index(index, past, ahead):
    history = pandas.Series(HISTORY, index)
    table = continue_table(history, POINT)
    for forecast in (table, PATHS):  # which have no index of their own
        ax = plot_forecast(history, forecast, actual=table[:2], intervals=(table - 1, table + 1))
        ax.figure.canvas.draw()
        in_numbers = {
            label: ax.convert_xunits(line(ax, label)[0])
            for label in ("history", "forecast" if forecast is table else "median", "what came")
        }
        first, second, third = in_numbers.values()
        same(first[-1:], past)
        same(second[:2], ahead)
        same(third, ahead)
        # On the clock that the history has in pandas.
        assert ax.get_xlabel() == ("year" if index.name else "" if first[-1] > 9999 else "step")


@pytest.mark.parametrize(
    ("index", "ahead"),
    [
        (range(1900, 1930), [1930, 1931]),
        (range(1900, 1936), [1930, 1931]),
        (np.arange(0, 15, 0.5), [15, 15.5]),
        (np.arange("2024-01-01", "2024-01-31", dtype="M8[D]"), None),
    ],
)
def test_an_index_of_arrays(index, ahead):
    ax = plot_forecast(HISTORY, POINT, index=index)
    x = line(ax, "forecast")[0]
    if ahead is None:
        assert x[:2].astype("M8[D]").tolist() == [
            np.datetime64("2024-01-31").item(),
            np.datetime64("2024-02-01").item(),
        ]
    else:
        assert x[:2].tolist() == ahead
    assert line(ax, "history")[0][-1] == np.asarray(index)[29]


def test_one_step_has_a_band_that_is_seen():
    for index in (None, pandas.date_range("2024-01-01", periods=30)):
        history = HISTORY if index is None else pandas.Series(HISTORY, index)
        ax = plot_forecast(history, PATHS[:, :1], actual=POINT[:1])
        ax.figure.canvas.draw()
        low, high = edges(ax, "90 % of paths")
        assert len(low) == 3
        same([low[1], high[1]], np.quantile(PATHS[:, 0], [0.05, 0.95]))
        for label in ("median", "what came"):
            assert drawn(ax, label)[0].get_marker() not in ("", "None")


def test_what_is_missing_is_a_hole_in_the_line():
    history = HISTORY.copy()
    history[[20, 29]] = np.nan
    ax = plot_forecast(history, POINT, actual=[30, np.nan, 32])
    ax.figure.canvas.draw()
    assert np.flatnonzero(np.isnan(line(ax, "history")[1])).tolist() == [2, 11]
    same(line(ax, "what came")[1], [30, np.nan, 32])


def test_names_with_dollar_signs_are_no_formulas():
    table = pandas.DataFrame({"$a$": HISTORY, "$b": HISTORY})
    plot_forecast(table, np.stack([POINT, POINT], 1)).figure.canvas.draw()
    plot_forecast(table["$a$"], POINT).figure.canvas.draw()
    plot_history({"$a$": {"$m_1$": [1.0]}}, "$m_1$").figure.canvas.draw()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"history": [HISTORY, HISTORY]}, "`history` must be one sequence"),
        ({"forecast": np.zeros((2, 3, 6))}, "`forecast` must have 1 or 2 axes"),
        ({"paths": POINT}, "`paths` must have 1 or 2 axes"),
        ({"paths": PATHS[:, :3]}, "`paths` must have as many steps"),
        ({"quantiles": LEVELS}, "Leave it out"),
        ({"forecast": QUANTILES, "quantiles": [0.1, 0.9]}, "2 levels for a forecast of shape"),
        ({"actual": np.zeros(7)}, "`actual` must have no more than the 6 steps"),
        ({"actual": np.zeros((6, 2))}, "`actual` must be of the 1 features"),
        ({"intervals": POINT}, r"`intervals` must be a tuple \(lower, upper\)"),
        ({"intervals": (POINT[:2], POINT[:2])}, "`intervals` must have the 6 steps"),
        ({"intervals": {90: WIDE}}, r"`intervals` must be named by coverages in \(0, 1\)"),
        ({"index": range(7)}, "`index` must be one number or date for each step"),
        ({"history": np.zeros((30, 3)), "columns": None}, "by `columns`"),
        ({"history": np.zeros((30, 3)), "columns": 3}, "`columns` must be a column in 0 … 2"),
        ({"num_history": -1}, "`num_history` must be an integer ≥ 0"),
        ({"ax": "here"}, "`ax` must be a `matplotlib.axes.Axes`"),
    ],
)
def test_what_does_not_go_together_is_said(arguments, message):
    arguments = {"history": HISTORY, "forecast": POINT, **arguments}
    with pytest.raises((TypeError, ValueError), match=message):
        plot_forecast(**arguments)
    assert not pyplot.get_fignums()  # an error leaves no empty figure behind


# --- Learning curves.


def trained(epochs, first=0, **logs):
    """Return what `fit` returns."""
    return SimpleNamespace(epoch=[*range(first, first + epochs)], history=logs)


def test_learning_curves_are_the_logs_over_the_epochs():
    histories = {
        "one": trained(3, accuracy=[0.1, 0.2, 0.3]),
        "two": {"accuracy": [0.5, 0.6]},
        "three": trained(2, first=5, accuracy=[0.7, 0.8]),
    }
    ax = plot_history(histories)
    same(line(ax, "one"), ([1, 2, 3], [0.1, 0.2, 0.3]))
    same(line(ax, "two"), ([1, 2], [0.5, 0.6]))
    same(line(ax, "three"), ([6, 7], [0.7, 0.8]))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two", "three"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "accuracy")


@pytest.mark.parametrize(
    ("histories", "metric"),
    [
        ({"loss": [0.3, 0.2], "mae": [0.5, 0.4]}, "loss"),
        ({"loss": [0.3, 0.2], "accuracy": [0.5, 0.6]}, "accuracy"),
        ({"one": {"loss": [0.3], "accuracy": [0.5]}, "two": {"loss": [0.2]}}, "loss"),
    ],
)
def test_without_a_metric_it_is_the_accuracy_or_else_the_loss(histories, metric):
    assert plot_history(histories).get_ylabel() == metric


def test_six_curves_are_told_apart_with_and_without_colours():
    ax = plot_history({f"model {k}": {"accuracy": [0.1, 0.2]} for k in range(6)})
    assert len({curve.get_color() for curve in ax.get_lines()}) == 6
    assert len({curve.get_marker() for curve in ax.get_lines()}) == 6


@pytest.mark.parametrize("wrap", [lambda logs: logs, lambda logs: trained(4, **logs)])
def test_validation_is_dashed(wrap):
    ax = plot_history(wrap({"loss": [4.0, 3, 2, 1], "val_loss": [5.0, 4]}), "loss")
    training, validation = ax.get_lines()
    assert (training.get_linestyle(), validation.get_linestyle()) == ("-", "--")
    same(validation.get_xdata(), [2, 4])  # every second epoch
    same(validation.get_ydata(), [5, 4])


def test_far_longer_trainings_have_a_logarithmic_axis():
    logs = {"short": {"loss": [1.0] * 30}, "as short": {"loss": [1.0] * 100}}
    assert plot_history(logs, "loss").get_xscale() == "linear"
    assert plot_history({**logs, "long": {"loss": [1.0] * 120}}, "loss").get_xscale() == "log"


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ({"mae": [1.0]}, r"`metric` must be one of \['mae'\].* Received: metric='loss'"),
        ({"one": {"mae": [1.0]}}, "the history of 'one' has"),
        ({}, "`histories` must hold at least one history"),
        ([0.5, 0.6], "`histories` must be what `fit` returned"),
        (trained(0), "`histories` must be what `fit` returned"),
    ],
)
def test_histories_that_are_none(histories, message):
    with pytest.raises((TypeError, ValueError), match=message):
        plot_history(histories)
    assert not pyplot.get_fignums()


# --- All of them.

PICTURES = {
    "frames": lambda **ax: SequenceFramer(3).frame(ALPHABET).plot(**ax),
    "lanes": lambda **ax: SequenceFramer(1).frame(ALPHABET).lanes(4).plot(**ax),
    "forecast": lambda **ax: plot_forecast(HISTORY, PATHS, **ax),
    "history": lambda **ax: plot_history({"accuracy": [0.1, 0.2]}, **ax),
}


@pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)
def test_given_axes_are_drawn_on_and_returned(draw):
    figure, (left, right) = pyplot.subplots(1, 2)
    assert draw(ax=right) is right
    assert pyplot.get_fignums() == [figure.number]
    assert not left.has_data()
    assert right.has_data()


@pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)
def test_without_axes_there_is_a_figure(draw):
    before = draw()
    after = draw()
    assert before is not after
    assert len(pyplot.get_fignums()) == 2
    for side in after.figure.get_size_inches():
        assert 1.5 <= side <= 14


@pytest.mark.parametrize("size", [(4, 3), (9, 5), (2, 1.5)])
@pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)
def test_nothing_is_cut_off(draw, size):
    figure, ax = pyplot.subplots(figsize=size, layout="constrained")
    draw(ax=ax)
    figure.canvas.draw()
    if size != (2, 1.5):  # which has no room for all, but is drawn
        around = ax.get_tightbbox()
        assert around.x0 >= -1
        assert around.y0 >= -1
        assert around.x1 <= figure.bbox.width + 1
        assert around.y1 <= figure.bbox.height + 1


@pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)
def test_dark_styles_have_light_ink(draw):
    with pyplot.style.context("dark_background"):
        ax = draw()
    assert ax.get_legend().get_texts()[0].get_color() == "white"
    dark = [a for a in ax.findobj(matplotlib.lines.Line2D) if a.get_color() in ("black", "k")]
    assert not dark


def test_in_dark_styles_a_band_is_brighter_than_the_paper():
    with pyplot.style.context("dark_background"):
        ax = plot_forecast(HISTORY, POINT, intervals=WIDE)
    (band,) = drawn(ax, "interval")
    *color, alpha = band.get_facecolor()[0]
    assert alpha * max(color) > 0.2


@pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)
def test_without_matplotlib_the_call_says_what_to_install(draw, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "seqframe\[plot\]"'):
        draw()
    monkeypatch.undo()


def test_pictures_need_no_keras():
    code = (
        "import sys, numpy as np, matplotlib; matplotlib.use('Agg')\n"
        "from seqframe import SequenceFramer, plot_forecast, plot_history\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
        "SequenceFramer(1).frame('ABC').plot(); SequenceFramer(1).frame('ABC').lanes(2).plot()\n"
        "plot_forecast([1., 2.], [3.]); plot_history({'accuracy': [1.]})\n"
        "print('keras' in sys.modules, 'pandas' in sys.modules)"
    )
    script = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert script.stdout.split() == ["False", "False", "False"], script.stderr
