"""Pictures show steps, batches and values where these lie."""

import subprocess
import sys
from itertools import product
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas
import polars
import pyarrow
import pytest

from seqframe import SequenceFramer, plot_forecast, plot_history

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.colors import to_rgb
from matplotlib.dates import date2num

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
RNG = np.random.default_rng(7)


@pytest.fixture(autouse=True)
def _no_figure_is_shown_or_left(monkeypatch):
    pyplot.close("all")  # also figures of doctests that ran before
    monkeypatch.setattr(pyplot, "show", lambda: pytest.fail("only users show pictures"))
    yield
    pyplot.close("all")


def drawn(ax, gid):
    """Return the artists with a name."""
    return [artist for artist in ax.findobj() if artist.get_gid() == gid]


def steps_of(ax, gid):
    """Return the steps that bars cover, sorted; a step reaches from -0.5 to +0.5 around it."""
    found = []
    for bars in drawn(ax, gid):
        for path in bars.get_paths():
            left, right = path.vertices[:, 0].min(), path.vertices[:, 0].max()
            assert (left + 0.5).is_integer()
            found += range(round(left + 0.5), round(right + 0.5))
    return sorted(found)


def height(ax, gid):
    return np.mean([path.vertices[:4, 1].mean() for path in drawn(ax, gid)[0].get_paths()])


def texts(ax):
    """Return the texts in the axes, as (step, text), above and below the first row."""
    found = [(*text.get_position(), text.get_text()) for text in ax.texts]
    return {(x, text) for x, y, text in found if y < 1}, {
        (x, text) for x, y, text in found if y > 1
    }


def ticks(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def line(ax, gid):
    (found,) = drawn(ax, gid)
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def edges(ax, gid, feature=0):
    """Return the lower and the upper edge of a band, in the order of time."""
    vertices = drawn(ax, gid)[feature].get_paths()[0].vertices
    at = [vertices[vertices[:, 0] == place, 1] for place in np.unique(vertices[:, 0])]
    return np.array([values.min() for values in at]), np.array([values.max() for values in at])


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-6)


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
        is_below = height(ax, f"frame-{i}-inputs") < height(ax, f"frame-{i}-targets")
        # Targets must not hide inputs or padding.
        assert is_below or not {*inputs.tolist(), *padding} & set(targets.ravel().tolist())
        gaps = [gap.get_segments()[0][:, 0].tolist() for gap in drawn(ax, f"frame-{i}-gap")]
        has_gap = targets.min() > inputs[-1] + 1 and not is_below
        assert gaps == ([[inputs[-1] + 0.5, targets.min() - 0.5]] if has_gap else [])
        middles.append(height(ax, f"frame-{i}-inputs"))
    assert middles == sorted(middles)
    return ax


@pytest.mark.parametrize(("gap", "rate", "each"), list(product((-1, 0, 2), (1, 2), (False, True))))
def test_windows_are_drawn_at_their_steps(gap, rate, each):
    framer = SequenceFramer(
        3, gap=gap, horizon=2, sampling_rate=rate, return_sequences=each, sequence_stride=2
    )
    frames = framer.frame(np.arange(26.0) if each else ALPHABET)
    check_frames(frames, [0, 2, len(frames) - 1])
    _, test = frames.split(0.5, 0.5)
    assert test.steps(0).inputs[0] > 0
    check_frames(test, [0])  # a split keeps the raw time


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"mode": "prefixes", "horizon": 2},
        {"mode": "subsequences", "horizon": 2, "gap": 1, "num_samples": 9, "seed": 7},
        {"mode": "subsequences", "num_samples": 9, "seed": 7, "wrap": True},
    ],
    ids=["prefixes", "subsequences", "cycle"],
)
def test_padded_frames_are_drawn_at_their_steps(arguments, padding, each):
    framer = SequenceFramer(4, padding=padding, return_sequences=each, **arguments)
    text = "ABCDEF" if framer.wrap else ALPHABET
    check_frames(framer.frame(text), [0, 1, 3, 8])


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ({}, range(8)),
        ({"count": 99}, range(24)),
        ({"index": -1}, [23]),
        ({"index": slice(4, 9, 2)}, [4, 6, 8]),
        ({"index": [9, 2]}, [9, 2]),
    ],
)
def test_count_and_index_choose_frames(arguments, shown):
    ax = SequenceFramer(2).frame(ALPHABET).plot(**arguments)
    assert ticks(ax) == ["sequence", *map(str, shown)]
    assert all(drawn(ax, f"frame-{i}-inputs") for i in shown)


