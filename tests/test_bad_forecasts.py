"""Bad arguments of forecasts and backtests are refused at the call, by their names."""

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from models import numbers, recurrent

from seqframe import Generator, SequenceFramer, backtest

HISTORY = numbers(12)
DAYS = pd.date_range("2026-01-01", periods=12)
HUGE = [2**63 - 1, 2**63, 2**64]


@pytest.fixture(scope="module")
def line():
    model = keras.Sequential([keras.Input((2, 1)), layers.Flatten(), layers.Dense(1)])
    return Generator(model)


@pytest.fixture(scope="module")
def tested(line):
    return backtest(line, HISTORY, 2)


NO_NUMBERS = [
    "abc",
    "",
    None,
    3,
    {},
    ["a"] * 12,
    HISTORY.astype(str),
    HISTORY.astype(object),
    HISTORY + 1j,
    np.arange(12).astype("datetime64[D]"),
    np.arange(12).astype("timedelta64[D]"),
    np.zeros(12, [("a", float), ("b", float)]),
    np.ma.masked_less(HISTORY, 0),
    pd.Series(["a"] * 12),
    pd.Series(DAYS),
    pd.DataFrame({"a": ["x"] * 12}),
    [HISTORY, "abc"],
    [HISTORY, HISTORY + 1j],
    [HISTORY, np.ones((12, 1, 2))],
    np.zeros((12, 0)),
    np.zeros((0,)),
]


def shown(value):
    return f"{type(value).__name__}, {getattr(value, 'dtype', str(value)[:12])}"


@pytest.mark.parametrize("wrong", NO_NUMBERS, ids=shown)
def test_sequences_that_hold_no_numbers(line, tested, wrong):
    with pytest.raises((TypeError, ValueError), match="history"):
        line.forecast(wrong, 2)
    with pytest.raises((TypeError, ValueError), match="`sequences"):
        backtest(line, wrong, 2)
    with pytest.raises((TypeError, ValueError), match="`forecast"):
        tested.interval(wrong)


NO_COUNTS = [0, -1, 2.0, "2", None, True, [2], np.ones(2), 1j, float("nan")]
SAMPLES = {"num_samples": 3, "noise": HISTORY}
FORECASTS = [
    *({"steps": size} for size in HUGE),
    *({**SAMPLES, "num_samples": size} for size in HUGE),
    *({"steps": wrong} for wrong in NO_COUNTS),
    *({**SAMPLES, "num_samples": wrong} for wrong in NO_COUNTS),
    *(
        {**SAMPLES, "noise": wrong}
        for wrong in ["normal", "", 0.1, {}, set(), ["a"], HISTORY + 1j, [[1.0], [1.0, 2.0]]]
    ),
    *({**SAMPLES, "noise": wrong} for wrong in [[], [np.inf], np.ones((3, 2)), DAYS.to_numpy()]),
    *(
        {**SAMPLES, "quantiles": wrong}
        for wrong in ["abc", "0.5", [], [2], [-0.1], [np.nan], [True], [[0.5]], {}, 1j, ["0.5"]]
    ),
    {**SAMPLES, "quantiles": np.ma.masked_less([0.1, 0.5], 0.2)},
    *({"future": wrong} for wrong in ["abc", 3, [], HISTORY, DAYS, {}, pd.Series(HISTORY)]),
]


def named(wrong):
    return ", ".join(f"{name}={str(value)[:20]}" for name, value in wrong.items())


@pytest.mark.parametrize("wrong", FORECASTS, ids=named)
def test_wrong_arguments_of_a_forecast(line, wrong):
    name = list(wrong)[-1] if "num_samples" not in wrong or len(wrong) > 2 else "num_samples|noise"
    with pytest.raises((TypeError, ValueError), match=name):
        line.forecast(**{"history": HISTORY, "steps": 2, **wrong})


COUNTS = "horizon", "stride", "start", "history", "season"
BACKTESTS = [
    *({name: wrong} for name in COUNTS for wrong in NO_COUNTS if wrong is not None),
    {"horizon": None},
    {"stride": None},
    *({name: size} for name in ("horizon", "start", "season") for size in HUGE),
    *({name: size} for name in ("stride", "history") for size in HUGE[1:]),
    *({"future": wrong} for wrong in ["abc", ["a"], 3, [], HISTORY, HISTORY[:3]]),
    {"sequences": np.full(12, np.nan), "skip_nan": True},
]


@pytest.mark.parametrize("wrong", BACKTESTS, ids=named)
def test_wrong_arguments_of_a_backtest(line, wrong):
    with pytest.raises((TypeError, ValueError), match=f"`{next(iter(wrong))}"):
        backtest(line, **{"sequences": HISTORY, "horizon": 2, **wrong})


def test_large_counts_that_are_no_error(line, tested):
    for given in {"stride": HUGE[0]}, {"history": HUGE[0]}:
        found = backtest(line, HISTORY, 2, **given)
        np.testing.assert_allclose(found.free_run[0], tested.free_run[0], rtol=1e-5)


def test_results_that_no_memory_holds_are_refused_at_once(line):
    """The error says how many bytes they would take. The data here take none."""
    endless = np.broadcast_to(np.float32(0), (10**7,))
    with pytest.raises(
        ValueError, match=r"8,999,999 origins would take [\d,]{15,} bytes.*`stride`"
    ):
        backtest(line, endless, 10**6)
    for given in {"steps": 10**12}, {"num_samples": 10**12}:
        with pytest.raises(ValueError, match=r"would take [\d,]{15,} bytes.*`num_samples`"):
            line.forecast(HISTORY, **{"steps": 2, **SAMPLES, **given})


@pytest.mark.parametrize("wrong", [None, 3, "generator", recurrent, Generator])
def test_a_backtest_needs_a_generator(line, wrong):
    with pytest.raises(TypeError, match=r"`generator` must be .*Received: "):
        backtest(wrong, HISTORY, 2)
    with pytest.raises(TypeError, match=r"Received: Sequential.*Generator\(model"):
        backtest(line.model, HISTORY, 2)


@pytest.mark.parametrize("coverage", ["0.9", None, True, 1j, [0.9], 0, 1, 90, -0.1, float("nan")])
def test_wrong_coverages(tested, coverage):
    with pytest.raises((TypeError, ValueError), match="`coverage`"):
        tested.interval(HISTORY[:2], coverage)


@pytest.mark.parametrize(
    "targets", [99, -2, True, 0.5, [], [0, 0], [[0]], {"a": 1}, None.__class__, ["a", 0.5], HISTORY]
)
def test_wrong_targets(line, targets):
    with pytest.raises((TypeError, ValueError), match="`targets`"):
        Generator(line.model, SequenceFramer(2), targets=targets)


def test_only_the_window_of_a_long_history_needs_room_for_each_path(line):
    long = np.zeros(3_000_000)
    paths = line.forecast(long, 1, num_samples=3_000, noise=HISTORY)
    assert paths.shape == (3_000, 1)
