"""Refitting: which origins a model forecasts before it is trained anew, and on what."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from seqframe.rollout.generator import Generator

#: Trains anew on the data that are known at an origin. It may return another generator.
Refit = Callable[[Any], Generator | keras.callbacks.History | None]


class Stage(NamedTuple):
    """The forecasts that a model makes until it is trained anew."""

    known: np.ndarray | None  # how many steps of each sequence are known; None: no training
    origins: np.ndarray  # which origins, as row numbers
    steps: np.ndarray  # which steps are forecast one by one, as row numbers


def find_stages(
    times: list[np.ndarray],
    origins: list[tuple[int, int]],
    steps: list[tuple[int, int]],
    every: int,
    gap: int = 0,
) -> list[Stage]:
    """Return the stages of a walk, whose model is trained anew at every so many origins.

    The `gap` steps before an origin are not known there.

    >>> times, origins = [np.arange(6), np.arange(2, 6)], [(0, 3), (0, 4), (1, 2)]
    >>> for stage in find_stages(times, origins, origins, every=1):
    ...     print(stage.known, stage.origins)
    [3 1] [0]
    [4 2] [1 2]
    """
    begun = np.array([times[number][origin] for number, origin in origins])
    due = np.array([times[number][step] for number, step in steps])
    first = np.unique(begun)[::every]
    of_origins = np.searchsorted(first, begun, side="right") - 1
    of_steps = np.searchsorted(first, due, side="right") - 1
    return [
        Stage(
            np.array([max(int(np.searchsorted(each, time)) - gap, 0) for each in times]),
            np.flatnonzero(of_origins == number),
            np.flatnonzero(of_steps == number),
        )
        for number, time in enumerate(first)
    ]


def refitted(refit: Refit, known: Any, generator: Generator) -> Generator:
    """Return the generator that goes on after `refit` has trained on what is known."""
    found = refit(known)
    if found is None or isinstance(found, keras.callbacks.History):
        return generator
    if not isinstance(found, Generator):
        raise TypeError(
            "`refit` must return a `Generator`, or None if it trains the generator's own model. "
            f"Received: {type(found).__name__}. For a model return `Generator(model, framer)`."
        )
    names = ("framer", "targets", "quantiles")
    differ = [name for name in names if getattr(found, name) != getattr(generator, name)]
    if differ:
        raise ValueError(
            "`refit` must return a generator with the framer, targets and quantiles of the first "
            f"one. Received: {found!r}, whose `{differ[0]}` differs. Pass `generator.{differ[0]}`."
        )
    return found
