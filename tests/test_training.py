"""fit: Keras's own fit, weight for weight, each epoch as one program."""

import csv

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import Counter, assert_same, compiled, contents, numbers, put_back, recurrent, seeded

from seqframe import (
    SequenceFramer,
    StatefulTrainer,
    evaluate,
    fit,
    get_states,
    predict,
    set_states,
)
from seqframe.model.state import stateful_layers

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


# Compilation.


def flat(*more, optimizer="sgd", **kwargs):
    """Return a small model that is quick to compile, with more layers before its last."""
    inner = [keras.Input((2, 1)), *more, layers.Flatten(), layers.Dense(1)]
    return compiled(seeded(keras.Sequential(inner)), optimizer, **kwargs)


def test_one_program_trains_other_data_for_other_epochs_in_another_order():
    counter = Counter()
    model = flat(counter, loss="mse")
    fit(model, FULL, batch_size=2, epochs=1, verbose=0, validation_data=FULL)
    before = counter.calls
    other = X[2:] + 1, Y[2:] * 2
    for kwargs in {"epochs": 3}, {"shuffle": False}, {"seed": 5, "steps_per_execution": 3}:
        fit(model, other, batch_size=2, verbose=0, validation_data=other, **kwargs)
    # PyTorch has no program to trace: the layer runs at each step of training and validation.
    assert counter.calls - before == (5 * 8 if TORCH else 0)


def test_a_step_is_the_same_however_it_is_compiled():
    """Under PyTorch, `torch.compile` makes it, where the call or Keras's own switch says so."""
    weights = []
    for switch, choice in [(False, False), (False, "auto"), (False, True), (True, "auto")]:
        model = flat()
        model.compile("sgd", "mse", jit_compile=switch)
        kwargs = {"batch_size": 5, "shuffle": False, "verbose": 0, "jit_compile": choice}
        fit(model, (X, Y), epochs=2, **kwargs)
        weights.append(model.get_weights())
    for other in weights[1:]:
        assert_same(other, weights[0], atol=1e-5)


def test_a_model_compiled_anew_trains_by_its_new_loss():
    class OwnMetrics(keras.Sequential):
        mean = keras.metrics.Mean(name="mean")

        @property
        def metrics(self):
            return [self.mean]

        def compute_loss(self, *args, **kwargs):
            loss = super().compute_loss(*args, **kwargs)
            self.mean.update_state(loss)
            return loss

    found = []
    for train in fit, keras_fit:
        model = seeded(OwnMetrics([keras.Input(X.shape[1:]), layers.Flatten(), layers.Dense(1)]))
        optimizer = keras.optimizers.SGD(0.01)
        for loss in "mse", "mae":
            model.compile(optimizer, loss)
            kwargs = {"verbose": 0, "shuffle": False} if train is fit else {}
            history = train(model, FULL, batch_size=2, **kwargs).history
        if train is fit:
            metrics = evaluate(model, FULL, batch_size=2, verbose=0, return_dict=True)
        else:
            metrics = model.evaluate(*FULL, batch_size=2, verbose=0, return_dict=True)
        found.append([history["mean"][0], metrics["mean"], *model.get_weights()])
    assert_same(*found, atol=1e-5)


only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="elsewhere a step is compiled in one way only"
)


@only_tensorflow
@pytest.mark.parametrize("operation", ["strings", "Python"])
def test_what_xla_cannot_compile_runs_as_a_graph(operation, caplog):
    import tensorflow as tf

    class Foreign(layers.Layer):
        def call(self, x):
            if operation == "Python":
                return tf.ensure_shape(tf.py_function(lambda v: 1 * v, [x], tf.float32), x.shape)
            return x * tf.cast(tf.strings.length(tf.strings.as_string(x)) > 0, tf.float32)

    weights = []
    for choice in "auto", False:
        model = flat(Foreign())
        with caplog.at_level("WARNING", "seqframe"):
            for _ in range(2):
                fit(model, FULL, batch_size=2, seed=1, verbose=0, jit_compile=choice)
        weights.append(model.get_weights())
    (record,) = caplog.records
    assert record.getMessage().startswith("XLA cannot compile this program; it runs as a graph")
    assert_same(*weights)

    before = contents(model)
    with pytest.raises(tf.errors.InvalidArgumentError, match="unsupported operations"):
        fit(model, FULL, batch_size=2, verbose=0, jit_compile=True)
    assert_same(contents(model), before)


