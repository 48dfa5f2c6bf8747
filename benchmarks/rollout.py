"""
How long a generated step takes
===============================

Five networks whose predictions are fed back in: by loops of Keras's own calls, by seqframe's
`Generator`, and by a compiled loop written by hand for that one network. On TensorFlow, JAX and
PyTorch.

    python benchmarks/rollout.py            # all: some minutes for each backend
    python benchmarks/rollout.py --quick    # a smoke run: two networks, TensorFlow
    python benchmarks/rollout.py --backend jax --only lstm-16 --systems seqframe hand-written
    python benchmarks/rollout.py --json rollout.json

The networks:

- **lstm-16**: stateful, 26 symbols, one sequence. **lstm-256**: stateful, real values, 8 series at
  once. **gru-32**: stateful, 26 embedded symbols.
- **lstm-64x48**: stateless, real values, shown windows of 48 steps.
- **transformer-32**: two causal blocks of 64 units, 26 symbols, shown windows of 32.

The systems:

- **predict**, **on-batch**, **call**: a loop in Python of `model.predict`, of
  `model.predict_on_batch`, of `model(x)`. Under JAX, `seqframe.carry_state` carries the state.
- **seqframe**: `Generator.generate`, greedy, or `Generator.forecast`.
- **hand-written**: the floor. One XLA-compiled program with a `tf.while_loop` or a `lax.scan`, of
  recurrent cells with their state, or of the model on a window. PyTorch has no compiled loop: there
  it is a loop of the same without gradients, in which nothing else is done.
- **bare-loop**: for PyTorch, `model(x)` on tensors, without gradients.
- **keras-hub**: its greedy sampler's loop, where that is installed, compiled as its `generate` is.

All must generate the same: symbol for symbol, and values to 1e-4 of what the stateless network says
to the whole sequence. They take turns in one process, for `--repeats` rounds. A time is the median
over rounds. So is a ratio, of those in each round: what else the machine does hits neighbours
alike. A run generates 1,000 steps, or, where that takes too long, as many as fit into `--seconds`,
marked "≈". All that a call does is in its time: prompts go in and arrays come out.

Then longer calls are timed beside shorter ones. What a call takes besides its steps matters little
in the longer ones: they tell what a step takes.

The last table holds what is claimed of seqframe against what this run reached. "No slower" allows
for 5 %, by which runs of one program differ.
"""

import argparse
import importlib.util
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

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
from _loops import SYSTEMS
from _rollouts import Growth, Network, Result, measure, measure_growth

PACKAGES = ["seqframe", "numpy", "keras", "tensorflow", "jax", "torch", "keras-hub"]
BACKENDS = ("tensorflow", "jax", "torch")
PARITY = 1.05  # "no slower": what two runs of one program differ by
# Short and long calls, of which the long one is ten times as long.
COUNTS = {"tensorflow": (1000, 10000), "jax": (1000, 10000), "torch": (100, 1000)}
GROWN = ("seqframe", "hand-written")
FLAT = 64  # bytes a number generated: the buffer, twice the size at most, and copies of it

NETWORKS = [
    Network("lstm-16", "LSTM", 16, symbols=26),
    Network("lstm-256", "LSTM", 256, batch_size=8),
    Network("lstm-64x48", "LSTM", 64, window=48),
    Network("gru-32", "GRU", 32, symbols=26, embedded=True),
    Network("transformer-32", "Transformer", 64, window=32, symbols=26, embedded=True),
]
QUICK = ("lstm-16", "lstm-64x48")
QUICK_SYSTEMS = ("on-batch", "seqframe", "hand-written")

Results = dict[str, Result]  # by system
Grown = dict[str, Growth]  # by system


def compare(network: Network, backend: str, options: argparse.Namespace) -> Results:
    """Return each system's result on a network."""
    show_progress(f"{backend}, {network.name}")
    makers = {name: SYSTEMS[name] for name in options.systems}
    given = (network, backend, makers, options.repeats, options.seconds, options.limit)
    try:
        return run_apart(measure, *given, timeout=900.0)
    except NotMeasuredError as error:
        return {name: Result(remark=str(error)) for name in makers}


