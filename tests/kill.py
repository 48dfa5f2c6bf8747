"""Kill trainings at random instants, resume them, and count the results that are as without a stop.

Usage:
    python tests/kill.py --count 200             # shared by all installed backends and setups
    python tests/kill.py --count 20 --backend jax --setup lanes

Each run is a process that trains one of the setups with a `Checkpoint`. It is killed with SIGKILL,
one to three times, and started again until it ends. Half of the kills come at an instant that is
drawn from the time of a whole run. The other half come while a file is written. Then all weights,
optimizer variables, states and the History must equal, bit for bit, those of a run never killed.
"""

import argparse
import os
import pickle
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent
BACKENDS = ("tensorflow", "jax", "torch")
EVERY = (1, 5, "epoch", 0.02)
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}


def main():
    arguments = parse_arguments()
    if arguments.served:
        serve(arguments)
        return
    backends = [arguments.backend] if arguments.backend else list(filter(find_spec, BACKENDS))
    counts = [arguments.count // len(backends)] * len(backends)
    counts[0] += arguments.count - sum(counts)
    totals = [0, 0, 0]
    for backend, count in zip(backends, counts, strict=True):
        command = [sys.executable, __file__, "--served", "--count", str(count)]
        command += ["--seed", str(arguments.seed)]
        command += ["--setup", arguments.setup] if arguments.setup else []
        environment = {**os.environ, **QUIET, "KERAS_BACKEND": backend}
        pipe = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for line in pipe.stdout:
            if line.startswith("total"):
                totals = [a + int(b) for a, b in zip(totals, line.split()[1:], strict=True)]
            else:
                print(line, end="", flush=True)
        if pipe.wait():
            sys.exit(f"The runs on {backend} could not be counted.")
    runs, equal, kills = totals
    print(f"{equal} of {runs} runs, killed {kills} times, equal a run that was never killed.")
    sys.exit(equal < runs)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Kill trainings, and resume them.")
    parser.add_argument("--count", type=int, default=200, help="number of runs")
    parser.add_argument("--backend", choices=BACKENDS)
    parser.add_argument("--setup")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    parser.add_argument("--served", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def serve(arguments):
    """Run one backend's share. The backend is imported once, and each run is a fork."""
    warnings.filterwarnings("ignore", message=".*fork")
    backend = os.environ["KERAS_BACKEND"]
    import setups

    if find_spec("tensorflow"):
        import_module("tensorflow")  # as Keras does in the first training

    names = [arguments.setup] if arguments.setup else list(setups.SETUPS)
    counts = {name: [0, 0, 0] for name in names}
    references = {}
    draw = random.Random(f"{backend} {arguments.seed}")
    for number in range(arguments.count):
        name = names[number % len(names)]
        if name not in references:
            with tempfile.TemporaryDirectory() as folder:
                began = time.monotonic()
                run_once(name, Path(folder), "epoch")
                seconds = time.monotonic() - began
                references[name] = seconds, read_result(Path(folder))
        kills, result = killed_run(name, *references[name], draw)
        outcome = (1, int(result), kills)
        counts[name] = [a + b for a, b in zip(counts[name], outcome, strict=True)]
    for name, (runs, equal, kills) in counts.items():
        print(f"{backend:<10} {name:<14} {equal:>3} of {runs:>3} equal, {kills:>3} kills")
    print("total", *map(sum, zip(*counts.values(), strict=True)))


def killed_run(name, seconds, reference, draw):
    """Return how often a run was killed, and whether its result is the reference."""
    import setups

    kills = 0
    while not kills:
        every, most = draw.choice(EVERY), draw.randint(1, 3)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            while not (folder / "result").exists():
                when = None if kills >= most else draw_instant(draw, seconds)
                kills += run_once(name, folder, every, when)
            result = read_result(folder)
    is_equal = setups.same(result, reference)
    if not is_equal:
        print(f"{name} differs after {kills} kills with every={every}", flush=True)
    return kills, is_equal


def draw_instant(draw, seconds):
    """Return an instant: seconds after the begin, or the number of a file that is written."""
    return draw.uniform(0, seconds) if draw.random() < 0.5 else draw.randint(1, 12)


def run_once(name, folder, every, when=None):
    """Run a process that goes on with a training. Return whether it was killed before its end."""
    child = os.fork()
    if not child:
        try:
            train_in(name, folder, every)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if when is not None:
        wait_until(when, folder, child)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit(f"A run of {name} with every={every} failed.")
    return os.WIFSIGNALED(status)


def wait_until(when, folder, child):
    """Wait for some seconds, or until so many files more have begun. Then the last one is written.

    A process that has ended stays to be waited for, so that its number is no other process's.
    """
    if isinstance(when, float):
        time.sleep(when)
        return
    begun, seen = 0, None
    while begun < when and not has_ended(child):
        try:
            now = next((folder / "run").glob("*.unfinished.*"), None)
        except OSError:
            now = None
        begun += now is not None and now != seen
        seen = now
        time.sleep(0.0002)


def has_ended(child):
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def train_in(name, folder, every):
    """Train a setup, or go on with it, and leave its result in the folder."""
    import logging

    import setups

    from seqframe import Checkpoint

    logging.getLogger("seqframe").setLevel(logging.ERROR)
    warnings.simplefilter("error", UserWarning)  # no kill may damage a file
    result = setups.train(name, Checkpoint(folder / "run", every))
    (folder / "unfinished").write_bytes(pickle.dumps(result))
    (folder / "unfinished").rename(folder / "result")


def read_result(folder):
    return pickle.loads((folder / "result").read_bytes())


if __name__ == "__main__":
    main()
