"""Mistakes raise an error before anything is trained, and the error names the way out."""

import re
import warnings

import keras
import numpy as np
import pytest
from keras import layers
from models import assert_same, compiled, contents, numbers, recurrent, run

from seqframe import Generator, SequenceFramer, StatefulTrainer, evaluate, fit
from seqframe.model.inspect import check_shapes

X, Y = numbers(6, 2, 1), numbers(6, 1)
FRAMES = SequenceFramer(2).frame(numbers(9))
STEPWISE = SequenceFramer(2, return_sequences=True).frame(numbers(9))
BLOCKS = SequenceFramer(2, horizon=2).frame(numbers(9))
LANES = SequenceFramer(1).frame(numbers(9)).lanes(2)


LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def flat(*more, units=1, loss="mse"):
    return compiled(keras.Sequential([keras.Input((2, 1)), *more, layers.Dense(units)]), loss=loss)


MODELS = {
    "recurrent": lambda: compiled(recurrent()),
    "stateful": lambda: compiled(recurrent(batch_size=2)),
    "of one step": lambda: compiled(recurrent(batch_size=4, steps=1)),
    "of every step": flat,
    "of 3 classes": lambda: flat(layers.Flatten(), units=3, loss=LOGITS),
}


@pytest.fixture(scope="module")
def models():
    made = {name: make() for name, make in MODELS.items()}
    made["stateful"](X[:2])
    return made


CLASSES = {"class_weight": {0: 1.0}}
OF_LANES = {"callbacks": [StatefulTrainer(lanes=LANES)]}
# The model, the data, more arguments, and what the error names.
WRONG = [
    # Data of another kind.
    ("recurrent", X, {}, r"needs targets.*`\(X, y\)`"),
    ("recurrent", (X,), {}, r"needs targets.*`\(X, y\)`"),
    ("recurrent", (X, Y), {"validation_data": (X,)}, "needs targets"),
    ("recurrent", (X, Y[:5]), {}, r"same number .*\[5, 6\]"),
    ("recurrent", (X, Y), {"batch_size": 0}, "`batch_size`.*batch_size=0"),
    # Inputs that are not the model's: one step too many, another layout, other columns.
    ("recurrent", (X[:, :1], Y), {}, r"\(2, 1\)\. Received: .*\(1, 1\)\..*`X`"),
    ("recurrent", (X[:, :1, 0], Y), {}, r"Received: .*\(1,\)"),
    ("recurrent", SequenceFramer(3).frame(numbers(9)), {}, r"\(3, 1\)\. .*`sequence_length`"),
    ("recurrent", SequenceFramer(2).frame(numbers(9, 3), 0), {}, r"\(2, 3\)\. .*columns"),
    # Targets that are not the model's.
    ("recurrent", (X, numbers(6, 2)), {}, r"targets .*\(1,\).*Received: .*\(2,\)"),
    ("recurrent", STEPWISE, {}, r"Received: .*\(2,\)\..*`return_sequences`"),
    ("of 3 classes", SequenceFramer(2).frame("ABCDABCD"), {}, r"3 classes.*`len\(frames\.voc"),
    # Weights that cannot be the samples'.
    ("of every step", (X, X), CLASSES, "`class_weight`"),
    ("of 3 classes", STEPWISE, CLASSES, r"`class_weight`.*\(2,\).*`sample_weight`"),
    ("of 3 classes", BLOCKS, CLASSES, r"`class_weight`.*\(2,\).*`sample_weight`"),
    # Frames that are not drawn.
    ("recurrent", FRAMES, {"redraw": True}, '`mode="subsequences"`'),
    ("recurrent", (X, Y), {"redraw": True}, "`redraw=True`.*arrays"),
    # Batches that a stateful model cannot take.
    ("stateful", (X, Y), {"shuffle": True}, "shuffle=True.*Leave `shuffle` out"),
    ("stateful", (X, Y), {"batch_size": 3}, "batch size, 2.*of 3.*`batch_size=2`"),
    ("stateful", (X[:5], Y[:5]), {}, "of 1.*`seqframe.fit`.*lanes of 2"),
    ("stateful", (X, Y), {"validation_data": (X[:5], Y[:5])}, "of 1"),
    ("of one step", LANES, {}, "batch size, 4.*of 2"),
    ("of one step", (X[:4, :1], Y[:4]), OF_LANES, "batch size, 4.*of 2"),
    ("recurrent", (X, Y), {"callbacks": [StatefulTrainer()]}, "`stateful=True`"),
    ("recurrent", (X, Y), OF_LANES, "`stateful=True`"),
]


@pytest.mark.parametrize(("name", "data", "kwargs", "message"), WRONG)
def test_data_that_do_not_fit_are_refused(name, data, kwargs, message, models):
    model = models[name]
    before = contents(model)
    with pytest.raises((TypeError, ValueError), match=message):
        fit(model, data, verbose=0, **kwargs)
    assert_same(contents(model), before)


