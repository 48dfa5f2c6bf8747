"""
How fast networks are trained
=============================

The six models of `examples/`, and a ladder of larger ones (LSTM units × batch size × time steps,
from `32x1x1` to `256x128x200`), on TensorFlow and JAX.

    python benchmarks/training.py            # all: a quarter of an hour for each backend
    python benchmarks/training.py --quick    # a smoke run: two networks, one backend
    python benchmarks/training.py --backend jax --only models 32x1x1 --systems seqframe fit-best

The systems:

- **fit-arrays**: `model.fit(X, y)`, with all windows in memory.
- **fit-dataset**: `model.fit` on `keras.utils.timeseries_dataset_from_array`.
- **fit-best**: `model.fit` with `steps_per_execution` of a whole epoch, on arrays or the dataset,
  with XLA or without (`jit_compile`). The fastest counts.
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

sys.path.append(str(Path(__file__).parents[1] / "examples"))

from _measure import NotMeasuredError, Result, Results, run_apart
from _report import (
    PARITY,
    Claim,
    at_least,
    at_most,
    compare,
    figures_table,
    machine,
    parse,
    ratios,
    report,
    show_number,
    show_progress,
)
from _training_systems import SYSTEMS, Training, weights_apart
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
KINDS = [*TRAININGS, "weights"]
NAMES = [*KINDS, *(each.name for kind in TRAININGS.values() for each in kind)]
QUICK = ["model-1", "32x1x48", "weights"], ["fit-arrays", "seqframe", "hand-written"]

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


def check_claims(results: dict[str, dict[str, Rows]], weights: dict[str, float]) -> list[Claim]:
    """Return what is claimed of seqframe, with what was measured."""
    claims = []
    for backend, kinds in results.items():
        models, ladder = kinds["models"], with_best(kinds["ladder"])
        plain = ratios(models, "fit-arrays", "seqframe")
        plain.pop("model-6", None)
        step, total = f"{backend}: step of", total_ratio(models)
        least, least_total = (100, 40) if backend == "tensorflow" else (20, -math.inf)
        claims += [
            at_least(f"{step} fit-arrays / seqframe, models 1 to 5", plain, least),
            at_least(f"{backend}: models 1 to 6 with compilation, the same", total, least_total),
            at_most(f"{step} seqframe / hand-written, ladder", ratios(ladder, *BY_HAND), 1.3),
            at_most(f"{step} seqframe / best of Keras", ratios(ladder, "seqframe", "best"), PARITY),
            at_most(f"{step} seqframe / hand-written, models", ratios(models, *BY_HAND), math.inf),
        ]
    for backend, apart in weights.items():
        what = f"{backend}: weights after 200 steps, seqframe's and Keras's apart"
        claims.append(at_most(what, apart, 1e-4, ""))
    return claims


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


def main(options: Namespace) -> None:
    """Measure what the options choose, and print it."""
    print(machine())
    results: dict[str, dict[str, Rows]] = {}
    for backend in [name for name in options.backend if name != "torch"]:
        results[backend] = {}
        for kind, trainings in TRAININGS.items():
            chosen = [each for each in trainings if {kind, each.name} & {*options.only}]
            rows = {each.name: compare(each, backend, SYSTEMS, options) for each in chosen}
            results[backend][kind] = rows
            show_progress()
            if rows:
                print_tables(kind, backend, trainings, rows)
    # PyTorch compiles no loop, so only its weights are compared.
    checked = options.backend if "weights" in options.only else ()
    weights = {backend: compare_weights(backend) for backend in checked}
    show_progress()
    report(options, check_claims(results, weights), results=results, weights=weights)


if __name__ == "__main__":
    main(parse(__doc__, NAMES, list(SYSTEMS), *QUICK))
