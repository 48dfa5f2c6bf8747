"""
How fast networks are trained
=============================

Three groups of networks:

- **models**: the six models of `examples/`, on TensorFlow and JAX;
- **ladder**: larger ones (LSTM units × batch size × time steps, from `32x1x1` to `256x128x200`), on
  TensorFlow and JAX;
- **networks**: the ordinary networks of `_networks.py`, with a small and a larger batch, on all
  backends. `conv-32` has batches of 32, and `conv` is both. **large** has batches of 128.

Of the networks with batches of 32 there are three more groups. Their cases are named `first-conv`,
and so on.

- **first**: ten epochs in a fresh process, with compilation, and the memory that they need. The
  README's example is `first-readme`.
- **evaluate**, **predict**: calls on all windows.

There are four small groups:

- **bar**, **bar-short**: the progress bar, on long and on short epochs;
- **twins**: the compilation of a second, identical model;
- **refit**: a fit on a series that is a step longer each time.

    python benchmarks/training.py            # all: some hours
    python benchmarks/training.py --quick    # a smoke run: two networks, one backend
    python benchmarks/training.py --backend jax --only models 32x1x1 --systems seqframe fit-best
    python benchmarks/training.py --backend tensorflow --only networks
    python benchmarks/training.py --only conv attention-32 first-conv --json part.json
    python benchmarks/training.py --stored part.json other.json    # print tables of parts

The systems:

- **fit-arrays**: `model.fit(X, y)`, with all windows in memory.
- **fit-dataset**: `model.fit` on `keras.utils.timeseries_dataset_from_array`.
- **fit-best**: `model.fit` with `steps_per_execution` of a whole epoch, on arrays or the dataset,
  with XLA or without (`jit_compile`). The fastest counts. The networks are given arrays, and one
  step in an execution too.
- **seqframe**: `seqframe.fit` on frames.
- **hand-written**: the floor. One XLA program loops over the model's `train_step`, on windows that
  it gathers from the text. It shuffles and keeps metrics, as the others do.

All systems train a network in turn, in one process, for about 0.3 seconds each, in five rounds. A
time is the median over rounds. A ratio is the median of the ratios of each round, because other
work of the machine hits neighbours alike. If an epoch takes Keras too long, Keras gets the first
part of it, marked "≈". Totals that are extrapolated from fewer epochs are marked too. For Keras
only the epochs count; for the others the whole call.

The last table holds what is claimed of seqframe, and what this run reached.
"""

import math
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "examples"))

from _measure import NotMeasuredError, Result, Results, Variants, run_apart
from _networks import NETWORKS
from _report import (
    PARITY,
    Claim,
    at_least,
    at_most,
    compare,
    figures_table,
    load,
    machine,
    markdown_table,
    parse,
    ratios,
    report,
    show_number,
    show_progress,
)
from _training_systems import (
    BARS,
    CALLS,
    NETWORK_SYSTEMS,
    REFITS,
    SYSTEMS,
    TWINS,
    KerasFit,
    Rung,
    SeqframeFit,
    Training,
    first_runs,
    weights_apart,
)
from reproduce_chapter import MODELS

KERAS = ("fit-arrays", "fit-dataset", "fit-best")
EPOCH = 0.3  # seconds of an epoch of the ladder, about
UNITS, BATCHES, STEPS = (32, 128, 256), (1, 32, 128), (1, 48, 200)


def rung(units: int, batch: int, length: int) -> Training:
    """Return a row of the ladder: a larger model 3, on a text for an epoch of about `EPOCH`."""
    operations = 24 * batch * units * (units + 1) * length  # forward and back
    seconds = 10e-6 + 5e-6 * length + operations / 50e9
    steps = min(max(round(EPOCH / seconds), 2), 4096)
    framer = dict(sequence_length=length)
    model = replace(MODELS[2], framer=framer, units=units, batch_size=batch, epochs=10)
    return Training(f"{units}x{batch}x{length}", model, letters=steps * batch + length)


TRAININGS = {
    "models": [Training(f"model-{model.number}", model) for model in MODELS],
    "ladder": [rung(u, b, s) for u in UNITS for b in BATCHES for s in STEPS],
}
# 200 steps each, in order.
IN_ORDER = [
    Training("windows", replace(MODELS[2], batch_size=4, epochs=1, shuffle=False), letters=803),
    Training("stateful", replace(MODELS[4], epochs=1), letters=201),
]


