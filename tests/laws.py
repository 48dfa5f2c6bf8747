"""What holds for the frames of every case: they equal the oracle's, however they are asked for."""

import io
import json
import pickle
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any
from unittest import mock

import drawn
import numpy as np
import oracle
from drawn import Case

import seqframe
from seqframe.framing import gather, stored
from seqframe.framing.order import epoch_order

PACKAGE = str(Path(seqframe.__file__).parent)


class WrongAnswerError(AssertionError):
    """Says which answer was wrong."""


def check(case: Case) -> list[str]:
    """Raise unless a case is framed rightly. Return what was checked, or why it was refused."""
    data = _data(case)
    why = drawn.refused(case, data) if data is not None else "rule"
    with warnings.catch_warnings(), _pages(small=case.ask % 2 == 1):
        warnings.simplefilter("ignore")
        try:
            frames = drawn.frames_of(case)
        except Exception as error:
            assert_proper(error)
            if why is None:
                raise WrongAnswerError(f"refused: {error}") from error
            return [f"refused: {why}"]
        if why is not None:
            raise WrongAnswerError(f"taken, but it must be refused: {why}")
        rng = random.Random(case.ask)
        rule = drawn.rule_of(case)
        data = oracle.without_empty(rule, data)
        every = [batches, resumed, shards, lanes, splits, folds, unordered, others]
        laws = rng.sample(every, 2)
        if rule.mode == "subsequences" and rng.random() < 0.1:  # it takes a while
            laws.append(evenly)
        try:
            frames_equal(rule, data, frames, rng)
            for law in laws:
                law(rule, data, frames, case, rng)
        except WrongAnswerError:
            raise
        except Exception as error:
            raise WrongAnswerError(f"raised {type(error).__name__}: {error}") from error
    return ["framed", *(f"law: {law.__name__}" for law in laws)]


@contextmanager
def _pages(small: bool) -> Iterator[None]:
    """Let blocks and stores have pages of a few rows, and few of them in memory."""
    with ExitStack() as patches:
        for module, name in [
            (gather, "PAGE_BYTES"),
            (stored, "PAGE_BYTES"),
            (stored, "HELD_BYTES"),
        ]:
            if small:
                patches.enter_context(mock.patch.object(module, name, 64))
        yield


def _data(case: Case) -> oracle.Data | None:
    """Return the data of the oracle, or None if the rule alone is refused."""
    rule = drawn.rule_of(case)
    return None if rule.shortest > rule.sequence_length else drawn.data_of(case)


def assert_proper(error: Exception) -> None:
    """Raise unless an error is a ValueError or a TypeError of seqframe's own."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    inside = place is not None and place.tb_frame.f_code.co_filename.startswith(PACKAGE)
    told = "Received" in str(error) or "`" in str(error)
    if not (inside and told and isinstance(error, (ValueError, TypeError))):
        raise WrongAnswerError(f"raised {type(error).__name__}: {error}") from error


def same(what: str, found: Any, expected: Any) -> None:
    """Raise unless two arrays have the same shape, dtype and bits."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise WrongAnswerError(
            f"{what}: {found.shape} {found.dtype} instead of {expected.shape} {expected.dtype}"
        )
    if found.tobytes() != expected.tobytes() and not _close(found, expected):
        raise WrongAnswerError(f"{what}: {found.tolist()} instead of {expected.tolist()}")


