"""Drawn framings equal plain loops. `python tests/fuzz.py --count 1000000` draws more of them."""

import drawn
import fuzz
import laws
import mutants
import pytest

CHUNK = 100  # so that several processes share them


@pytest.mark.parametrize("first", range(0, 2000, CHUNK))
def test_drawn_framings_equal_plain_loops(first):
    numbers = range(first, first + CHUNK)
    tally = fuzz.run(numbers, drawn.draw, laws.check, fuzz.framing_kinds, most_wrong=1)
    for number, case, what in tally.wrong:
        simplest = fuzz.simplest(laws.check, case, drawn.simpler)
        pytest.fail(f"case {number}: {what}\nthe simplest: {simplest}")
    assert tally.drawn["framed"] > CHUNK / 2


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_each_fault_can_be_made(mutant):
    """`python tests/mutants.py` makes them, and counts how many the fuzz finds."""
    text = (mutants.ROOT / "seqframe" / "framing" / mutant.file).read_text("utf-8")
    assert mutant.right in text


def test_a_wrong_answer_is_found_and_made_simple(monkeypatch):
    real = drawn.framer_of

    def padded_on_the_wrong_side(case):
        other = {"pre": "post", "post": "pre"}[case.rule.get("padding", "pre")]
        rule = {**case.rule, "padding": other} if case.rule.get("mode") == "prefixes" else case.rule
        return real(drawn.replace(case, rule=rule))

    monkeypatch.setattr(drawn, "framer_of", padded_on_the_wrong_side)
    tally = fuzz.run(range(100), drawn.draw, laws.check, fuzz.framing_kinds, most_wrong=1)
    ((_, case, _),) = tally.wrong
    simplest = fuzz.simplest(laws.check, case, drawn.simpler)
    assert set(simplest.rule) == {"sequence_length", "mode"}
    assert fuzz.fails(laws.check, simplest)
