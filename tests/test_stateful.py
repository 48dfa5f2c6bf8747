"""StatefulTrainer leaves the state that a plain loop over the batches leaves."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import assert_same, compiled, contents, numbers, put_back, recurrent, seeded

from seqframe import (
    SequenceFramer,
    StatefulTrainer,
    carry_state,
    fit,
    get_states,
    reset_states,
    set_states,
)

BATCH, BATCHES = 2, 6
X, Y = numbers(BATCH * BATCHES, 1, 1), numbers(BATCH * BATCHES, 1, seed=1)
ALL = np.array([True, True])
NONE = ~ALL
# Two lanes of four sequences: rows begin a new sequence at different batches.
LANES = SequenceFramer(1).frame([numbers(n, seed=n) for n in (5, 3, 4, 3)]).lanes(BATCH)


def train_with_keras(model, arrays=(X, Y), **kwargs):
    x, y, *weight = arrays
    return model.fit(
        x,
        y,
        sample_weight=weight[0] if weight else None,
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
        **kwargs,
    )


def train_with_seqframe(model, arrays=(X, Y), **kwargs):
    return fit(model, arrays, verbose=0, **kwargs)


both_ways = pytest.mark.parametrize("train", [train_with_keras, train_with_seqframe])


@pytest.fixture(scope="module")
def still():
    """A model whose weights do not change, so that its states equal a plain loop's."""
    optimizer = keras.optimizers.SGD(0.0)
    model = compiled(recurrent(batch_size=BATCH, steps=1), optimizer)
    return model


@pytest.fixture(scope="module")
def learning():
    """A model that has run once. Before, Keras's own check of a first batch may raise first."""
    model = compiled(recurrent(batch_size=BATCH, steps=1), "adam")
    train_with_keras(model)
    reset_states(model)
    return model, contents(model)


class Recorder(keras.callbacks.Callback):
    """Keeps the states that each batch leaves."""

    def __init__(self):
        super().__init__()
        self.states = []

    def on_train_batch_end(self, batch, logs=None):
        self.states.append(get_states(self.model))


def plain_loop(model, batches, resets, values=None):
    """Return the states after each batch. `resets` has the rows that are reset before it."""
    states = []
    for x, rows in zip(batches, resets, strict=True):
        if rows.all():
            reset_states(model, values)
        elif rows.any():
            before = get_states(model)
            reset_states(model, values)
            fresh = get_states(model)
            mixed = keras.tree.map_structure(
                lambda new, old, rows=rows: np.where(rows[:, None], new, old), fresh, before
            )
            set_states(model, mixed)
        model(x)
        states.append(get_states(model))
    return states


def every(count):
    return [ALL if batch % count == 0 else NONE for batch in range(BATCHES)]


GIVEN = [[np.array([[0.5, -0.5], [1.0, 2.0]], "float32")]]
RESETS = [
    ("epoch", None, [*every(9), *every(9)]),
    ("batch", None, [*every(1), *every(1)]),
    (2, None, [*every(2), *every(2)]),
    (4, None, [*every(4), *every(4)]),  # counted from the epoch's first batch
    (9, None, [*every(9), *every(9)]),  # more than the epoch has
    ("never", None, [NONE] * 2 * BATCHES),
    ("epoch", GIVEN, [*every(9), *every(9)]),
    (3, GIVEN, [*every(3), *every(3)]),
]


@both_ways
@pytest.mark.parametrize(("reset", "values", "resets"), RESETS)
def test_the_state_is_reset_by_the_argument(train, reset, values, resets, still):
    start = [[np.ones((BATCH, 2), "float32")]]
    set_states(still, start)
    expected = plain_loop(still, 2 * np.split(X, BATCHES), resets, values)

    set_states(still, start)
    recorder = Recorder()
    trainer = StatefulTrainer(reset, initial_state=values)
    train(still, epochs=2, callbacks=[trainer, recorder])

    assert_same(recorder.states, expected, atol=1e-6)
    after = get_states(still)
    if reset == "never":
        assert_same(after, expected[-1], atol=1e-6)
    else:
        reset_states(still, values)
        assert_same(after, get_states(still))


CUT = SequenceFramer(1).frame(numbers(9)).lanes(BATCH)  # rows begin only at the first batch
HOW = ["keras arrays", "keras dataset", "arrays", "lanes", "frames"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("reset", "lanes"), [("epoch", LANES), ("never", LANES), (2, LANES), ("never", CUT)]
)
def test_rows_are_reset_at_each_new_sequence(how, reset, lanes, still):
    resets = [lanes.resets(k) | (reset == 2 and k % 2 == 0) for k in range(len(lanes))]
    start = [[np.ones((BATCH, 2), "float32")]]
    set_states(still, start)
    expected = plain_loop(still, 3 * [x for x, *_ in lanes], 3 * resets)

    arrays = tuple(np.concatenate(arrays) for arrays in zip(*lanes, strict=True))
    recorder = Recorder()
    kwargs = {"epochs": 3, "callbacks": [StatefulTrainer(reset, lanes=lanes), recorder]}
    set_states(still, start)
    if how == "keras arrays":
        train_with_keras(still, arrays, **kwargs)
    elif how == "keras dataset":
        still.fit(lanes.dataset(), shuffle=False, verbose=0, **kwargs)
    else:
        data = {"arrays": arrays, "lanes": lanes, "frames": lanes.frames}[how]
        train_with_seqframe(still, data, **kwargs)
        if reset == "never":  # the same if all epochs run in one call
            set_states(still, start)
            trainer = StatefulTrainer(reset, lanes=lanes)
            train_with_seqframe(still, data, epochs=3, callbacks=[trainer])
            assert_same(get_states(still), expected[-1], atol=1e-6)
    assert_same(recorder.states, expected, atol=1e-6)


