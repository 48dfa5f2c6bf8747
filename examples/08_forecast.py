"""
A forecast with intervals: sunspots
===================================

The yearly number of sunspots rises and falls about every eleven years. A small model learns to
predict a year from the thirty-three years before it. It forecasts from its own predictions, with
prediction intervals.
"""

# %%
from pathlib import Path

import keras
import numpy as np

from seqframe import Generator, SequenceFramer, backtest, fit, plot_forecast

keras.utils.set_random_seed(7)
try:
    folder = Path(__file__).parent
except NameError:  # in a notebook
    folder = Path()
data = np.loadtxt(folder / "data" / "sunspots.csv", delimiter=",", skiprows=1, dtype="float32")
years, sunspots = data[:, 0].astype(int), data[:, 1]

# %%
# Cut the data in time: train up to 1879, measure errors up to 1979, compare from 1980 on.
framer = SequenceFramer(33)
known, recent = years < 1880, years >= 1880 - 33
train = framer.frame(sunspots[known])
print(f"{len(train)} windows up to 1879")

# %%
# The model scales its input and output itself, so both are numbers of sunspots.
model = keras.Sequential(
    [
        keras.Input((33, 1)),
        keras.layers.Rescaling(1 / 100),
        keras.layers.GRU(24),
        keras.layers.Dense(1),
        keras.layers.Rescaling(100),
    ]
)
model.compile(keras.optimizers.Adam(0.003), "mean_absolute_error")
fit(model, train, batch_size=16, epochs=150, seed=7, verbose=0)
generator = Generator(model, train.framer, seed=7)

# %%
# Measure errors on years that it has not seen. The free run reads its own predictions. The one-step
# forecast reads the actual values before each year. The baseline repeats the last value.
until_1980 = sunspots[recent & (years < 1980)]
tested = backtest(generator, until_1980, horizon=22)
print(tested)

# %%
# Forecast from 1980 on. Each sample path adds errors that are drawn from the measured ones. At each
# step ahead, the interval held nine of ten actual values in the backtest.
history, actual = sunspots[years < 1980], sunspots[years >= 1980]
forecast = generator.forecast(history, 22)
lower, upper = tested.interval(forecast, coverage=0.9)
paths = generator.forecast(history, 22, num_samples=500, noise=tested.residuals)
low, median, high = np.quantile(paths, [0.05, 0.5, 0.95], axis=0)
print("year  forecast   90 % of paths   conformal 90 %      actual")
for k in range(0, 22, 3):
    print(
        f"{1980 + k}  {forecast[k]:8.0f}   {low[k]:5.0f} … {high[k]:4.0f}   "
        f"{lower[k]:6.0f} … {upper[k]:4.0f}   {actual[k]:9.0f}"
    )

# %%
# Draw all of that, if matplotlib is installed.
try:
    import matplotlib.pyplot as plt
except ModuleNotFoundError:
    plt = None
if plt is not None:
    axes = plot_forecast(
        history,
        forecast,
        paths=paths,
        intervals={"conformal 90 %": (lower, upper)},
        actual=actual[:22],
        index=years[years < 1980],
        num_history=50,
    )
    axes.set(xlabel="year", ylabel="sunspots")
    plt.show()