def test_weights_of_steps_need_a_column_axis(models):
    model, framer = models["of every step"], SequenceFramer(2, return_sequences=True)
    weights = numbers(9, seed=1)
    with pytest.raises(ValueError, match=r"`sample_weight`.*`targets=\[0\]`"):
        fit(model, framer.frame(numbers(9), sample_weight=weights), verbose=0)
    # The way out weighs each step.
    frames = framer.frame(numbers(9)[:, None], targets=[0], sample_weight=weights)
    x, y, weight = frames.arrays()
    expected = np.mean(weight * (run(model, x)[..., 0] - y[..., 0]) ** 2)
    found = evaluate(model, frames, batch_size=len(frames), verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_frames_need_a_model_of_one_output():
    inputs = keras.Input((2, 1))
    flattened = layers.Flatten()(inputs)
    outputs = {"mean": layers.Dense(1)(flattened), "spread": layers.Dense(2)(flattened)}
    model = keras.Model(inputs, outputs)
    model.compile("sgd", {"mean": "mse", "spread": "mse"})
    with pytest.raises(ValueError, match=r"one output.*\[\(1,\), \(2,\)\].*arrays"):
        fit(model, FRAMES, verbose=0)
    x, y = FRAMES.arrays()
    fit(model, (x, {"mean": y, "spread": numbers(len(y), 2)}), verbose=0)
    with pytest.raises(ValueError, match=r"one output.*`keras.Model\(model.inputs, output\)"):
        Generator(model, FRAMES.framer)


@pytest.mark.parametrize("kind", ["sequential", "not built", "functional"])
def test_an_embedding_needs_a_row_for_each_symbol(kind):
    parts = [layers.Embedding(3, 2, name="of_ids"), layers.Flatten(), layers.Dense(4)]
    inputs = keras.Input((2,))
    if kind == "functional":
        model = keras.Model(inputs, parts[2](parts[1](parts[0](inputs))))
    else:
        model = keras.Sequential(parts if kind == "not built" else [inputs, *parts])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    frames = SequenceFramer(2, layout="tokens").frame("ABCDABCD")
    with pytest.raises(ValueError, match=r"'of_ids' has 3 rows.*4 ids"):
        fit(model, frames, verbose=0)


def test_a_model_must_be_compiled():
    model = recurrent()
    before = contents(model)
    with pytest.raises(ValueError, match=r"`model.compile\("):
        fit(model, FRAMES)
    assert_same(contents(model), before)
    with pytest.raises(TypeError, match=r"`model`.*Dense"):
        fit(layers.Dense(1), FRAMES)


def test_an_unbuilt_stateful_model_needs_a_batch_size():
    model = keras.Sequential([layers.SimpleRNN(2, stateful=True), layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="`batch_size`"):
        fit(model, (X, Y), verbose=0)
    assert not model.built


def _of_output(*shape):
    inputs = keras.Input((2, 1))
    units = int(np.prod(shape))
    return keras.Model(inputs, layers.Reshape(shape)(layers.Dense(units)(layers.Flatten()(inputs))))


def test_targets_have_the_shape_of_the_output_or_of_class_ids():
    for model, shapes in [
        (_of_output(5), [(5,), (), (1,), (5, 1)]),
        (_of_output(2, 3), [(2, 3), (2,), (2, 1), (2, 3, 1)]),
    ]:
        for shape in shapes:
            check_shapes(model, (2, 1), shape)
        for shape in [(4,), (7, 1), (1, 5), (2, 4, 1), (2, 2)]:
            with pytest.raises(ValueError, match=re.escape(f"targets of shape {shape}")):
                check_shapes(model, (2, 1), shape)


def test_frames_with_a_future_need_both_inputs():
    shapes = {"past": (3, 1), "future": (1, 2)}

    def of(**inputs):
        inputs = {name: keras.Input(shape, name=name) for name, shape in inputs.items()}
        flattened = [layers.Flatten()(item) for item in inputs.values()]
        return keras.Model(inputs, layers.Dense(1)(layers.Concatenate()(flattened)))

    check_shapes(of(**shapes), shapes, ())
    for other in [
        of(past=(3, 1), future=(1, 3)),
        of(past=(2, 1), future=(1, 2)),
        of(past=(3, 1), ahead=(1, 2)),
    ]:
        for model in other, keras.Model(list(other.input.values()), other.output):
            with pytest.raises(ValueError, match=r"past.*`future`"):
                check_shapes(model, shapes, ())
    one = keras.Sequential([keras.Input((3, 1)), layers.Flatten(), layers.Dense(1)])
    with pytest.raises(ValueError, match=r"past.*`future`"):
        check_shapes(one, shapes, ())


@pytest.mark.parametrize("kind", ["metrics", "weighted_metrics"])
def test_metrics_that_count_rows_without_data_warn(kind):
    lanes = SequenceFramer(1).frame([numbers(9), numbers(3)]).lanes(2)
    model = compiled(recurrent(batch_size=2, steps=1), **{kind: ["mae"]})
    for call in fit, evaluate:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            call(model, lanes, verbose=0)
        message = "6 of 16 rows.*`weighted_metrics`"
        found = [re.search(message, str(each.message)) is not None for each in caught]
        # `evaluate` counts only frames.
        assert any(found) is (kind == "metrics" and call is fit)