def rungs(batch_size: int, steps: int, stateful: bool = True) -> list[Rung]:
    """Return every ordinary network, with epochs of so many steps."""
    networks = [each for each in NETWORKS.values() if stateful or not each.stateful]
    return [Rung(network, batch_size, steps) for network in networks]


LSTM, README = NETWORKS["lstm"], Training("readme", replace(MODELS[2], epochs=10))
RUNGS: dict[str, tuple[list[Rung], dict[str, Variants]]] = {
    "networks": ([*rungs(4, 256), *rungs(32, 64)], NETWORK_SYSTEMS),
    "large": (rungs(128, 16), NETWORK_SYSTEMS),
    "evaluate": (rungs(32, 64, stateful=False), CALLS["evaluate"]),
    "predict": (rungs(32, 64, stateful=False), CALLS["predict"]),
    "bar": ([Rung(LSTM, 4, 2048)], BARS),
    "bar-short": ([Rung(LSTM, 4, 32)], BARS),
    "twins": ([Rung(LSTM, 32, 64)], TWINS),
    "refit": ([Rung(LSTM, 32, 32)], REFITS),
}
FIRST = [README, *rungs(32, 64)]
BEST = ("networks", "large", "evaluate", "predict")  # groups that are compared to Keras's best
# Networks for which a single XLA program is the loop that an expert would write.
LOOPED = {"lstm", "simple-rnn", "stateful-lstm", "custom-step", "bidirectional-lstm", "dense"}


def labels(kind: str, case: Training | Rung) -> list[str]:
    """Return the names by which `--only` chooses a case: its group, and its own in that group."""
    if isinstance(case, Training) and kind != "first":
        return [kind, case.name]
    names = [case.name, case.of.name] if isinstance(case, Rung) else [case.name]
    return [kind, *(name if kind in ("networks", "large") else f"{kind}-{name}" for name in names)]


GROUPS = TRAININGS | {kind: cases for kind, (cases, _) in RUNGS.items()} | {"first": FIRST}
LABELS = [label for kind, cases in GROUPS.items() for case in cases for label in labels(kind, case)]
NAMES = list(dict.fromkeys(["weights", *LABELS]))
QUICK_CASES = [
    "model-1",
    "dense-4",
    "evaluate-dense",
    "first-dense",
    "bar-short",
    "refit",
    "weights",
]
QUICK = QUICK_CASES, ["fit-arrays", "seqframe", "hand-written"]

BY_HAND = ("seqframe", "hand-written")

Rows = dict[str, Results]  # by training


def compare_weights(backend: str) -> float:
    """Return by how much weights differ between seqframe and Keras after 200 steps, at most."""
    show_progress(f"{backend}, weights")
    try:
        return run_apart(weights_apart, IN_ORDER, backend)
    except NotMeasuredError:
        return math.nan


def with_best(rows: Rows) -> Rows:
    """Return the rows, each with the fastest of Keras's ways as "best"."""
    return {
        name: row
        | {
            "best": min(
                (row[system] for system in KERAS if system in row and row[system].rounds),
                key=lambda result: result.microseconds,
                default=Result(),
            )
        }
        for name, row in rows.items()
    }


def check_claims(backend: str, kinds: dict[str, Rows]) -> list[Claim]:
    """Return what is claimed of the models and the ladder, with what was measured."""
    models, ladder = kinds["models"], with_best(kinds["ladder"])
    plain = ratios(models, "fit-arrays", "seqframe")
    plain.pop("model-6", None)
    step, total = f"{backend}: step of", total_ratio(models)
    least, least_total = (100, 40) if backend == "tensorflow" else (20, -math.inf)
    return [
        at_least(f"{step} fit-arrays / seqframe, models 1 to 5", plain, least),
        at_least(f"{backend}: models 1 to 6 with compilation, the same", total, least_total),
        at_most(f"{step} seqframe / hand-written, ladder", ratios(ladder, *BY_HAND), 1.3),
        at_most(f"{step} seqframe / best of Keras", ratios(ladder, "seqframe", "best"), PARITY),
        at_most(f"{step} seqframe / hand-written, models", ratios(models, *BY_HAND), math.inf),
    ]