def _close(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether floats are equal, up to the order of a sum; NaN equals NaN."""
    if found.dtype.kind not in "fc":
        return False
    return bool(np.allclose(found, expected, rtol=1e-6, atol=0, equal_nan=True))


def equal(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise WrongAnswerError(f"{what}: {found!r} instead of {expected!r}")


def raises(what: str, kind: type[Exception], call: Callable[[], Any]) -> None:
    try:
        call()
    except kind:
        return
    raise WrongAnswerError(f"{what}: no {kind.__name__}")


def batch_equals(what: str, batch: Any, expected: dict[str, np.ndarray]) -> None:
    """Raise unless a batch holds the arrays of the oracle."""
    parts = _by_name(batch)
    equal(f"{what}, arrays", sorted(parts), sorted(expected))
    for name, array in expected.items():
        same(f"{what}, {name}", parts[name], array)


def _by_name(batch: Any) -> dict[str, Any]:
    """Return the arrays of a batch by name."""
    x, y, *weight = batch
    named = {**(x if isinstance(x, dict) else {"past": x}), "y": y}
    return named | ({"weight": weight[0]} if weight else {})


def at(arrays: dict[str, np.ndarray], index: Any) -> dict[str, np.ndarray]:
    return {name: array[index] for name, array in arrays.items()}


# --- Frames.


def drawn_frames(rule: oracle.Rule, data: oracle.Data, frames: Any) -> list[oracle.Frame]:
    """Return the frames of the oracle: all, or those that a random framer may have drawn."""
    every = oracle.frames(rule, data)
    if rule.mode != "subsequences":
        return every
    begins = data.begins or (0,) * len(data.inputs)
    legal = {
        (data.labels[f.sequence], begins[f.sequence] + f.rank, len(f.inputs)): f for f in every
    }
    chosen = []
    for i in range(len(frames)):
        name, inputs, _ = frames.steps(i)
        key = (name, int(inputs[0]), len(inputs))
        if key not in legal:
            raise WrongAnswerError(f"frame {i} of {key} is none that can be drawn")
        chosen.append(legal[key])
    return chosen


def frames_equal(
    rule: oracle.Rule, data: oracle.Data, frames: Any, rng: random.Random
) -> tuple[list[oracle.Frame], dict[str, np.ndarray]]:
    """Raise unless frames equal the oracle's, however they are asked for."""
    if rule.mode == "subsequences":
        equal("len", len(frames), rule.num_samples)
    chosen = drawn_frames(rule, data, frames)
    expected = oracle.arrays(rule, data, chosen)
    size = len(chosen)
    equal("len", len(frames), size)
    equal("left_out", frames.left_out, oracle.left_out(rule, data))
    with redirect_stdout(io.StringIO()) as told:
        frames.describe(0)
    lost = oracle.left_over(rule, data)
    equal("steps that fill no window", told.getvalue().split(" last")[0], _told(lost))
    shapes = {name: array.shape[1:] for name, array in expected.items()}
    x_shape = {k: shapes[k] for k in ("past", "future")} if "future" in shapes else shapes["past"]
    equal("x_shape", frames.x_shape, x_shape)
    equal("y_shape", frames.y_shape, shapes["y"])
    equal("sample_weight_shape", frames.sample_weight_shape, shapes.get("weight"))
    batch_equals("arrays()", frames.arrays(), expected)
    lengths = np.array([len(frame.inputs) for frame in chosen], np.int64)
    masks = np.array([oracle.mask(rule, frame) for frame in chosen], bool)
    same("lengths()", frames.lengths(), lengths)
    same("mask()", frames.mask(), masks.reshape(size, rule.sequence_length))
    begins = data.begins or (0,) * len(data.inputs)
    for i in {0, size - 1, rng.randrange(size)}:
        frame = chosen[i]
        name, inputs, targets = frames.steps(i)
        begin = begins[frame.sequence]
        equal(f"steps({i})", name, data.labels[frame.sequence])
        equal(f"steps({i})", inputs.tolist(), [begin + t for t in frame.inputs])
        own = [[begin + t for t in each] for each in frame.targets]
        equal(f"steps({i})", targets.tolist(), own if rule.return_sequences else own[0])
        batch_equals(f"frames[{i}]", frames[i], at(expected, i))
        batch_equals(f"frames[{i - size}]", frames[i - size], at(expected, i))
    first, stop = sorted((rng.randint(-size, size), rng.randint(-size, size)))
    some = slice(first, stop, rng.choice([1, 1, 2, -1]))
    batch_equals(f"frames[{some}]", frames[some], at(expected, some))
    index = np.array([rng.randrange(-size, size) for _ in range(rng.randint(0, 5))], np.int64)
    flags = np.array([k in index for k in range(size)])
    asked, plain = rng.choice([(index, index), (index.tolist(), index), (flags, flags)])
    batch_equals(f"frames[{asked}]", frames[asked], at(expected, plain))
    same(f"lengths({asked})", frames.lengths(asked), lengths[plain])
    same(f"mask({asked})", frames.mask(asked), masks.reshape(size, -1)[plain])
    if np.any(asked):
        subset = frames.subset(asked)
        batch_equals(f"subset({asked})", subset.arrays(), at(expected, plain))
        batch_equals(f"subset({asked})[-1]", subset[-1], at(at(expected, plain), -1))
        same(f"mask of subset({asked})", subset.mask(), masks.reshape(size, -1)[plain])
    raises("an index too large", IndexError, lambda: frames[size])
    return chosen, expected


def _told(lost: int) -> str:
    return f"Not framed: {lost}" if lost else ""


MOST_DRAWS = 2000


def evenly(
    rule: oracle.Rule, data: oracle.Data, frames: Any, case: Case, rng: random.Random
) -> None:
    """Random frames begin at each start equally often, and there have each length equally often."""
    likely = oracle.probabilities(rule, data)
    # Each is expected 40 times, and almost certain to come if it can come.
    draws = min(MOST_DRAWS, int(40 / min(likely.values())))
    found: Counter[Any] = Counter()
    for epoch in range(1, 2 + draws // len(frames)):
        redrawn = frames.redraw(epoch)
        for i in range(len(redrawn)):
            name, inputs, _ = redrawn.steps(i)
            found[data.labels.index(name), int(inputs[0]), len(inputs)] += 1
    total = found.total()
    for key, probability in likely.items():
        expected = total * probability
        if abs(found[key] - expected) > 6 * expected**0.5 + 3:
            raise WrongAnswerError(f"{key} drawn {found[key]} times instead of {expected:.0f}")


# --- Batches.


def batches(
    rule: oracle.Rule, data: oracle.Data, frames: Any, case: Case, rng: random.Random
) -> None:
    """Every frame comes once, in the order that seed and epoch give."""
    expected = oracle.arrays(rule, data, drawn_frames(rule, data, frames))
    size, batch_size = len(frames), case.batch_size
    options = {
        "shuffle": rng.choice([False, *_shuffles(case)]),
        "seed": rng.randrange(9),
        "epoch": rng.randrange(3),
        "drop_last": rng.random() < 0.3,
    }
    made = frames.batches(batch_size, **options)
    if options["shuffle"] == "blocks":
        _each_once(made, expected, batch_size, size - size % batch_size * options["drop_last"])
        return
    order = np.arange(size)
    if options["shuffle"]:
        order = epoch_order(size, options["seed"], options["epoch"], order)
        equal("an order", sorted(order.tolist()), list(range(size)))
    if options["drop_last"]:
        order = order[: size - size % batch_size]
    groups = [order[k : k + batch_size] for k in range(0, len(order), batch_size)]
    equal("number of batches", len(made), len(groups))
    for k, (batch, group) in enumerate(zip(made, groups, strict=True)):
        batch_equals(f"batch {k}", batch, at(expected, group))
    if groups:
        k = rng.randrange(len(groups))
        batch_equals(f"batches[{k}]", made[k], at(expected, groups[k]))
        other = frames.batches(batch_size, **{**options, "epoch": 5}).at_epoch(options["epoch"])
        batch_equals("at_epoch", other[k], at(expected, groups[k]))


def _shuffles(case: Case) -> list[bool | str]:
    """Return the ways to shuffle: frames by themselves, and blocks, which random frames lack."""
    blocks = [] if case.rule.get("mode") == "subsequences" else ["blocks"]
    # `True` shuffles a large store by blocks.
    return ["frames" if case.form == "store" else True, *blocks]


def _each_once(made: Any, expected: dict[str, np.ndarray], batch_size: int, count: int) -> None:
    """Raise unless batches hold so many frames, in any order, and none more often than it is."""
    held = [_by_name(batch) for batch in made]
    sizes = [len(batch["y"]) for batch in held]
    equal(
        "sizes of batches",
        sizes,
        [min(batch_size, count - k * batch_size) for k in range(len(made))],
    )
    found = Counter(_whole_frames({name: [*map(itemgetter(name), held)] for name in expected}))
    left = Counter(_whole_frames({name: [array] for name, array in expected.items()}))
    equal("frames that are none", +(found - left), Counter())
    equal("frames", found.total(), count)


def _whole_frames(arrays: dict[str, list[np.ndarray]]) -> list[bytes]:
    """Return each frame as the bytes of all its arrays."""
    every = [[row.tobytes() for array in each for row in array] for each in arrays.values()]
    return [b"".join(parts) for parts in zip(*every, strict=True)]


def resumed(
    rule: oracle.Rule, data: oracle.Data, frames: Any, case: Case, rng: random.Random
) -> None:
    """An iterator that goes on from a state, or from a copy, yields what is left."""
    redraw = rule.mode == "subsequences" and rng.random() < 0.5
    options = {
        "shuffle": rng.choice(_shuffles(case)),
        "seed": rng.randrange(9),
        "epoch": rng.randrange(3),
    }
    made = frames.batches(case.batch_size, **options, redraw=redraw)
    whole = list(frames.batches(case.batch_size, **options, redraw=redraw))
    stop = rng.randint(0, len(whole))
    for _ in range(stop):
        next(made)
    equal("position", made.position, stop)
    state = json.loads(json.dumps(made.get_state()))
    other = frames.batches(case.batch_size, **{**options, "seed": 77, "epoch": 7}, redraw=redraw)
    other.set_state(state)
    copy = pickle.loads(pickle.dumps(made))
    for name, one in {"set_state": other, "a pickled copy": copy, "itself": made}.items():
        rest = list(one)
        equal(f"batches left to {name}", len(rest), len(whole) - stop)
        for batch, wanted in zip(rest, whole[stop:], strict=True):
            batch_equals(name, batch, _by_name(wanted))
    if redraw:
        again = frames.redraw(options["epoch"])
        frames_equal(rule, data, again, rng)


def shards(
    rule: oracle.Rule, data: oracle.Data, frames: Any, case: Case, rng: random.Random
) -> None:
    """The shards of workers are disjoint, and together whole."""
    expected = oracle.arrays(rule, data, drawn_frames(rule, data, frames))
    size = len(frames)
    workers, seed = rng.randint(1, min(size, 4)), rng.randrange(9)
    shuffle = rng.choice([False, _shuffles(case)[0]])
    whole = frames.batches(case.batch_size, shuffle=shuffle, seed=seed)
    order = epoch_order(size, seed, 0, np.arange(size)) if shuffle else np.arange(size)
    for worker in range(workers):
        own = [order[k] for k in range(worker, size, workers)]
        shard = whole.shard(workers, worker)
        groups = [own[k : k + case.batch_size] for k in range(0, len(own), case.batch_size)]
        equal("batches of a shard", len(shard), len(groups))
        for batch, group in zip(shard, groups, strict=True):
            batch_equals(f"shard {worker} of {workers}", batch, at(expected, group))
    # Parts that processes hold: the rest is left out, or weighs nothing.
    drop_last = rule.mode == "subsequences" or rng.random() < 0.5
    sizes = [
        size // workers + (worker < size % workers) * (not drop_last) for worker in range(workers)
    ]
    for worker, (own, first) in enumerate(zip(sizes, np.cumsum([0, *sizes]), strict=False)):
        part = frames.shard(workers, worker, drop_last=drop_last)
        equal("frames of a part", len(part), max(sizes))
        held, wanted = _by_name(part[:]), at(expected, slice(first, first + own))
        for name, array in wanted.items():
            same(f"part {worker} of {workers}, {name}", held[name][:own], array)
        equal("weight of the rest", bool(held.get("weight", np.zeros(0))[own:].any()), False)


# --- Lanes.


def lanes(
    rule: oracle.Rule, data: oracle.Data, frames: Any, case: Case, rng: random.Random
) -> None:
    """Rows go on from batch to batch, every frame comes once, and idle rows count for nothing."""
    rows = case.batch_size
    if rule.mode == "subsequences" or rows > len(frames):
        raises("lanes", ValueError, lambda: frames.lanes(rows))
        return
    chosen = oracle.frames(rule, data)
    expected = oracle.arrays(rule, data, chosen)
    counts = [sum(frame.sequence == q for frame in chosen) for q in range(len(data.inputs))]
    queues = oracle.lane_rows(counts, rows)
    made = frames.lanes(rows)
    equal("batches of lanes", len(made), max(map(len, queues)))
    stop = rng.randrange(len(made) + 1)
    going = made.batches()
    for _ in range(stop):
        next(going)
    state = json.loads(json.dumps(going.get_state()))
    resumed_at = made.batches()
    resumed_at.set_state(state)
    rest = list(resumed_at)
    axes = (1,) * (rule.return_sequences + (rule.horizon > 1))
    for k, batch in enumerate(made):
        active = [k < len(queue) for queue in queues]
        index = [queue[min(k, len(queue) - 1)] for queue in queues]
        wanted = at(expected, index)
        there = np.array(active, "float32")
        if "weight" in wanted:
            own = wanted["weight"]
            wanted["weight"] = own * there.reshape(-1, *(1,) * (own.ndim - 1)).astype(own.dtype)
        else:
            wanted["weight"] = there.reshape(-1, *axes)
        batch_equals(f"lanes, batch {k}", batch, wanted)
        batch_equals(f"lanes[{k}]", made[k], wanted)
        if k >= stop:
            batch_equals(f"lanes from {stop} on, batch {k}", rest[k - stop], wanted)
        begins = [
            there and (k == 0 or not _goes_on(chosen, queue[k], queue[k - 1]))
            for queue, there in zip(queues, active, strict=True)
        ]
        equal(f"resets({k})", made.resets(k).tolist(), begins)


def _goes_on(chosen: list[oracle.Frame], one: int, before: int) -> bool:
    return oracle.follows(chosen[one], chosen[before])


# --- Splits and folds.

SHARES = (("0.5", "0.5"), ("0.7", "0.3"), ("0.6", "0.2", "0.2"), ("0.4", "0.4"), ("1",))


def splits(
    rule: oracle.Rule, data: oracle.Data, frames: Any, case: Case, rng: random.Random
) -> None:
    """The parts of a split are framings of the parts of each sequence."""
    shares = rng.choice(SHARES)
    fractions = [float(share) for share in shares]
    by_sequences = len(data.inputs) > 1 and rng.random() < 0.3
    if by_sequences:
        cuts = oracle.split_cuts(len(data.inputs), shares)
        whole = [data.select(list(range(a, b))) for a, b in cuts]
        _parts_equal(rule, whole, lambda: frames.split(*fractions, by="sequences"), rng)
        _is_partition(frames, fractions, rng)
        return
    share_history = rule.mode == "windows" and rng.random() < 0.4
    if _cannot_cut(rule, data):
        raises("split", ValueError, lambda: frames.split(*fractions))
        return
    back = oracle.history(rule) if share_history else 0
    every = [oracle.split_cuts(steps, shares) for steps in data.lengths]
    parts = [[cuts[part] for cuts in every] for part in range(len(shares))]
    whole = [data.cut([a for a, _ in spans], [b for _, b in spans], back) for spans in parts]
    call = partial(frames.split, *fractions, share_history=share_history)
    made = _parts_equal(rule, whole, call, rng)
    if made and not rule.wrap:
        _targets_apart(made, parts, data.labels)


def _cannot_cut(rule: oracle.Rule, data: oracle.Data) -> bool:
    """Whether weights are one for each frame, and frames cannot be counted in steps."""
    simple = rule.mode == "windows" and not rule.pads and rule.sequence_stride == 1
    return data.weight_per_frame and not simple


def _parts_equal(
    rule: oracle.Rule, whole: list[oracle.Data], call: Callable[[], Any], rng: random.Random
) -> list[Any]:
    """Raise unless a call returns the framings of these data, or refuses one without frames."""
    empty = [not data.inputs or not oracle.frames(rule, data) for data in whole]
    if any(empty):
        raises("a part without a frame", ValueError, call)
        return []
    made = call()
    equal("number of parts", len(made), len(whole))
    for frames, data in zip(made, whole, strict=True):
        frames_equal(rule, data, frames, rng)
    return list(made)


def _targets_apart(
    made: list[Any], spans: list[list[tuple[int, int]]], labels: tuple[Any, ...]
) -> None:
    """Raise unless the target steps of each part lie in its own stretch of raw time."""
    for frames, stretches in zip(made, spans, strict=True):
        for i in range(len(frames)):
            name, _, targets = frames.steps(i)
            first, stop = stretches[labels.index(name)]
            if targets.size and not first <= targets.min() <= targets.max() < stop:
                raise WrongAnswerError(
                    f"targets {targets.tolist()} outside of {first} … {stop - 1}"
                )


def _is_partition(frames: Any, fractions: list[float], rng: random.Random) -> None:
    """Raise unless sequences drawn for the parts are each in one part only."""
    try:
        parts = frames.split(*fractions, by="sequences", seed=rng.randrange(9))
    except ValueError:
        return
    names = [name for part in parts for name in part.source.labels]
    equal("sequences in two parts", len(names), len(set(names)))
    if sum(fractions) > 0.999:
        equal("sequences in no part", set(names), set(frames.source.labels))


def folds(
    rule: oracle.Rule, data: oracle.Data, frames: Any, case: Case, rng: random.Random
) -> None:
    """The folds are framings of what the definition of walk-forward cuts."""
    n, gap = rng.randint(1, 3), rng.choice([0, 0, 1, 2])
    test_size = rng.choice([None, None, 1, 3, 5])
    mode = rng.choice(["expanding", "sliding"])
    by_sequences = len(data.inputs) > 1 and rng.random() < 0.2
    share_history = rule.mode == "windows" and not by_sequences and rng.random() < 0.4
    options = {"mode": mode, "gap": gap, "test_size": test_size}
    if by_sequences:
        cuts = oracle.fold_cuts(len(data.inputs), n, mode == "sliding", gap, test_size)
        whole = [
            data.select(list(range(*span))) for a, b, c, d in cuts for span in ((a, b), (c, d))
        ]
        options["by"] = "sequences"
    elif _cannot_cut(rule, data):
        raises("folds", ValueError, lambda: frames.folds(n, **options))
        return
    else:
        back = oracle.history(rule) if share_history else 0
        every = [
            oracle.fold_cuts(steps, n, mode == "sliding", gap, test_size) for steps in data.lengths
        ]
        whole = []
        for fold in range(n):
            a, b, c, d = zip(*(cuts[fold] for cuts in every), strict=True)
            whole.append(data.cut(list(a), list(b)))
            whole.append(data.cut(list(c), list(d), back))
        options["share_history"] = share_history

    def parts() -> list[Any]:
        return [part for pair in frames.folds(n, **options) for part in pair]

    made = _parts_equal(rule, whole, parts, rng)
    if made and not by_sequences and not rule.wrap:
        _train_before_test(made, gap)


def _train_before_test(made: list[Any], gap: int) -> None:
    """Raise unless what a train part touches ends `gap` steps before the targets of its test."""
    for train, test in zip(made[::2], made[1::2], strict=True):
        last: dict[Any, int] = {}
        for i in range(len(train)):
            name, inputs, targets = train.steps(i)
            last[name] = max(last.get(name, -1), *inputs.tolist(), *targets.ravel().tolist())
        for i in range(len(test)):
            name, _, targets = test.steps(i)
            if name in last and targets.min() - last[name] <= gap:
                raise WrongAnswerError(
                    f"train reaches {last[name]}, test targets {targets.min()}, gap {gap}"
                )


# --- The rest.


def unordered(
    rule: oracle.Rule, data: oracle.Data, frames: Any, case: Case, rng: random.Random
) -> None:
    """Each sequence is tested by one fold; each step too, and trains where it is no neighbour."""
    n, gap = rng.randint(2, 3), rng.choice([0, 0, 1, 2])
    if len(data.inputs) >= n:
        folds = frames.folds(n, mode="kfold", by="sequences", seed=rng.choice([None, 7]))
        tested = [name for _, test in folds for name in test.source.labels]
        equal("tested sequences", sorted(map(repr, tested)), sorted(map(repr, data.labels)))
        for train, test in folds:
            trained = [name for name in data.labels if name not in test.source.labels]
            equal("trained sequences", list(train.source.labels), trained)
    if _cannot_cut(rule, data) or rule.wrap or max(data.lengths) < n:
        return
    every = [oracle.kfold_cuts(steps, n) for steps in data.lengths]
    try:
        folds = frames.folds(n, mode="kfold", gap=gap)
    except ValueError:  # a part without a frame
        return
    for fold, (train, test) in enumerate(folds):
        spans = [cuts[fold] for cuts in every]
        whole = data.cut([a for a, _ in spans], [b for _, b in spans])
        frames_equal(rule, whole, test, rng)
        begins = data.begins or (0,) * len(data.inputs)
        for i in range(len(train)):
            name, inputs, targets = train.steps(i)
            number = data.labels.index(name)
            a, b = (begins[number] + place for place in spans[number])
            used = np.concatenate([inputs, targets.ravel()])
            if not (used.max() < a - gap or used.min() >= b + gap):
                raise WrongAnswerError(f"steps {used} train beside a test of {a} … {b - 1}")


def others(
    rule: oracle.Rule, data: oracle.Data, frames: Any, case: Case, rng: random.Random
) -> None:
    """Copies, other framers of the same settings, and loops say the same."""
    expected = oracle.arrays(rule, data, drawn_frames(rule, data, frames))
    batch_equals("a pickled copy", pickle.loads(pickle.dumps(frames)).arrays(), expected)
    for i, frame in enumerate(frames):
        batch_equals(f"frame {i} of a loop", frame, at(expected, i))
    config = json.loads(json.dumps(frames.framer.get_config()))
    equal(
        "a framer from its config",
        repr(type(frames.framer).from_config(config)),
        repr(frames.framer),
    )
    if rule.mode == "subsequences":
        redrawn = frames.redraw(1 + rng.randrange(5))
        frames_equal(rule, data, redrawn, rng)
