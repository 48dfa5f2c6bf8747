"""
How long a generated step takes
===============================

Five networks whose predictions are fed back in, on TensorFlow, JAX and PyTorch.

    python benchmarks/rollout.py            # all: some minutes for each backend
    python benchmarks/rollout.py --quick    # a smoke run: two networks, one backend
    python benchmarks/rollout.py --backend jax --only lstm-16 --systems seqframe hand-written

The networks:

- **lstm-16**: stateful, 26 symbols, one sequence. **lstm-256**: stateful, real values, 8 series at
  once. **gru-32**: stateful, 26 embedded symbols.
- **lstm-64x48**: stateless, real values, windows of 48 steps.
- **transformer-32**: two causal blocks of 64 units, 26 symbols, windows of 32.

The systems:

- **predict**, **on-batch**, **call**: a Python loop of `model.predict`, `predict_on_batch`, or
  `model(x)`. Under JAX, `seqframe.carry_state` carries the state.
- **seqframe**: `Generator.generate`, greedy, or `Generator.forecast`.
- **hand-written**: the floor. One XLA program loops over recurrent cells with their state, or over
  the model on a window. PyTorch runs the same as a plain loop without gradients.
- **bare-loop**: for PyTorch, `model(x)` on tensors, without gradients.

All must generate the same as stateless calls of the whole sequence: the same symbols, and values
to 1e-4. Others are not timed. The systems take turns in one process, in five rounds. A time is the
median over rounds. A ratio is the median of the ratios of each round, because other work of the
machine hits neighbours alike. A run generates 1,000 steps, or fewer if that takes too long, marked
"≈". A time contains everything that a call does: prompts go in and arrays come out.

"long" measures calls of ten times as many steps. There the rest of a call weighs little. "memory"
measures the bytes that seqframe holds for each number, with 256 rows. "sampling" measures calls
that draw symbols, each at a new temperature or with a new seed, beside calls that are all alike.
These take the networks that `--only` names besides, or all. The last table holds what is claimed of
seqframe, and what this run reached.
"""

import math
from argparse import Namespace

from _measure import NotMeasuredError, Result, Results, run_apart
from _report import (
    PARITY,
    Claim,
    at_least,
    at_most,
    compare,
    figures_table,
    machine,
    markdown_table,
    parse,
    ratios,
    report,
    show_number,
    show_progress,
)
from _rollout_systems import (
    DIFFERS,
    LONG_CALLS,
    SAMPLED_CALLS,
    STEPS,
    SYSTEMS,
    Network,
    held_bytes,
)

NETWORKS = [
    Network("lstm-16", "LSTM", 16, symbols=26),
    Network("lstm-256", "LSTM", 256, batch_size=8),
    Network("lstm-64x48", "LSTM", 64, window=48),
    Network("gru-32", "GRU", 32, symbols=26, embedded=True),
    Network("transformer-32", "Transformer", 64, window=32, symbols=26, embedded=True),
]
NAMES = [*(network.name for network in NETWORKS), "long", "memory", "sampling"]
QUICK = ["lstm-16", "lstm-64x48"], ["on-batch", "seqframe", "hand-written"]
PAIRS = [("predict", "seqframe"), ("seqframe", "hand-written"), ("seqframe", "bare-loop")]

Rows = dict[str, Results]  # by network


def check_claims(
    backend: str, rows: Rows, long: Rows, held: dict[str, float], sampled: Rows
) -> list[Claim]:
    """Return what is claimed of seqframe on a backend, with what was measured."""
    step = f"{backend}: step of"
    predict = ratios(rows, "predict", "seqframe")
    by_hand = f"{step} seqframe / hand-written"
    claims = [
        at_least(
            f"{step} predict / seqframe, {name}",
            {name: predict.get(name, math.nan)},
            least if backend == "tensorflow" else -math.inf,
        )
        for name, least in (("lstm-16", 1000), ("lstm-256", 500))
    ]
    claims.append(at_most(by_hand, ratios(rows, "seqframe", "hand-written"), math.inf))
    if backend == "torch":
        bare = ratios(rows, "seqframe", "bare-loop")
        claims.append(at_most(f"{step} seqframe / bare-loop", bare, PARITY))
    else:
        floor = ratios(long, "seqframe", "hand-written")
        claims.append(at_most(f"{by_hand}, long calls", floor, 1.3))
    longer = ratios(long, "seqframe", "seqframe, short")
    times = {name: 10 * ratio for name, ratio in longer.items()}
    changes = [system for system in SAMPLED_CALLS if system != "seqframe"]
    claims += [
        at_most(
            f"{backend}: step of {system} / the same", ratios(sampled, system, "seqframe"), PARITY
        )
        for system in changes
    ]
    return [
        *claims,
        at_most(f"{backend}: seqframe, ten times the steps / time", times, 12),
        # A buffer of at most twice the size, and copies of it.
        at_most(f"{backend}: memory for each number that seqframe generates", held, 64, "bytes"),
        same_claim(backend, rows),
    ]


