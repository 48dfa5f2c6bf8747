"""
How fast networks are trained
=============================

The six models of `examples/`, and a ladder of larger ones (LSTM units × batch size × time steps,
from `32x1x1` to `256x128x200`): by Keras's own `fit`, by `seqframe.fit`, and by a compiled loop
written by hand for that one network. On TensorFlow and on JAX.

    python benchmarks/training.py            # all: a quarter of an hour for each backend
    python benchmarks/training.py --quick    # a smoke run: two networks, TensorFlow
    python benchmarks/training.py --backend jax --only models 32x1x1 --systems seqframe fit-best
    python benchmarks/training.py --json training.json

The systems:

- **fit-arrays**: `model.fit(X, y)`, all windows ready made in memory.
- **fit-dataset**: `model.fit` on `keras.utils.timeseries_dataset_from_array`.
- **fit-best**: `model.fit` with a whole epoch a `steps_per_execution`, on arrays or the data set,
  with XLA or without (`jit_compile`): whichever is the fastest.
- **seqframe**: `seqframe.fit` on frames.
- **hand-written**: the floor. One program, XLA-compiled, loops over the model's `train_step` on
  windows that it gathers from the text; for JAX by `lax.scan` with donated values. Shuffled and
  with metrics, as the others; where epochs are short, many a call.

All systems train a network in turn, in one process, for about `--seconds` each, and again, for
`--repeats` rounds. A time is the median over rounds. So is a ratio, of those in each round: what
else the machine does hits neighbours alike. Of an epoch that takes Keras too long it gets the
first part, marked "≈", as are totals that are extrapolated from fewer epochs. Of Keras, only the
epochs count; of the others, the whole call.

The last table holds what is claimed of seqframe against what this run reached. "No slower" allows
for 5 %, by which runs of one program differ.
"""

import argparse
import importlib.util
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "examples"))

from _fits import SYSTEMS, weights_apart
from _harness import (
    Claim,
    NotMeasuredError,
    at_least,
    at_most,
    claims_table,
    describe_machine,
    machine_line,
    markdown_table,
    run_apart,
    show_number,
    show_progress,
    write_json,
)
from _trainings import Result, Training, measure
from reproduce_chapter import MODELS

PACKAGES = ["seqframe", "numpy", "keras", "tensorflow", "jax", "torch"]
BACKENDS = ("tensorflow", "jax", "torch")  # torch has no compiled loop: its order is checked alone
KERAS = ("fit-arrays", "fit-dataset", "fit-best")
PARITY = 1.05  # "no slower": what two runs of one program differ by
EPOCH = 0.3  # seconds that an epoch of the ladder takes, about

UNITS, BATCHES, STEPS = (32, 128, 256), (1, 32, 128), (1, 48, 200)
QUICK = ("model-1", "32x1x48", "weights")

Results = dict[str, Result]  # by system


def rung(units: int, batch: int, length: int) -> Training:
    """Return a row of the ladder: model 3, larger, on a text for an epoch of about `EPOCH`."""
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


def compare(training: Training, backend: str, options: argparse.Namespace) -> Results:
    """Return each system's result on a training."""
    show_progress(f"{backend}, {training.name}")
    makers = {name: SYSTEMS[name] for name in options.systems}
    given = (training, backend, makers, options.repeats, options.seconds, options.limit)
    try:
        return run_apart(measure, *given)
    except NotMeasuredError as error:
        return {name: Result(remark=str(error)) for name in makers}


def compare_weights(backend: str) -> float:
    """Return by how much weights differ between seqframe and Keras after 200 steps, at most."""
    show_progress(f"{backend}, weights")
    try:
        return run_apart(weights_apart, IN_ORDER, backend)
    except NotMeasuredError:
        return math.nan


def best_of_keras(results: Results) -> str:
    """Return the name of the fastest of Keras's own."""
    own = {name: results[name].microseconds for name in KERAS if name in results}
    measured = {name: time for name, time in own.items() if not math.isnan(time)}
    return min(measured, key=measured.__getitem__, default="fit-best")


def ratio(results: Results, system: str, other: str) -> float:
    """Return how many times as long as another's a system's step takes."""
    return results.get(system, Result()).times(results.get(other, Result()))


def check_claims(results: dict[str, dict[str, Results]], weights: dict[str, float]) -> list[Claim]:
    """Return what is claimed of seqframe, beside what was measured."""
    claims = []
    for backend, rows in results.items():
        models = {name: row for name, row in rows.items() if name.startswith("model-")}
        one_to_five = {name: row for name, row in models.items() if name != "model-6"}
        ladder = {name: row for name, row in rows.items() if name not in models}
        plain = _each(one_to_five, lambda row: ratio(row, "fit-arrays", "seqframe"))
        floor = _each(ladder, lambda row: ratio(row, "seqframe", "hand-written"))
        best = _each(ladder, lambda row: ratio(row, "seqframe", best_of_keras(row)))
        chapter = _each(models, lambda row: ratio(row, "seqframe", "hand-written"))
        least = {"tensorflow": 100, "jax": 20}[backend]
        step = f"{backend}: step of"
        claims += [
            at_least(f"{step} fit-arrays / seqframe, models 1 to 5", plain, least),
            at_least(
                f"{backend}: models 1 to 6 with compilation, fit-arrays / seqframe",
                _whole(models),
                {"tensorflow": 40, "jax": -math.inf}[backend],
            ),
            at_most(f"{step} seqframe / hand-written, ladder", floor, 1.3),
            at_most(f"{step} seqframe / the best of Keras, ladder", best, PARITY),
            at_most(f"{step} seqframe / hand-written, models", chapter, math.inf),
        ]
    for backend, apart in weights.items():
        what = f"{backend}: weights after 200 steps, seqframe and Keras apart"
        met = None if math.isnan(apart) else apart <= 1e-4
        claims.append(Claim(what, "≤ 1e-04", f"{apart:.0e}", met))
    return claims


