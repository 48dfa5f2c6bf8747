"""Parts of frames equal frames of parts, with their targets, future and weights."""

from itertools import product

import numpy as np
import pytest
from batches import assert_same

from seqframe import SequenceFramer

LENGTHS = (19, 12, 17)
NAN = np.nan


def values(first, columns=(), lost=()):
    """Return a distinct number for each value of three sequences, NaN where they are lost."""
    array = np.arange(first, first + 48.0 * np.prod(columns, dtype=int)).reshape(48, *columns)
    array[list(lost)] = NAN
    return np.split(array, np.cumsum(LENGTHS)[:-1])


GIVEN = [
    dict(sequences=values(0)),
    dict(sequences=values(0, (3,)), targets=[2, 0], future=values(500, (2,))),
    dict(sequences=values(0, (3,)), targets=[1, 0, 2], sample_weight=values(900)),
    dict(sequences=values(0), targets=values(300), sample_weight=values(900), future=values(500)),
    dict(sequences=values(0, (2,), lost=[8, 40]), targets=values(300), skip_nan=True),
    dict(
        sequences=values(0),
        future=values(500, lost=[9]),
        sample_weight=values(900, lost=[31]),
        valid=np.split(np.arange(48) != 36, np.cumsum(LENGTHS)[:-1]),
        skip_nan=True,
    ),
]
FRAMERS = [
    SequenceFramer(2),
    SequenceFramer(2, horizon=2, gap=1, return_sequences=True),
    SequenceFramer(1, sequence_stride=2, gap=-1),
    SequenceFramer(2, sampling_rate=2, horizon=2),
    SequenceFramer(3, mode="prefixes", min_length=2, return_sequences=True),
    SequenceFramer(3, mode="subsequences", min_length=2, num_samples=15, seed=3),
]


def by_hand(framer, given, spans):
    """Frame the steps `start … stop - 1` of numbered sequences, those that have a frame.

    Returns the frames, or None if none is left, and the spans that were framed.
    """
    spans = [(k, a, b) for k, a, b in spans if b - a >= framer.geometry.least_steps]
    if not spans:
        return None, spans
    cut = {
        name: [value[k][a:b] for k, a, b in spans] if len(np.shape(value[0])) else value
        for name, value in given.items()
        if name != "skip_nan"
    }
    try:
        return framer.frame(**cut, skip_nan="skip_nan" in given), spans
    except ValueError as error:
        if "No frame is left" not in str(error):
            raise
        return None, spans


def assert_parts(framer, given, parts, spans):
    """Compare what `parts` returns with framing by hand; return whether there are parts."""
    expected = [by_hand(framer, given, each) for each in spans]
    if any(frames is None for frames, _ in expected):
        with pytest.raises(ValueError, match=r"has no frame"):
            parts()
        return False
    for part, (frames, places) in zip(parts(), expected, strict=True):
        assert len(part) == len(frames)
        assert_same(part.arrays(), frames.arrays())
        for i in range(len(part)):
            (k, start, _), mine, theirs = places[frames.steps(i)[0]], part.steps(i), frames.steps(i)
            assert mine.sequence == k
            assert mine.inputs.tolist() == (start + theirs.inputs).tolist()
            assert mine.targets.tolist() == (start + theirs.targets).tolist()
    return True


every = pytest.mark.parametrize(
    ("framer", "given"),
    [
        pytest.param(framer, given, id=f"{framer}-{'-'.join(given)}")
        for framer, given in product(FRAMERS, GIVEN)
        # Columns cannot be inputs and targets of the same step.
        if framer.gap >= 0 or not isinstance(given.get("targets", [[]])[0], int)
    ],
)


@every
def test_splits_equal_frames_of_cut_sequences(framer, given):
    frames = framer.frame(**given)
    for tenths in ((10,), (5, 5), (3, 4, 3), (6,), (5, 2, 1, 2)):
        edges = [[length * sum(tenths[:j]) // 10 for length in LENGTHS] for j in range(5)]
        spans = [
            list(zip(range(3), edges[j], edges[j + 1], strict=True)) for j in range(len(tenths))
        ]
        fractions = [tenth / 10 for tenth in tenths]
        assert_parts(framer, given, lambda f=fractions: frames.split(*f), spans)
        if framer.mode == "windows":
            back = max((1 if framer.return_sequences else framer.geometry.span) + framer.gap, 0)
            spans = [[(k, max(a - back, 0), b) for k, a, b in each] for each in spans]
            share = dict(share_history=True)
            assert_parts(framer, given, lambda f=fractions, s=share: frames.split(*f, **s), spans)


@every
def test_folds_equal_frames_of_cut_sequences(framer, given):
    frames = framer.frame(**given)
    found = 0
    for (n, size), gap, mode in product(((1, None), (2, 6)), (0, 2), ("expanding", "sliding")):
        spans = [[] for _ in range(2 * n)]
        for k, length in enumerate(LENGTHS):
            test = length // (n + 1) if size is None else size
            for fold in range(n):
                start = max(length - (n - fold) * test, 0)
                stop = max(start - gap, 0)
                first = min(fold * test, stop) if mode == "sliding" else 0
                spans[2 * fold].append((k, first, stop))
                spans[2 * fold + 1].append((k, start, start + test))
        how = dict(mode=mode, gap=gap, test_size=size)

        def parts(n=n, how=how):
            return [part for fold in frames.folds(n, **how) for part in fold]

        found += assert_parts(framer, given, parts, spans)
    assert found


@every
def test_parts_by_sequences_are_frames_of_these_sequences(framer, given):
    frames = framer.frame(**given)
    wholes = [(k, 0, length) for k, length in enumerate(LENGTHS)]
    found = assert_parts(
        framer, given, lambda: frames.split(0.34, 0.66, by="sequences"), [wholes[:1], wholes[1:]]
    )
    found += assert_parts(
        framer,
        given,
        lambda: sum(frames.folds(2, by="sequences"), ()),
        [wholes[:1], wholes[1:2], wholes[:2], wholes[2:]],
    )
    found += assert_parts(
        framer,
        given,
        lambda: frames.folds(1, by="sequences", gap=1)[0],
        [wholes[:1], wholes[2:]],
    )
    assert found == 3


@every
def test_parts_of_parts_count_steps_from_the_whole_sequence(framer, given):
    frames = framer.frame(**given)
    last = frames.split(0.4, 0.6)[1].split(0.34, 0.66, by="sequences")[1]
    assert_parts(framer, given, lambda: [last], [[(1, 4, 12), (2, 6, 17)]])
    again = last.folds(1, test_size=5)[0][1]
    assert_parts(framer, given, lambda: [again], [[(1, 7, 12), (2, 12, 17)]])


def test_sequences_that_are_their_own_targets_are_stored_once():
    frames = SequenceFramer(2).frame(np.arange(18.0), by=[0] * 9 + [1] * 9)
    other = SequenceFramer(2).frame([np.arange(9), np.arange(9)], [np.zeros(9), np.ones(9)])
    for part in frames, *frames.split(0.5, 0.5), *frames.split(0.5, 0.5, by="sequences"):
        assert part.source.targets is part.source.inputs
    for part in other, *other.split(0.5, 0.5):
        assert part.source.targets is not part.source.inputs
