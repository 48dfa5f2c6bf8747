"""
A forecast with intervals: sunspots
===================================

The yearly number of sunspots rises and falls about every eleven years. A small model learns to
predict a year from the thirty-three years before it, and forecasts from its own predictions. A
backtest shows for how many years it beats the cycle before.
"""

# %%
import keras
import numpy as np

from seqframe import Generator, SequenceFramer, backtest, datasets, fit, plot_forecast

keras.utils.set_random_seed(7)
years, sunspots = datasets.load_sunspots()

# %%
# A number of sunspots is never negative, and errors are larger at a peak than at a minimum. So
# forecast the square root, and square the results. Their intervals cannot be negative, and they are
# wider at a peak.
roots = np.sqrt(sunspots)


def squared(values):
    return np.maximum(values, 0) ** 2


# %%
# Cut the data in time: train up to 1879, measure errors up to 1979, compare from 1980 on.
framer = SequenceFramer(33)
train = framer.frame(roots[years < 1880])
print(f"{len(train)} windows up to 1879")

# %%
# The model scales its input and output itself, to about -1 … 1.
model = keras.Sequential(
    [
        keras.Input((33, 1)),
        keras.layers.Rescaling(1 / 8, offset=-0.8),
        keras.layers.GRU(8),
        keras.layers.Dense(1),
        keras.layers.Rescaling(8, offset=6.4),
    ]
)
model.compile(keras.optimizers.Adam(0.003), "mean_absolute_error")
fit(model, train, batch_size=16, epochs=150, seed=7, verbose=0)
generator = Generator(model, train.framer, seed=7)

# %%
# Forecast 22 years from each year of 1880 to 1958, which the model has not seen. There are four
# forecasts. The free run reads its own predictions, as a real forecast must. One step reads the
# actual values before each year. The naive baseline repeats the last year, and the seasonal naive
# baseline repeats the last eleven years.
recent = (years >= 1880 - 33) & (years < 1980)
tested = backtest(generator, roots[recent], horizon=22, season=11)
forecasts = {
    "free run": tested.free_run,
    "one step": tested.one_step,
    "naive": tested.naive,
    "seasonal naive": tested.seasonal_naive,
}
print("mean absolute error in sunspots")
print("years ahead    ", *(f"{ahead:4}" for ahead in (1, 2, 3, 5, 8, 11, 16, 22)), "  mean")
for name, values in forecasts.items():
    errors = np.abs(squared(values) - squared(tested.actual)).mean(axis=0)
    some = (f"{errors[ahead - 1]:4.0f}" for ahead in (1, 2, 3, 5, 8, 11, 16, 22))
    print(f"{name:15}", *some, f"{errors.mean():6.1f}")

# %%
# Who wins? In the first year, the free run errs half as much as the cycle before. It stays better
# for about three years, because it knows how fast the numbers rise or fall. From the fifth year
# on, it is no better. Cycles take nine to fourteen years, and their peaks lie between 46 and 190.
# The years before do not tell much about the next cycle, so neither forecast knows. In the free
# run, errors add up as well. One step reads the actual values, and its errors do not grow.

# %%
# Forecast from 1980 on. Each sample path adds errors that are drawn from the measured ones. At each
# step ahead, the conformal interval held nine of ten actual values in the backtest.
history, actual = sunspots[years < 1980], sunspots[years >= 1980][:22]
known = roots[years < 1980]
root_forecast = generator.forecast(known, 22)
lower, upper = map(squared, tested.interval(root_forecast, coverage=0.9))
root_paths = generator.forecast(known, 22, num_samples=500, noise=tested.residuals)
forecast, paths = squared(root_forecast), squared(root_paths)
low, high = np.quantile(paths, [0.05, 0.95], axis=0)
print("year  forecast   90 % of paths   conformal 90 %      actual")
for k in range(0, 22, 3):
    print(
        f"{1980 + k}  {forecast[k]:8.0f}   {low[k]:5.0f} … {high[k]:4.0f}   "
        f"{lower[k]:6.0f} … {upper[k]:4.0f}   {actual[k]:9.0f}"
    )
inside = (lower <= actual) & (actual <= upper)
print(f"{inside.sum()} of {len(actual)} years are inside the conformal interval")

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
        actual=actual,
        index=years[years < 1980],
        num_history=50,
    )
    axes.set(xlabel="year", ylabel="sunspots")
    plt.show()
