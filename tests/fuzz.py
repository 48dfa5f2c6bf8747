"""
Draws framings and rollouts, and compares each with plain loops
===============================================================

    python tests/fuzz.py --count 1000000      # framings, for a night
    python tests/fuzz.py --rollouts 1000      # rollouts of drawn networks, on KERAS_BACKEND

A framing is compared with `tests/oracle.py`, a rollout with a loop over `model(x)`. A case is a
function of its number, so `--first` goes on where another run stopped. The command prints how much
of each kind was drawn. If a case is wrong, it prints the simplest one found, and exits with 1.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import drawn
import laws

AnyCase = TypeVar("AnyCase")
MOST_TRIES = 2000  # cases tried to make a wrong one simpler


@dataclass
class Tally:
    """What was drawn, and what was wrong.

    Attributes:
        count: int. How many cases were drawn.
        drawn: Counter of the kinds of cases.
        wrong: list of (number, case, what was wrong).
    """

    count: int = 0
    drawn: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[int, Any, str]] = field(default_factory=list)


def fails(check: Callable[[Any], Any], case: Any) -> str | None:
    """Return what is wrong with a case, or None."""
    try:
        check(case)
    except laws.WrongAnswerError as error:
        return str(error)
    except Exception:  # a case that cannot be made: no answer was wrong
        return None
    return None


def simplest(
    check: Callable[[AnyCase], Any], case: AnyCase, simpler: Callable[[AnyCase], Iterator[AnyCase]]
) -> AnyCase:
    """Return the simplest case found that is still wrong."""
    tries = 0
    while tries < MOST_TRIES:
        for one in simpler(case):
            tries += 1
            if fails(check, one):
                case = one
                break
        else:
            break
    return case


def run(
    numbers: Iterable[int],
    draw: Callable[[int], AnyCase],
    check: Callable[[AnyCase], Iterable[str]],
    kinds: Callable[[AnyCase], Iterable[str]],
    most_wrong: int = 20,
) -> Tally:
    """Check the cases of these numbers; stop after `most_wrong` wrong ones."""
    tally = Tally()
    for number in numbers:
        case = draw(number)
        tally.drawn.update(kinds(case))
        try:
            tally.drawn.update(check(case))
        except laws.WrongAnswerError as error:
            tally.wrong.append((number, case, str(error)))
        tally.count += 1
        if len(tally.wrong) == most_wrong:
            break
    return tally


def framing_kinds(case: drawn.Case) -> Iterator[str]:
    """Yield what a case is counted as."""
    rule = case.rule
    yield f"mode: {rule['mode']}"
    yield f"layout: {rule['layout']}"
    yield f"dtype: {case.dtype}"
    yield f"form: {case.form}"
    yield f"sequences: {len(case.lengths) if len(case.lengths) < 2 else 'several'}"
    columns = case.targets not in (None, "array")
    yield f"targets: {'columns' if columns else case.targets or 'the sequence'}"
    yield f"gap: {rule['gap']}"
    named = {
        "horizon above 1": rule["horizon"] > 1,
        "return_sequences": rule["return_sequences"],
        "stride above 1": rule.get("sequence_stride", 1) > 1,
        "sampling_rate above 1": rule.get("sampling_rate", 1) > 1,
        "padding: post": rule.get("padding") == "post",
        "wrap": rule.get("wrap", False),
        "by": case.one_of_many,
        "named": case.named,
        "pad_end": rule.get("pad_end", False),
        "min_length of windows": rule["mode"] == "windows" and bool(rule.get("min_length")),
        "future": case.future is not None,
        "weights of steps": case.weight == "steps",
        "weights of frames": case.weight == "frames",
        "valid": bool(case.holes),
        "skip_nan": bool(case.nans),
        "vocabulary": case.vocabulary is not None,
    }
    yield from (name for name, is_so in named.items() if is_so)


def report(
    tally: Tally,
    seconds: float,
    check: Callable[[AnyCase], Any],
    simpler: Callable[[AnyCase], Iterator[AnyCase]],
) -> int:
    """Print a tally, and the simplest wrong case. Return the exit code."""
    for name, number in sorted(tally.drawn.items()):
        print(f"{number:>10,}  {name}")
    print(f"{tally.count:>10,}  drawn in {seconds:,.0f} s, {len(tally.wrong)} wrong")
    for number, case, what in tally.wrong:
        print(f"\ncase {number}: {case!r}\n  {what}")
    if tally.wrong:
        case = simplest(check, tally.wrong[0][1], simpler)
        print(f"\nthe simplest: {case!r}\n  {fails(check, case)}")
    return int(bool(tally.wrong))


def main() -> int:
    """Draw as many cases as the options say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=0, help="framings")
    parser.add_argument("--rollouts", type=int, default=0, help="rollouts of drawn networks")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    options = parser.parse_args()
    code, start = 0, time.perf_counter()
    if options.count or not options.rollouts:
        numbers = range(options.first, options.first + (options.count or 2000))
        tally = run(numbers, drawn.draw, laws.check, framing_kinds)
        code |= report(tally, time.perf_counter() - start, laws.check, drawn.simpler)
    if options.rollouts:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import rollouts  # needs Keras

        start = time.perf_counter()
        numbers = range(options.first, options.first + options.rollouts)
        tally = run(numbers, rollouts.draw, rollouts.check, rollouts.kinds)
        code |= report(tally, time.perf_counter() - start, rollouts.check, rollouts.simpler)
    return code


if __name__ == "__main__":
    sys.exit(main())