HOOKS = {  # the hook that resets, and the batch before which the reset takes effect
    ("on_epoch_begin", 1): BATCHES,
    ("on_train_batch_begin", 3): 3,
    ("on_train_batch_end", 2): 3,
    ("on_epoch_end", 0): BATCHES,
}


@both_ways
@pytest.mark.parametrize("hook", HOOKS)
def test_a_reset_in_a_hook_takes_effect_in_the_next_step(hook, train, still):
    name, number = hook
    epochs = 2 if "epoch" in name else 1
    resets = [NONE] * epochs * BATCHES
    resets[HOOKS[hook]] = np.array([False, True])
    reset_states(still)
    expected = plain_loop(still, epochs * np.split(X, BATCHES), resets)

    class Resetter(keras.callbacks.Callback):
        pass

    def reset(self, n, logs=None):
        if n == number:
            reset_states(self.model, rows=[1])

    setattr(Resetter, name, reset)
    reset_states(still)
    recorder = Recorder()
    train(still, epochs=epochs, callbacks=[StatefulTrainer("never"), recorder, Resetter()])
    assert_same(recorder.states, expected, atol=1e-6)


@both_ways
def test_two_fits_equal_one_of_twice_the_epochs(train, learning):
    model, before = learning
    results = []
    for epochs in (2,), (1, 1):
        put_back(model, before)
        for count in epochs:
            train(model, epochs=count, callbacks=[StatefulTrainer("never")])
        results.append((model.get_weights(), get_states(model)))
    assert_same(*results)


def test_evaluation_and_prediction_put_the_state_back(learning):
    model, before = learning
    trainer = StatefulTrainer()
    results = []
    for state in (0.0, 1.0):
        put_back(model, before)
        set_states(model, [[np.full((BATCH, 2), state, "float32")]])
        kept = contents(model)[1]
        loss = model.evaluate(X, Y, batch_size=BATCH, verbose=0, callbacks=[trainer])
        assert_same(get_states(model), kept)
        predicted = model.predict(X, batch_size=BATCH, verbose=0, callbacks=[trainer])
        assert_same(get_states(model), kept)
        results.append((loss, predicted))
    assert_same(*results)
    reset_states(model)
    outputs = [ops.convert_to_numpy(model(x)) for x in np.split(X, BATCHES)]
    assert_same(results[0][1], np.concatenate(outputs), atol=1e-6)


