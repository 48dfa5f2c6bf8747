"""Draw the pictures of the README and the pages: `python docs/pictures.py`.

They are stored in `docs/_static`, because the README has no build. Each is drawn twice, for light
and for dark pages. They are transparent, and narrow enough to be read on a phone.
"""

import argparse
import re
from collections.abc import Callable
from doctest import DocTestParser
from functools import cache
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from diagrams import DIAGRAMS
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from seqframe import SequenceFramer, plot_forecast
from seqframe.plot.canvas import BLUE, GREY, ORANGE, curve_colors, ink

ROOT = Path(__file__).parent.parent
WIDTH = 5.2  # inches: a phone shows text of 10 points at about its size
STYLES = {"light": "default", "dark": "dark_background"}
WAVE = np.sin(np.arange(40) / 4)


def draw(folder: Path, names: list[str]) -> None:
    """Draw `windows-light.svg`, `windows-dark.svg` and so on."""
    for name in names:
        height, picture = PICTURES[name]
        given = prepare() if (prepare := PREPARED.get(name)) else None
        for page, style in STYLES.items():
            # Without a salt, the ids in the file would change at each run.
            with plt.style.context([style, {"svg.hashsalt": name, "font.size": 10}]):
                figure = plt.figure(figsize=(WIDTH, height), layout="constrained")
                picture(figure, *([] if given is None else [given]))
                path = folder / f"{name}-{page}.svg"
                figure.savefig(path, transparent=True, metadata={"Date": None})
                plt.close(figure)
                path.write_text(shorten(path.read_text("utf-8")), "utf-8")


def shorten(svg: str) -> str:
    """Round the large numbers of a picture, and strip its lines. Small ones are scales."""
    svg = re.sub(r"\d{2,}\.\d{3,}", lambda number: f"{float(number[0]):.2f}", svg)
    return "".join(f"{line.rstrip()}\n" for line in svg.splitlines())


# --- Frames.


def draw_windows(figure: Figure) -> None:
    SequenceFramer(3).frame(ascii_uppercase[:12]).plot(5, ax=figure.subplots())


def draw_targets(figure: Figure) -> None:
    SequenceFramer(6, horizon=3, gap=2).frame(WAVE[:20]).plot(4, ax=figure.subplots())


def draw_missing(figure: Figure) -> None:
    values = WAVE[:18].copy()
    values[9] = np.nan
    SequenceFramer(3).frame(values, skip_nan=True).plot(12, ax=figure.subplots())


def draw_layouts(figure: Figure) -> None:
    """Draw one window of three steps and two features, as each layout gives it to a model."""
    axes = figure.subplots(2, 2, width_ratios=[3.2, 6.2]).ravel()
    shapes = {"timesteps": (3, 2), "features": (1, 6), "tokens": (3,), "flat": (6,)}
    for ax, (layout, shape) in zip(axes, shapes.items(), strict=True):
        rows, columns = shape if len(shape) == 2 else (1, *shape)
        for k in range(rows * columns):
            step = k // 2 if layout != "tokens" else k
            spot = k % columns, 2 - k // columns
            color = [BLUE, ORANGE, GREY][step]
            ax.add_patch(Rectangle(spot, 0.92, 0.92, facecolor=color, alpha=0.75))
            text = f"{'abc'[step]}{k % 2}" if layout != "tokens" else "abc"[step]
            ax.text(spot[0] + 0.46, spot[1] + 0.46, text, ha="center", va="center", size=9)
        ax.set(xlim=(-0.1, columns), ylim=(3 - rows, 3), aspect="equal", anchor="NW")
        ax.set_title(f'"{layout}"\n{shape}'.replace(",)", ",)"), size=9, loc="left")
        ax.axis("off")


# --- Splits, folds and origins.


