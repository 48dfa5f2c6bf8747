"""fit: Keras's own fit, weight for weight, each epoch as one program."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import Counter, assert_same, compiled, contents, numbers, put_back, recurrent, seeded

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


def forecaster(horizon=2):
    past = keras.Input((3, 2), name="past")
    future = keras.Input((horizon, 2), name="future")
    seen = [layers.SimpleRNN(3)(past), layers.Flatten()(future)]
    output = layers.Dense(horizon)(layers.Concatenate()(seen))
    model = keras.Model({"past": past, "future": future}, output)
    return compiled(seeded(model), "sgd", weighted_metrics=["mae"])


# Weights of steps and of frames; with a future; over sequences and over what is missing.
STEPS = [numbers(12, 2, seed=1), numbers(9, 2, seed=2)]
AHEAD = [numbers(14, 2, seed=3), numbers(9, 2, seed=4)]
STEP_WEIGHTS = [np.abs(numbers(12, seed=5)), np.abs(numbers(9, seed=6))]
FORECASTS = SequenceFramer(3, horizon=2).frame(
    STEPS,
    targets=1,
    future=AHEAD,
    sample_weight=STEP_WEIGHTS,
    valid=[np.arange(12) != 5, np.ones(9, bool)],
)
WEIGHTED = SequenceFramer(2).frame(numbers(9), sample_weight=np.abs(numbers(7, seed=1)))
WEIGHTED_LANES = (
    SequenceFramer(2, return_sequences=True, sequence_stride=2)
    .frame(STEPS, targets=[0], sample_weight=STEP_WEIGHTS)
    .lanes(2)
)


def weighted_stateful():
    steps = layers.SimpleRNN(2, return_sequences=True, stateful=True)
    inputs = keras.Input((2, 2), batch_size=2)
    return compiled(
        seeded(keras.Sequential([inputs, steps, layers.Dense(1)])), weighted_metrics=["mae"]
    )


def joined(batches):
    return tuple(np.concatenate(arrays) for arrays in zip(*batches, strict=True))


IN_LANES = joined(LANES)
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
    "frames with a future and weights": (forecaster, FORECASTS, FORECASTS.arrays(), {}),
    "a weight a frame": (regressor, WEIGHTED, WEIGHTED.arrays(), {}),
    "stateful arrays": (stacked, (X, Y), (X, Y), {"callbacks": [StatefulTrainer]}),
    "lanes": (stateful, LANES, IN_LANES, {"callbacks": [lambda: StatefulTrainer(lanes=LANES)]}),
    "lanes with weights": (
        weighted_stateful,
        WEIGHTED_LANES,
        joined(WEIGHTED_LANES),
        {"callbacks": [lambda: StatefulTrainer(lanes=WEIGHTED_LANES)]},
    ),
}


def trained(model):
    """Return what training changes: weights, optimizer variables and states."""
    states = get_states(model) if stateful_layers(model) else []
    return [
        model.get_weights(),
        [ops.convert_to_numpy(v).copy() for v in model.optimizer.variables],
        states,
    ]


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


ONE = SequenceFramer(1).frame(numbers(9, seed=5)).lanes(2)


def test_validation_takes_frames_lanes_and_datasets():
    """Weights that do not change have the same loss in training and in validation."""
    model = regressor(keras.optimizers.SGD(0.0), batch_size=2, steps=1)
    for data, validation in [(LANES, LANES), (LANES, LANES.frames), (ONE, ONE.dataset())]:
        history = fit(model, data, epochs=2, verbose=0, validation_data=validation).history
        assert_same(history["val_loss"], history["loss"], atol=1e-6)


# Epochs and callbacks. One model with full batches only, and its numbers at the beginning.

FULL = X[:8], Y[:8]


@pytest.fixture(scope="module")
def simple():
    model = regressor("adam")
    return model, contents(model)


def simple_fit(simple, **kwargs):
    """Return the History and the numbers after training the model from its beginning."""
    model, before = simple
    put_back(model, before)
    history = fit(model, FULL, **{"batch_size": 2, "seed": 3, "verbose": 0, "epochs": 5, **kwargs})
    return history.history, trained(model)


HOOKS = [f"on_{kind}_{end}" for kind in ("epoch", "train_batch") for end in ("begin", "end")]
MARKS = ["on_train_begin", "on_test_begin", "on_test_end", "on_train_end"]


def recorder():
    """Return a callback that keeps the names and numbers of the hooks that training calls."""
    callback = keras.callbacks.Callback()
    callback.events = []
    for hook in HOOKS:
        setattr(callback, hook, lambda n, logs=None, hook=hook: callback.events.append((hook, n)))
    for hook in MARKS:
        setattr(callback, hook, lambda logs=None, hook=hook: callback.events.append((hook, None)))
    return callback


class Looker(keras.callbacks.Callback):
    """Looks at each epoch, so that epochs are not run together."""

    def on_epoch_end(self, epoch, logs=None):
        pass


class Stopper(keras.callbacks.Callback):
    def __init__(self, batch):
        super().__init__()
        self.batch, self.seen = batch, []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(batch)
        self.model.stop_training = batch == self.batch


@pytest.mark.parametrize(
    "kwargs",
    [
        {"callbacks": [Looker()]},  # epoch by epoch
        {"steps_per_execution": 1},
        {"steps_per_execution": 3, "callbacks": [Looker()]},  # 4 steps: 3 and 1
        {"steps_per_execution": 99, "callbacks": [Looker()]},
        {"callbacks": [Stopper(99)]},  # step by step
        {"callbacks": [keras.callbacks.LambdaCallback(on_train_begin=lambda logs: None)]},
        {"verbose": 2},
        {"verbose": 1},
    ],
)
def test_any_way_through_the_epochs_gives_the_same(kwargs, simple):
    assert_same(simple_fit(simple, **kwargs), simple_fit(simple))


def test_stateful_epochs_run_together_are_the_same():
    model = stateful()
    before = contents(model)
    results = []
    for callbacks in [], [Looker()]:
        put_back(model, before)
        history = fit(model, LANES, epochs=5, verbose=0, callbacks=callbacks)
        results.append((history.history, trained(model)))
    assert_same(*results)


# Not 3, where Keras numbers steps that the last call does not run; under PyTorch it refuses 2, too.
@pytest.mark.parametrize("steps", [1] if TORCH else [1, 2])
def test_callbacks_get_the_batch_numbers_of_keras(steps):
    events = []
    for train in fit, keras_fit:
        model, record = recurrent(), recorder()
        model.compile("sgd", "mse", steps_per_execution=steps)
        kwargs = {"verbose": 0} if train is fit else {}
        train(
            model,
            FULL,
            batch_size=2,
            epochs=2,
            callbacks=[record],
            validation_data=(X[:2], Y[:2]),
            **kwargs,
        )
        events.append(record.events)
    assert events[0] == events[1]
    assert ("on_train_batch_end", 3) in events[0]


def test_steps_that_do_not_divide_the_epoch_are_numbered_as_they_run(simple):
    record = recorder()
    simple_fit(simple, epochs=1, steps_per_execution=3, callbacks=[record])
    numbered = [event for event in record.events if "train_batch" in event[0]]
    assert [number for _, number in numbered] == [0, 2, 3, 3]


def test_a_smaller_last_batch_has_the_number_of_keras():
    events = []
    for train in fit, keras_fit:
        record = recorder()
        kwargs = {"verbose": 0} if train is fit else {}
        train(regressor(), (X, Y), batch_size=4, callbacks=[record], **kwargs)
        events.append(record.events)
    assert events[0] == events[1]
    assert ("on_train_batch_begin", 2) in events[0]


def test_epochs_are_numbered_from_the_initial_one(simple):
    model, _ = simple
    record = recorder()
    history, _ = simple_fit(simple, epochs=4, initial_epoch=2, callbacks=[record])
    assert model.history.epoch == [2, 3]
    assert len(history["loss"]) == 2
    assert [n for name, n in record.events if name == "on_epoch_end"] == [2, 3]
    # Epochs 0 and 1, then 2 and 3, are epochs 0 to 3.
    whole = simple_fit(simple, epochs=4)
    simple_fit(simple, epochs=2)
    fit(model, FULL, batch_size=2, seed=3, verbose=0, epochs=4, initial_epoch=2)
    assert_same(trained(model), whole[1])


def test_no_epoch_trains_nothing(simple):
    history, after = simple_fit(simple, epochs=0)
    assert history == {}
    put_back(*simple)
    assert_same(after, trained(simple[0]))


def test_a_batch_hook_can_stop(simple):
    stopper = Stopper(1)
    history, _ = simple_fit(simple, callbacks=[stopper])
    assert stopper.seen == [0, 1]
    assert len(history["loss"]) == 1
    assert len(simple_fit(simple)[0]["loss"]) == 5  # the next call trains on


def test_early_stopping_stops_and_restores(simple):
    stop = keras.callbacks.EarlyStopping(
        "loss", patience=1, mode="max", restore_best_weights=True
    )  # of a loss that falls: the first epoch is the best
    history, after = simple_fit(simple, callbacks=[stop])
    assert len(history["loss"]) == 2
    assert_same(after[0], simple_fit(simple, epochs=1)[1][0])


def test_the_learning_rate_is_scheduled(simple):
    model, _ = simple
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.1 * (epoch < 2))
    _, after = simple_fit(simple, callbacks=[scheduler])
    assert float(model.optimizer.learning_rate) == 0
    _, of_two = simple_fit(simple, callbacks=[scheduler], epochs=2)
    assert_same(after[0], of_two[0])


def test_training_again_traces_nothing():
    counter = Counter()
    model = compiled(keras.Sequential([keras.Input((2, 1)), counter, layers.Flatten(),
                                       layers.Dense(1)]))  # fmt: skip
    epochs = 3
    fit(model, FULL, batch_size=2, epochs=1, verbose=0)
    before = counter.calls
    fit(model, FULL, batch_size=2, epochs=epochs, verbose=0)
    # PyTorch has no program to trace: the layer runs at each step.
    assert counter.calls - before == (epochs * 4 if TORCH else 0)


def test_compiling_again_trains_with_the_new_optimizer():
    model = regressor(keras.optimizers.SGD(0.1))
    fit(model, FULL, batch_size=2, verbose=0)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    before = model.get_weights()
    fit(model, FULL, batch_size=2, verbose=0)
    assert_same(model.get_weights(), before)


def test_weights_that_are_frozen_stay():
    model = regressor()
    fit(model, FULL, batch_size=2, verbose=0)
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    frozen, free = model.layers[0].get_weights(), model.layers[1].get_weights()
    fit(model, FULL, batch_size=2, verbose=0)
    assert_same(model.layers[0].get_weights(), frozen)
    assert (model.layers[1].get_weights()[0] != free[0]).any()


# The shuffle.


def test_a_seed_says_the_order(simple):
    same = [simple_fit(simple, seed=7) for _ in range(2)]
    assert_same(*same)
    for other in {"seed": 8}, {"shuffle": False}:
        assert not np.array_equal(simple_fit(simple, **other)[1][0][0], same[0][1][0][0])
    assert_same(simple_fit(simple, seed=7, shuffle=True), same[0])


def test_without_a_seed_each_call_draws_its_own(simple):
    one, other = (simple_fit(simple, seed=None)[1][0][0] for _ in range(2))
    assert not np.array_equal(one, other)


# Models that are not built yet.


@keras.saving.register_keras_serializable("seqframe_tests")
class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.rnn, self.dense = layers.SimpleRNN(2), layers.Dense(1)

    def call(self, inputs):
        return self.dense(self.rnn(inputs))


@pytest.mark.parametrize(
    "make", [lambda: keras.Sequential([layers.SimpleRNN(2), layers.Dense(1)]), Subclassed]
)
def test_models_that_are_not_built_train(make):
    model = make()
    model.compile(keras.optimizers.Adam(0.05), "mse")
    history = fit(model, FRAMES, epochs=20, verbose=0, seed=1)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert model.predict(X, verbose=0).shape == (SAMPLES, 1)


def test_a_stateful_model_that_is_not_built_trains():
    model = keras.Sequential([layers.SimpleRNN(2, stateful=True), layers.Dense(1)])
    model.compile("sgd", "mse")
    fit(model, (X, Y), batch_size=2, verbose=0)
    assert [state.shape for state in get_states(model)[0]] == [(2, 2)]


def test_a_backup_is_resumed(tmp_path):
    seen = []

    class Crash(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(epoch)
            if seen == [0, 1]:
                raise KeyboardInterrupt

    for _ in range(2):
        model = regressor()
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        try:
            fit(model, (X, Y), epochs=3, callbacks=[backup, Crash()], verbose=0)
        except KeyboardInterrupt:
            continue
    assert seen == [0, 1, 1, 2]


def test_numbers_reach_the_model_in_keras_precision():
    """NumPy's numbers are float64, and a loss that takes them as they are must not see that."""

    class Own(keras.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(y - y_pred))

    model = Own([keras.Input((2, 1)), layers.SimpleRNN(1)])
    compiled(model)
    for data in (X.astype("float64"), Y.astype("float64")), FRAMES:
        fit(model, data, verbose=0)
    weighted = classifier(loss="sparse_categorical_crossentropy")
    fit(weighted, (X, LABELS, np.ones(SAMPLES)), class_weight={1: 3.0}, verbose=0)


