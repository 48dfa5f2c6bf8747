"""SavedModels: they give what the generator gives, with TensorFlow only."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from models import numbers, recurrent, seeded, with_future

from seqframe import Generator, SequenceFramer, Vocabulary

ABCD = Vocabulary("ABCD")
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
needs_tensorflow = pytest.mark.skipif(not ON_TENSORFLOW, reason="TensorFlow writes SavedModels")


def chain(*parts, steps=1, batch_size=None):
    inputs = keras.Input((steps, 1), batch_size=batch_size)
    return seeded(keras.Sequential([inputs, *parts, layers.Dense(4, use_bias=False)]), 2, seed=6)


def stateful(**options):
    model = chain(layers.LSTM(3, stateful=True), batch_size=4)
    return Generator(model, SequenceFramer(1, vocabulary=ABCD), seed=3, **options)


def served(generator, path, **options):
    import tensorflow as tf

    generator.export(path, **options)
    return tf.saved_model.load(str(path))


SYMBOLS = {
    "greedy": stateful,
    "random": lambda: stateful(sampler="random"),
    "top p": lambda: stateful(sampler="top_p"),
    "beam": lambda: stateful(sampler="beam"),
    "window": lambda: Generator(
        chain(layers.GRU(3), steps=3), SequenceFramer(3, gap=1, vocabulary=ABCD)
    ),
    "padded": lambda: Generator(
        chain(layers.GRU(3), steps=6),
        SequenceFramer(
            6, mode="prefixes", padding="post", vocabulary=Vocabulary("ABC", reserve_padding=True)
        ),
    ),
}


@needs_tensorflow
@pytest.mark.parametrize("kind", SYMBOLS)
def test_served_text_equals_the_generators(kind, tmp_path):
    generator = SYMBOLS[kind]()
    model = served(generator, tmp_path / "served", batch_size=2, max_prompt=20, max_steps=30)
    for prompts in ["ABCB", "CCABA"], ["BACABBACAB", "ABCACBABC"]:
        for steps in 1, 30:
            found = model.run_text(prompts, steps, 3).numpy()
            assert [text.decode() for text in found] == generator.generate(prompts, steps)
    ids = generator.framer.vocabulary.encode("ABCBA")
    together = np.stack([ids, ids[::-1]])
    np.testing.assert_array_equal(model.run(together, 9, 3), generator.generate([*together], 9))


@needs_tensorflow
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: Generator(recurrent(steps=3), SequenceFramer(3)), (5,)),
        (lambda: Generator(recurrent(steps=3), stateful=True), (5,)),
        (
            lambda: Generator(
                recurrent(steps=3, features=2, outputs=6), SequenceFramer(3, horizon=3)
            ),
            (5, 2),
        ),
    ],
)
def test_served_values_equal_the_generators(make, shape, tmp_path):
    generator, history = make(), numbers(*shape)
    model = served(generator, tmp_path / "served")
    for steps in 1, 7:
        np.testing.assert_allclose(
            model.run(history[None], steps, 0)[0], generator.forecast(history, steps), rtol=1e-5
        )


@needs_tensorflow
def test_a_served_model_needs_only_tensorflow(tmp_path):
    generator = stateful()
    generator.export(tmp_path / "served")
    text = generator.generate("ABBA", 50)
    code = f"""
import sys
sys.modules["seqframe"] = None
import tensorflow as tf
served = tf.saved_model.load({str(tmp_path / "served")!r})
assert served.run_text(["ABBA"], 50, 0).numpy()[0].decode() == {text!r}
call = served.signatures["text"]
found = call(text=tf.constant(["ABBA"]), steps=tf.constant(50), seed=tf.constant(0))
assert found["output_0"].numpy()[0].decode() == {text!r}
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


@needs_tensorflow
def test_a_served_model_checks_its_arguments(tmp_path):
    import tensorflow as tf

    model = served(stateful(), tmp_path / "served", max_prompt=8, max_steps=10)
    for text, steps, message in [
        ("AX", 5, "unknown symbol"),
        ("", 5, "at least 1 step"),
        ("ABCDABCDA", 5, "must not exceed 8"),
        ("AB", 0, "`steps` must be 1 or more"),
        ("AB", 11, "must not exceed 10"),
    ]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            model.run_text([text], steps, 0)


@needs_tensorflow
def test_unknown_symbols_are_served(tmp_path):
    vocabulary = Vocabulary("?ABC", unknown="?")
    model = chain(layers.LSTM(3, stateful=True), batch_size=4)
    generator = Generator(model, SequenceFramer(1, vocabulary=vocabulary))
    model = served(generator, tmp_path / "served", max_prompt=8, max_steps=20)
    for prompt in "AXB", "A?B":
        text = model.run_text([prompt], 20, 0).numpy()[0].decode()
        assert text == generator.generate("A?B", 20)


def quantile(steps=3, features=2, horizon=2, columns=1):
    outputs = horizon * columns * 3
    model = recurrent(steps=steps, features=features, outputs=outputs)
    targets = 0 if columns == 1 else [1, 0]
    framer = SequenceFramer(steps, horizon=horizon)
    return Generator(model, framer, targets=targets, quantiles=[0.2, 0.5, 0.9])