USES = {
    "fit": train_with_keras,
    "evaluate": lambda model, arrays, **kw: model.evaluate(
        *arrays, batch_size=BATCH, verbose=0, **kw
    ),
    "predict": lambda model, arrays, **kw: model.predict(
        arrays[0], batch_size=BATCH, verbose=0, **kw
    ),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("samples", [1, 5])  # the first batch, or the last one
def test_a_smaller_batch_raises(samples, use, learning):
    model, before = learning
    put_back(model, before)
    with pytest.raises(ValueError, match=r"batch size, 2.*a batch of 1.*`batch_size=2`"):
        USES[use](model, (X[:samples], Y[:samples]), callbacks=[StatefulTrainer()])
    if (samples, use) != (5, "fit"):  # which has trained on the batches before
        assert_same(contents(model), before)
    USES[use](model, (X, Y), callbacks=[StatefulTrainer()])  # batches that fit still run


def test_a_stateless_model_is_refused():
    model = compiled(recurrent(steps=1))
    before = contents(model)
    with pytest.raises(ValueError, match=r"`stateful=True`"):
        train_with_keras(model, callbacks=[StatefulTrainer()])
    assert_same(contents(model), before)
    with pytest.raises(ValueError, match=r"`stateful=True`"), carry_state(model):
        pass


def test_a_stateful_layer_inside_time_distributed_is_refused():
    inner = layers.TimeDistributed(layers.SimpleRNN(1, stateful=True))
    model = keras.Sequential([keras.Input((2, 1, 1), batch_size=BATCH), inner, layers.Flatten(),
                              layers.Dense(1)])  # fmt: skip
    compiled(model)
    before = model.get_weights()
    with pytest.raises(ValueError, match="`TimeDistributed`"):
        train_with_keras(model, (numbers(4, 2, 1, 1), Y[:4]), callbacks=[StatefulTrainer()])
    assert_same(model.get_weights(), before)


@pytest.mark.parametrize("reset", ["epochs", 0, True, 1.5])
def test_other_resets_are_refused(reset):
    with pytest.raises(ValueError, match="`reset`"):
        StatefulTrainer(reset)


OTHER_LANES = SequenceFramer(1).frame(numbers(9)).lanes(3)
UNFIT = [
    ({"lanes": OTHER_LANES}, "batch of 3"),
    ({"initial_state": []}, "`(values|initial_state)`"),
    ({"initial_state": [[np.zeros((3, 2))]]}, "`(values|initial_state)`"),
    ({"initial_state": [[np.zeros((2, 2)), np.zeros((2, 2))]]}, "`(values|initial_state)`"),
]


@both_ways
@pytest.mark.parametrize(("kwargs", "message"), UNFIT)
def test_lanes_and_states_that_do_not_fit_are_refused(kwargs, message, train, learning):
    model, before = learning
    put_back(model, before)
    with pytest.raises(ValueError, match=message):
        train(model, callbacks=[StatefulTrainer(**kwargs)])
    assert_same(contents(model), before)


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_test_begin"])
def test_a_model_that_keras_was_training_when_interrupted_trains_and_saves(hook, tmp_path):
    layer = layers.LSTM(2, stateful=True)
    model = keras.Sequential([keras.Input((1, 1), batch_size=BATCH), layer, layers.Dense(1)])
    compiled(seeded(model), "adam")
    paths = [w.path for w in model.weights]
    interrupt = keras.callbacks.Callback()

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    setattr(interrupt, hook, stop)
    kwargs = {"validation_data": (X[:4], Y[:4])} if "test" in hook else {}
    with pytest.raises(KeyboardInterrupt):
        train_with_keras(model, callbacks=[StatefulTrainer(), interrupt], **kwargs)

    assert [w.path for w in model.weights] == paths
    train_with_keras(model, epochs=2, callbacks=[StatefulTrainer()])
    assert [w.path for w in model.weights] == paths
    predicted = USES["predict"](model, (X,), callbacks=[StatefulTrainer()])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(loaded.get_weights(), model.get_weights())
    again = USES["predict"](loaded, (X,), callbacks=[StatefulTrainer()])
    assert_same(again, predicted, atol=1e-6)


def test_carry_state_continues_over_batches_and_calls(still):
    reset_states(still)
    states = plain_loop(still, 3 * np.split(X, BATCHES), [NONE] * 3 * BATCHES)
    reset_states(still)
    whole = [ops.convert_to_numpy(still(x)) for x in np.split(X, BATCHES)]
    reset_states(still)
    size, paths = len(still.variables), [w.path for w in still.weights]
    with carry_state(still) as model:
        assert model is still
        predicted = still.predict(X, batch_size=BATCH, verbose=0)
        assert_same(predicted, np.concatenate(whole), atol=1e-6)
        assert_same(get_states(still), states[BATCHES - 1], atol=1e-6)
        still.evaluate(X, Y, batch_size=BATCH, verbose=0)
        assert_same(get_states(still), states[2 * BATCHES - 1], atol=1e-6)
        train_with_keras(still)
        assert_same(get_states(still), states[3 * BATCHES - 1], atol=1e-6)
    assert len(still.variables) == size
    assert [w.path for w in still.weights] == paths


def test_carry_state_may_be_nested(still):
    size = len(still.variables)
    with carry_state(still), carry_state(still):
        still.predict(X, batch_size=BATCH, verbose=0, callbacks=[StatefulTrainer()])
    assert len(still.variables) == size


def test_a_models_own_step_is_kept():
    model = compiled(recurrent(batch_size=BATCH, steps=1))
    seen = []
    own = model.test_step

    def counting(*args):
        seen.append(1)
        return own(*args)

    model.test_step = counting
    USES["evaluate"](model, (X, Y), callbacks=[StatefulTrainer()])
    assert vars(model)["test_step"] is counting
    assert seen


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras has no such steps there")
def test_resets_inside_an_execution_are_refused():
    model = compiled(recurrent(batch_size=BATCH, steps=1), steps_per_execution=2)
    for trainer in StatefulTrainer("batch"), StatefulTrainer(3), StatefulTrainer(lanes=LANES):
        with pytest.raises(ValueError, match="steps_per_execution=2"):
            train_with_keras(model, callbacks=[trainer])
    for trainer in StatefulTrainer(), StatefulTrainer(2), StatefulTrainer("never"):
        train_with_keras(model, callbacks=[trainer])
    fit(model, (X, Y), callbacks=[StatefulTrainer("batch")], verbose=0)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Keras itself cannot build it in `fit` there"
)
def test_an_unbuilt_model_trains_by_keras():
    model = keras.Sequential([layers.SimpleRNN(2, stateful=True), layers.Dense(1)])
    model.compile("sgd", "mse")
    train_with_keras(model, callbacks=[StatefulTrainer()])
    assert_same(get_states(model), [[np.zeros((BATCH, 2))]])
