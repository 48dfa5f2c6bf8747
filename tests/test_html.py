"""Notebooks show frames, lanes and framers as tables of escaped HTML."""

from html.parser import HTMLParser

import numpy as np
import pytest

from seqframe import SequenceFramer, Vocabulary


class Table(HTMLParser):
    """Reads a table back: its caption, and a dict of its rows."""

    def __init__(self, shown):
        super().__init__()
        self.caption, self.rows, self.tags, self._open, self._name = "", {}, [], [], None
        self.feed(shown._repr_html_())
        self.close()
        assert not self._open  # every tag is closed

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1] == "caption":
            self.caption += data
        elif self._open[-1] == "th":
            self._name = data
        else:
            self.rows[self._name] = self.rows.get(self._name, "") + data


def test_table_of_frames():
    frames = SequenceFramer(3, horizon=2).frame(np.arange(2000, dtype="float32"))
    table = Table(frames)
    assert table.caption == "Frames: 1,996"
    assert table.rows == {
        "x": "(3, 1) float32",
        "y": "(2,) float32",
        "sequence": "2,000 steps",
        "framer": "SequenceFramer(3, horizon=2)",
        "first frames": "0 1 2 → 3 4\n1 2 3 → 4 5\n2 3 4 → 5 6\n3 4 5 → 6 7\n4 5 6 → 7 8\n…",
    }


def test_table_shows_the_arrays_of_a_batch():
    steps = np.zeros((9, 2), "float32")
    frames = SequenceFramer(3).frame(
        [steps, steps], targets=[0], future=[np.zeros(9)] * 2, sample_weight=[np.ones(9)] * 2
    )
    rows = Table(frames).rows
    x, y, weight = frames.arrays()
    arrays = {'x["past"]': x["past"], 'x["future"]': x["future"], "y": y, "sample_weight": weight}
    for name, array in arrays.items():
        assert rows[name] == f"{array.shape[1:]} {array.dtype}"
    assert rows["sequences"] == "2 with 18 steps in all"


def test_table_counts_frames_left_out():
    values = np.arange(9.0)
    values[4] = np.nan
    frames = SequenceFramer(2).frame([values, values], skip_nan=True)
    assert Table(frames).rows["left out"] == "6 frames that touch a missing step"
    drawn = SequenceFramer(2, mode="subsequences", num_samples=7).frame(values, skip_nan=True)
    assert Table(drawn).rows["left out"] == "2 starts that touch a missing step"
    assert "left out" not in Table(SequenceFramer(2).frame(values[:4], skip_nan=True)).rows


def test_table_names_sequences_and_counts_steps_that_are_in_no_frame():
    series = {"Ann": np.arange(11), "Bob": np.arange(2)}
    with pytest.warns(UserWarning, match="left out"):
        frames = SequenceFramer(3, sequence_stride=3).frame(series)
    rows = Table(frames).rows
    assert rows["left out"] == "1 too short ('Bob')"
    assert rows["not framed"].startswith("1 last step, which fills no window.")
    assert Table(frames.lanes(1)).rows["not framed"] == rows["not framed"]
    padded = SequenceFramer(3, sequence_stride=3, pad_end=True).frame(np.arange(11))
    assert "not framed" not in Table(padded).rows


def test_table_shows_frames_as_describe_does(capsys):
    for frames in (
        SequenceFramer(2).frame("ABCD"),
        SequenceFramer(3, mode="prefixes", return_sequences=True).frame("ABCDEFGH"),
    ):
        frames.describe(5)
        described = capsys.readouterr().out.replace("->", "→").splitlines()
        shown = Table(frames).rows["first frames"].splitlines()
        assert shown == described + ["…"] * (len(frames) > 5)


def test_long_frames_are_cut_off():
    lines = Table(SequenceFramer(500).frame("hello\nworld " * 100)).rows["first frames"]
    assert all(len(line) < 100 for line in lines.splitlines())
    assert lines.startswith("hello↵world hello")


def test_table_does_not_show_images():
    rows = Table(SequenceFramer(2).frame([np.zeros((9, 8, 8))])).rows
    assert "first frames" in rows
    rows = Table(SequenceFramer(2).frame(np.zeros((9, 32, 32, 3)))).rows
    assert rows["x"] == "(2, 32, 32, 3) float64"
    assert "first frames" not in rows


@pytest.mark.parametrize("symbol", ["<script>alert(1)</script>", "<b>", "&amp;", '"', "'"])
def test_values_are_escaped(symbol):
    frames = SequenceFramer(1, vocabulary=Vocabulary([symbol, "and"])).frame(
        [symbol, "and", symbol]
    )
    table = Table(frames)
    assert set(table.tags) == {"table", "caption", "tbody", "tr", "th", "td"}
    assert table.rows["first frames"] == f"{symbol} → and\nand → {symbol}"
    assert symbol in Table(frames.framer).rows["vocabulary"].replace("\\", "")


def test_framer_shows_what_differs_from_the_defaults():
    framer = SequenceFramer(5, mode="subsequences", num_samples=9, padding_value=-1.0)
    table = Table(framer)
    assert table.caption == "SequenceFramer"
    assert table.rows == {
        "sequence_length": "5",
        "mode": "subsequences",
        "num_samples": "9",
        "padding_value": "-1.0",
    }
    assert Table(SequenceFramer(5)).rows == {"sequence_length": "5"}


def test_table_of_lanes():
    lanes = SequenceFramer(1).frame([np.arange(100.0), np.arange(40.0), np.arange(70.0)]).lanes(2)
    rows = Table(lanes).rows
    weights = [lanes[k][2].mean() for k in range(len(lanes))]
    resets = sum(lanes.resets(k).sum() for k in range(len(lanes)))
    assert rows["batches"] == f"{len(lanes)}"
    assert rows["rows"] == "2"
    assert rows["resets"] == f"{resets} in an epoch"
    assert rows["filled"] == f"{np.mean(weights):.1%} (the rest has weight 0)"
    assert rows["frames"] == "207"
    even = SequenceFramer(1).frame("ABCDEFG").lanes(2)
    assert Table(even).rows["filled"] == "100%"


def test_table_needs_no_styles():
    html = SequenceFramer(2).frame("ABCD")._repr_html_()
    for outside in ("<link", "<style", "<script", "class=", "url(", "http"):
        assert outside not in html
    # Colours are the page's own.
    assert "background" not in html
    assert html.count("color:") == html.count("color: inherit")
