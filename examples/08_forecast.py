"""
A forecast with intervals: sunspots
===================================

The yearly number of sunspots since 1700 rises and falls about every eleven years. A small model
learns to tell the next year from the thirty-three before it, forecasts on from its own predictions,
and says how sure it is.
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
# Cut in time: to train on, to measure errors on, and to judge by.
framer = SequenceFramer(33)
known, recent = years < 1880, years >= 1880 - 33
train = framer.frame(sunspots[known])
print(f"{len(train)} windows up to 1879")

# %%
# The model owns the scaling, so it takes and gives numbers of sunspots.
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
# How far off is it, on years it has not seen? The free run lives on its own predictions; one step
# is told the truth before each year. Repeating the last value is what both have to beat.
until_1980 = sunspots[recent & (years < 1980)]
tested = backtest(generator, until_1980, horizon=22)
print(tested)

# %%
# From 1980 on: sample paths, each moved by errors drawn from those measured, and the interval that
# held the truth in nine of ten cases at each distance.
history, came = sunspots[years < 1980], sunspots[years >= 1980]
forecast = generator.forecast(history, 22)
lower, upper = tested.interval(forecast, coverage=0.9)
paths = generator.forecast(history, 22, num_samples=500, noise=tested.residuals)
low, median, high = np.quantile(paths, [0.05, 0.5, 0.95], axis=0)
print("year  forecast   90 % of paths   conformal 90 %   what came")
for k in range(0, 22, 3):
    print(
        f"{1980 + k}  {forecast[k]:8.0f}   {low[k]:5.0f} … {high[k]:4.0f}   "
        f"{lower[k]:6.0f} … {upper[k]:4.0f}   {came[k]:9.0f}"
    )

# %%
# All of that in a picture, where matplotlib is installed.
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
        actual=came[:22],
        index=years[years < 1980],
        num_history=50,
    )
    axes.set(xlabel="year", ylabel="sunspots")
    plt.show()