@only_tensorflow
def test_strings_never_reach_xla(caplog):
    """It would end the process."""
    import tensorflow as tf

    words = layers.TextVectorization(output_sequence_length=2, vocabulary=["a", "b"])
    inner = [keras.Input((1,), dtype="string"), words, layers.Embedding(4, 2), layers.Flatten()]
    model = compiled(seeded(keras.Sequential([*inner, layers.Dense(1)])), jit_compile=False)
    text, y = np.array([["a b"], ["b"], ["a a"]]), numbers(3, 1)
    before = contents(model)
    model.fit(tf.constant(text), y, batch_size=3, verbose=0, shuffle=False)
    expected = trained(model)
    for limit in 2**30, 0:
        put_back(model, before)
        fit(model, (text, y), batch_size=3, verbose=0, shuffle=False, max_device_bytes=limit)
        assert_same(trained(model), expected, atol=1e-6)
    assert "It is given strings" in caplog.text
    predictions = predict(model, text, verbose=0)
    np.testing.assert_allclose(predictions, model(tf.constant(text)), atol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="given strings"):
        fit(model, (text, y), verbose=0, jit_compile=True)


def test_the_time_of_compilation_is_told(caplog, capsys, monkeypatch):
    if not TORCH:  # which compiles nothing
        monkeypatch.setattr("seqframe.training.epochs._WORTH_TELLING", 0.0)
    model = flat()
    with caplog.at_level("INFO", "seqframe"):
        for _ in range(2):
            fit(model, FULL, batch_size=2, verbose=2)
    told = [] if TORCH else ["Compiled the training step in"]
    assert [record.getMessage()[:29] for record in caplog.records] == told
    assert capsys.readouterr().out.count("Compiled the training step in") == len(told)


def test_the_scale_of_a_loss_goes_on_from_fit_to_fit():
    found = []
    for train in (
        lambda model: model.fit(*FULL, batch_size=2, shuffle=False, verbose=0),
        lambda model: fit(model, FULL, batch_size=2, shuffle=False, verbose=0),
    ):
        inner = keras.optimizers.SGD(0.01)
        scaled = keras.optimizers.LossScaleOptimizer(
            inner, initial_scale=8.0, dynamic_growth_steps=2
        )
        model = flat()
        model.compile(scaled, "mse")
        for _ in range(3):
            train(model)
            scale = float(ops.convert_to_numpy(scaled.dynamic_scale))
            found.append((scale, len(scaled.variables)))
    assert found[:3] == found[3:]
    assert found[0][0] < found[1][0] < found[2][0]


def test_a_list_is_validated_on_as_a_pair():
    histories = [
        fit(flat(), FULL, shuffle=False, validation_data=kind(FULL), verbose=0).history
        for kind in (tuple, list)
    ]
    assert histories[0] == histories[1]
    assert "val_loss" in histories[0]


