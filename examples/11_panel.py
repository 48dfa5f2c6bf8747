"""
A panel: fifty stores in one table
==================================

One model learns from the sales of fifty stores. The stores opened on different days, some days are
missing, and prices are known ahead. The model forecasts the next two weeks of all stores as one
table. A backtest on days that it has not seen compares it with the week before.
"""

# %%
import keras
import numpy as np
import pandas as pd

from seqframe import Generator, SequenceFramer, backtest, datasets, fit, plot_forecast

keras.utils.set_random_seed(7)
panel = datasets.make_store_sales()
print(f"{len(panel):,} rows of {panel['store'].nunique()} stores")

# %%
# Framing goes by rows, so give each missing day a row. `skip_nan` leaves out the frames that touch
# it. Four weeks of units and prices are the input, and the prices of the next two weeks. Cut at a
# date: the model does not see December.
daily = panel.groupby("store")[["units", "price"]].resample("D").asfreq()
panel = daily.reset_index("store")
framer = SequenceFramer(28, horizon=14)
frames = framer.frame(panel, by="store", targets="units", future=["price"], skip_nan=True)
train, test = frames.split(at="2025-12-01", share_history=True)
print(train)

# %%
# Stores differ in size, so the model predicts multiples of the mean of its window. The relative
# loss counts small stores as much as large ones.
past = keras.Input(frames.x_shape["past"], name="past")
future = keras.Input(frames.x_shape["future"], name="future")
size = keras.ops.mean(past[:, :, :1], axis=1)
units = past[:, :, :1] / keras.ops.expand_dims(size, 1)
window = keras.layers.Flatten()(keras.layers.Concatenate()([units, past[:, :, 1:]]))
known = keras.layers.Concatenate()([window, keras.layers.Flatten()(future)])
hidden = keras.layers.Dense(64, activation="relu")(known)
output = size * keras.layers.Dense(14, activation="softplus")(hidden)
model = keras.Model({"past": past, "future": future}, output)
model.compile(keras.optimizers.Adam(0.003), "mean_absolute_percentage_error")
fit(model, train, batch_size=128, epochs=30, seed=7, verbose=0)

# %%
# The backtest forecasts each store from every day of December that two weeks follow. The seasonal
# naive baseline repeats the week before.
generator = Generator(model, frames.framer)
tested = backtest(generator, panel, horizon=14, start="2025-12-01", season=7, skip_nan=True)
print(tested.scores().round(2).to_string(index=False))

# %%
# The same by store: in how many is the model better than the week before?
by_store = tested.scores("series", metrics="mase").pivot(
    index="store", columns="forecast", values="mase"
)
better = by_store["free run"] < by_store["seasonal naive"]
print(f"better in {better.sum()} of {len(better)} stores")
print(by_store.sort_values("free run").iloc[[0, -1]].round(2))

# %%
# Now forecast all stores at once. The plans of each store are matched by its name, so their order
# does not matter. The intervals of a store come from its own errors.
rng = np.random.default_rng(7)
ahead = pd.date_range("2026-01-01", periods=14)
plans = pd.concat(
    [
        pd.DataFrame({"store": store, "price": rng.choice([1.0, 0.8], 14)}, ahead)
        for store in sorted(panel["store"].unique())
    ]
)
forecast = generator.forecast(panel, 14, future=plans)
lower, upper = tested.interval(forecast, coverage=0.8)
print(forecast.head(3))

# %%
# Draw one of the stores, if matplotlib is installed.
try:
    import matplotlib.pyplot as plt
except ModuleNotFoundError:
    plt = None
if plt is not None:
    tables = panel, forecast, lower, upper
    history, middle, low, high = (
        table.loc[table["store"] == "store 3", "units"] for table in tables
    )
    plot_forecast(history, middle, intervals={0.8: (low, high)})
    plt.show()