def test_sequences_are_drawn_with_their_own_frames():
    sequences = [np.arange(float(n)) for n in (9, 4, 5, 7, 6, 8, 9)]
    sequences[1][:] = np.nan  # it has no frame
    frames = SequenceFramer(2).frame(sequences, skip_nan=True)
    ax = frames.plot(7)
    rows = [("0", 0, 1), ("2", 7, 8), ("3", 10, 11), ("4", 15)]
    assert ticks(ax) == [str(t) for n, *own in rows for t in (f"sequence {n}", *own)]
    assert line(ax, "sequence-2-values")[0].tolist() == [*range(7)]
    check_frames(frames, [0, 6, 7, 9, 10])


def test_the_labels_name_groups_and_count_sequences():
    table = pandas.DataFrame({"store": ["a$b$"] * 4 + ["c"] * 4, "sold": np.arange(8.0)})
    ax = SequenceFramer(2).frame(table, by="store").plot(4)
    ax.figure.canvas.draw()  # a name is no formula
    assert ticks(ax) == ["a$b$", "0", "1", "c", "2", "3"]
    assert ax.get_ylabel() == "frame"
    many = SequenceFramer(3).frame([np.arange(20.0)] * 20)
    assert many.plot().get_ylabel() == "frame\n(4 of 20 sequences)"


def test_symbols_are_written_at_their_steps():
    ax = SequenceFramer(2, gap=1).frame("A BC$D$E").plot(1)
    ax.figure.canvas.draw()
    assert texts(ax) == ({*enumerate("A␣BC$D$E")}, {(0, "A"), (1, "␣"), (3, "C")})
    ax = SequenceFramer(1).frame("ABCD", targets=np.arange(4)).plot(1)
    assert texts(ax)[1] == {(0, "A")}  # these targets are no symbols


@pytest.mark.parametrize("as_mask", [False, True])
def test_missing_steps_are_marked(as_mask):
    steps, missing, valid = np.arange(14.0), [2, 9], np.ones(14, bool)
    valid[missing] = False
    if not as_mask:
        steps[missing] = np.nan
    frames = SequenceFramer(2).frame(steps, skip_nan=not as_mask, valid=valid if as_mask else None)
    ax = check_frames(frames, range(len(frames)))
    assert line(ax, "sequence-0-missing")[0].tolist() == missing


TABLE = pandas.DataFrame(
    {"input": np.arange(9.0), "$a$": np.arange(9.0) ** 2, "_b": -np.arange(9.0)}
)


@pytest.mark.parametrize(
    ("data", "targets", "black", "orange"),
    [
        (TABLE[["input"]], None, [""], []),
        (TABLE, None, ["input", "$a$", "_b"], []),
        (np.zeros((9, 2, 4)), None, [f"feature {k}" for k in range(4)], []),
        # A column that is a target is drawn as such, and not twice.
        (TABLE, "$a$", ["input", "_b"], ["$a$ (target)"]),
        (TABLE[["input"]], "input", [], ["input (target)"]),
        (TABLE["input"], TABLE["_b"], [""], ["target values"]),
        (TABLE["input"], TABLE.to_numpy(), [""], ["target 0", "target 1", "target 2"]),
    ],
)
def test_the_legend_names_each_curve(data, targets, black, orange):
    ax = SequenceFramer(3).frame(data, targets=targets).plot(2)
    ax.figure.canvas.draw()
    for kind, names in (("values", black), ("targets", orange)):
        assert [curve.get_label() for curve in drawn(ax, f"sequence-0-{kind}")] == names
    named = [name for name in [*black, *orange] if name]
    more = ["… and 4 more"] if np.ndim(data) == 3 else []
    assert labels(ax) == ["input", "target", *named, *more]


def test_future_covariates_are_marked_at_the_target_steps():
    frames = SequenceFramer(3, gap=1, horizon=2).frame(np.arange(9.0), future=np.zeros(9))
    ax = frames.plot(2)
    for i in range(2):
        assert line(ax, f"frame-{i}-future")[0].tolist() == frames.steps(i).targets.tolist()
    assert "future covariates" in labels(ax)
    assert not drawn(SequenceFramer(3).frame(np.arange(9.0)).plot(1), "frame-0-future")