def draw_split(figure: Figure) -> None:
    frames = SequenceFramer(3).frame(ascii_uppercase[:14])
    train, test = frames.split(0.6, 0.4)
    _, shared = frames.split(0.6, 0.4, share_history=True)
    parts = {"train": train, "test": test, "test, share_history=True": shared}
    axes = figure.subplots(
        3, 1, sharex=True, height_ratios=[len(part) + 3 for part in parts.values()]
    )
    for ax, (title, part) in zip(axes, parts.items(), strict=True):
        part.plot(ax=ax)
        ax.set_title(title, size=10, loc="right")
        ax.set_xlim(-0.6, 13.6)
        if ax is not axes[0]:
            ax.get_legend().remove()
        if ax is not axes[-1]:
            ax.set_xlabel("")


def draw_folds(figure: Figure) -> None:
    """Draw the steps that each fold trains on and tests."""
    frames = SequenceFramer(2).frame(np.arange(24.0))
    modes = ["expanding", "sliding", "kfold"]
    axes = figure.subplots(3, 1, sharex=True)
    for ax, mode in zip(axes, modes, strict=True):
        folds = frames.folds(4, mode=mode, gap=1, share_history=True)
        for number, parts in enumerate(folds):
            for part, color, label in zip(parts, [BLUE, ORANGE], ["train", "test"], strict=True):
                steps = [part.steps(i).targets[0] for i in range(len(part))]
                ax.bar(
                    steps, 0.8, 0.9, number - 0.4, color=color, label=label if not number else None
                )
        ax.set(ylabel="fold", yticks=range(4), xlim=(-0.6, 23.6), ylim=(3.6, -0.6))
        ax.set_title(f'"{mode}"', size=10, loc="left")
        ax.spines[["right", "top"]].set_visible(False)
    axes[0].legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize="small"
    )
    axes[-1].set_xlabel("target step")


def draw_origins(figure: Figure) -> None:
    """Draw what a backtest shows the model at some origins, and what the model has to forecast."""
    framer = SequenceFramer(12, horizon=5, sequence_stride=4)
    framer.frame(WAVE[:36]).plot(ax=figure.subplots())


# --- Rollouts.


def draw_recursion(figure: Figure) -> None:
    """Draw how a window of three steps reads its own predictions."""
    ax = figure.subplots()
    known = ax.xaxis.label.get_color()
    for row, start in enumerate(range(4)):
        for step in range(start, start + 4):
            is_target, is_read = step == start + 3, step >= 3
            color = ORANGE if is_target else BLUE
            style = dict(facecolor=color, alpha=0.9 if not is_read or is_target else 0.45)
            ax.add_patch(Rectangle((step, -row), 0.94, 0.8, **style))
            letter = ascii_uppercase[step]
            ax.text(step + 0.47, 0.4 - row, letter, ha="center", va="center", size=11, color=known)
        if row < 3:
            ends = dict(xy=(start + 3.47, -row - 0.18), xytext=(start + 3.47, -row))
            ax.annotate("", **ends, arrowprops=dict(arrowstyle="-|>", color=ORANGE, lw=1.5))
    for k, (label, color, alpha) in enumerate(
        [
            ("history", BLUE, 0.9),
            ("prediction, read again", BLUE, 0.45),
            ("prediction", ORANGE, 0.9),
        ]
    ):
        at = [0, 1.55, 5.05][k]
        ax.add_patch(Rectangle((at, 1.15), 0.3, 0.3, facecolor=color, alpha=alpha))
        ax.text(at + 0.4, 1.3, label, va="center", size=9)
    ax.set(xlim=(-0.1, 7.1), ylim=(-3.1, 1.5))
    ax.axis("off")


def draw_stores(figure: Figure, page: dict[str, Any]) -> None:
    """Draw the forecast of the README's example for one of its stores."""
    tables = page["sales"], page["forecast"], page["lower"], page["upper"]
    sales, forecast, lower, upper = (
        table.loc[table["store"] == "store 3", "units"] for table in tables
    )
    is_known = sales.index < forecast.index[0]
    intervals = {0.8: (lower, upper)}
    options = dict(intervals=intervals, actual=sales[~is_known], num_history=28)
    ax = figure.subplots()
    plot_forecast(sales[is_known], forecast, **options, ax=ax)
    ax.set_ylabel("units sold")