def _each(rows: dict[str, Results], figure: Callable[[Results], float]) -> dict[str, float]:
    return {name: figure(row) for name, row in rows.items()}


def _whole(models: dict[str, Results]) -> dict[str, float]:
    """Return the ratio of the time that all six models take."""
    if len(models) < len(MODELS):
        return {}
    plain, ours = (
        sum(row.get(system, Result()).total for row in models.values())
        for system in ("fit-arrays", "seqframe")
    )
    return _each({"in total": {}}, lambda _: plain / ours)


def steps_table(rows: dict[str, Results], systems: Iterable[str]) -> str:
    """Return microseconds of a step, and what seqframe's are beside others', as a table."""
    lines = []
    for name, row in rows.items():
        best = best_of_keras(row)
        failed = [system for system, result in row.items() if not result.seconds]
        failures = [f"{system}: {row[system].remark}" for system in failed if system != best]
        pairs = [("fit-arrays", "seqframe"), (best, "seqframe"), ("seqframe", "hand-written")]
        lines.append(
            [
                name,
                *(
                    show_number(row[system].microseconds, about=_about(row[system].cut))
                    for system in systems
                ),
                *(show_number(ratio(row, *pair), "×") for pair in pairs),
                "; ".join([row[best].remark] * (best in row) + failures),
            ]
        )
    ratios = ["arrays / seqframe", "best / seqframe", "seqframe / hand"]
    return markdown_table(["µs/step", *systems, *ratios, "the best of Keras"], lines)


def seconds_table(rows: dict[str, Results], systems: Iterable[str], figure: str) -> str:
    """Return a figure in seconds, "compilation" or "total", as a table with a sum."""
    lines = []
    for name, row in rows.items():
        cells = [
            show_number(
                getattr(row[system], figure),
                about=_about(figure == "total" and row[system].estimated),
            )
            for system in systems
        ]
        lines.append([name, *cells])
    sums = [sum(getattr(row[system], figure) for row in rows.values()) for system in systems]
    lines.append(["sum", *map(show_number, sums)])
    return markdown_table([f"{figure}, s", *systems], lines)


def _about(estimated: bool) -> str:
    return "≈ " if estimated else ""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options; `trainings` are those chosen, by "models" and "ladder"."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    names = [*TRAININGS, *(each.name for kind in TRAININGS.values() for each in kind), "weights"]
    parser.add_argument("--quick", action="store_true", help=f"{', '.join(QUICK)} on TensorFlow")
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, default=installed)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=names,
        default=[*TRAININGS, "weights"],
        metavar="NAME",
        help=f"what to measure: {', '.join(names)}",
    )
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--json", type=Path, help="where to write the results as JSON")
    parser.add_argument("--repeats", type=int, default=5, help="rounds")
    parser.add_argument("--seconds", type=float, default=0.3, help="for a system, in a round")
    parser.add_argument("--limit", type=float, default=15.0, help="seconds for the rounds of a row")
    if parser.parse_args(arguments).quick:
        few = [name for name in SYSTEMS if name not in ("fit-dataset", "fit-best")]
        parser.set_defaults(backend=BACKENDS[:1], only=QUICK, systems=few, repeats=3, seconds=0.1)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Measure what the options choose, print it, and write it as JSON if asked."""
    options = parse(arguments)
    machine = describe_machine(PACKAGES)
    print(machine_line(machine))
    results: dict[str, dict[str, Results]] = {}
    for backend in [name for name in options.backend if name != "torch"]:
        results[backend] = {}
        for kind, trainings in TRAININGS.items():
            chosen = [each for each in trainings if {kind, each.name} & {*options.only}]
            rows = {each.name: compare(each, backend, options) for each in chosen}
            results[backend] |= rows
            show_progress()
            if rows:
                print(f"\n**{kind}**, {backend}\n\n{steps_table(rows, options.systems)}")
                figures = ("compilation", "total") if kind == "models" else ("compilation",)
                for figure in figures:
                    print(f"\n{seconds_table(rows, options.systems, figure)}", flush=True)
    checked = options.backend if "weights" in options.only else ()
    weights = {backend: compare_weights(backend) for backend in checked}
    show_progress()
    claims = check_claims(results, weights)
    if options.quick:
        # So short a run decides nothing.
        claims = [replace(claim, met=None) for claim in claims]
    print(f"\n**claims**\n\n{claims_table(claims)}")
    if options.json:
        write_json(options.json, machine=machine, results=results, weights=weights, claims=claims)


if __name__ == "__main__":
    main()