@pytest.mark.parametrize("kind", ["constant", "all missing", "infinite", "bool", "many features"])
def test_values_of_any_kind_fit_into_their_row(kind):
    steps = {
        "constant": np.full(9, 3.0),
        "all missing": np.full(9, np.nan),
        "infinite": np.array([1, np.nan, np.inf, 4, 5]),
        "bool": np.array([True, False, True]),
        "many features": np.arange(60, dtype="uint8").reshape(6, 5, 2),
    }[kind]
    for curve in drawn(SequenceFramer(1).frame(steps).plot(), "sequence-0-values"):
        seen = curve.get_ydata()[np.isfinite(curve.get_ydata())]
        assert ((seen >= 0) & (seen <= 1.2)).all()


def test_only_the_steps_of_frames_are_drawn_of_long_sequences():
    frames = SequenceFramer(5000, horizon=500, sequence_stride=100).frame(np.arange(1e6))
    ax = check_frames(frames, [100, 101])
    x, y = line(ax, "sequence-0-values")
    assert (x[0], len(x) <= 2000, len(ax.findobj()) < 200) == (10_000, True, True)
    assert (y.max() - y.min()) == pytest.approx(1)  # the extremes stay
    assert ax.get_xlim() == pytest.approx((10_000, 15_602), abs=5)
    ax = SequenceFramer(1000, mode="prefixes").frame(np.arange(2000.0)).plot(3)
    assert len(steps_of(ax, "frame-0-padding")) == 999
    assert ax.get_xlim()[0] > -45  # long padding leaves room for the steps


# --- Lanes.

MANY = [np.arange(float(n)) for n in RNG.integers(2, 30, 15)]
HOLES = np.where(RNG.random(200) < 0.05, np.nan, np.arange(200.0))


@pytest.mark.parametrize(
    ("sequences", "rows"),
    [(ALPHABET, 1), (ALPHABET, 4), (ALPHABET, 25), (MANY, 3), (MANY, 15), (MANY, 50), (HOLES, 5)],
)
@pytest.mark.parametrize("batches", [None, slice(2, None)])
def test_lanes_are_drawn_as_their_batches(sequences, rows, batches):
    lanes = SequenceFramer(1).frame(sequences, skip_nan=sequences is HOLES).lanes(rows)
    if len(lanes) <= 2:
        batches = None
    size = len(lanes)
    resets = np.array([lanes.resets(k) for k in range(size)])
    is_real = np.array([lanes[k][2] > 0 for k in range(size)])
    chosen = batches if isinstance(batches, slice) else slice(batches)
    start, stop, _ = chosen.indices(size)
    ax = lanes.plot(batches)
    ax.figure.canvas.draw()
    shade = np.full((size, rows), "", object)
    for gid in ("continues-0", "continues-1", "ran-out"):
        for bars in drawn(ax, gid):
            for path in bars.get_paths():
                (left, top), (right, bottom) = path.vertices[0], path.vertices[2]
                cells = slice(round(left + 0.5), round(right + 0.5)), round((top + bottom) / 2)
                assert (shade[cells] == "").all()  # nothing is drawn twice
                shade[cells] = gid
    assert (shade[:start] == "").all()
    assert (shade[stop:] == "").all()
    shade, is_real = shade[start:stop], is_real[start:stop]
    assert (shade != "").all()
    assert ((shade == "ran-out") == ~is_real).all()
    # A row that continues keeps its colour, and a reset changes it.
    assert (((shade[1:] != shade[:-1]) & is_real[1:]) == resets[start + 1 : stop]).all()
    if rows <= 25:
        expected = {(k, r) for k, r in np.argwhere(resets) if start <= k < stop}
        marks = [zip(m.get_xdata() + 0.5, m.get_ydata(), strict=True) for m in drawn(ax, "resets")]
        assert {point for points in marks for point in points} == expected


@pytest.mark.parametrize(
    ("batches", "limits", "said"),
    [
        (999, (-0.5, 249.5), "batch"),
        (20, (-0.5, 19.5), "batch (0 to 19 of 250)"),
        (slice(-10, None), (239.5, 249.5), "batch (240 to 249 of 250)"),
    ],
)
def test_only_the_chosen_batches_are_in_view(batches, limits, said):
    lanes = SequenceFramer(1).frame(np.arange(1000.0)).lanes(4)
    ax = lanes.plot(batches)
    assert (ax.get_xlim(), ax.get_xlabel()) == (limits, said)
    for wrong in (slice(5, 5), slice(0, 9, 2), slice(999, 1000), 0, -1):
        with pytest.raises(ValueError, match="batches"):
            lanes.plot(wrong)