def draw_quantiles(figure: Figure, page: dict[str, Any]) -> None:
    """Draw the quantiles that the guide's page of probabilistic forecasts predicts."""
    ax = figure.subplots()
    load, known = page["load"], page["known"]
    levels = page["generator_of_quantiles"].forecast(known, 24, quantiles=[0.1, 0.5, 0.9])
    plot_forecast(known, levels, actual=load[1248:1272], num_history=48, ax=ax)
    ax.set(xlabel="", ylabel="load")


def draw_panel(figure: Figure, page: dict[str, Any]) -> None:
    """Draw the forecast of one store that the guide's end-to-end page makes for December."""
    of_store = page["of_store"]
    history, forecast, actual, lower, upper = (
        of_store(page[name]) for name in ("known", "forecast", "actual", "lower", "upper")
    )
    intervals = {0.8: (lower, upper)}
    ax = figure.subplots()
    plot_forecast(history, forecast, intervals=intervals, actual=actual, num_history=28, ax=ax)
    ax.set(xlabel="", ylabel="units sold")


def draw_exposure(figure: Figure, page: dict[str, Any]) -> None:
    """Draw the errors by steps ahead that the guide's end-to-end page measures."""
    by_days, tested = page["by_days"].errors(), page["tested"].errors()
    panel = {
        "horizon=1, one step": by_days["one_step"],
        "horizon=1": by_days["free_run"],
        "horizon=14": tested["free_run"],
        "seasonal naive": by_days["seasonal_naive"],
    }
    axes = figure.subplots(1, 2)
    blue, _, green = curve_colors(axes[0])[:3]
    long = dict(color=blue, label="horizon=14 or 11")
    styles: dict[str, dict[str, Any]] = {
        "horizon=1, one step": dict(color=GREY, ls="--"),
        "horizon=1": dict(color=ORANGE),
        "horizon=1, noise": dict(color=green),
        "horizon=14": long,
        "horizon=11": long,
        "seasonal naive": dict(color=ink(axes[0]), ls=":"),
    }
    titles = ["days ahead, sales", "years ahead, sunspots"]
    ticks = [1, 7, 14], [1, 4, 8, 11]
    for ax, title, at, errors in zip(axes, titles, ticks, [panel, page["errors"]], strict=True):
        for name, values in errors.items():
            steps = range(1, len(values) + 1)
            ax.plot(steps, values, **{"label": name, "lw": 2, **styles[name]})
        ax.set(ylim=(0, None), xlabel=title, xticks=at)
        ax.spines[["right", "top"]].set_visible(False)
    axes[0].set_ylabel("mean absolute error")
    handles = axes[1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=2, frameon=False, fontsize="small")


def run_readme() -> dict[str, Any]:
    """Run the README's last example, and return its names."""
    code = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.S | re.M
    )
    page: dict[str, Any] = {}
    exec(code[-1], page)
    return page


def run_probabilistic() -> dict[str, Any]:
    """Run the quantiles of the guide's page of probabilistic forecasts, and return its names."""
    page = run_guide("probabilistic", until="## A distribution")
    page["generator_of_quantiles"] = page["generator"]
    return page


@cache
def run_end_to_end() -> dict[str, Any]:
    return run_guide("forecasting-end-to-end")


def run_guide(name: str, until: str = "## Read on") -> dict[str, Any]:
    """Run a page of the guide until a heading, and return its names."""
    text = (ROOT / f"docs/guide/{name}.md").read_text("utf-8").partition(until)[0]
    page: dict[str, Any] = {}
    for example in DocTestParser().get_examples(text.replace("```", "")):
        if example.exc_msg is None:
            exec(example.source, page)
    return page


# --- Charts of the figures in docs/performance.md.


def read_table(heading: str, after: str = "") -> tuple[list[str], list[list[str]]]:
    """Return the header and rows of the first table that begins with `heading` after a place."""
    text = (ROOT / "docs/performance.md").read_text("utf-8")
    text = text[text.index(after) :]
    lines = text[text.index(heading) :].partition("\n\n")[0].splitlines()
    header, _, *rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    return header, rows


