"""Rollouts of drawn networks equal plain loops; `python tests/fuzz.py --rollouts 1000` has more."""

import fuzz
import pytest
import rollouts

pytestmark = pytest.mark.once


@pytest.mark.parametrize("first", range(0, 6, 2))
def test_drawn_rollouts_equal_plain_loops(first):
    tally = fuzz.run(range(first, first + 2), rollouts.draw, rollouts.check, rollouts.kinds)
    assert not tally.wrong