BLOCKS = {
    "covariates known in the past only": lambda: Generator(
        recurrent(steps=3, features=2, outputs=2), SequenceFramer(3, horizon=2), targets=[0]
    ),
    "one column": lambda: Generator(
        recurrent(steps=3, features=2, outputs=2), SequenceFramer(3, horizon=2), targets=1
    ),
    "a lead time": lambda: Generator(
        recurrent(steps=3, features=2, outputs=4), SequenceFramer(3, horizon=2, gap=3)
    ),
    "a lead time of a stateful model": lambda: Generator(
        recurrent(batch_size=2, steps=1, features=2, outputs=4),
        SequenceFramer(1, horizon=2, gap=2),
    ),
    "quantiles": quantile,
    "quantiles of two columns": lambda: quantile(columns=2),
}


@needs_tensorflow
@pytest.mark.parametrize("kind", BLOCKS)
def test_a_single_block_needs_no_future_when_served(kind, tmp_path):
    generator, history = BLOCKS[kind](), numbers(7, 2)
    model = served(generator, tmp_path / "served")
    options = {"quantiles": generator.quantiles} if generator.quantiles else {}
    for steps in 1, 2:
        expected = generator.forecast(history, steps, **options)
        found = model.run(history[None], steps, 0).numpy()[0]
        if generator.quantiles:
            expected = np.moveaxis(expected, 0, -1)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@needs_tensorflow
@pytest.mark.parametrize("steps", [2, 5])
def test_a_future_is_served(steps, tmp_path):
    """It has the model's own columns, then those that the model does not predict."""
    rule = SequenceFramer(
        3,
        horizon=2,
        columns=["units", "promotion"],
        future_columns=["price"],
        target_columns="units",
    )
    generator = Generator(with_future(features=2, outputs=2), rule)
    history, future = numbers(7, 2), numbers(6, 2, seed=3)
    ahead = future[:2, :1] if steps == 2 else future
    expected = generator.forecast(history, steps, future=ahead)
    model = served(generator, tmp_path / "served", max_steps=None if steps == 2 else 8)
    found = model.run(history[None], steps, 0, ahead[None]).numpy()[0]
    np.testing.assert_allclose(found, np.reshape(expected, found.shape), rtol=1e-5)


@needs_tensorflow
def test_sample_paths_are_served(tmp_path):
    """Each row of a call is a path of its own, by the seed and its number."""
    generator = Generator(recurrent(steps=3, outputs=2), SequenceFramer(3), seed=5)

    def draw(parameters, seed):
        mean, scale = parameters[..., 0], parameters[..., 1]
        return mean + scale * keras.random.normal(mean.shape, seed=seed)

    history = numbers(7)
    model = served(generator, tmp_path / "served", batch_size=4, noise=draw)
    found = model.run(np.repeat(history[None], 4, axis=0), 5, 5).numpy()
    expected = generator.forecast(history, 5, num_samples=4, noise=draw)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert len({path.tobytes() for path in found}) == 4


@needs_tensorflow
def test_what_cannot_be_exported_names_the_way_out(tmp_path):
    each = SequenceFramer(3, return_sequences=True)
    past, future = keras.Input((3, 1), name="past"), keras.Input((3, 1, 2), name="future")
    steps = layers.Concatenate()([past, layers.Reshape((-1, 2))(future)])
    every = keras.Model({"past": past, "future": future}, layers.Dense(1)(steps))
    cases = [
        (Generator(every, each), {}, "each input step. Use `save`"),
        (quantile(), {"max_steps": 3}, "`max_steps` must be at most `horizon=2`"),
        (BLOCKS["a lead time"](), {"max_steps": 3}, "`max_steps` must be at most `horizon=2`"),
        (Generator(recurrent(steps=3)), {"noise": "dropout"}, "`noise` of an export"),
        (Generator(recurrent(steps=3, outputs=2), SequenceFramer(3)), {}, "pass `quantiles` to"),
        (stateful(), {"noise": numbers(3)}, "`export` of symbols takes no `noise`"),
        (stateful(), {"kind": "text"}, "`kind` must be one of"),
    ]
    for generator, options, message in cases:
        with pytest.raises(ValueError, match=message):
            generator.export(tmp_path / "served", **options)
    assert not list(tmp_path.iterdir())


@needs_tensorflow
def test_an_export_replaces_an_earlier_one_and_nothing_else(tmp_path, monkeypatch):
    import tensorflow as tf

    generator, path = Generator(recurrent(steps=3)), tmp_path / "served"
    other = Generator(recurrent(steps=3, units=3))
    history = numbers(5)

    def forecast():
        model = tf.saved_model.load(str(path))
        return model.run(history[None], 2, 0)[0]

    for each in generator, other:
        each.export(path)
        np.testing.assert_allclose(forecast(), each.forecast(history, 2), rtol=1e-5)
    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="full"):
        generator.export(path)
    np.testing.assert_allclose(forecast(), other.forecast(history, 2), rtol=1e-5)
    assert list(tmp_path.iterdir()) == [path]
    for wrong in tmp_path, path / "saved_model.pb":
        with pytest.raises(ValueError, match="`path` must name a new folder"):
            generator.export(wrong)
    for wrong in None, 3, "":
        with pytest.raises((TypeError, ValueError), match="`path` must"):
            generator.export(wrong)


def fail(module, path, signatures):
    """Write a part, as if the disk were full then."""
    Path(path).mkdir()
    (Path(path) / "saved_model.pb").write_text("half")
    raise OSError("The disk is full.")


@pytest.mark.skipif(ON_TENSORFLOW, reason="TensorFlow writes SavedModels")
def test_other_backends_name_the_way_out(tmp_path):
    with pytest.raises(RuntimeError, match="KERAS_BACKEND=tensorflow"):
        Generator(recurrent(steps=3)).export(tmp_path / "served")