def test_only_the_first_batches_are_drawn_of_very_many_sequences():
    lanes = SequenceFramer(1).frame([np.arange(3.0)] * 50_000).lanes(10)
    ax = lanes.plot()
    bars = [len(artist.get_paths()) for k in (0, 1) for artist in drawn(ax, f"continues-{k}")]
    assert 3900 <= sum(bars) <= 4000
    assert ax.get_xlim()[1] < len(lanes)


# --- Forecasts.

STEPS = 6
HISTORY, POINT = np.arange(30.0), np.arange(30.0, 36.0)
PATHS = POINT + RNG.normal(size=(50, STEPS)).cumsum(axis=1)
LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95]
QUANTILES = np.quantile(PATHS, LEVELS, axis=0)
WIDE, NARROW = (POINT - 2, POINT + 3), (POINT - 1, POINT + 1)


DAYS = pandas.date_range("2026-01-01", periods=30)
BUSINESS = pandas.bdate_range("2026-01-05", periods=31)


@pytest.mark.parametrize(
    ("past", "ahead", "is_joined"),
    [
        (range(30), range(30, 36), True),
        (range(30), range(31, 37), False),  # a step between them is missing
        (range(29, -1, -1), range(-1, -7, -1), True),
        (pandas.date_range("2024-08-31", periods=30, freq="ME"), None, True),
        # The forecast begins after a weekend.
        (pandas.bdate_range("2026-01-02", "2026-02-13", name="day")[-30:], None, True),
        (DAYS, pandas.date_range("2026-02-02", periods=6), False),
    ],
    ids=["steps", "a hole", "backwards", "months", "business days", "lost days"],
)
def test_the_history_is_joined_to_the_next_step(past, ahead, is_joined):
    past = pandas.Index(past)
    if ahead is None:
        ahead = pandas.date_range(past[-1] + past.freq, periods=STEPS, freq=past.freq)
    forecast, actual = pandas.Series(POINT, ahead), pandas.Series(POINT[:2] + 5, ahead[:2])
    ax = plot_forecast(pandas.Series(HISTORY, past), forecast, paths=PATHS, actual=actual)
    for label, first in (("forecast", POINT[0]), ("actual", POINT[0] + 5)):
        assert bool(drawn(ax, f"to {label}")) == is_joined
        if is_joined:
            x, y = line(ax, f"to {label}")
            same(y, [HISTORY[-1], first])
            assert [x[0], x[1]] == [line(ax, "history")[0][-1], line(ax, label)[0][0]]


@pytest.mark.parametrize(
    ("asked", "steps", "shown"), [(None, 1, 12), (None, 7, 14), (None, 20, 30), (0, 6, 0)]
)
def test_num_history_steps_are_drawn(asked, steps, shown):
    ax = plot_forecast(HISTORY, np.zeros(steps), num_history=asked, actual=[])
    assert sum(len(found.get_xdata()) for found in drawn(ax, "history")) == shown
    assert bool(drawn(ax, "to forecast")) == (shown > 0)


def test_bands_of_paths_are_their_quantiles():
    alone, beside = plot_forecast(HISTORY, PATHS), plot_forecast(HISTORY, POINT, paths=PATHS)
    for ax in (alone, beside):
        same(edges(ax, "90 % of paths"), QUANTILES[[0, 4]])
        same(edges(ax, "50 % of paths"), QUANTILES[[1, 3]])
    same(line(alone, "median")[1], np.median(PATHS, axis=0))
    assert labels(beside) == ["history", "90 % of paths", "50 % of paths", "forecast"]
    ax = plot_forecast(HISTORY, QUANTILES[[0, 4, 3]], quantiles=[0.05, 0.95, 0.75])
    same(edges(ax, "5 to 95 % quantile"), QUANTILES[[0, 4]])
    same(line(ax, "75 % quantile")[1], QUANTILES[3])  # without an opposite, it is a line


@pytest.mark.parametrize(
    ("intervals", "label"),
    [
        (WIDE, "prediction interval"),
        ({"conformal": WIDE}, "conformal"),
        ({0.9: WIDE}, "90 % prediction interval"),
    ],
)
def test_a_prediction_interval_is_a_band_with_a_name(intervals, label):
    ax = plot_forecast(HISTORY, POINT, intervals=intervals)
    same(edges(ax, label), WIDE)
    assert labels(ax) == ["history", label, "forecast"]