def check_networks(backend: str, kinds: dict[str, Rows]) -> list[Claim]:
    """Return what is claimed of ordinary networks, with what was measured."""
    claims = []
    for kind in BEST:
        what = f"{backend}: {kind}, step of seqframe / best of Keras"
        claims.append(at_most(what, ratios(with_best(kinds[kind]), "seqframe", "best"), PARITY))
    first = kinds["first"]
    what = f"{backend}: 10 epochs with compilation, seqframe / Keras"
    claims += [
        at_most(what, ratios(first, "seqframe", "fit-arrays"), 1.0),
        at_most(f"{backend}: memory of the same", peak_ratios(first), 1.0),
    ]
    bar = ratios(kinds["bar"], "seqframe, bar", "seqframe")
    each = {name: bar_milliseconds(row) for name, row in kinds["bar-short"].items()}
    longer = ratios(kinds["refit"], "seqframe, longer", "seqframe")
    setups = {name: setup_ratio(row) for name, row in kinds["twins"].items()}
    second = 0.2 if backend == "jax" else math.inf
    return [
        *claims,
        at_most(f"{backend}: progress bar / `verbose=0`, long epochs", bar, 1.1),
        at_most(f"{backend}: progress bar, short epochs, each", each, 2, "ms"),
        at_most(f"{backend}: fit on a series one step longer / the same again", longer, 1.1),
        at_most(f"{backend}: compilation of a second model / of the first", setups, second),
    ]


def peak_ratios(rows: Rows) -> dict[str, float]:
    """Return how many times as much memory as Keras seqframe holds."""
    return {
        name: divide(row["seqframe"].peak, row["fit-arrays"].peak) for name, row in rows.items()
    }


def bar_milliseconds(row: Results) -> float:
    """Return what the progress bar adds to an epoch."""
    steps, nothing = RUNGS["bar-short"][0][0].steps, Result()
    bar, silent = row.get("seqframe, bar", nothing), row.get("seqframe", nothing)
    return (bar.microseconds - silent.microseconds) / 1000 * steps


def setup_ratio(row: Results) -> float:
    """Return how long compilation of a second, identical model takes beside the first one's."""
    first, second = row.get("seqframe", Result()), row.get("seqframe, second", Result())
    return divide(second.setup, first.setup)


def divide(one: float, other: float) -> float:
    """Return a ratio, or NaN if there was nothing to compare to."""
    return one / other if other else math.nan


def total_ratio(models: Rows) -> float:
    """Return the ratio of the time that all six models take, by Keras and by seqframe."""
    if len(models) < len(MODELS):
        return math.nan
    return total(models, "fit-arrays") / total(models, "seqframe")


def total(models: Rows, system: str) -> float:
    """Return the seconds of whole trainings, compilation included."""
    steps = {training.name: training.all_steps for training in TRAININGS["models"]}
    return sum(row.get(system, Result()).seconds(steps[name]) for name, row in models.items())


def print_tables(kind: str, backend: str, trainings: list[Training], rows: Rows) -> None:
    """Print microseconds of a step, then seconds of compilation and of whole trainings."""
    known = {training.name: training for training in trainings}

    def step(name: str, result: Result) -> str:
        cut = "≈ " if result.steps < known[name].steps else ""
        return show_number(result.microseconds, about=cut)

    def whole(name: str, result: Result) -> str:
        steps = known[name].all_steps
        cut = "≈ " if result.steps < steps else ""
        return show_number(result.seconds(steps), about=cut)

    pairs = [("fit-arrays", "seqframe"), ("best", "seqframe"), BY_HAND]
    print(
        f"\n**{kind}**, {backend}\n\n{figures_table('µs/step', with_best(rows), step, pairs, True)}"
    )
    compilation = figures_table("compilation, s", rows, lambda _, result: show_number(result.setup))
    print(f"\n{compilation}", flush=True)
    if kind == "models":
        print(f"\n{figures_table('total, s', rows, whole)}", flush=True)


def worst_first(rows: Rows, figures: dict[str, float]) -> Rows:
    """Return the rows by descending figures, those without one last."""
    last = {name: -math.inf if math.isnan(figure) else figure for name, figure in figures.items()}
    return {name: rows[name] for name in sorted(rows, key=last.__getitem__, reverse=True)}


def print_networks(kind: str, backend: str, rows: Rows) -> None:
    """Print microseconds of a step beside the fastest of Keras's ways, the worst row first."""
    systems = ("best", "seqframe", "hand-written")
    best = {
        name: {system: row.get(system, Result()) for system in systems}
        for name, row in with_best(rows).items()
    }
    rows = worst_first(best, ratios(best, "seqframe", "best"))
    pairs = [("seqframe", "best"), BY_HAND]
    table = figures_table(
        "µs/step", rows, lambda _, each: show_number(each.microseconds), pairs, True
    )
    print(f"\n**{kind}**, {backend}\n\n{table}", flush=True)