class Late(keras.utils.PyDataset):
    """Batches of which one does not fit: the first, or a later one."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def __len__(self):
        return 3

    def __getitem__(self, k):
        return X[:2], np.zeros((5 if k == self.number else 2, 1), "float32")


@pytest.mark.parametrize("number", [0, 2])
def test_validation_that_fails_costs_no_weights(number):
    model, same = flat(), flat()
    before = model.get_weights()
    with pytest.raises(Exception, match=r"shape|dimension|size|[Ii]ncompatible|broadcast"):
        fit(model, FULL, batch_size=2, shuffle=False, verbose=0, validation_data=Late(number))
    fit(same, FULL, batch_size=2, shuffle=False, verbose=0)
    assert_same(model.get_weights(), same.get_weights())
    assert np.abs(before[0] - model.get_weights()[0]).max() > 0
    fit(model, FULL, batch_size=2, verbose=0)


class Pairs(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, k):
        return X[:2, :1], Y[:2]


def test_a_datasets_validation_that_is_interrupted_leaves_the_state_of_training():
    class Interrupted(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    data, states = (X[:8, :1], Y[:8]), []
    model = compiled(recurrent(batch_size=2, steps=1))
    fit(model, data, callbacks=[StatefulTrainer("never")], verbose=0)
    states.append(get_states(model))
    model = compiled(recurrent(batch_size=2, steps=1))
    callbacks = [StatefulTrainer("never"), Interrupted()]
    with pytest.raises(KeyboardInterrupt):
        fit(model, data, validation_data=Pairs(), callbacks=callbacks, verbose=0)
    states.append(get_states(model))
    assert not hasattr(model.test_function, "plain")
    assert np.abs(states[0][0][0]).min() > 0
    assert_same(*states)


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_train_begin"])
def test_training_that_is_stopped_before_an_epoch_ends_after_one_batch(hook):
    class Stop(keras.callbacks.Callback):
        pass

    def stop(self, *args, **kwargs):
        self.model.stop_training = True

    setattr(Stop, hook, stop)
    counts = []
    for train in (
        lambda model: model.fit(*FULL, batch_size=3, verbose=0, callbacks=[Stop()]),
        lambda model: fit(model, FULL, batch_size=3, verbose=0, callbacks=[Stop()]),
    ):
        model = flat()
        train(model)
        counts.append(int(ops.convert_to_numpy(model.optimizer.iterations)))
    assert counts == [1, 1]


def test_batch_hooks_of_a_class_derived_from_kerass_are_called(tmp_path):
    seen = []

    class Own(keras.callbacks.ModelCheckpoint):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)
            super().on_train_batch_end(batch, logs)

    own = Own(str(tmp_path / "model.keras"))
    flat().fit(*FULL, batch_size=3, verbose=0, callbacks=[own])
    fit(flat(), FULL, batch_size=3, verbose=0, callbacks=[own])
    assert seen == [0, 1, 2] * 2


# Errors and interruptions.


def failing(*args, **kwargs):
    raise RuntimeError("this cannot be traced")


class BadMetric(keras.metrics.Metric):
    def __init__(self, which):
        super().__init__()
        setattr(self, which, failing)

    def update_state(self, *args, **kwargs):
        pass

    def result(self):
        return ops.zeros(())


@pytest.mark.parametrize("wrong", ["loss", "update_state", "result"])
def test_what_cannot_be_traced_leaves_the_model_as_it_was(wrong):
    metrics = [] if wrong == "loss" else [BadMetric(wrong)]
    model = recurrent(batch_size=2, steps=1)
    compiled(model, "adam", failing if wrong == "loss" else "mse", metrics=metrics)
    set_states(model, [[np.ones((2, 2), "float32")]])
    before, trainer = contents(model), StatefulTrainer()
    for run in fit, evaluate:
        with pytest.raises(RuntimeError, match="this cannot be traced"):
            run(model, LANES, verbose=0, callbacks=[trainer])
        assert_same(contents(model), before)
    compiled(model, "adam", metrics=[])
    fit(model, LANES, verbose=0, callbacks=[trainer])
    assert not np.array_equal(model.get_weights()[0], before[0][0])


def interrupted(model, hook, **kwargs):
    callback = keras.callbacks.LambdaCallback(**{hook: interrupt})
    with pytest.raises(KeyboardInterrupt):
        fit(model, LANES, epochs=3, verbose=0, callbacks=[callback], **kwargs)


def interrupt(*args, **kwargs):
    raise KeyboardInterrupt


def test_an_interruption_leaves_a_model_that_goes_on():
    model = regressor("adam", batch_size=2, steps=1)
    names = [variable.path for variable in model.variables]
    interrupted(model, "on_train_begin")
    interrupted(model, "on_train_batch_end")
    interrupted(model, "on_epoch_end", validation_data=LANES)
    assert [variable.path for variable in model.variables] == names
    assert int(model.optimizer.iterations) == 1 + len(LANES)

    x, y, weight = IN_LANES
    given = {"batch_size": 2, "verbose": 0, "callbacks": [StatefulTrainer(lanes=LANES)]}
    twin = regressor("adam", batch_size=2, steps=1)
    put_back(twin, contents(model))
    fit(model, LANES, verbose=0)
    twin.fit(x, y, sample_weight=weight, shuffle=False, **given)
    assert_same(trained(model), trained(twin), atol=1e-5)
    evaluate(model, LANES, verbose=0)
    assert len(predict(model, LANES, verbose=0)) == len(LANES.frames)


def test_an_interruption_between_epochs_that_run_together_leaves_the_trainer_free(monkeypatch):
    model, trainer = stateful(), StatefulTrainer()
    seen = []

    def due(freq, epoch):
        seen.append(trainer.paused)
        if trainer.paused:
            raise KeyboardInterrupt

    monkeypatch.setattr("seqframe.training.fit._is_due", due)
    with pytest.raises(KeyboardInterrupt) as kept:  # with all that its traceback holds
        fit(model, LANES, epochs=20, verbose=0, callbacks=[trainer])
    assert seen[-1]
    assert kept.value.__traceback__ is not None
    assert not trainer.paused
    assert not trainer.in_program


def test_a_loss_that_is_no_number_stops_as_in_keras():
    histories, events = [], []
    for train in fit, keras_fit:
        record = recorder()
        callbacks = [keras.callbacks.TerminateOnNaN(), record]
        kwargs = {"shuffle": False, "verbose": 0} if train is fit else {}
        y = np.where(np.arange(SAMPLES) == 5, np.nan, Y[:, 0]).astype("float32")
        history = train(flat(), (X, y), batch_size=2, epochs=3, callbacks=callbacks, **kwargs)
        histories.append(history.history)
        events.append(record.events)
    assert_same(*histories)
    assert np.isnan(histories[0]["loss"]).tolist() == [True]
    assert events[0] == events[1]
    assert events[0][-3] == ("on_train_batch_end", 2)


# Keras's callbacks do in `seqframe.fit` what they do in `model.fit`.


def by_both(make, callbacks, data=FULL, epochs=3, **kwargs):
    """Train by both; return the models, what `callbacks(name)` gave each, and the histories."""
    kwargs = {"batch_size": 2, "epochs": epochs, "validation_data": data, **kwargs}
    results = []
    for name, train in ("seqframe", fit), ("keras", keras_fit):
        model, made = make(), callbacks(name)
        own = {"shuffle": False, "verbose": 0} if train is fit else {}
        history = train(model, data, callbacks=list(made), **own, **kwargs)
        results.append((model, made, history.history))
    assert_same(results[0][2], results[1][2], atol=1e-5)
    assert_same(trained(results[0][0]), trained(results[1][0]), atol=1e-5)
    return zip(*results, strict=True)


def rows_of(path):
    with path.open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_callbacks_do_as_in_keras(tmp_path):
    seen = {"seqframe": [], "keras": []}

    def callbacks(name):
        folder, events = tmp_path / name, seen[name]
        folder.mkdir()
        best = {"save_best_only": True, "save_weights_only": True}
        return [
            keras.callbacks.ModelCheckpoint(folder / "best.weights.h5", "val_loss", **best),
            keras.callbacks.ModelCheckpoint(folder / "step{batch}.keras", save_freq=3),
            keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=0, min_delta=10.0),
            keras.callbacks.CSVLogger(folder / "log.csv"),
            keras.callbacks.LambdaCallback(
                on_epoch_begin=lambda epoch, logs: events.append(epoch),
                on_train_batch_end=lambda batch, logs: events.append((batch, sorted(logs))),
                on_train_end=lambda logs: events.append(sorted(logs)),
            ),
        ]

    *_, histories = by_both(lambda: flat(optimizer="adam"), callbacks)
    assert seen["seqframe"] == seen["keras"]
    assert len(set(histories[0]["learning_rate"])) > 1
    own, theirs = tmp_path / "seqframe", tmp_path / "keras"
    files = sorted(path.name for path in theirs.iterdir())
    assert sorted(path.name for path in own.iterdir()) == files
    assert "step2.keras" in files
    assert_same(rows_of(own / "log.csv"), rows_of(theirs / "log.csv"), atol=1e-5)
    for name in set(files) - {"log.csv"}:
        saved = flat(optimizer="adam"), flat(optimizer="adam")
        for model, folder in zip(saved, (own, theirs), strict=True):
            model.load_weights(folder / name)
        assert_same(trained(saved[0]), trained(saved[1]), atol=1e-5)


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_weights_are_swapped_for_their_averages_as_in_keras(swap_on_epoch):
    def make():
        return flat(optimizer=keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5))

    by_both(make, lambda name: [keras.callbacks.SwapEMAWeights(swap_on_epoch)])


def test_events_are_logged_for_tensorboard_as_in_keras(tmp_path):
    pytest.importorskip("tensorboard", reason="its callback needs TensorBoard")
    by_both(flat, lambda name: [keras.callbacks.TensorBoard(tmp_path / name)])
    for part in "train", "validation":
        own, theirs = (events_in(tmp_path / name / part) for name in ("seqframe", "keras"))
        assert_same(own, theirs, atol=1e-5)
        assert len(own["epoch_loss"]) == 3


def events_in(folder):
    """Return the steps and the values of the numbers that were logged, by their names."""
    from tensorboard.backend.event_processing import event_accumulator

    events = event_accumulator.EventAccumulator(str(folder)).Reload()
    found = {}
    for name in set(events.Tags()["tensors"]) - {"keras"}:  # which holds the model's config
        logged = [(each.step, each.tensor_proto.tensor_content) for each in events.Tensors(name)]
        found[name] = [(step, *np.frombuffer(value, "float32")) for step, value in logged]
    return found


@pytest.mark.parametrize("validation_freq", [2, [1, 3]])
def test_validation_is_due_as_in_keras(validation_freq):
    *_, (history, _) = by_both(flat, lambda name: [], epochs=4, validation_freq=validation_freq)
    assert len(history["val_loss"]) == 2


def test_a_callback_needs_no_list(simple):
    record = recorder()
    simple_fit(simple, callbacks=record, epochs=1)
    assert record.events


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"validation_freq": 0}, ValueError, "`validation_freq` must be an integer ≥ 1"),
        ({"validation_freq": [1, 0]}, ValueError, "`validation_freq` must be an integer ≥ 1"),
        ({"validation_freq": 1.5}, TypeError, "`validation_freq` must be an integer ≥ 1"),
        ({"validation_freq": "2"}, TypeError, "`validation_freq` must be an integer ≥ 1"),
        ({"initial_epoch": -1}, ValueError, "`initial_epoch` must be an integer ≥ 0"),
        ({"jit_compile": "yes"}, ValueError, "`jit_compile` must be one of"),
        ({"max_device_bytes": None}, ValueError, "`max_device_bytes` must be a number ≥ 0"),
        ({"validation_data": 0.2}, TypeError, r"data=0\.2\. .* `train, validation = frames.split"),
        ({"validation_data": "test"}, TypeError, "`validation_data` must be `Frames`"),
        ({"validation_data": (X, Y, Y, Y)}, TypeError, "`validation_data` must be `Frames`"),
    ],
)
def test_what_makes_no_sense_is_told(wrong, error, message, simple):
    model, before = simple
    put_back(model, before)
    with pytest.raises(error, match=message):
        fit(model, FULL, verbose=0, **wrong)
    assert_same(contents(model), before)


def test_a_loss_of_ones_own_needs_no_targets():
    class Small(keras.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            assert y is None
            weight = 1.0 if sample_weight is None else sample_weight
            return ops.mean(weight * ops.square(y_pred[:, 0]))

    def make():
        model = seeded(Small([keras.Input((2, 1)), layers.Flatten(), layers.Dense(1)]))
        model.compile("sgd")
        return model

    own, theirs = make(), make()
    fit(own, (X, None), batch_size=5, shuffle=False, verbose=0)
    keras_fit(theirs, (X, None), batch_size=5)
    assert_same(trained(own), trained(theirs), atol=1e-6)
    before = own.get_weights()
    fit(own, (X, None, 0 * WEIGHT), batch_size=5, verbose=0)  # Keras would drop the weights
    assert_same(own.get_weights(), before)
    with pytest.raises(ValueError, match=r"`class_weight` is for .*Received: no targets"):
        fit(make(), (X, None), class_weight={0: 2.0}, verbose=0)


def test_classes_weigh_one_output_only():
    inputs = keras.Input((2, 1))
    parts = [layers.Dense(1, name=name)(layers.Flatten()(inputs)) for name in "ab"]
    model = compiled(keras.Model(inputs, parts), loss=["mse", "mse"])
    with pytest.raises(ValueError, match=r"`class_weight` is for .* a single output.*several"):
        fit(model, (X, [Y, Y]), class_weight={0: 2.0}, verbose=0)


@pytest.mark.parametrize(
    ("return_sequences", "horizon", "columns", "symbols"),
    [
        (False, 3, None, True),
        (True, 1, [0, 1], False),
        (True, 3, None, False),
        (True, 3, None, True),
    ],
)
def test_rows_that_run_out_of_data_count_for_nothing(return_sequences, horizon, columns, symbols):
    """Whatever axes a target has, Keras's own fit takes the lanes' weights, and trains the same."""
    steps, features = 4, 2 if columns else 1
    outputs = 5 if symbols else features if columns and len(columns) > 1 else 1
    sequences = [numbers(n, features)[:, : features if columns else None] for n in (50, 37, 21)]
    if symbols:
        sequences = [np.arange(n) * 7 % 5 for n in (50, 37, 21)]
    options = {"return_sequences": return_sequences, "horizon": horizon}
    framer = SequenceFramer(steps, sequence_stride=steps, **options)
    given = sequences if columns or symbols else [sequence[:, 0] for sequence in sequences]
    lanes = framer.frame(given, targets=columns).lanes(2)
    assert not np.concatenate([weight.ravel() for _, _, weight in lanes]).all()

    def make():
        inputs = keras.Input((steps, features), batch_size=2)
        hidden = layers.SimpleRNN(3, stateful=True, return_sequences=return_sequences)(inputs)
        found = layers.Dense(horizon * outputs)(hidden)
        if horizon > 1:
            each = (horizon, outputs) if symbols or columns else (horizon,)
            found = layers.Reshape(((steps,) if return_sequences else ()) + each)(found)
        model = seeded(keras.Model(inputs, found))
        ids = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        metric = "sparse_categorical_accuracy" if symbols else "mae"
        model.compile("sgd", ids if symbols else "mse", weighted_metrics=[metric])
        return model

    ours, theirs = make(), make()
    history = fit(ours, lanes, epochs=2, verbose=0)
    expected = theirs.fit(
        lanes.dataset(),
        epochs=2,
        verbose=0,
        shuffle=False,
        callbacks=[StatefulTrainer(lanes=lanes)],
    )
    assert_same(history.history, expected.history, atol=1e-5)
    assert_same(ours.get_weights(), theirs.get_weights(), atol=1e-5)