@pytest.mark.parametrize(
    ("arguments", "filled", "hatched"),
    [
        ({"intervals": {"B": NARROW, "A": WIDE}}, 2, 0),
        ({"intervals": {"A": WIDE, "B": (POINT, POINT + 4)}}, 0, 2),  # neither contains the other
        ({"forecast": QUANTILES, "quantiles": LEVELS, "intervals": {0.9: WIDE}}, 2, 1),
    ],
)
def test_bands_differ_by_colour_or_hatch(arguments, filled, hatched):
    ax = plot_forecast(HISTORY, arguments.pop("forecast", POINT), **arguments)
    patches = ax.get_legend().get_patches()
    hatches = [patch.get_hatch() for patch in patches if patch.get_hatch()]
    assert (len(patches) - len(hatches), len(set(hatches))) == (filled, hatched)


# --- Forecasts in tables.

LIBRARIES = {
    "pandas": pandas.DataFrame,
    "polars": polars.DataFrame,
    "pyarrow": lambda columns: pyarrow.table(dict(columns)),
}


def pandas_quantiles(columns, names=("feature",)):
    """Return `{feature: quantiles}` as pandas tables have them: the last level holds quantiles."""
    keys = [(*np.atleast_1d(name), level) for name in columns for level in LEVELS]
    index = pandas.MultiIndex.from_tuples(keys, names=[*names, "quantile"])
    return pandas.DataFrame(np.concatenate(list(columns.values())).T, columns=index)


def named_quantiles(library, columns):
    """Return `{feature: quantiles}` as other tables have them: names end with the quantile."""
    pairs = [(name, *pair) for name in columns for pair in zip(LEVELS, columns[name], strict=True)]
    return library({f"{name}_{level}".lstrip("_"): values for name, level, values in pairs})


@pytest.mark.parametrize(
    ("history", "forecast"),
    [
        (HISTORY, QUANTILES),
        (
            pandas.Series(HISTORY),
            pandas.DataFrame(QUANTILES.T, columns=pandas.Index(LEVELS, name="quantile")),
        ),
        (polars.Series(HISTORY), named_quantiles(polars.DataFrame, {"": QUANTILES})),
        # Chosen by `columns`, as the forecast does not name its column.
        (
            polars.DataFrame({"a": -HISTORY, "y": HISTORY}),
            named_quantiles(polars.DataFrame, {"": QUANTILES}),
        ),
    ],
    ids=["array", "pandas", "polars", "column"],
)
def test_quantiles_are_bands_and_a_line(history, forecast):
    arguments = {"quantiles": LEVELS} if forecast is QUANTILES else {}
    if np.ndim(history) == 2:
        with pytest.raises(ValueError, match="columns"):
            plot_forecast(history, forecast)
        arguments = {"columns": "y"}
    ax = plot_forecast(history, forecast, **arguments)
    same(line(ax, "history")[1], HISTORY[18:])
    same(edges(ax, "5 to 95 % quantile"), QUANTILES[[0, 4]])
    same(edges(ax, "25 to 75 % quantile"), QUANTILES[[1, 3]])
    same(line(ax, "median")[1], QUANTILES[2])
    assert not drawn(ax, "forecast")


@pytest.mark.parametrize("columns", [None, ["c", "a"], [2, 0]])
@pytest.mark.parametrize("library", [*LIBRARIES.values(), None], ids=[*LIBRARIES, "arrays"])
def test_the_forecast_names_its_columns(library, columns):
    named = {"c": POINT * 2, "a": POINT}
    history, forecast = {"a": HISTORY, "b_0": -HISTORY, "c": HISTORY * 2}, named
    if library:
        history, forecast = library(history), library(forecast)
    else:
        history, forecast = (np.stack([*each.values()], 1) for each in (history, forecast))
        columns = [2, 0]
    ax = plot_forecast(history, forecast, columns=columns)
    for found, values in zip(drawn(ax, "forecast"), named.values(), strict=True):
        same(found.get_ydata(), values)
    for found, values in zip(drawn(ax, "history"), (HISTORY * 2, HISTORY), strict=True):
        same(found.get_ydata(), values[18:])
    assert labels(ax)[-2:] == (["c", "a"] if library else ["feature 2", "feature 0"])


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
def test_quantiles_of_several_columns(library):
    history = library({"a": HISTORY, "b_0": -HISTORY, "c": HISTORY * 2})
    several = {"c": QUANTILES * 2, "a": QUANTILES}
    is_pandas = library is pandas.DataFrame
    table = pandas_quantiles(several) if is_pandas else named_quantiles(library, several)
    ax = plot_forecast(history, table)
    for k, rows in enumerate(several.values()):
        same(edges(ax, "5 to 95 % quantile", k), rows[[0, 4]])
    assert labels(ax)[-2:] == ["c", "a"]