def test_metrics_of_several_numbers_are_recorded_as_in_keras():
    targets = np.eye(3, dtype="float32")[LABELS]
    histories = []
    for train in fit, lambda model, data, **kw: model.fit(*data, **kw):
        metric = keras.metrics.F1Score(average=None)
        model = classifier(loss="categorical_crossentropy", metrics=[metric])
        kwargs = {"batch_size": BATCH, "epochs": 2, "shuffle": False, "verbose": 0}
        histories.append(train(model, (X, targets), **kwargs).history)
    for own, theirs in zip(*(history["f1_score"] for history in histories), strict=True):
        assert np.shape(own) == (3,)
        np.testing.assert_allclose(own, ops.convert_to_numpy(theirs), atol=1e-6)


def test_validation_is_on_a_fresh_state_whatever_the_policy():
    arrays = (numbers(6, 1, 1), numbers(6, 1))
    trainer = StatefulTrainer("batch")
    model = stateful()
    logs = fit(model, arrays, validation_data=arrays, callbacks=[trainer], verbose=0).history
    loss = model.evaluate(*arrays, batch_size=2, callbacks=[trainer], verbose=0)
    np.testing.assert_allclose(logs["val_loss"], [loss], rtol=1e-5)


@pytest.mark.parametrize(
    "wrong", [{"steps_per_execution": -1}, {"batch_size": 2.5}, {"seed": -1}, {"epochs": -1}]
)
def test_numbers_out_of_range_are_told(wrong, simple):
    model, before = simple
    put_back(model, before)
    (name,) = wrong
    with pytest.raises((TypeError, ValueError), match=f"`{name}` must be an integer ≥"):
        fit(model, (X, Y), verbose=0, **wrong)
    assert_same(contents(model), before)


@pytest.mark.skipif(not TORCH, reason="elsewhere `jit_compile` says nothing to `seqframe.fit`")
def test_a_step_can_be_compiled_by_torch():
    weights = []
    for jit_compile in (False, True):
        model = recurrent()
        model.compile("sgd", "mse", jit_compile=jit_compile)
        fit(model, (X, Y), batch_size=5, epochs=2, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    assert_same(*weights, atol=1e-5)