def number(cell: str) -> float:
    return float(re.search(r"[\d.]+", cell.replace(",", ""))[0])


def draw_framing(figure: Figure) -> None:
    header, rows = read_table("| windows, batch size |")
    ax = figure.subplots()
    colors = [*curve_colors(ax)[:5], GREY]
    for k, (library, color) in enumerate(zip(header[1:], colors, strict=True)):
        name = library.partition(",")[0].replace("`", "")
        seconds = [number(row[k + 1]) for row in rows]
        style = dict(marker="D" if k == 0 else "o", ms=7, ls="", color=color, zorder=3)
        ax.plot(seconds, range(len(rows)), label=name, **style)
    ax.set(xscale="log", xlabel="seconds for one shuffled epoch", ylim=(3.5, -0.5))
    ax.set_yticks(
        range(len(rows)), [row[0].split(", ")[0].replace(" from ", "\nfrom ") for row in rows]
    )
    ax.grid(axis="x", alpha=0.3)
    ax.spines[["right", "top"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize="small")


def draw_networks(figure: Figure) -> None:
    _, rows = read_table("| network | TensorFlow: Keras's best |")
    rows.sort(key=lambda row: number(row[3]))
    ax = figure.subplots()
    for column, label, color in [(3, "TensorFlow", ORANGE), (6, "JAX", curve_colors(ax)[0])]:
        ax.plot(
            [number(row[column]) for row in rows], range(len(rows)), "o", color=color, label=label
        )
    ax.axvline(1, color=ink(ax), lw=1, ls="--")
    ax.set(
        xlim=(0, 1.1),
        ylim=(-0.7, len(rows) - 0.3),
        xlabel="time of seqframe / of Keras's fastest way",
    )
    ax.set_yticks(range(len(rows)), [row[0] for row in rows], size=8)
    ax.grid(axis="y", alpha=0.3)
    ax.spines[["right", "top"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize="small")


def draw_ladder(figure: Figure) -> None:
    ax = figure.subplots()
    for backend, color in [("TensorFlow", ORANGE), ("JAX", curve_colors(ax)[0])]:
        place = f"### {backend}\n\n`python benchmarks/training.py"
        _, rows = read_table("| network | Keras's `fit` |", place)
        rows = [row for row in rows if row[0].startswith("LSTM")]
        seconds = [number(row[3]) for row in rows]
        ratios = [number(row[5]) for row in rows]
        ax.plot(seconds, ratios, "o", ms=5, color=color, label=backend)
    ax.axhline(1, color=ink(ax), lw=1, ls="--")
    ax.set(xscale="log", yscale="log", xlabel="microseconds of a training step of seqframe")
    ax.set_ylabel("Keras's fastest way / seqframe")
    ax.set_yticks([1, 2, 5, 10, 20], ["1 ×", "2 ×", "5 ×", "10 ×", "20 ×"])
    ax.spines[["right", "top"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize="small")


# The height of each picture in inches, and what draws it.
PICTURES: dict[str, tuple[float, Callable[..., None]]] = {
    "windows": (2.6, draw_windows),
    "layouts": (2.6, draw_layouts),
    "targets": (2.8, draw_targets),
    "missing": (4.2, draw_missing),
    "split": (5.2, draw_split),
    "folds": (4.2, draw_folds),
    "origins": (3.0, draw_origins),
    "recursion": (2.2, draw_recursion),
    "framing": (3.2, draw_framing),
    "networks": (5.6, draw_networks),
    "ladder": (3.4, draw_ladder),
    "rollout": (2.8, draw_stores),
    "quantiles": (2.8, draw_quantiles),
    "panel": (2.8, draw_panel),
    "exposure": (3.2, draw_exposure),
    **DIAGRAMS,
}
# What trains a model before it draws.
PREPARED: dict[str, Callable[[], dict[str, Any]]] = {
    "rollout": run_readme,
    "quantiles": run_probabilistic,
    "panel": run_end_to_end,
    "exposure": run_end_to_end,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PICTURES, default=[*PICTURES], metavar="NAME")
    draw(ROOT / "docs/_static", parser.parse_args().only)