def held_of(network: Network, backend: str) -> float:
    """Return the bytes that seqframe holds for each number; NaN if they cannot be measured."""
    show_progress(f"{backend}, {network.name}, memory")
    try:
        return float(run_apart(held_bytes, network, backend))
    except NotMeasuredError:
        return math.nan


def same_claim(backend: str, rows: Rows) -> Claim:
    """Return the claim that all systems generate the same."""
    found = {
        f"{system} on {name}": result for name in rows for system, result in rows[name].items()
    }
    differ = [name for name, result in found.items() if result.remark == DIFFERS]
    same = sum(bool(result.rounds) for result in found.values())
    reached = f"{same} of {same + len(differ)}" + "".join(f"; not {name}" for name in differ)
    what = f"{backend}: all generate the same"
    return Claim(what, "all", reached, not differ if same or differ else None)


def print_tables(
    backend: str, rows: Rows, long: Rows, held: dict[str, float], sampled: Rows
) -> None:
    """Print microseconds of a step, seconds of a first call, other calls, and memory."""

    def step(name: str, result: Result) -> str:
        return show_number(result.microseconds, about="≈ " * (result.steps < STEPS))

    def first(name: str, result: Result) -> str:
        return show_number(result.seconds(STEPS), about="≈ " * (result.steps < STEPS))

    def long_step(name: str, result: Result) -> str:
        return show_number(result.microseconds)

    if rows:
        print(f"\n**a step**, {backend}\n\n{figures_table('µs/step', rows, step, PAIRS, True)}")
        print(f"\n{figures_table('first call, s', rows, first)}", flush=True)
    if long:
        table = figures_table("µs/step", long, long_step, PAIRS)
        print(f"\n**long calls**, {backend}\n\n{table}", flush=True)
    if sampled:
        pairs = [(system, "seqframe") for system in SAMPLED_CALLS if system != "seqframe"]
        table = figures_table("µs/step", sampled, long_step, pairs)
        print(f"\n**calls that draw**, {backend}\n\n{table}", flush=True)
    if held:
        lines = [(name, show_number(each)) for name, each in held.items()]
        table = markdown_table(["bytes held for each number", "seqframe"], lines)
        print(f"\n**memory**, {backend}\n\n{table}", flush=True)


def main(options: Namespace) -> None:
    """Measure what the options choose, and print it."""
    print(machine())
    chosen = [network for network in NETWORKS if network.name in options.only]
    results, claims = {}, []
    for backend in options.backend:
        rows = {each.name: compare(each, backend, SYSTEMS, options) for each in chosen}
        grown = (chosen or NETWORKS) if "long" in options.only else []
        long = {each.name: compare(each, backend, LONG_CALLS, options) for each in grown}
        symbols = [each for each in chosen or NETWORKS if each.symbols]
        drawn = symbols if "sampling" in options.only else []
        sampled = {each.name: compare(each, backend, SAMPLED_CALLS, options) for each in drawn}
        weighed = (chosen or NETWORKS) if "memory" in options.only else []
        held = {each.name: held_of(each, backend) for each in weighed}
        show_progress()
        print_tables(backend, rows, long, held, sampled)
        results[backend] = dict(short=rows, long=long, held=held, sampled=sampled)
        claims += check_claims(backend, rows, long, held, sampled)
    report(options, claims, results=results)


if __name__ == "__main__":
    main(parse(__doc__, NAMES, list(SYSTEMS), *QUICK))