def test_columns_of_several_levels():
    columns = pandas.MultiIndex.from_product([["shop"], ["a", "b"]], names=["store", "item"])
    history = pandas.DataFrame(np.stack([HISTORY, -HISTORY], axis=1), columns=columns)
    several = {("shop", "a"): QUANTILES, ("shop", "b"): -QUANTILES[::-1]}
    ax = plot_forecast(history, pandas_quantiles(several, columns.names))
    for k, rows in enumerate(several.values()):
        same(edges(ax, "5 to 95 % quantile", k), rows[[0, 4]])


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
def test_only_drawn_columns_have_to_be_numbers(library):
    north = ["north"] * 30
    history = library({"store": north, "price": -HISTORY, "sold": HISTORY})
    actual = library({"sold": POINT + 1, "store": north[:STEPS]})
    ax = plot_forecast(history, library({"sold": POINT}), actual=actual)
    same(line(ax, "history")[1], HISTORY[18:])
    same(line(ax, "actual")[1], POINT + 1)
    assert ax.get_ylabel() == "sold"
    same(edges(plot_forecast(history, PATHS, columns="sold"), "90 % of paths"), QUANTILES[[0, 4]])
    with pytest.raises(TypeError, match=r"history.*'store'"):
        plot_forecast(history, np.stack([POINT] * 3, 1))


def test_missing_values_interrupt_the_line():
    history = pandas.DataFrame({"sold": pandas.array([*range(28), None, 29], dtype="Int64")})
    ax = plot_forecast(history, POINT[:, None], actual=[30, np.nan, 32])
    assert np.flatnonzero(np.isnan(line(ax, "history")[1])).tolist() == [10]
    same(line(ax, "actual")[1], [30, np.nan, 32])


def test_several_features_have_a_colour_each():
    table = pandas.DataFrame({"$a$": HISTORY, "$b": -HISTORY})
    forecast, paths = np.stack([POINT, -POINT], axis=1), np.stack([PATHS, -PATHS], axis=-1)
    intervals = {0.9: (forecast - 2, forecast + 2), "other": (forecast - 1, forecast + 3)}
    ax = plot_forecast(table, forecast, paths=paths, intervals=intervals, actual=forecast + 1)
    ax.figure.canvas.draw()  # a name is no formula
    handles = dict(zip(labels(ax), ax.get_legend().legend_handles, strict=True))
    shades = {handles.pop(name).get_color() for name in ("$a$", "$b")}
    assert len(shades) == 2
    for handle in handles.values():
        is_line = hasattr(handle, "get_color")
        assert to_rgb(handle.get_color() if is_line else handle.get_edgecolor()) == (0, 0, 0)
    assert {curve.get_color() for curve in drawn(ax, "forecast")} == shades


@pytest.mark.parametrize(
    ("index", "past", "ahead"),
    [
        (pandas.RangeIndex(0, 60, 2), 58, [60, 62]),
        (pandas.Index(np.arange(1900, 1930), name="year"), 1929, [1930, 1931]),
        (DAYS, "2026-01-30", ["2026-01-31", "2026-02-01"]),
        (DAYS.tz_localize("Asia/Tokyo"), "2026-01-30", ["2026-01-31", "2026-02-01"]),
        # These have no frequency, but it can be told.
        (pandas.DatetimeIndex(BUSINESS[:30].values), "2026-02-13", ["2026-02-16", "2026-02-17"]),
        # One of them is missing: the usual step is a day.
        (BUSINESS.delete(7), "2026-02-16", ["2026-02-17", "2026-02-18"]),
        (pandas.period_range("2024-01", periods=30, freq="M"), "2026-06", ["2026-07", "2026-08"]),
        (pandas.timedelta_range("0s", periods=30, freq="2s"), 58, [60, 62]),
        (pandas.Index([f"day {k}" for k in range(30)]), 29, [30, 31]),
        (range(1900, 1936), 1929, [1930, 1931]),
        (np.arange(0, 15, 0.5), 14.5, [15, 15.5]),
        (DAYS.to_numpy("M8[D]"), "2026-01-30", ["2026-01-31", "2026-02-01"]),
        (list(DAYS.date), "2026-01-30", ["2026-01-31", "2026-02-01"]),
    ],
)
def test_the_time_axis_is_the_index(index, past, ahead):
    is_date, is_pandas = isinstance(past, str), isinstance(index, pandas.Index)
    if is_date:
        past, ahead = (date2num(np.array(times, "M8[D]")) for times in (past, ahead))
    if is_pandas:
        ax = plot_forecast(pandas.Series(HISTORY, index), POINT, actual=POINT[:2])
    else:
        ax = plot_forecast(HISTORY, POINT, actual=POINT[:2], index=index)
    ax.figure.canvas.draw()
    same(ax.convert_xunits(line(ax, "history")[0])[-1:], past)
    same(ax.convert_xunits(line(ax, "forecast")[0])[:2], ahead)
    same(ax.convert_xunits(line(ax, "actual")[0]), ahead)
    assert ax.get_xlabel() == (getattr(index, "name", "") or ("" if is_date else "step"))


