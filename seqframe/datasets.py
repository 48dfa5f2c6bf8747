"""Small data sets for the examples and the guide. Nothing is downloaded.

They need NumPy only, and `make_store_sales` needs pandas. None of them imports Keras.
"""

from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def load_sunspots() -> tuple[np.ndarray, np.ndarray]:
    """Return the years 1700 to 2008 and the mean number of sunspots in each of them.

    The numbers rise and fall about every eleven years. They are the International Sunspot Number as
    it was published until its revision of 2015.

    Returns:
        `(years, sunspots)`, an int array and a float32 array, both `(309,)`.

    >>> from seqframe.datasets import load_sunspots
    >>> years, sunspots = load_sunspots()
    >>> years[:3], sunspots[:3]
    (array([1700, 1701, 1702]), array([ 5., 11., 16.], dtype=float32))
    """
    with resources.files("seqframe").joinpath("data/sunspots.csv").open(encoding="utf-8") as file:
        data = np.loadtxt(file, delimiter=",", skiprows=1)
    return data[:, 0].astype(int), data[:, 1].astype("float32")


def load_python_docs() -> str:
    """Return pages of the Python documentation as one text of about 400,000 letters.

    Every Python has these pages: `help("for")` shows one of them. So the text depends a little on
    the version of Python. Indents and runs of spaces are one space, and all letters are ASCII.

    >>> from seqframe.datasets import load_python_docs
    >>> text = load_python_docs()
    >>> print(text[:22])
    The "assert" statement
    """
    from pydoc_data.topics import topics

    text = "".join(letter for letter in "\n".join(topics.values()) if letter.isascii())
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def make_store_sales(num_stores: int = 50, seed: int = 7) -> "pd.DataFrame":
    """Return a made-up panel: the daily sales of many stores in 2025, in one table.

    Each store has its own size and its own pattern of the week. A lower price sells more. Stores
    open on different days, and two days of each have no row.

    Args:
        num_stores: int ≥ 1. The number of stores.
        seed: int. The same seed gives the same table.

    Returns:
        A pandas DataFrame with an index of days, and the columns "store", "units" and "price". The
        rows of a store follow each other.

    >>> from seqframe.datasets import make_store_sales
    >>> make_store_sales(2).head(2).round(1)
                  store  units  price
    day
    2025-07-08  store 0  305.4    0.8
    2025-07-09  store 0  289.3    0.8
    """
    import pandas as pd

    if num_stores < 1:
        raise ValueError(f"`num_stores` must be at least 1. Received: num_stores={num_stores}.")
    rng = np.random.default_rng(seed)
    days = pd.date_range("2025-01-01", "2025-12-31", name="day")
    return pd.concat([_open_store(f"store {k}", days, rng) for k in range(num_stores)])


def _open_store(name: str, days: "pd.DatetimeIndex", rng: np.random.Generator) -> "pd.DataFrame":
    import pandas as pd

    own = days[rng.integers(200) :]
    price = rng.choice([1.0, 0.8], len(own), p=[0.75, 0.25])
    week = rng.uniform(20, 200) * rng.uniform(0.6, 1.4, size=7)
    units = week[own.day_of_week] * price**-2 * rng.lognormal(0, 0.1, len(own))
    table = pd.DataFrame({"store": name, "units": units, "price": price}, own)
    return table.drop(rng.choice(own[1:-60], 2, replace=False))
