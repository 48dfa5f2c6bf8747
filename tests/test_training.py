"""fit: Keras's own fit, weight for weight, each epoch as one program."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import Counter, assert_same, compiled, contents, numbers, put_back, recurrent, seeded

import seqframe
from seqframe import SequenceFramer, StatefulTrainer, fit, get_states
from seqframe.state import stateful_layers

TORCH = keras.backend.backend() == "torch"
SAMPLES, BATCH, EPOCHS = 10, 4, 2  # two full batches and a smaller last one
X = numbers(SAMPLES, 2, 1)
LABELS = np.arange(SAMPLES) % 3
Y = numbers(SAMPLES, 1, seed=1)
WEIGHT = np.linspace(0, 2, SAMPLES, dtype="float32")
SEQUENCES = [numbers(7, seed=2), numbers(5, seed=3), numbers(6, seed=4)]
FRAMES = SequenceFramer(2, gap=1).frame(SEQUENCES)
LANES = SequenceFramer(1).frame(SEQUENCES).lanes(2)


def classifier(**kwargs):
    inputs = keras.Input((2, 1))
    outputs = layers.Dense(3, activation="softmax")(layers.SimpleRNN(2)(inputs))
    return compiled(seeded(keras.Model(inputs, outputs)), **kwargs)


def regressor(optimizer="sgd", **kwargs):
    return compiled(recurrent(**kwargs), optimizer)


def metered():
    return classifier(
        loss="sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy"]
    )


def regularised_on_a_schedule():
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    return regressor(keras.optimizers.Adam(rate), kernel_regularizer="l2")


def accumulating():
    return regressor(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))


def averaged_of_two_inputs():
    inputs = {"a": keras.Input((2, 1), name="a"), "b": keras.Input((1,), name="b")}
    both = layers.Concatenate()([layers.SimpleRNN(2)(inputs["a"]), inputs["b"]])
    model = seeded(keras.Model(inputs, layers.Dense(1)(both)))
    return compiled(model, keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5))


def stateful():
    return regressor(batch_size=2, steps=1)


def stacked():
    cells = layers.RNN([layers.LSTMCell(2), layers.GRUCell(2)], stateful=True)
    model = keras.Sequential([keras.Input((2, 1), batch_size=2), cells, layers.Dense(1)])
    return compiled(seeded(model), "adam")


IN_LANES = tuple(np.concatenate(arrays) for arrays in zip(*LANES, strict=True))
# What makes the model, what seqframe.fit takes, what model.fit takes, and what both take.
CASES = {
    "metrics and sample weights": (metered, (X, LABELS, WEIGHT), (X, LABELS, WEIGHT), {}),
    # All in one batch that is smaller than asked for.
    "class weights": (
        metered,
        (X[:3], LABELS[:3]),
        (X[:3], LABELS[:3]),
        {"class_weight": {0: 0.5, 1: 1.0, 2: 3.0}},
    ),
    "L2 and a schedule": (regularised_on_a_schedule, (X, Y), (X, Y), {}),
    "gradient accumulation": (accumulating, (X, Y), (X, Y), {}),
    "EMA of two inputs": (averaged_of_two_inputs, *[({"a": X, "b": Y}, X[:, 0])] * 2, {}),
    "frames": (regressor, FRAMES, FRAMES.arrays(), {}),
    "stateful arrays": (stacked, (X, Y), (X, Y), {"callbacks": [StatefulTrainer]}),
    "lanes": (stateful, LANES, IN_LANES, {"callbacks": [lambda: StatefulTrainer(lanes=LANES)]}),
}


def trained(model):
    """Return what training changes: weights, optimizer variables and states."""
    states = get_states(model) if stateful_layers(model) else []
    return [model.get_weights(), [ops.convert_to_numpy(v).copy() for v in model.optimizer.variables], states]


def keras_fit(model, arrays, batch_size=BATCH, **kwargs):
    x, y, *weight = arrays
    return model.fit(
        x,
        y,
        sample_weight=weight[0] if weight else None,
        batch_size=batch_size,
        shuffle=False,
        verbose=0,
        **kwargs,
    )


@pytest.mark.parametrize("case", CASES)
def test_fit_equals_keras(case):
    make, data, arrays, kwargs = CASES[case]
    callbacks = kwargs.get("callbacks", [])
    batch_size = 2 if callbacks else BATCH
    models, histories = [], []
    for train in fit, keras_fit:
        model = make()
        made = {**kwargs, "callbacks": [make_callback() for make_callback in callbacks]}
        if train is fit:
            made |= {"verbose": 0, "shuffle": None if callbacks else False}
        given = data if train is fit else arrays
        histories.append(train(model, given, batch_size=batch_size, epochs=EPOCHS, **made))
        models.append(model)

    ours, theirs = histories
    assert ours.epoch == theirs.epoch
    assert list(ours.history) == list(theirs.history)
    assert_same(ours.history, theirs.history, atol=1e-4)
    assert_same(trained(models[0]), trained(models[1]), atol=1e-5)


def test_mixed_precision_trains_as_in_keras():
    weights = []
    for train in fit, keras_fit:
        model = regressor(dtype="mixed_bfloat16")
        kwargs = {"verbose": 0, "shuffle": False} if train is fit else {}
        train(model, (X[:8], Y[:8]), batch_size=BATCH, epochs=EPOCHS, **kwargs)
        weights.append(model.get_weights())
    assert model.layers[0].compute_dtype == "bfloat16"
    assert_same(weights[0], weights[1], atol=1e-2)


def test_frames_become_lanes_of_a_stateful_model():
    model = stateful()
    before = contents(model)
    fit(model, LANES, verbose=0)
    after = trained(model)
    put_back(model, before)
    fit(model, LANES.frames, verbose=0)
    assert_same(trained(model), after)


# Validation.


def sees_no_validation(train, data, model, before, validation):
    put_back(model, before)
    alone = train(model, data)
    after = trained(model)
    put_back(model, before)
    validated = train(model, data, validation_data=validation)
    assert_same(trained(model), after)
    assert_same({name: validated.history[name] for name in alone.history}, alone.history)
    return validated.history


def by_seqframe(model, data, **kwargs):
    return fit(model, data, batch_size=2, epochs=2, seed=1, verbose=0, **kwargs)


def by_keras(model, data, **kwargs):
    return keras_fit(model, data, batch_size=2, epochs=2, callbacks=[StatefulTrainer()], **kwargs)


def test_validation_does_not_change_stateless_training():
    model = metered()
    before = contents(model)
    validation = (X[::-1][:5] + 1, LABELS[:5], WEIGHT[:5])  # with a smaller last batch
    history = sees_no_validation(by_seqframe, (X, LABELS), model, before, validation)
    expected = model.evaluate(
        *validation[:2], sample_weight=validation[2], batch_size=2, verbose=0, return_dict=True
    )
    assert_same({name: history[f"val_{name}"][-1] for name in expected}, expected, atol=1e-5)


@pytest.mark.parametrize("train", [by_seqframe, by_keras])
def test_validation_does_not_change_stateful_training(train):
    model = stacked()
    before = contents(model)
    validation = (X[::-1][:6] + 1, Y[:6])
    history = sees_no_validation(train, (X, Y), model, before, validation)
    expected = model.evaluate(
        *validation, batch_size=2, verbose=0, return_dict=True, callbacks=[StatefulTrainer()]
    )
    assert_same({name: history[f"val_{name}"][-1] for name in expected}, expected, atol=1e-5)


@pytest.mark.parametrize("make_data", [lambda: LANES.frames, lambda: LANES, LANES.dataset])
def test_validation_takes_frames_lanes_and_datasets(make_data, simple):
    model, before = simple
    put_back(model, before)
    history = fit(model, LANES, verbose=0, validation_data=make_data())
    x, y, weight = IN_LANES
    if make_data is LANES.dataset:  # Keras's own evaluation; it knows of no lanes that begin
        callbacks = [StatefulTrainer()]
    else:
        callbacks = [StatefulTrainer(lanes=LANES)]
    expected = [0]
    assert callbacks and expected and history