@pytest.mark.parametrize("index", [None, DAYS])
def test_the_band_of_one_step_has_a_width(index):
    ax = plot_forecast(HISTORY, PATHS[:, :1], actual=POINT[:1], index=index)
    ax.figure.canvas.draw()
    low, high = edges(ax, "90 % of paths")
    assert len(low) == 3
    same([low[1], high[1]], QUANTILES[[0, 4], 0])
    for label in ("median", "actual"):
        assert drawn(ax, label)[0].get_marker() not in ("", "None")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"history": [HISTORY, HISTORY]}, "history.*Draw one"),
        ({"history": np.zeros((30, 2, 2))}, "history"),
        ({"history": ["a"] * 30}, "history.*numbers"),
        ({"history": polars.LazyFrame({"a": HISTORY})}, "collect"),
        ({"forecast": np.zeros((2, 3, 6))}, "forecast.*columns"),
        ({"paths": PATHS[:, :3]}, "paths.*steps"),
        ({"quantiles": LEVELS}, "quantiles.*Leave it out"),
        ({"forecast": QUANTILES, "quantiles": [0.1, 0.9]}, "quantiles.*one level"),
        ({"actual": np.zeros(7)}, "actual.*6 steps"),
        ({"intervals": POINT}, r"intervals.*\(lower, upper\)"),
        ({"intervals": (POINT[:2], POINT[:2])}, "intervals.*6 steps"),
        ({"intervals": {90: WIDE}}, "intervals.*`0.9`"),
        ({"index": range(7)}, "index.*each step"),
        ({"index": np.ma.masked_less(np.arange(30), 2)}, "index.*masked"),
        ({"paths": [np.ma.masked_less(path, 0) for path in PATHS]}, "paths.*masked"),
        ({"history": ["a"] * 30, "forecast": "abcdef"}, "numbers"),
        ({"forecast": 1j * POINT}, "forecast.*numbers"),
        ({"history": np.zeros((30, 3))}, "forecast.*by `columns`"),
        ({"history": np.zeros((30, 3)), "columns": 3}, "columns.*0 … 2"),
        ({"num_history": -1}, "num_history"),
        ({"ax": "here"}, "ax"),
    ],
)
def test_plot_forecast_refuses_wrong_arguments(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        plot_forecast(**{"history": HISTORY, "forecast": POINT, **arguments})
    assert not pyplot.get_fignums()  # an error leaves no empty figure


# --- Learning curves.


def trained(epochs, first=0, **logs):
    """Return a History as `fit` does."""
    return SimpleNamespace(epoch=[*range(first, first + epochs)], history=logs)


def test_learning_curves_are_the_logs_over_the_epochs():
    histories = {
        "$one$": trained(3, accuracy=[0.1, 0.2, 0.3]),
        "two": {"accuracy": [0.5, 0.6]},
        "three": trained(2, first=5, accuracy=[0.7, 0.8]),
    }
    ax = plot_history(histories)
    ax.figure.canvas.draw()  # a name is no formula
    same(line(ax, "$one$"), ([1, 2, 3], [0.1, 0.2, 0.3]))
    same(line(ax, "two"), ([1, 2], [0.5, 0.6]))
    same(line(ax, "three"), ([6, 7], [0.7, 0.8]))
    assert labels(ax) == ["$one$", "two", "three"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "accuracy")


def test_validation_is_dashed():
    logs = {"loss": [4.0, 3, 2, 1], "val_loss": [5.0, 4], "mae": [1.0] * 4}
    ax = plot_history(logs, validation_freq=2)
    training, validation = ax.get_lines()
    assert (training.get_linestyle(), validation.get_linestyle()) == ("-", "--")
    same(validation.get_xdata(), [2, 4])  # every second epoch
    same(validation.get_ydata(), [5, 4])
    assert (ax.get_ylabel(), ax.get_xscale()) == ("loss", "linear")  # there is no accuracy
    ax = plot_history({"short": {"loss": [1.0] * 30}, "long": {"loss": [1.0] * 120}})
    assert ax.get_xscale() == "log"


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("freq", [1, 2, 3, 4, 5, 9, [4, 5, 11], [12]])
def test_validation_stands_at_the_epochs_that_keras_validates(freq, first):
    keras = pytest.importorskip("keras", reason="its `fit` validates")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, seen, when = np.ones((2, 1)), [], []
    noted = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(epoch),
        on_test_begin=lambda logs: when.append(seen[-1] + 1),
    )
    options = {"epochs": 12, "initial_epoch": first, "callbacks": [noted], "verbose": 0}
    history = model.fit(x, x, validation_data=(x, x), validation_freq=freq, **options)
    for histories in (history, {"one": history}):
        ax = plot_history(histories, validation_freq=freq)
        same(ax.get_lines()[0].get_xdata(), np.arange(first, 12) + 1)
        same(ax.get_lines()[1].get_xdata(), when)
    same(plot_history(history, "val_loss", validation_freq=freq).get_lines()[0].get_xdata(), when)
    if freq == 4:
        for wrong in 1, 12, [4], [0], 0, -4, 4.0, "4", None:
            with pytest.raises(ValueError, match="validation_freq"):
                plot_history(history, validation_freq=wrong)


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ({"mae": [1.0]}, r"metric.*\['mae'\]"),
        ({}, "histories"),
        ([0.5, 0.6], "histories"),
        (trained(0), "histories"),
    ],
)
def test_plot_history_needs_histories_with_the_metric(histories, message):
    with pytest.raises((TypeError, ValueError), match=message):
        plot_history(histories)
    assert not pyplot.get_fignums()


