"""The data sets of the examples have what their docstrings say, and need no Keras."""

import re
import subprocess
import sys

import numpy as np
import pytest

from seqframe import datasets


def test_sunspots_are_yearly_and_never_negative():
    years, sunspots = datasets.load_sunspots()
    assert np.array_equal(years, np.arange(1700, 2009))
    assert sunspots.shape == (309,)
    assert sunspots.dtype == "float32"
    assert sunspots.min() >= 0
    assert years[sunspots.argmax()] == 1957  # the strongest cycle of the record


def test_the_documentation_is_one_text_of_single_spaces():
    text = datasets.load_python_docs()
    assert len(text) > 300_000
    assert text.isascii()
    assert re.search(r"  | \n|\n |\t", text) is None
    assert text == datasets.load_python_docs()


@pytest.mark.parametrize("num_stores", [1, 3])
def test_each_store_misses_two_days(num_stores):
    pd = pytest.importorskip("pandas", reason="the panel is a DataFrame")
    panel = datasets.make_store_sales(num_stores, seed=1)
    assert panel.columns.tolist() == ["store", "units", "price"]
    assert panel["store"].unique().tolist() == [f"store {k}" for k in range(num_stores)]
    for _, table in panel.groupby("store"):
        assert table.index.is_monotonic_increasing
        days = pd.date_range(table.index[0], "2025-12-31")
        assert len(days.difference(table.index)) == 2
        assert len(table) >= 163  # a store opens in July at the latest


def test_the_panel_is_a_function_of_its_arguments():
    pytest.importorskip("pandas", reason="the panel is a DataFrame")
    panel = datasets.make_store_sales(2, seed=1)
    assert panel.equals(datasets.make_store_sales(2, seed=1))
    assert not panel.equals(datasets.make_store_sales(2, seed=2))
    # More stores come after these.
    assert panel.equals(datasets.make_store_sales(3, seed=1)[: len(panel)])
    with pytest.raises(ValueError, match="num_stores"):
        datasets.make_store_sales(0)


def test_data_need_no_keras():
    code = "import sys; from seqframe import datasets; datasets.load_sunspots(); "
    code += (
        "datasets.load_python_docs(); print([n for n in ('keras', 'pandas') if n in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
