"""The libraries that tables come from. `@EACH_LIBRARY` runs a test for every one."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pytest


def _arrow_table(columns: dict[str, Any]) -> pyarrow.Table:
    return pyarrow.table({name: _arrow_array(values) for name, values in columns.items()})


def _arrow_array(values: Any) -> pyarrow.Array:
    return pyarrow.array(values if isinstance(values, np.ndarray) else list(values))


arrow = SimpleNamespace(
    DataFrame=_arrow_table,
    Series=lambda values: pyarrow.chunked_array([_arrow_array(values)]),
    __name__="pyarrow",
)
LIBRARIES = {"pandas": pandas, "polars": polars, "pyarrow": arrow}
EACH_LIBRARY = pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