# --- All pictures.

PICTURES = {
    "frames": lambda **ax: SequenceFramer(3).frame(ALPHABET).plot(**ax),
    "lanes": lambda **ax: SequenceFramer(1).frame(ALPHABET).lanes(4).plot(**ax),
    "forecast": lambda **ax: plot_forecast(HISTORY, PATHS, intervals={0.9: WIDE}, **ax),
    "history": lambda **ax: plot_history({"accuracy": [0.1, 0.2]}, **ax),
}
every_picture = pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)


@every_picture
def test_given_axes_are_drawn_on_and_returned(draw):
    figure, (left, right) = pyplot.subplots(1, 2)
    assert draw(ax=right) is right
    assert pyplot.get_fignums() == [figure.number]
    assert not left.has_data()
    assert right.has_data()
    before, after = draw(), draw()
    assert before.figure is not after.figure


@every_picture
def test_nothing_is_cut_off(draw):
    figure, ax = pyplot.subplots(figsize=(4, 3), layout="constrained")
    draw(ax=ax)
    figure.canvas.draw()
    around = ax.get_tightbbox()
    assert min(around.x0, around.y0) >= -1
    assert around.x1 <= figure.bbox.width + 1
    assert around.y1 <= figure.bbox.height + 1


@every_picture
def test_dark_styles_have_light_ink(draw):
    with pyplot.style.context("dark_background"):
        ax = draw()
    assert ax.get_legend().get_texts()[0].get_color() == "white"
    assert not [a for a in ax.findobj(matplotlib.lines.Line2D) if a.get_color() in ("black", "k")]


@every_picture
def test_without_matplotlib_the_error_says_what_to_install(draw, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "seqframe\[plot\]"'):
        draw()
    monkeypatch.undo()


def test_pictures_need_neither_keras_nor_tables():
    code = (
        "import sys, numpy as np, matplotlib; matplotlib.use('Agg')\n"
        "from seqframe import SequenceFramer, plot_forecast, plot_history\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
        "SequenceFramer(1).frame('ABC').plot(); SequenceFramer(1).frame('ABC').lanes(2).plot()\n"
        "plot_forecast([1., 2.], [3.]); plot_history({'accuracy': [1.]})\n"
        "print('keras' in sys.modules, 'pandas' in sys.modules, 'narwhals' in sys.modules)"
    )
    script = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert script.stdout.split() == ["False"] * 4, script.stderr