def compare_growth(network: Network, backend: str, options: argparse.Namespace) -> Grown:
    """Return what short and long calls cost, by seqframe and by hand."""
    show_progress(f"{backend}, {network.name}, long calls")
    makers = {name: SYSTEMS[name] for name in GROWN if name in options.systems}
    given = (network, backend, makers, COUNTS[backend], options.repeats)
    try:
        return run_apart(measure_growth, *given, timeout=900.0)
    except NotMeasuredError:
        return {}


def ratio(results: Results, system: str, other: str) -> float:
    """Return how many times as long as another's a system's step takes."""
    return results.get(system, Result()).times(results.get(other, Result()))


def long_ratio(grown: Grown, backend: str) -> float:
    """Return how many times as long as by hand a step of a long call takes."""
    if not {*GROWN} <= {*grown}:
        return math.nan
    ours, other = (grown[name].step(COUNTS[backend][1]) for name in GROWN)
    return ours.times(other)


def growth_ratio(grown: Grown, backend: str) -> float:
    """Return how many times as long as a short call a long one of seqframe takes."""
    if "seqframe" not in grown:
        return math.nan
    few, many = map(grown["seqframe"].call, COUNTS[backend])
    return many.times(few)


def check_claims(
    results: dict[str, dict[str, Results]], growth: dict[str, dict[str, Grown]]
) -> list[Claim]:
    """Return what is claimed of seqframe, beside what was measured."""
    claims = []
    for backend, rows in results.items():
        step, long = f"{backend}: step of", growth[backend]

        def ratios(system: str, other: str, rows: dict[str, Results] = rows) -> dict[str, float]:
            return {name: ratio(row, system, other) for name, row in rows.items()}

        predict = ratios("predict", "seqframe")
        for name, least in ("lstm-16", 1000), ("lstm-256", 500):
            figure = {name: predict[name]} if name in predict else {}
            least = least if backend == "tensorflow" else -math.inf
            claims.append(at_least(f"{step} predict / seqframe, {name}", figure, least))
        by_hand = f"{step} seqframe / hand-written"
        short = ratios("seqframe", "hand-written")
        claims.append(at_most(f"{by_hand}, with what a short call takes", short, math.inf))
        if backend == "torch":
            bare = ratios("seqframe", "bare-loop")
            claims.append(at_most(f"{step} seqframe / bare-loop", bare, PARITY))
        else:
            floor = {name: long_ratio(grown, backend) for name, grown in long.items()}
            claims.append(at_most(f"{by_hand}, in a long call", floor, 1.3))
        few, many = COUNTS[backend]
        longer = {name: growth_ratio(grown, backend) for name, grown in long.items()}
        claims.append(at_most(f"{backend}: seqframe, {many:,} steps / {few:,}", longer, 12))
        claims += [_is_flat(backend, long), _is_the_same(backend, rows)]
    return claims


def _is_flat(backend: str, long: dict[str, Grown]) -> Claim:
    """Return the claim that a long call holds little more than a short one but what it returns."""
    few, many = COUNTS[backend]
    rows = {network.name: network.batch_size for network in NETWORKS}
    peaks = {name: grown["seqframe"].peaks for name, grown in long.items() if "seqframe" in grown}
    more = max(
        ((peak[many] - peak[few]) / (many - few) / rows[name] for name, peak in peaks.items()),
        default=math.nan,
    )
    met = None if math.isnan(more) else more <= FLAT
    what = f"{backend}: bytes that seqframe holds for each number it generates"
    return Claim(what, f"≤ {FLAT:g}", show_number(more), met)


def _is_the_same(backend: str, rows: dict[str, Results]) -> Claim:
    """Return the claim that all systems generate the same."""
    found = [
        (f"{system} on {name}", result)
        for name, row in rows.items()
        for system, result in row.items()
    ]
    differ = [name for name, result in found if result.differs]
    same = sum(bool(result.seconds) for _, result in found)
    reached = f"{same} of {same + len(differ)}" + "".join(f"; not {name}" for name in differ)
    what = f"{backend}: all generate the same"
    return Claim(what, "all", reached, not differ if same or differ else None)


