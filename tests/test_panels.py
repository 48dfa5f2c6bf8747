"""A table of several series is forecast as one table; labels match the series and their futures."""

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pytest
from libraries import EACH_LIBRARY
from models import numbers, recurrent, user_warnings, with_future

from seqframe import Generator, SequenceFramer

LENGTHS = {"north": 12, "south": 7, "east": 9}
END = pd.Timestamp("2026-03-01")
NAMES = {"columns": ["units", "price"], "target_columns": "units", "by": "store"}


def days_to(end, count):
    return pd.date_range(end=end, periods=count)


def make_panel(lengths=LENGTHS, end=END):
    """Return a panel with dates in its index, of series that end on one day."""
    return pd.concat(
        [
            pd.DataFrame(numbers(n, 2, seed=n), days_to(end, n), ["units", "price"]).assign(store=s)
            for s, n in lengths.items()
        ]
    )[["price", "store", "units"]]


def make_plans(steps, stores=LENGTHS, start=END):
    return make_panel(dict.fromkeys(stores, steps), start + pd.Timedelta(days=steps)).drop(
        columns="units"
    )


def generator_of(horizon=2, length=3, **options):
    model = recurrent(steps=length, features=2, outputs=horizon)
    return Generator(model, SequenceFramer(length, horizon=horizon, **NAMES, **options), seed=3)


def part(table, store):
    return table[table["store"] == store].drop(columns="store")


def of_library(library, table):
    """Return a pandas table as one of another library, with its dates in a column."""
    columns = table.rename_axis("date").reset_index()
    return library.DataFrame({name: columns[name].to_numpy() for name in columns})


# --- The law: each series is forecast as it is by itself.


@pytest.mark.parametrize("steps", [2, 5])
def test_a_panel_is_forecast_as_its_series(steps):
    generator, panel = generator_of(), make_panel()
    plans = make_plans(steps + steps % 2)
    found = generator.forecast(panel, steps, future=plans)
    assert found.columns.tolist() == ["store", "units"]
    assert found["store"].tolist() == [store for store in LENGTHS for _ in range(steps)]
    for store in LENGTHS:
        alone = generator.forecast(part(panel, store), steps, future=part(plans, store))
        own = found[found["store"] == store]["units"]
        pd.testing.assert_series_equal(own, alone, check_freq=False, rtol=1e-4, atol=1e-5)


def test_futures_are_matched_by_label_and_not_by_place():
    generator, panel = generator_of(), make_panel()
    plans = make_plans(4, [*LENGTHS, "west"])
    expected = generator.forecast(panel, 4, future=plans)
    for order in ["west", "east", "south", "north"], ["east", "north", "west", "south"]:
        moved = pd.concat([plans[plans["store"] == store] for store in order])
        pd.testing.assert_frame_equal(generator.forecast(panel, 4, future=moved), expected)


@EACH_LIBRARY
def test_dates_in_a_column_go_on(library):
    generator, panel, plans = generator_of(), make_panel(), make_plans(4)
    expected = generator.forecast(panel, 4, future=plans).rename_axis("date").reset_index()
    given, ahead = of_library(library, panel), of_library(library, plans)
    found = generator.forecast(given, 4, future=ahead)
    assert type(found) is type(given)
    found = nw.from_native(found)
    assert found.columns == ["store", "date", "units"]
    assert found["date"].dtype == nw.from_native(given)["date"].dtype
    for name in found.columns:
        np.testing.assert_array_equal(found[name].to_numpy(), expected[name].to_numpy())
    # A single series is a panel too, and so is one without dates.
    one = generator.forecast(given[:12], 2)
    assert nw.from_native(one).columns == ["store", "date", "units"]
    bare = nw.from_native(given).drop("date").to_native()
    assert nw.from_native(generator.forecast(bare, 2)).columns == ["store", "units"]


@pytest.mark.parametrize("dtype", [pl.Date, pl.Datetime("ms"), pl.Datetime("us", "Europe/Berlin")])
def test_polars_dates_keep_their_type(dtype):
    days = pl.Series("day", days_to("2026-04-03", 12)).dt.cast_time_unit("ms")
    zone = getattr(dtype, "time_zone", None)
    days = days.dt.replace_time_zone(zone) if zone else days
    table = pl.DataFrame({"store": ["a"] * 12, "day": days, "units": numbers(12)}).with_columns(
        pl.col("day").cast(dtype), price=pl.lit(1.0)
    )
    found = generator_of().forecast(table, 2)
    assert found["day"].dtype == dtype
    assert [str(day)[:10] for day in found["day"]] == ["2026-04-04", "2026-04-05"]


