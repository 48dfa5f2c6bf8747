"""
Counts how many faults of the package the fuzz finds
====================================================

    python tests/mutants.py                   # each fault for a few seconds, in a copy
    python tests/mutants.py --only gap        # the faults whose name has this word

Each fault is a line of `seqframe/framing/` that is changed by hand: a step too few, a gap that is
ignored, the wrong side of padding. The command prints which ones `tests/fuzz.py` finds, and exits
with 1 if it misses one.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
COUNT = 3000  # framings that are drawn before a fault counts as missed


class Mutant(NamedTuple):
    """A fault: in a file of `seqframe/framing/`, `right` becomes `wrong`."""

    name: str
    file: str
    right: str
    wrong: str


MUTANTS = [
    Mutant(
        "one window too few",
        "geometry.py",
        "(steps - self.least_steps) // self.stride + 1",
        "(steps - self.least_steps) // self.stride",
    ),
    Mutant(
        "the gap is ignored",
        "geometry.py",
        "return np.asarray(last)[..., None] + self.gap + 1 + np.arange(self.horizon)",
        "return np.asarray(last)[..., None] + 1 + np.arange(self.horizon)",
    ),
    Mutant(
        "a negative gap needs a step more",
        "geometry.py",
        "return max(self.gap + self.horizon, 0)",
        "return max(self.gap + self.horizon, 1)",
    ),
    Mutant(
        "the mask is a step too long",
        "geometry.py",
        "real = (step >= 0) & (step < length)",
        "real = (step >= 0) & (step < length + 1)",
    ),
    Mutant(
        "padding on the wrong side",
        "geometry.py",
        'place = before if self.padding == "pre" else np.zeros_like(before)',
        'place = before if self.padding == "post" else np.zeros_like(before)',
    ),
    Mutant(
        "the end is padded at the beginning",
        "geometry.py",
        "return Inputs(begin + self.rate * before, stop - before, place)",
        "return Inputs(begin + self.rate * before, stop - before, stop * 0 + stop.max() - stop)",
    ),
    Mutant(
        "first windows are a step too long",
        "geometry.py",
        "return self.rate * (self.sequence_length - self.shortest)",
        "return self.rate * max(self.sequence_length - self.shortest - 1, 0)",
    ),
    Mutant(
        "a window after the end is framed, too",
        "geometry.py",
        "number = -(-full // self.stride) + 1",
        "number = full // self.stride + 2",
    ),
    Mutant(
        "a window that holds no step is framed",
        "geometry.py",
        "number -= self.locate(number - 1, steps).length <= 0",
        "number -= self.locate(number - 1, steps).length < -9",
    ),
    Mutant(
        "padding at the end may be missing",
        "geometry.py",
        "flags[max(steps - self.ahead - begin, 0) :] = False",
        "flags[max(steps - begin, 0) :] = False",
    ),
    Mutant(
        "steps that fill no window are miscounted",
        "geometry.py",
        "after = np.maximum(begin - self.stride + self.span, 0) * (number > 0)",
        "after = np.maximum(begin, 0) * (number > 0)",
    ),
    Mutant(
        "padded windows of a part predict another part",
        "index.py",
        "inside[: max(self._history - first, 0)] = True",
        "inside[: max(self._history - first - 1, 0)] = True",
    ),
    Mutant(
        "a padded frame is another frame",
        "cutters.py",
        "array[padded] = others",
        "array[padded[1:]] = others[1:]",
    ),
    Mutant(
        "padding has the weight of its frame",
        "cutters.py",
        "each[~real] = 0",
        "each[~real] *= 1",
    ),
    Mutant(
        "a dict is read in its own order",
        "sequences.py",
        "each = [values[label] for label in labels]",
        "each = list(values.values())",
    ),
    Mutant(
        "sequences that lose all frames stay",
        "framer.py",
        "kept = replace(source.select(np.flatnonzero(counts)), left_out=left_out)",
        "kept = replace(source, left_out=left_out)",
    ),
    Mutant(
        "the sampling rate is ignored",
        "geometry.py",
        "return start + self.rate * nearest, real",
        "return start + min(self.rate, 2) * nearest, real",
    ),
    Mutant(
        "a cycle loses its last step",
        "geometry.py",
        "inputs = inputs % cycle[:, None]",
        "inputs = inputs % np.maximum(cycle[:, None] - 1, 1)",
    ),
    Mutant(
        "random lengths may be a step too long",
        "geometry.py",
        "longest = np.minimum(longest, stop - start - self.ahead)",
        "longest = np.minimum(longest, stop - start - self.ahead + 1)",
    ),
    Mutant(
        "missing targets are seen for the first step of a horizon only",
        "geometry.py",
        "lost = count_in_windows(ahead, self.horizon) > 0",
        "lost = count_in_windows(ahead, self.horizon) > self.horizon - 1",
    ),
    Mutant(
        "missing inputs are seen without the sampling rate",
        "geometry.py",
        "touched = count_in_windows(missing, self.sequence_length, self.rate)",
        "touched = count_in_windows(missing[: len(missing)], self.sequence_length, 1)"
        "[: len(missing) - self.span + 1]",
    ),
    Mutant(
        "a run of whole steps ends a step early",
        "geometry.py",
        "return first, self.count(stop - first), stop",
        "return first, self.count(stop - first), stop - 1",
    ),
    Mutant(
        "padding of targets keeps values",
        "cutters.py",
        'if part.at == "inputs" or geometry.return_sequences:',
        'if part.at == "inputs":',
    ),
    Mutant(
        "padded steps have a weight",
        "cutters.py",
        "parts.append(Part(source.weight, at, gathered, shapes.weight, dtype, 0))",
        "parts.append(Part(source.weight, at, gathered, shapes.weight, dtype, padding))",
    ),
    Mutant(
        "weights of a horizon are those of its first step",
        "cutters.py",
        "return np.asarray(array.mean(axis=-1, dtype=part.dtype))",
        "return np.asarray(array[..., 0].astype(part.dtype))",
    ),
    Mutant(
        "an idle lane counts",
        "lanes.py",
        "return frame, active.astype(np.float32), offset == 0",
        "return frame, np.maximum(active, offset < 3).astype(np.float32), offset == 0",
    ),
    Mutant(
        "sequences are packed into lanes in another order",
        "lanes.py",
        "lanes = pack_lanes(frames._counts, batch_size)",
        "lanes = pack_lanes(frames._counts, batch_size)[::-1]",
    ),
    Mutant(
        "a lane does not reset at a hole",
        "lanes.py",
        "begins = np.concatenate([[first], breaks[a:b]])",
        "begins = np.concatenate([[first], breaks[a:a]])",
    ),
    Mutant(
        "a lane is longer than the others",
        "lanes.py",
        "count = share + (row < longer)",
        "count = share + (longer if row == 0 else 0)",
    ),
    Mutant(
        "the gap of a fold is ignored",
        "splits.py",
        "stop = start - gap",
        "stop = start - min(gap, 1)",
    ),
    Mutant(
        "a part of a split begins a step early",
        "source.py",
        "begins = np.maximum(starts - history, 0)",
        "begins = np.maximum(starts - history - 1, 0)",
    ),
    Mutant(
        "shards share frames",
        "order.py",
        "positions = positions * self.num_shards + self.shard_index",
        "positions = positions * self.num_shards + self.shard_index // 2",
    ),
    Mutant(
        "a resumed epoch has the order of epoch 0",
        "batches.py",
        "self.order, self.epoch = rest.order, epoch",
        "self.order = rest.order",
    ),
    Mutant(
        "an index from the end is a frame off",
        "index.py",
        "return chosen.astype(np.int64) % size",
        "return np.abs(chosen.astype(np.int64)) % size",
    ),
    Mutant(
        "columns are taken in the order of the table",
        "gather.py",
        "return Rows(self.arrays, columns)",
        "return Rows(self.arrays, sorted(columns))",
    ),
    Mutant(
        "a page of a store ends a row early",
        "stored.py",
        "most = self.page_rows + reach",
        "most = self.page_rows + reach - 1",
    ),
    Mutant(
        "a page is read over one that is in memory",
        "stored.py",
        "if a < stop and start < b]",
        "if a < start < b]",
    ),
    Mutant(
        "rows of a store come in the order of the file",
        "stored.py",
        "whole[order[first:stop]] = windows",
        "whole[first:stop] = windows",
    ),
    Mutant(
        "a store ends a page late",
        "stored.py",
        'np.searchsorted(self._begins, rows, side="right") - 1',
        'np.searchsorted(self._begins, rows, side="left") - 1',
    ),
    Mutant(
        "a cut of a store ends at the end of the store",
        "stores.py",
        "return Store(self.reader, self.start + min(start, stop), self.start + stop)",
        "return Store(self.reader, self.start + min(start, stop), self.start + len(self))",
    ),
    Mutant(
        "blocks of unequal sizes are taken for equal",
        "order.py",
        "ends = np.cumsum(np.diff(self.edges)[blocks])",
        "ends = np.cumsum(np.diff(self.edges))",
    ),
    Mutant(
        "the padding id is a symbol's",
        "vocabulary.py",
        "first_id = int(self.reserve_padding)",
        "first_id = 0",
    ),
]

SEARCH = f"""
import drawn, fuzz, laws
found = fuzz.run(range({COUNT}), drawn.draw, laws.check, fuzz.framing_kinds, most_wrong=1)
raise SystemExit(f"{{found.count}} drawn: {{found.wrong[0][2][:60]!r}}" if found.wrong else 0)
"""


def find(mutant: Mutant) -> str | None:
    """Return what the fuzz finds wrong in a package with a fault; None if it finds nothing."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "seqframe", Path(folder, "seqframe"))
        changed = Path(folder, "seqframe", "framing", mutant.file)
        text = changed.read_text("utf-8")
        assert text.count(mutant.right) >= 1, f"{mutant.file} has no line {mutant.right!r}"
        changed.write_text(text.replace(mutant.right, mutant.wrong), "utf-8")
        path = {"PYTHONPATH": os.pathsep.join([folder, str(ROOT / "tests")])}
        command, environment = [sys.executable, "-c", SEARCH], {**os.environ, **path}
        # Python looks for packages in the current folder first.
        result = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True
        )
    return result.stderr.strip().splitlines()[-1] if result.returncode else None


def main() -> int:
    """Search for each fault."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="a word in the name of a fault")
    chosen = [mutant for mutant in MUTANTS if parser.parse_args().only in mutant.name]
    missed = 0
    for mutant in chosen:
        found = find(mutant)
        missed += found is None
        print(
            f"{'missed' if found is None else 'found '}  {mutant.name}: {found or ''}", flush=True
        )
    print(f"{len(chosen) - missed} of {len(chosen)} faults found")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