def steps_table(rows: dict[str, Results], systems: Iterable[str]) -> str:
    """Return microseconds of a step, and what seqframe's are beside others', as a table."""
    pairs = {
        "predict / seqframe": ("predict", "seqframe"),
        "seqframe / hand": ("seqframe", "hand-written"),
        "seqframe / bare": ("seqframe", "bare-loop"),
    }
    shown = {title: pair for title, pair in pairs.items() if {*pair} <= {*systems}}
    lines = [
        [
            name,
            *_cells(row, systems, lambda result: result.microseconds),
            *(show_number(ratio(row, *pair), "×") for pair in shown.values()),
            "; ".join(f"{s}: {row[s].remark}" for s in systems if row[s].remark),
        ]
        for name, row in rows.items()
    ]
    return markdown_table(["µs/step", *systems, *shown, "remarks"], lines)


def first_table(rows: dict[str, Results], systems: Iterable[str]) -> str:
    """Return seconds of a first call for 1,000 steps as a table."""
    lines = [
        [name, *_cells(row, systems, lambda result: result.first)] for name, row in rows.items()
    ]
    return markdown_table(["first call, s", *systems], lines)


def _cells(
    row: Results, systems: Iterable[str], figure: Callable[[Result], float]
) -> Iterable[str]:
    return [
        show_number(figure(row[name]), about="≈ " if row[name].estimated else "")
        for name in systems
    ]


def growth_table(long: dict[str, Grown], backend: str) -> str:
    """Return what short and long calls cost as a table."""
    few, many = COUNTS[backend]
    lines = []
    for network, grown in long.items():
        for system, found in grown.items():
            per_step = [show_number(found.step(n).microseconds) for n in (few, many)]
            times = show_number(found.call(many).times(found.call(few)), "×")
            peaks = [show_number(found.peaks[n] / 2**20) for n in (few, many)]
            lines.append([network, system, *per_step, times, *peaks])
    counts = [f"{few:,} steps", f"{many:,} steps"]
    headers = [f"{count}, µs/step" for count in counts] + ["long / short"]
    return markdown_table(["", "system", *headers, *(f"{c}, MB" for c in counts)], lines)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    names = [*(network.name for network in NETWORKS), "long"]
    parser.add_argument("--quick", action="store_true", help=f"{', '.join(QUICK)} on TensorFlow")
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, default=installed)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=names,
        default=names,
        metavar="NAME",
        help=f'what to measure: {", ".join(names)}; "long": long calls, of these networks or all',
    )
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--json", type=Path, help="where to write the results as JSON")
    parser.add_argument("--repeats", type=int, default=5, help="rounds")
    parser.add_argument("--seconds", type=float, default=0.3, help="for a slow system, in a round")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for the rounds of a row")
    if parser.parse_args(arguments).quick:
        parser.set_defaults(
            backend=BACKENDS[:1], only=QUICK, systems=QUICK_SYSTEMS, repeats=3, seconds=0.1
        )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Measure what the options choose, print it, and write it as JSON if asked."""
    options = parse(arguments)
    machine = describe_machine(PACKAGES)
    print(machine_line(machine))
    chosen = [network for network in NETWORKS if network.name in options.only]
    results: dict[str, dict[str, Results]] = {}
    growth: dict[str, dict[str, Grown]] = {}
    for backend in options.backend:
        rows = {network.name: compare(network, backend, options) for network in chosen}
        results[backend] = rows
        show_progress()
        if rows:
            print(f"\n**a step**, {backend}\n\n{steps_table(rows, options.systems)}")
            print(f"\n{first_table(rows, options.systems)}", flush=True)
        grown = (chosen or NETWORKS) if "long" in options.only else []
        long = {network.name: compare_growth(network, backend, options) for network in grown}
        growth[backend] = long
        show_progress()
        if long:
            print(f"\n**long calls**, {backend}\n\n{growth_table(long, backend)}", flush=True)
    claims = check_claims(results, growth)
    if options.quick:
        # So short a run decides nothing.
        claims = [replace(claim, met=None) for claim in claims]
    print(f"\n**claims**\n\n{claims_table(claims)}")
    if options.json:
        write_json(options.json, machine=machine, results=results, growth=growth, claims=claims)


if __name__ == "__main__":
    main()