def test_labels_keep_their_type():
    panel = make_panel()
    items = np.repeat([3, 1, 2], [*LENGTHS.values()])
    panel = panel.assign(item=items.astype("int8"), store=pd.Categorical(panel["store"]))
    names = NAMES | {"by": ["store", "item"]}
    generator = Generator(
        recurrent(steps=3, features=2, outputs=2), SequenceFramer(3, horizon=2, **names)
    )
    found = generator.forecast(panel, 2)
    assert found.columns.tolist() == ["store", "item", "units"]
    assert found["store"].dtype == panel["store"].dtype
    assert found["item"].dtype == "int8"
    assert found["item"].tolist() == [3, 3, 1, 1, 2, 2]


@EACH_LIBRARY
def test_paths_and_quantiles_of_a_panel(library):
    """Paths follow each other in the rows; each quantile is a column."""
    generator, panel = generator_of(), make_panel()
    options = {"num_samples": 3, "noise": np.array([-1.0, 0.0, 2.0])}
    histories = {store: part(panel, store) for store in LENGTHS}
    paths = generator.forecast(histories, 2, **options)
    given = of_library(library, panel)
    found = nw.from_native(generator.forecast(given, 2, **options))
    assert found.columns == ["store", "date", "sample", "units"]
    assert found["sample"].to_list() == [0, 0, 1, 1, 2, 2] * 3
    after = [str(day)[:10] for day in found["date"]]
    assert after == ["2026-03-02", "2026-03-03"] * 9
    values = found["units"].to_numpy().reshape(3, 3, 2)
    np.testing.assert_allclose(values, np.stack([*paths.values()]), rtol=1e-5, atol=1e-6)
    levels = [0.1, 0.5]
    found = nw.from_native(generator.forecast(given, 2, quantiles=levels, **options))
    assert found.columns == ["store", "date", "units_0.1", "units_0.5"]
    expected = np.quantile(values, levels, axis=1).reshape(2, -1)
    for k, level in enumerate(levels):
        np.testing.assert_allclose(found[f"units_{level}"].to_numpy(), expected[k], rtol=1e-5)


def test_several_targets_are_several_columns():
    names = NAMES | {"target_columns": ["price", "units"]}
    model = recurrent(steps=3, features=2, outputs=2)
    generator = Generator(model, SequenceFramer(3, **names), seed=1)
    panel = make_panel()
    found = generator.forecast(panel, 3)
    assert found.columns.tolist() == ["store", "price", "units"]
    options = {"num_samples": 2, "noise": np.zeros((4, 2)), "quantiles": [0.5]}
    found = generator.forecast(panel, 3, **options)
    assert found.columns.tolist() == ["store", "price_0.5", "units_0.5"]


def test_a_dict_of_histories_gives_a_dict():
    generator, panel, plans = generator_of(), make_panel(), make_plans(4)
    histories = {store: part(panel, store) for store in LENGTHS}
    futures = {store: part(plans, store) for store in reversed(LENGTHS)}
    found = generator.forecast(histories, 4, future=futures)
    assert list(found) == list(LENGTHS)
    whole = generator.forecast(panel, 4, future=plans)
    np.testing.assert_allclose(pd.concat(found.values()), whole["units"], rtol=1e-4, atol=1e-5)
    for wrong in {"north": futures["north"]}, plans, [*futures.values()]:
        with pytest.raises(ValueError, match=r"`future` must be a dict with the keys"):
            generator.forecast(histories, 4, future=wrong)


# --- Dates.


def test_series_may_end_on_different_days():
    panel = pd.concat(
        [make_panel({"north": 9}, END), make_panel({"south": 9}, END - pd.Timedelta(days=3))]
    )
    found = generator_of().forecast(panel, 2)
    assert [str(day.date()) for day in found.index] == [
        *("2026-03-02", "2026-03-03", "2026-02-27", "2026-02-28")
    ]


def test_a_series_with_missing_days_takes_the_frequency_of_the_others(recwarn):
    panel = make_panel()
    panel = panel[~((panel["store"] == "south") & (panel.index == END - pd.Timedelta(days=2)))]
    found = generator_of().forecast(panel, 2)
    assert {str(day.date()) for day in found.index} == {"2026-03-02", "2026-03-03"}
    assert not user_warnings(recwarn)


def test_steps_in_an_index_go_on_and_row_numbers_do_not():
    panel = make_panel()
    weeks = panel.set_index(np.concatenate([np.arange(10, 10 + n) for n in LENGTHS.values()]))
    assert generator_of().forecast(weeks, 2).index.tolist() == [22, 23, 17, 18, 19, 20]
    for rows in panel.reset_index(drop=True), panel.set_index(np.arange(5, 33)):
        assert generator_of().forecast(rows, 2).index.tolist() == [*range(6)]
    # Numbers of rows differ from table to table.
    plans = make_plans(4)
    expected = generator_of().forecast(panel, 4, future=plans)["units"]
    found = generator_of().forecast(
        panel.reset_index(drop=True), 4, future=plans.reset_index(drop=True)
    )
    np.testing.assert_array_equal(found["units"], expected)


# --- Bad input.