def print_first(backend: str, rows: Rows) -> None:
    """Print seconds and memory of ten epochs with compilation, the worst row first."""
    times, peaks = ratios(rows, "seqframe", "fit-arrays"), peak_ratios(rows)
    lines = []
    for name, row in worst_first(rows, times).items():
        pair = (row["fit-arrays"], row["seqframe"])
        lines.append(
            [
                name,
                *(show_number(each.microseconds / 1e6 * each.steps) for each in pair),
                show_number(times[name], "×"),
                *(show_number(each.peak / 1e6) for each in pair),
                show_number(peaks[name], "×"),
                "; ".join(each.remark for each in pair if each.remark),
            ]
        )
    figures = ["Keras, s", "seqframe, s", "ratio", "Keras, MB", "seqframe, MB", "ratio", "remarks"]
    table = markdown_table(["10 epochs", *figures], lines)
    print(f"\n**first**, {backend}\n\n{table}", flush=True)


def print_check(kind: str, backend: str, rows: Rows) -> None:
    """Print microseconds of a step, and seconds of compilation."""
    step = figures_table("µs/step", rows, lambda _, each: show_number(each.microseconds))
    setup = figures_table("compilation, s", rows, lambda _, each: show_number(each.setup))
    print(f"\n**{kind}**, {backend}\n\n{step}\n\n{setup}", flush=True)


def compare_networks(backend: str, options: Namespace, stored: dict[str, Rows]) -> dict[str, Rows]:
    """Measure the chosen ordinary networks, and print what was measured or stored."""
    results: dict[str, Rows] = {}
    for kind, (cases, systems) in RUNGS.items():
        rows = stored.get(kind, {})
        for case in chosen(kind, cases, options):
            own = systems if case.of.name in LOOPED else systems | {"hand-written": []}
            rows[case.name] = compare(scaled(case, backend, options), backend, own, options)
        results[kind] = rows
        show_progress()
        if rows and kind in BEST:
            print_networks(kind, backend, rows)
        elif rows:
            print_check(kind, backend, rows)
    rounds, makers = 1 if options.quick else 2, {"fit-arrays": KerasFit, "seqframe": SeqframeFit}
    results["first"] = stored.get("first", {})
    for case in chosen("first", FIRST, options):
        show_progress(f"{backend}, ten epochs of {case.name}")
        case = scaled(case, backend, options)
        results["first"][case.name] = first_runs(case, backend, makers, rounds)
    show_progress()
    if results["first"]:
        print_first(backend, results["first"])
    return results


def chosen(kind: str, cases: list[Any], options: Namespace) -> list[Any]:
    """Return the cases of a group that `--only` names."""
    return [case for case in cases if {*options.only} & {*labels(kind, case)}]


def scaled(case: Any, backend: str, options: Namespace) -> Any:
    """Return the case with shorter epochs for PyTorch, whose steps take longer, and `--quick`."""
    if isinstance(case, Training) or case.steps <= 32:
        return case
    shorter = (4 if backend == "torch" else 1) * (4 if options.quick else 1)
    return replace(case, steps=max(case.steps // shorter, 4))


def main(options: Namespace) -> None:
    """Measure what the options choose, and print it."""
    print(machine())
    results: dict[str, dict[str, Rows]] = {}
    claims, stored = [], load(options.stored or ())
    for backend in options.backend:
        kinds: dict[str, Rows] = {}
        earlier = stored.get(backend, {})
        # PyTorch compiles no loop, so the models and the ladder show nothing there.
        for kind, trainings in TRAININGS.items() if backend != "torch" else ():
            rows = earlier.get(kind, {}) | {
                each.name: compare(each, backend, SYSTEMS, options)
                for each in chosen(kind, trainings, options)
            }
            kinds[kind] = rows
            show_progress()
            if rows:
                print_tables(kind, backend, trainings, rows)
        if kinds:
            claims += check_claims(backend, kinds)
        networks = compare_networks(backend, options, earlier)
        claims += check_networks(backend, networks)
        results[backend] = kinds | networks
    checked = options.backend if "weights" in options.only else ()
    weights = {backend: compare_weights(backend) for backend in checked}
    show_progress()
    claims += [
        at_most(
            f"{backend}: weights after 200 steps, seqframe's and Keras's apart", apart, 1e-4, ""
        )
        for backend, apart in weights.items()
    ]
    measured = [claim for claim in claims if claim.reached != show_number(math.nan)]
    report(options, measured, results=results, weights=weights)


if __name__ == "__main__":
    main(parse(__doc__, NAMES, list(SYSTEMS), *QUICK, in_parts=True))
