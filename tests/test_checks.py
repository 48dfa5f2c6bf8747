"""Each mistake is told before anything is trained: what is wrong, and the way out."""

import re
import warnings

import keras
import numpy as np
import pytest
from keras import layers
from models import assert_same, compiled, contents, numbers, recurrent, run

from seqframe import Generator, SequenceFramer, StatefulTrainer, evaluate, fit
from seqframe.model.checks import check_shapes

X, Y = numbers(6, 2, 1), numbers(6, 1)
FRAMES = SequenceFramer(2).frame(numbers(9))
IDS = SequenceFramer(2).frame("ABCDABCD")
LANES = SequenceFramer(1).frame(numbers(9)).lanes(2)


@pytest.fixture(scope="module")
def model():
    return compiled(recurrent())


@pytest.fixture(scope="module")
def stateful():
    model = compiled(recurrent(batch_size=2))
    model(X[:2])
    return model


@pytest.fixture(scope="module")
def of_one_step():
    return compiled(recurrent(batch_size=4, steps=1))


def refuses(model, frames, error, message, **kwargs):
    before = contents(model)
    with pytest.raises(error, match=message):
        fit(model, frames, verbose=0, **kwargs)
    assert_same(contents(model), before)


WRONG_FOR_ANY = [
    # Not what is taken at all.
    (X, {}, TypeError, r"`frames` must be .*`Lanes`.*`\(X, y\)`.*Received: ndarray"),
    ([X, Y], {}, TypeError, "Received: list"),
    ((X,), {}, TypeError, "Received: tuple"),
    ((X, Y, Y, Y), {}, TypeError, "Received: tuple"),
    ((X, Y), {"validation_data": (X,)}, TypeError, r"`validation_data` must be"),
    # Of different numbers of samples.
    ((X, Y[:5]), {}, ValueError, r"`frames`, as arrays, .* same number .*Received: \[5, 6\]"),
    # A batch of nothing.
    (
        (X, Y),
        {"batch_size": 0},
        ValueError,
        "`batch_size` must be an integer ≥ 1. Received: batch_size=0",
    ),
    # Inputs that are not the model's: one step too many, another layout, another axis.
    ((X[:, :1], Y), {}, ValueError, r"inputs of shape \(2, 1\)\. Received: .*\(1, 1\)\..*`layout`"),
    ((X[..., 0], Y), {}, ValueError, r"Received: frames with inputs of shape \(2,\)"),
    (SequenceFramer(3).frame(numbers(9)), {}, ValueError, r"\(3, 1\)\. Change `sequence_length`"),
    ((X, Y), {"validation_data": (X[:, :1], Y)}, ValueError, r"Received: .*\(1, 1\)"),
    # Targets that are not the model's.
    ((X, numbers(6, 2)), {}, ValueError, r"output has shape \(1,\).*Received: .*\(2,\)\. Change"),
    (
        SequenceFramer(2, return_sequences=True).frame(numbers(9)),
        {},
        ValueError,
        r"Received: targets of shape \(2,\)\. Change `horizon`, `return_sequences`",
    ),
]


@pytest.mark.parametrize(("frames", "kwargs", "error", "message"), WRONG_FOR_ANY)
def test_what_does_not_fit_is_refused(frames, kwargs, error, message, model):
    refuses(model, frames, error, message, **kwargs)


WRONG_FOR_STATEFUL = [
    ((X, Y), {"shuffle": True}, r"in order.*Received: shuffle=True. Leave `shuffle` out"),
    ((X, Y), {"batch_size": 3}, "own batch size, 2. Received: a batch of 3. Pass `batch_size=2`"),
    ((X[:5], Y[:5]), {}, r"Received: a batch of 1.*`seqframe.fit`, which puts them in lanes of 2"),
    ((X, Y), {"validation_data": (X[:5], Y[:5])}, "Received: a batch of 1"),
]


@pytest.mark.parametrize(("frames", "kwargs", "message"), WRONG_FOR_STATEFUL)
def test_what_a_stateful_model_cannot_take_is_refused(frames, kwargs, message, stateful):
    refuses(stateful, frames, ValueError, message, **kwargs)


def test_lanes_need_the_batch_size_of_the_model(of_one_step):
    refuses(of_one_step, LANES, ValueError, "own batch size, 4. Received: a batch of 2")


