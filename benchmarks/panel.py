"""
How long a forecast of many series takes
========================================

A panel of 500 daily series, and a network that forecasts the next 28 days, 14 at a time.

    python benchmarks/panel.py            # all: some minutes for each backend
    python benchmarks/panel.py --quick    # a smoke run: one panel, one backend
    python benchmarks/panel.py --backend jax --only dense-equal

The panels:

- **dense-equal**: a dense network on windows of 28 days, and series of 365 days.
- **gru-equal**: a GRU of 32 units instead. **dense-unequal**: series of 60 to 365 days, which end
  on the same day.

The systems:

- **one-call**: `generator.forecast(panel, 28)`, a table in and a table out.
- **list**: one call with a list of the series, each a table.
- **each**: a call of `forecast` for each series, whose tables were cut beforehand.

The systems take turns in one process, in five rounds. A time is the median over rounds, and a ratio
the median of the ratios of each round. A step is one series. All must forecast the same.
"""

from argparse import Namespace
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from _measure import NotMeasuredError, Results, System, Variants
from _report import (
    Claim,
    at_least,
    compare,
    figures_table,
    machine,
    parse,
    ratios,
    report,
    show_number,
    show_progress,
)

SERIES, LENGTH, HORIZON, DAYS, STEPS = 500, 28, 14, 365, 28
SEED = 7


@dataclass(frozen=True)
class Panel:
    """A panel of daily series, and a network."""

    name: str
    units: int = 0  # of a GRU; 0: a dense network
    least: int = DAYS  # days of the shortest series

    @cached_property
    def table(self) -> Any:
        """Return the panel: dates in the index, and a column of labels."""
        import pandas as pd

        rng = np.random.default_rng(SEED)
        days = pd.date_range(end="2026-10-31", periods=DAYS)
        lengths = rng.integers(self.least, DAYS + 1, SERIES)
        values = rng.standard_normal((SERIES, DAYS), np.float32)
        return pd.concat(
            [
                pd.DataFrame({"item": f"item {k}", "units": values[k, -n:]}, days[-n:])
                for k, n in enumerate(lengths)
            ]
        )

    @cached_property
    def generator(self) -> Any:
        """Return the generator of the panel's network."""
        import keras

        from seqframe import Generator, SequenceFramer

        keras.utils.set_random_seed(SEED)
        layers = keras.layers
        read = (
            [layers.GRU(self.units)] if self.units else [layers.Flatten(), layers.Dense(64, "relu")]
        )
        model = keras.Sequential([keras.Input((LENGTH, 1)), *read, layers.Dense(HORIZON)])
        framer = SequenceFramer(
            LENGTH, horizon=HORIZON, columns=["units"], target_columns="units", by="item"
        )
        return Generator(model, framer)


class Forecasts(System):
    """Forecasts of all series of a panel."""

    steps = SERIES

    def __init__(self, panel: Panel, way: str):
        self._generator, self._way, self._whole = panel.generator, way, panel.table
        groups = self._whole.groupby("item", sort=False)[["units"]]
        self._each = [rows for _, rows in groups]
        self._expected = self._joined(self._generator.forecast(self._each, STEPS))

    def run(self) -> Any:
        forecast = self._generator.forecast
        if self._way == "one-call":
            return forecast(self._whole, STEPS)["units"].to_numpy()
        if self._way == "list":
            return self._joined(forecast(self._each, STEPS))
        return self._joined([forecast(rows, STEPS) for rows in self._each])

    @staticmethod
    def _joined(tables: list[Any]) -> np.ndarray:
        return np.concatenate([table["units"].to_numpy() for table in tables])

    def grow(self, factor: float) -> bool:
        return False

    def check(self) -> None:
        if not np.allclose(self.made, self._expected, rtol=1e-4, atol=1e-4):
            raise NotMeasuredError("forecasts differ")


SYSTEMS: dict[str, Variants] = {
    name: [partial(Forecasts, way=name)] for name in ("one-call", "list", "each")
}
PANELS = [Panel("dense-equal"), Panel("gru-equal", 32), Panel("dense-unequal", least=60)]
QUICK = ["dense-equal"], ["one-call", "each"]


def check_claims(results: dict[str, dict[str, Results]]) -> list[Claim]:
    """Return the claims about seqframe, with the measured figures."""
    return [
        at_least(f"{backend}: {SERIES} calls / one call", ratios(rows, "each", "one-call"), 50)
        for backend, rows in results.items()
    ]


def main(options: Namespace) -> None:
    """Measure what the options choose, and print it."""
    print(machine())
    results: dict[str, dict[str, Results]] = {}
    for backend in options.backend:
        chosen = [panel for panel in PANELS if panel.name in options.only]
        rows = {panel.name: compare(panel, backend, SYSTEMS, options) for panel in chosen}
        results[backend] = rows
        show_progress()
        pairs = [("each", "one-call"), ("list", "one-call")]
        table = figures_table(
            "µs/series", rows, lambda _, each: show_number(each.microseconds), pairs, remarks=True
        )
        print(f"\n**{backend}**\n\n{table}", flush=True)
    report(options, check_claims(results), results=results)


if __name__ == "__main__":
    main(parse(__doc__, [panel.name for panel in PANELS], list(SYSTEMS), *QUICK))
