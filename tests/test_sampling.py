"""Sampling by the call: a call's numbers are those of a generator of its own, without compiling."""

import inspect

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import Counter, seeded
from test_samplers import LOGITS, Lists, assert_drawn_as, nucleus, softmax, told, top_k
from test_writing import PROMPTS, generator_of, model_of

from seqframe import Generator, SequenceFramer, Vocabulary
from seqframe.samplers import (
    BeamSampler,
    GreedySampler,
    MinPSampler,
    RandomSampler,
    TopKSampler,
    TopPSampler,
    TypicalPSampler,
)

compiles = pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="PyTorch runs each step itself"
)

# The generator's sampler, what a call says, and the sampler that does the same.
CALLS = [
    ("greedy", {"sampler": "random"}, RandomSampler()),
    ("greedy", {"sampler": "random", "temperature": 3}, RandomSampler(3.0)),
    ("greedy", {"sampler": "top_k", "top_k": 2, "temperature": 2.0}, TopKSampler(2, 2.0)),
    ("greedy", {"sampler": "top_p", "top_p": 0.6}, TopPSampler(0.6)),
    ("greedy", {"sampler": TopPSampler(0.6), "temperature": 3.0}, TopPSampler(0.6, 3.0)),
    ("greedy", {"sampler": BeamSampler(3)}, BeamSampler(3)),
    (RandomSampler(5.0), {"temperature": 0.5}, RandomSampler(0.5)),
    (RandomSampler(3.0), {"top_k": 2}, TopKSampler(2, 3.0)),
    (RandomSampler(3.0), {"top_p": 0.7}, TopPSampler(0.7, 3.0)),
    (RandomSampler(3.0), {"sampler": "greedy"}, GreedySampler()),
    (RandomSampler(3.0), {"sampler": "random"}, RandomSampler()),  # a name has its defaults
    (TopKSampler(3, 2.0), {"top_k": 2}, TopKSampler(2, 2.0)),
    (TopKSampler(3, 2.0), {"temperature": 4.0}, TopKSampler(3, 4.0)),
    (TopKSampler(3, 2.0), {"top_k": 2**70 // 2**8}, RandomSampler(2.0)),
    (TopPSampler(0.6, 2.0), {"top_p": 0.9, "temperature": 4.0}, TopPSampler(0.9, 4.0)),
    (TopPSampler(0.6, 2.0), {"top_p": 1}, RandomSampler(2.0)),
    (MinPSampler(0.3, 2.0), {"temperature": 4.0}, MinPSampler(0.3, 4.0)),
    (TypicalPSampler(0.6, 2.0), {"temperature": 4.0}, TypicalPSampler(0.6, 4.0)),
]


@pytest.mark.parametrize("kind", ["windows", "stateful"])
@pytest.mark.parametrize(("own", "options", "same"), CALLS)
def test_a_call_draws_as_a_generator_of_its_own(kind, own, options, same):
    rule, model = model_of(kind)
    generator = Generator(model, rule, sampler=own, seed=5)
    expected = Generator(model, rule, sampler=same, seed=9)
    before = generator.generate(PROMPTS, 12)
    options = {**options, "seed": 9}
    found = generator.generate(PROMPTS, 12, num_samples=2, return_scores=True, **options)
    assert found[0] == expected.generate(PROMPTS, 12, num_samples=2)
    assert generator.generate(PROMPTS, 12) == before  # the generator stays as it is
    if not isinstance(same, BeamSampler):
        streamed = zip(*generator.stream(PROMPTS, 12, **options), strict=True)
        assert ["".join(symbols) for symbols in streamed] == expected.generate(PROMPTS, 12)


def test_top_k_and_top_p_go_together_with_random():
    """First the `k` likeliest, then the nucleus of these, as in transformers."""
    options = {"sampler": "random", "top_k": 3, "top_p": 0.7}
    ids = np.array(told(LOGITS).generate(np.array([0]), 8, num_samples=500, **options)).ravel()
    kept = np.where(top_k(LOGITS, 3), LOGITS, -np.inf)
    kept = np.where(nucleus(kept, 0.7), kept, -np.inf)
    assert np.isfinite(kept).sum() == 2  # without `top_k` there would be three
    assert nucleus(LOGITS, 0.7).sum() == 3
    assert_drawn_as(ids, softmax(kept))


@compiles
def test_numbers_and_samplers_need_no_new_program():
    parts = [keras.Input((1, 1)), Counter(), layers.Flatten(), layers.Dense(4)]
    model = seeded(keras.Sequential(parts))
    generator = Generator(model, SequenceFramer(1, vocabulary=Vocabulary("ABCD")), sampler="random")
    generator.generate("A", 9)
    before = model.layers[0].calls
    for options in (
        {"temperature": 0.3},
        {"temperature": 7, "seed": 3},
        {"top_k": 2},
        {"top_p": 0.4, "top_k": 3},
        {"sampler": "top_k"},
        {"sampler": "top_p", "top_p": 0.2},
        {"sampler": TopKSampler(3, 0.1)},
    ):
        generator.generate("A", 9, **options)
        list(generator.stream("A", 9, **options))
    generator.sampler = TopPSampler(0.5)
    generator.generate("A", 9)
    assert model.layers[0].calls == before
    # Greedy is another program, and compiled once.
    generator.generate("A", 9, sampler="greedy")
    greedy = model.layers[0].calls
    assert greedy > before
    Generator(model, generator.framer).generate("A", 9)
    generator.generate("A", 9, sampler="greedy", seed=1)
    generator.generate("A", 9, temperature=2.0)
    assert model.layers[0].calls == greedy


def test_the_seed_of_a_call():
    generator = generator_of("stateful", RandomSampler(3.0))
    text = generator.generate("ABC", 20, seed=1)
    assert generator.generate("ABC", 20, seed=1) == text
    assert generator.generate("ABC", 20, seed=2) != text != generator.generate("ABC", 20)
    assert generator.generate("ABC", 20) == generator.generate("ABC", 20, seed=5)  # its own
    # Rows draw by the seed and their number.
    assert generator.generate(["ABC"] * 3, 20, seed=1)[0] == text
    # A state goes on with its seed, or with another one.
    first, state = generator.generate("ABC", 8, seed=1, return_state=True)
    assert first + generator.generate("", 12, state=state) == text
    assert len({generator.generate("", 12, state=state, seed=seed) for seed in range(4)}) == 4


CONTRADICTIONS = [
    ("greedy", {"temperature": 0.5}, r'`temperature`.*GreedySampler.*`sampler="random"`'),
    ("greedy", {"top_k": 3}, '`top_k`.*sampler="top_k"'),
    ("greedy", {"top_p": 0.5}, '`top_p`.*sampler="top_p"'),
    ("random", {"sampler": "greedy", "temperature": 0.5}, "`temperature`.*Greedy"),
    ("random", {"sampler": "greedy", "top_p": 0.5}, "`top_p`.*Greedy"),
    ("random", {"sampler": "top_p", "top_k": 3}, '`top_k`.*TopPSampler.*sampler="random"'),
    ("random", {"sampler": "top_k", "top_p": 0.5}, "`top_p`.*TopKSampler"),
    (TopPSampler(0.9), {"top_k": 3}, "`top_k`.*TopPSampler"),
    (TopKSampler(3), {"top_p": 0.9}, "`top_p`.*TopKSampler"),
    (MinPSampler(0.3), {"top_p": 0.9}, "`top_p`.*MinPSampler"),
    ("beam", {"temperature": 0.5}, "`temperature`.*BeamSampler"),
    ("random", {"sampler": "beam", "top_k": 3}, "`top_k`.*BeamSampler"),
    (lambda logits, seed: ops.argmax(logits, -1), {"temperature": 0.5}, "`temperature`.*lambda"),
    (Lists([0], 0.0), {"top_k": 2}, "`top_k`"),
    ("random", {"temperature": 0}, '`temperature` must be above 0.*"greedy"'),
    ("random", {"temperature": -1.0}, "`temperature` must be above 0"),
    ("random", {"temperature": float("nan")}, "`temperature` must be above 0"),
    ("random", {"temperature": "hot"}, "`temperature` must be a number"),
    ("random", {"top_k": 0}, "`top_k` must be"),
    ("random", {"top_k": 2.5}, "`top_k` must be"),
    ("random", {"top_k": True}, "`top_k` must be"),
    ("random", {"top_p": 0.0}, "`top_p` must be above 0"),
    ("random", {"top_p": 1.5}, "`top_p` must be above 0, at most 1"),
    ("random", {"seed": -1}, "`seed` must be"),
    ("random", {"seed": 0.5}, "`seed` must be"),
    ("random", {"sampler": "best"}, "`sampler` must be one of"),
    ("random", {"sampler": 0.7}, "`sampler` must be one of"),
    ("random", {"sampler": lambda logits: logits}, "`sampler` must be a function"),
]


@pytest.mark.parametrize(("own", "options", "message"), CONTRADICTIONS)
def test_contradictions_are_errors_at_the_call(own, options, message):
    generator = told(LOGITS, sampler=own)
    for call in generator.generate, generator.stream:
        with pytest.raises((TypeError, ValueError), match=message):
            call([0], 3, **options)


def test_beams_of_a_call_need_single_steps():
    generator = generator_of("blocks")
    with pytest.raises(ValueError, match="horizon=3"):
        generator.generate(PROMPTS, 3, sampler="beam")
    with pytest.raises(ValueError, match="cannot be streamed"):
        generator_of("windows").stream(PROMPTS, 3, sampler="beam")


def test_an_own_sampler_takes_a_temperature():
    """Two of its symbols are left."""
    generator = told(LOGITS, sampler=Lists([0, 2, 3], np.zeros(5, "float32")))
    kept = np.where([0, 1, 0, 0, 1], LOGITS, -np.inf)
    for temperature in 0.5, 4.0:
        options = {"num_samples": 500, "temperature": temperature}
        ids = np.array(generator.generate(np.array([0]), 8, **options)).ravel()
        assert_drawn_as(ids, softmax(kept / temperature))
    assert generator.sampler.temperature == 1.0


def test_a_sampler_that_changes_in_place_keeps_few_programs(monkeypatch):
    monkeypatch.setattr("seqframe.rollout.loop._KEPT", 3)
    generator = told(LOGITS, sampler=Lists([1], np.zeros(5, "float32")))
    for likeliest in 0, 2, 3, 4, 0:
        generator.sampler.weights[:] = np.where(np.arange(5) == likeliest, 50.0, 0.0)
        assert generator.generate([0], 2) == [likeliest] * 2
    generator.sampler.banned.append(0)
    assert generator.generate([0], 1) != [0]
    assert len(generator._rolled._rollouts) == 3


def test_signatures_name_what_can_be_chosen():
    for call in Generator.generate, Generator.stream:
        names = inspect.signature(call).parameters
        assert {"sampler", "temperature", "top_k", "top_p", "seed"} <= set(names)