@pytest.mark.parametrize(
    ("frames", "message"),
    [(FRAMES, '`mode="subsequences"`.*mode="windows"'), ((X, Y), "is for frames.*arrays")],
)
def test_what_is_not_drawn_is_not_drawn_anew(frames, message, model):
    refuses(model, frames, ValueError, message, redraw=True)


def test_class_weights_need_one_class_a_sample():
    model = compiled(keras.Sequential([keras.Input((2, 1)), layers.Dense(1)]))
    frames = X, X
    refuses(model, frames, ValueError, "`class_weight` needs one class", class_weight={0: 1.0})


@pytest.mark.parametrize("options", [{"return_sequences": True}, {"horizon": 2}])
def test_class_weights_are_for_frames_of_one_target(options):
    frames = SequenceFramer(2, **options).frame([0, 1, 2, 1, 0, 1, 2])
    model = keras.Sequential([keras.Input((2, 1)), layers.Dense(3, "softmax")])
    compiled(model, loss="sparse_categorical_crossentropy")
    message = r"`class_weight` needs one class.*\(2,\).*Use `sample_weight`"
    refuses(model, frames, ValueError, message, class_weight={0: 1.0})


def test_weights_of_steps_that_the_loss_would_average_away():
    model = compiled(keras.Sequential([keras.Input((2, 1)), layers.Dense(1)]))
    framer, weights = SequenceFramer(2, return_sequences=True), numbers(9, seed=1)
    frames = framer.frame(numbers(9), sample_weight=weights)
    refuses(
        model, frames, ValueError, r"Weights of shape \(2,\).*outputs of shape \(2, 1\).*\[0\]`"
    )
    # The way out weighs each step.
    frames = framer.frame(numbers(9)[:, None], targets=[0], sample_weight=weights)
    x, y, weight = frames.arrays()
    expected = np.mean(weight * (run(model, x)[..., 0] - y[..., 0]) ** 2)
    found = evaluate(model, frames, batch_size=len(frames), verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_frames_of_other_columns():
    frames = SequenceFramer(2).frame(numbers(9, 3), targets=0)
    refuses(compiled(recurrent()), frames, ValueError, r"\(2, 3\)\. Change the columns that are")


def test_models_of_several_outputs():
    inputs = keras.Input((2, 1))
    flat = layers.Flatten()(inputs)
    model = keras.Model(inputs, {"mean": layers.Dense(1)(flat), "spread": layers.Dense(2)(flat)})
    model.compile("sgd", {"mean": "mse", "spread": "mse"})
    message = r"one output here.*\[\(1,\), \(2,\)\]\. Frames have one target: pass arrays"
    refuses(model, FRAMES, ValueError, message)
    x, y = FRAMES.arrays()
    fit(model, (x, {"mean": y, "spread": numbers(len(y), 2)}), verbose=0)
    with pytest.raises(ValueError, match=r"one output here.*`keras.Model\(model.inputs, output\)"):
        Generator(model, FRAMES.framer)
    one = Generator(keras.Model(model.inputs, model.output["mean"]), FRAMES.framer)
    assert one.forecast(numbers(3), 2).shape == (2,)


def test_a_model_needs_as_many_classes_as_symbols():
    output = layers.Dense(3, activation="softmax")
    model = keras.Sequential([keras.Input((2, 1)), layers.Flatten(), output])
    compiled(model, loss="sparse_categorical_crossentropy")
    refuses(model, IDS, ValueError, r"has 3 classes.*has 4 ids.*`len\(frames.vocabulary\)` units")


@pytest.mark.parametrize("kind", ["sequential", "not built", "functional"])
@pytest.mark.parametrize("rows", [3, 4])
def test_an_embedding_needs_as_many_rows_as_symbols(kind, rows):
    parts = [layers.Embedding(rows, 2, name="of_ids"), layers.Flatten(), layers.Dense(4)]
    inputs = keras.Input((2,))
    if kind == "functional":
        model = keras.Model(inputs, parts[2](parts[1](parts[0](inputs))))
    else:
        model = keras.Sequential(parts if kind == "not built" else [inputs, *parts])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    frames = SequenceFramer(2, layout="tokens").frame("ABCDABCD")
    if rows == 4:
        fit(model, frames, verbose=0)
        return
    with pytest.raises(ValueError, match=r"layer 'of_ids' has 3 rows. Received: .* of 4 ids. Make"):
        fit(model, frames, verbose=0)


def test_a_model_has_to_be_compiled():
    model = recurrent()
    before = contents(model)
    with pytest.raises(ValueError, match=r"`model` must be compiled.*Call `model.compile\("):
        fit(model, FRAMES)
    assert_same(contents(model), before)
    with pytest.raises(TypeError, match=r"`model` must be a `keras.Model`. Received: Dense"):
        fit(layers.Dense(1), FRAMES)


def test_a_stateful_model_that_is_not_built_needs_a_batch_size():
    model = keras.Sequential([layers.SimpleRNN(2, stateful=True), layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"not built yet needs `batch_size`.*Pass it, or give"):
        fit(model, (X, Y), verbose=0)
    assert not model.built


@pytest.mark.parametrize("lanes", [None, SequenceFramer(1).frame(numbers(9)).lanes(1)])
def test_a_trainer_needs_a_stateful_model(lanes, model):
    refuses(
        model,
        (X, Y),
        ValueError,
        r"`model` must have a stateful layer.*`stateful=True`",
        callbacks=[StatefulTrainer(lanes=lanes)],
    )


def test_a_trainer_of_other_lanes_is_refused(of_one_step):
    refuses(
        of_one_step,
        (X[:4, :1], Y[:4]),
        ValueError,
        "own batch size, 4. Received: a batch of 2",
        callbacks=[StatefulTrainer(lanes=LANES)],
    )


def _of_output(*shape):
    inputs = keras.Input((2, 1))
    units = int(np.prod(shape))
    return keras.Model(inputs, layers.Reshape(shape)(layers.Dense(units)(layers.Flatten()(inputs))))


# Targets are of the output's shape or class ids, with or without an axis of one.
def test_targets_are_of_the_output_or_its_class_ids():
    for model, shapes in [
        (_of_output(5), [(5,), (), (1,), (5, 1)]),
        (_of_output(2, 3), [(2, 3), (2,), (2, 1), (2, 3, 1)]),
    ]:
        for shape in shapes:
            check_shapes(model, (2, 1), shape)
        for shape in [(4,), (7, 1), (1, 5), (2, 4, 1), (2, 2)]:
            message = re.escape(f"Received: targets of shape {shape}")
            with pytest.raises(ValueError, match=message):
                check_shapes(model, (2, 1), shape)


def test_what_a_model_does_not_declare_is_not_checked():
    anything = keras.Sequential([layers.Dense(1)])
    check_shapes(anything, (7, 7), (7, 7), symbols=7)
    any_steps = keras.Sequential([keras.Input((None, 1)), layers.SimpleRNN(2)])
    for steps in 1, 2, 3:
        check_shapes(any_steps, (steps, 1), (2,))
    with pytest.raises(ValueError, match="inputs of shape"):
        check_shapes(any_steps, (1, 2), (2,))


def test_inputs_are_those_of_a_frame_with_a_future():
    shapes = {"past": (3, 1), "future": (1, 2)}

    def of(**inputs):
        inputs = {name: keras.Input(shape, name=name) for name, shape in inputs.items()}
        flat = [layers.Flatten()(item) for item in inputs.values()]
        return keras.Model(inputs, layers.Dense(1)(layers.Concatenate()(flat)))

    check_shapes(of(**shapes), shapes, ())
    for other in [
        of(past=(3, 1), future=(1, 3)),
        of(past=(2, 1), future=(1, 2)),
        of(past=(3, 1), ahead=(1, 2)),
    ]:
        with pytest.raises(ValueError, match=r"it takes inputs .*past.* Change the framer, `futu"):
            check_shapes(other, shapes, ())
        with pytest.raises(ValueError, match=r"it takes inputs .*past.* Change the framer, `futu"):
            check_shapes(keras.Model(list(other.input.values()), other.output), shapes, ())
    one = keras.Sequential([keras.Input((3, 1)), layers.Flatten(), layers.Dense(1)])
    with pytest.raises(ValueError, match=r'takes one input.*named "past".*leave out `future`'):
        check_shapes(one, shapes, ())


@pytest.mark.parametrize("kind", ["metrics", "weighted_metrics"])
def test_metrics_that_count_rows_without_data(kind):
    lanes = SequenceFramer(1).frame([numbers(9), numbers(3)]).lanes(2)
    model = compiled(recurrent(batch_size=2, steps=1), **{kind: ["mae"]})
    for call in fit, evaluate:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            call(model, lanes, verbose=0)
        message = "6 of 16 rows of the lanes ran out of data.*as `weighted_metrics`"
        found = [re.search(message, str(each.message)) is not None for each in caught]
        assert any(found) is (kind == "metrics")