def wrong_futures():
    plans = make_plans(4)
    days, day = plans.index, pd.Timedelta(days=1)
    return {
        "another series": (plans.replace("north", "west"), r"3 series without 'north'"),
        "a series less": (plans[plans["store"] != "east"], r"2 series without 'east'"),
        "a day late": (
            plans.set_axis(days + day),
            r"`future\['north'\]`.*2026-03-03",
        ),
        "a day early": (
            plans.set_axis(days - day),
            r"`future\['north'\]`.*2026-03-01",
        ),
        "one of them late": (
            plans.set_axis(days + pd.to_timedelta(3 * (plans["store"] == "east"), "D")),
            r"`future\['east'\]` .*2026-03-05.*in row 0, where 2026-03-02",
        ),
        "rows less": (plans.drop_duplicates("store"), r"`future\['north'\]` must have 4 rows"),
        "no labels": (plans.drop(columns="store"), r"`future` of a table .*\['store'\].*labels"),
        "an array": (plans["price"].to_numpy(), r"`future` of a table .*\['store'\]"),
        "a list": ([part(plans, store) for store in LENGTHS], r"`future` of a table .*a list"),
        "mixed rows": (plans.sort_index(), "Sort the table by group and time"),
        "no price": (plans.rename(columns={"price": "cost"}), r"hold the columns \['price'\]"),
    }


@pytest.mark.parametrize("kind", wrong_futures())
@pytest.mark.parametrize("has_frequency", [True, False])
def test_wrong_futures_of_a_panel(kind, has_frequency):
    """Rows of a panel, as those after `groupby`, have no frequency."""
    future, message = wrong_futures()[kind]
    panel = make_panel()
    if not has_frequency:
        panel = pd.concat([rows for _, rows in panel.groupby("store", sort=False)])
        assert panel.index.freq is None
    with pytest.raises(ValueError, match=message):
        generator_of().forecast(panel, 4, future=future)


def test_series_that_are_too_short_are_named():
    panel = make_panel({"north": 9, "new": 2, "newer": 1})
    message = (
        r"A history needs at least 3 steps .*`history\['new'\]` with 2 steps, .*\['newer'\].*pad"
    )
    with pytest.raises(ValueError, match=message):
        generator_of().forecast(panel, 2)
    many = make_panel(dict.fromkeys(map(str, range(9)), 2))
    with pytest.raises(ValueError, match=r"9 of 9, .*`history\['4'\]` with 2 steps, …"):
        generator_of().forecast(many, 2)
    # A framer that pads forecasts them.
    rule = SequenceFramer(3, mode="prefixes", horizon=2, padding_value=-1, **NAMES)
    model = recurrent(steps=3, features=2, outputs=2)
    found = Generator(model, rule).forecast(panel, 2)
    assert found["store"].tolist() == ["north"] * 2 + ["new"] * 2 + ["newer"] * 2
    short = part(panel, "new")
    padded = np.concatenate([np.full((1, 2), -1), short[["units", "price"]]])
    expected = Generator(model, SequenceFramer(3, horizon=2), targets=0).forecast(padded, 2)
    np.testing.assert_allclose(found["units"][2:4], expected, rtol=1e-5)


def test_dates_of_a_panel_go_forward():
    panel = make_panel()
    with pytest.raises(ValueError, match=r"`history` must have dates that go .* of 'south'"):
        generator_of().forecast(pd.concat([panel[:12], panel[12:19][::-1], panel[19:]]), 2)


def test_names_that_a_forecast_adds_are_free():
    names = {"columns": ["sample"], "target_columns": "sample", "by": "store"}
    generator = Generator(recurrent(steps=3), SequenceFramer(3, **names), seed=1)
    panel = make_panel().rename(columns={"units": "sample"})
    assert generator.forecast(panel, 2).columns.tolist() == ["store", "sample"]
    with pytest.raises(ValueError, match=r"\['store', 'sample'\] beside .* Rename"):
        generator.forecast(panel, 2, num_samples=2, noise=numbers(3, 1))


# --- Covariates known in the past only.


def test_a_single_block_is_never_asked_for_past_covariates():
    """A law: what a future says of them does not matter within a block."""
    names = NAMES | {"future_columns": ["holiday"]}
    model = with_future(steps=3, features=2, horizon=2, known=1, outputs=2)
    generator = Generator(model, SequenceFramer(3, horizon=2, **names))
    panel = make_panel()
    plans = make_plans(2).rename(columns={"price": "holiday"})
    found = generator.forecast(panel, 2, future=plans)
    told = generator.forecast(panel, 2, future=plans.assign(price=7.0))
    pd.testing.assert_frame_equal(found, told)
    longer = make_plans(4).rename(columns={"price": "holiday"})
    with pytest.raises(
        ValueError, match=r"`future` must hold the columns \['price'\].*`horizon` of 4, predict"
    ):
        generator.forecast(panel, 4, future=longer)
    generator.forecast(panel, 4, future=longer.assign(price=7.0))
    with pytest.raises(ValueError, match=r"\['price'\], which the model reads and does not"):
        generator_of().forecast(panel, 3)
