"""Scores: how far forecasts are from the actual values, by their textbook definitions.

Each function returns one number for each value that was forecast. A score is their mean; the RMSE
is the root of it. Hyndman and Athanasopoulos (2021), "Forecasting: Principles and Practice", have
the MAE and the RMSE in section 5.8, https://otexts.com/fpp3/accuracy.html, and the coverage in
section 5.9, https://otexts.com/fpp3/distaccuracy.html.
"""

import numpy as np


def absolute_errors(actual: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Return absolute errors, whose mean is the MAE.

    >>> absolute_errors(np.array([3.0, 5.0]), np.array([2.0, 7.0]))
    array([1., 2.])
    """
    return np.abs(actual - forecast)


def squared_errors(actual: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Return squared errors. The root of their mean is the RMSE.

    >>> squared_errors(np.array([3.0, 5.0]), np.array([2.0, 7.0]))
    array([1., 4.])
    """
    return np.square(actual - forecast)


def scaled_errors(actual: np.ndarray, forecast: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return absolute errors in units of `scale`, whose mean is the MASE.

    Hyndman and Koehler (2006), "Another look at measures of forecast accuracy", equation (4.1),
    https://doi.org/10.1016/j.ijforecast.2006.03.001. An error is NaN if the scale is 0.

    >>> scaled_errors(np.array([3.0, 5.0]), np.array([2.0, 7.0]), np.array([4.0, 4.0]))
    array([0.25, 0.5 ])
    """
    known = np.where(scale > 0, scale, np.nan)
    return absolute_errors(actual, forecast) / known


def symmetric_percentages(actual: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Return absolute errors as percentages of the mean size, 0 … 200. Their mean is the sMAPE.

    Makridakis, Spiliotis and Assimakopoulos (2020), "The M4 Competition", equation (2),
    https://doi.org/10.1016/j.ijforecast.2019.04.014. A forecast of 0 for an actual 0 has no error.

    >>> symmetric_percentages(np.array([3.0, 0.0, 0.0]), np.array([1.0, 2.0, 0.0]))
    array([100., 200.,   0.])
    """
    size = np.abs(actual) + np.abs(forecast)
    return 200 * absolute_errors(actual, forecast) / np.where(size == 0, 1, size)


def pinball_losses(actual: np.ndarray, quantile: np.ndarray, level: float) -> np.ndarray:
    """Return the losses of a forecast of one quantile.

    Koenker and Bassett (1978), "Regression Quantiles", https://doi.org/10.2307/1913643. The loss of
    the median is half the absolute error. The mean over many even levels is half the CRPS.

    >>> pinball_losses(np.array([3.0, 5.0]), np.array([2.0, 7.0]), 0.9)
    array([0.9, 0.2])
    """
    error = actual - quantile
    return np.maximum(level * error, (level - 1) * error)


def are_covered(actual: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Return 1 for each value in its interval, bounds included, and 0 for the others.

    Their mean is the coverage. It is NaN if a value or a bound is NaN.

    >>> are_covered(np.array([3.0, 5.0]), np.array([2.0, 2.0]), np.array([3.0, 4.0]))
    array([1., 0.])
    """
    inside = (lower <= actual) & (actual <= upper)
    return np.where(np.isnan(actual) | np.isnan(lower) | np.isnan(upper), np.nan, inside)


def naive_scales(values: np.ndarray, season: int) -> np.ndarray:
    """Return the mean absolute change over a season before each step, `(steps + 1, …)`.

    It is the error of the naive forecast on the steps that are known at an origin, which scales the
    MASE. It is NaN for the first steps, whose changes are unknown. NaN values count for nothing.

    >>> naive_scales(np.array([1.0, 2.0, 4.0, 4.0]), 1)
    array([nan, nan, 1. , 1.5, 1. ])
    """
    changes = np.full(values.shape, np.nan)
    changes[season:] = np.abs(values[season:] - values[:-season])
    is_known = ~np.isnan(changes)
    totals = np.cumsum(np.where(is_known, changes, 0.0), axis=0)
    counts = np.cumsum(is_known, axis=0)
    means = np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)
    return np.concatenate([np.full((1, *values.shape[1:]), np.nan), means])
