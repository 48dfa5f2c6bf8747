"""fit gives the weights and the History of Keras's own fit."""

import csv

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import (
    Counter,
    Slices,
    assert_same,
    compiled,
    contents,
    numbers,
    put_back,
    recurrent,
    seeded,
)

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

BACKEND = keras.backend.backend()
TORCH = BACKEND == "torch"  # It has no program to trace: layers run at each step.
SAMPLES, BATCH, EPOCHS = 10, 4, 2  # two full batches and a smaller last one
X = numbers(SAMPLES, 2, 1)
ONE_HOT = np.eye(3, dtype="float32")[np.arange(SAMPLES) % 3]
Y = numbers(SAMPLES, 1, seed=1)
WEIGHT = np.linspace(0, 2, SAMPLES, dtype="float32")
FULL = X[:8], Y[:8]  # four batches of 2
SEQUENCES = [numbers(7, seed=2), numbers(5, seed=3), numbers(6, seed=4)]
FRAMES = SequenceFramer(2, gap=1).frame(SEQUENCES)
LANES = SequenceFramer(1).frame(SEQUENCES).lanes(2)
ONE = SequenceFramer(1).frame(numbers(9, seed=5)).lanes(2)


def classifier(loss="sparse_categorical_crossentropy", **kwargs):
    inputs = keras.Input((2, 1))
    outputs = layers.Dense(3, activation="softmax")(layers.SimpleRNN(2)(inputs))
    return compiled(seeded(keras.Model(inputs, outputs)), loss=loss, **kwargs)


def metered():
    f1 = keras.metrics.F1Score(average=None)  # several numbers
    one_hot = "categorical_crossentropy"
    return classifier(one_hot, metrics=["accuracy", f1], weighted_metrics=["accuracy"])


def regressor(optimizer="sgd", **kwargs):
    return compiled(recurrent(**kwargs), optimizer)


def regularised_on_a_schedule():
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    return regressor(keras.optimizers.Adam(rate), kernel_regularizer="l2")


def accumulating():
    return regressor(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))


class WithoutTargets(keras.Sequential):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        assert y is None
        return ops.mean(ops.square(y_pred[:, 0]))


class OwnMetrics(keras.Sequential):
    mean = keras.metrics.Mean(name="mean")

    @property
    def metrics(self):
        return [self.mean]

    def compute_loss(self, *args, **kwargs):
        loss = super().compute_loss(*args, **kwargs)
        self.mean.update_state(loss)
        return loss


def dense(*more, kind=keras.Sequential, optimizer="sgd", **kwargs):
    """Return a small model that is quick to compile, with more layers before its last."""
    inner = [keras.Input((2, 1)), *more, layers.Flatten(), layers.Dense(1)]
    return compiled(seeded(kind(inner)), optimizer, **kwargs)


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


STEPS = [numbers(12, 2, seed=1), numbers(9, 2, seed=2)]
STEP_WEIGHTS = [np.abs(numbers(12, seed=5)), np.abs(numbers(9, seed=6))]
# Several sequences, a future, weights of steps, and a missing step.
FORECASTS = SequenceFramer(3, horizon=2).frame(
    STEPS,
    targets=1,
    future=[numbers(14, 2, seed=3), numbers(9, 2, seed=4)],
    sample_weight=STEP_WEIGHTS,
    valid=[np.arange(12) != 5, np.ones(9, bool)],
)
WEIGHTED = SequenceFramer(2).frame(numbers(9), sample_weight=np.abs(numbers(7, seed=1)))
WEIGHTED_LANES = (
    SequenceFramer(2, return_sequences=True, sequence_stride=2)
    .frame(STEPS, targets=[0], sample_weight=STEP_WEIGHTS)
    .lanes(2)
)
# Rows run out of data, and targets have an axis of steps and one of the horizon.
IDS = (
    SequenceFramer(4, sequence_stride=4, return_sequences=True, horizon=3)
    .frame([np.arange(n) * 7 % 5 for n in (50, 37, 21)])
    .lanes(2)
)


def weighted_stateful():
    steps = layers.SimpleRNN(2, return_sequences=True, stateful=True)
    inputs = keras.Input((2, 2), batch_size=2)
    model = seeded(keras.Sequential([inputs, steps, layers.Dense(1)]))
    return compiled(model, weighted_metrics=["mae"])


def next_ids():
    inputs = keras.Input((4, 1), batch_size=2)
    hidden = layers.SimpleRNN(3, stateful=True, return_sequences=True)(inputs)
    model = seeded(keras.Model(inputs, layers.Reshape((4, 3, 5))(layers.Dense(15)(hidden))))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return compiled(model, loss=loss, weighted_metrics=["sparse_categorical_accuracy"])


def joined(batches):
    return tuple(np.concatenate(arrays) for arrays in zip(*batches, strict=True))


def with_lanes(lanes):
    return {"callbacks": [lambda: StatefulTrainer(lanes=lanes)]}


CLASS_WEIGHT = {"class_weight": {0: 0.5, 1: 1.0, 2: 3.0}}
# What makes the model, what seqframe.fit takes, what Keras's fit takes, and what both take.
CASES = {
    "metrics and sample weights": (metered, *[(X, ONE_HOT, WEIGHT)] * 2, {}),
    "one batch smaller than asked for": (metered, *[(X[:3], ONE_HOT[:3])] * 2, CLASS_WEIGHT),
    "L2 and a schedule": (regularised_on_a_schedule, *[(X, Y)] * 2, {}),
    "gradient accumulation": (accumulating, *[(X, Y)] * 2, {}),
    "an own loss without targets": (lambda: dense(kind=WithoutTargets), *[(X, None)] * 2, {}),
    "own metrics": (lambda: dense(kind=OwnMetrics), *[(X, Y)] * 2, {}),
    "frames": (regressor, FRAMES, FRAMES.arrays(), {}),
    "frames with a future and weights": (forecaster, FORECASTS, FORECASTS.arrays(), {}),
    "a weight a frame": (regressor, WEIGHTED, WEIGHTED.arrays(), {}),
    "stateful arrays": (stacked, *[(X, Y)] * 2, {"callbacks": [StatefulTrainer]}),
    "lanes": (stateful, LANES, joined(LANES), with_lanes(LANES)),
    "weighted lanes": (
        weighted_stateful,
        WEIGHTED_LANES,
        joined(WEIGHTED_LANES),
        with_lanes(WEIGHTED_LANES),
    ),
    "lanes of ids with a horizon": (next_ids, IDS, joined(IDS), with_lanes(IDS)),
}


def trained(model):
    """Return what training changes: weights, optimizer variables and states."""
    states = get_states(model) if stateful_layers(model) else []
    optimizer = [ops.convert_to_numpy(v).copy() for v in model.optimizer.variables]
    return [model.get_weights(), optimizer, states]


def keras_fit(model, arrays, batch_size=BATCH, **kwargs):
    x, y, *weight = arrays
    given = {"sample_weight": weight[0] if weight else None, "batch_size": batch_size, **kwargs}
    return model.fit(x, y, shuffle=False, verbose=0, **given)


def in_order(model, data, batch_size=BATCH, **kwargs):
    """Train by seqframe, in the order of the data."""
    return fit(model, data, batch_size=batch_size, shuffle=False, verbose=0, **kwargs)


def by_both(make, data, arrays=None, callbacks=lambda name: [], **kwargs):
    """Train one model by seqframe and one by Keras, and assert that they are the same.

    Returns:
        the models, the callbacks and the histories, each in pairs.
    """
    results = []
    for name, train, given in ("seqframe", in_order, data), ("keras", keras_fit, arrays or data):
        model, made = make(), callbacks(name)
        history = train(model, given, callbacks=list(made), **kwargs)
        results.append((model, made, history))
    (ours, _, own), (theirs, _, expected) = results
    assert own.epoch == expected.epoch
    assert list(own.history) == list(expected.history)
    assert_same(own.history, expected.history, atol=1e-4)
    assert_same(trained(ours), trained(theirs), atol=1e-5)
    return zip(*results, strict=True)


@pytest.mark.xla
@pytest.mark.usefixtures("every_form")
@pytest.mark.parametrize("case", CASES)
def test_fit_equals_keras(case):
    make, data, arrays, kwargs = CASES[case]
    given = {**kwargs, "batch_size": 2 if "callbacks" in kwargs else BATCH, "epochs": EPOCHS}
    makers = given.pop("callbacks", [])
    by_both(make, data, arrays, lambda name: [make() for make in makers], **given)


@pytest.mark.xla
@pytest.mark.usefixtures("every_form")
def test_fit_equals_keras_in_mixed_precision():
    weights = []
    for train in in_order, keras_fit:
        model = regressor(dtype="mixed_bfloat16")
        train(model, FULL, epochs=EPOCHS)
        weights.append(model.get_weights())
    assert_same(weights[0], weights[1], atol=1e-2)


# Keras's own call.


def two_inputs(kind=dict):
    one, other = keras.Input((2, 1), name="one"), keras.Input((2, 1), name="other")
    read = layers.SimpleRNN(2)(layers.Concatenate()([one, other]))
    inputs = {"one": one, "other": other} if kind is dict else [one, other]
    return compiled(seeded(keras.Model(inputs, layers.Dense(1)(read))), weighted_metrics=["mae"])


def two_outputs():
    inputs = keras.Input((2, 1))
    outputs = {name: layers.Dense(1, name=name)(layers.Flatten()(inputs)) for name in "ab"}
    return compiled(seeded(keras.Model(inputs, outputs)), loss={"a": "mse", "b": "mae"})


LABELS = np.arange(SAMPLES) % 3
# What makes the model, and the arguments of both calls.
CALLS = {
    "a share is held out": (regressor, (X, Y), {"validation_split": 0.3}),
    "with weights": (regressor, (X, Y), {"validation_split": 0.35, "sample_weight": WEIGHT}),
    "with class weights": (classifier, (X, LABELS), {"validation_split": 0.2, **CLASS_WEIGHT}),
    "data go before a share": (
        regressor,
        (X, Y),
        {"validation_split": 0.5, "validation_data": (X[:3], Y[:3], WEIGHT[:3])},
    ),
    "a few steps of smaller batches": (
        regressor,
        (X, Y),
        {"validation_data": [X, Y], "validation_steps": 2, "validation_batch_size": 3},
    ),
    "more steps than batches": (
        regressor,
        (X, Y),
        {"validation_data": (X, Y), "validation_steps": 5, "validation_freq": 2},
    ),
    "steps instead of a batch size": (
        regressor,
        (X, Y),
        {"steps_per_epoch": 3, "batch_size": None},
    ),
    "a dict of inputs": (two_inputs, ({"one": X, "other": -X}, Y), {"validation_split": 0.3}),
    "a list of inputs": (
        lambda: two_inputs(list),
        ([X, -X], Y),
        {"validation_data": ([X, X], Y), "sample_weight": WEIGHT},
    ),
    "a dict of targets": (two_outputs, (X[:8], {"a": Y[:8], "b": -Y[:8]}), {}),
    "no targets": (lambda: dense(kind=WithoutTargets), (X,), {"validation_split": 0.4}),
    "inputs without their last axis": (dense, (X[..., 0], Y), {}),
}


@pytest.mark.parametrize("call", CALLS)
def test_keras_own_call_gives_what_keras_gives(call):
    make, data, kwargs = CALLS[call]
    given = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0, **kwargs}
    ours, keras_own = make(), make()
    history, expected = fit(ours, *data, **given), keras_own.fit(*data, **given)
    assert list(history.history) == list(expected.history)
    assert_same(history.history, expected.history, atol=1e-4)
    assert_same(trained(ours), trained(keras_own), atol=1e-5)


# Validation.


def by_seqframe(model, data, **kwargs):
    return fit(model, data, batch_size=2, epochs=2, seed=1, verbose=0, **kwargs)


def by_keras(model, data, **kwargs):
    callbacks = [StatefulTrainer()]
    return keras_fit(model, data, batch_size=2, epochs=2, callbacks=callbacks, **kwargs)


VALIDATED = {
    "stateless": (by_seqframe, metered, ONE_HOT, (X[::-1][:5] + 1, ONE_HOT[:5], WEIGHT[:5])),
    "stateful": (by_seqframe, stacked, Y, (X[::-1][:6] + 1, Y[:6])),
    "stateful by Keras": (by_keras, stacked, Y, (X[::-1][:6] + 1, Y[:6])),
}


@pytest.mark.parametrize("case", VALIDATED)
def test_validation_does_not_change_training(case):
    train, make, y, validation = VALIDATED[case]
    model = make()
    before = contents(model)
    plain = train(model, (X, y)).history
    after = trained(model)
    put_back(model, before)
    validated = train(model, (X, y), validation_data=validation).history
    assert_same(trained(model), after)
    assert_same({name: validated[name] for name in plain}, plain)
    x, y, *weight = validation
    trainers = [StatefulTrainer()] if make is stacked else []
    given = {"sample_weight": weight[0] if weight else None, "callbacks": trainers}
    expected = model.evaluate(x, y, batch_size=2, verbose=0, return_dict=True, **given)
    assert_same({name: validated[f"val_{name}"][-1] for name in expected}, expected, atol=1e-5)


def test_validation_takes_frames_lanes_lists_and_datasets():
    """Weights that do not change have the same loss in training and in validation."""
    model = regressor(keras.optimizers.SGD(0.0), batch_size=2, steps=1)
    pair = X[:8, :1], Y[:8]
    # Training counts all rows of lanes, validation only frames.
    idle = 2 * len(LANES) / len(LANES.frames)
    for data, validation, more in [
        (LANES, LANES, idle),
        (LANES, LANES.frames, idle),
        (pair, list(pair), 1.0),
        (pair, Slices(pair, 2), 1.0),
    ]:
        history = fit(model, data, epochs=2, verbose=0, validation_data=validation).history
        assert_same(history["val_loss"], [more * loss for loss in history["loss"]], atol=1e-6)


@pytest.mark.parametrize("validation_freq", [2, [1, 3]])
def test_validation_frequency_equals_keras(validation_freq):
    given = {"validation_data": FULL, "validation_freq": validation_freq, "epochs": 4}
    *_, (history, _) = by_both(dense, FULL, **given)
    assert len(history.history["val_loss"]) == 2


# Epochs and callbacks: one model, and its numbers at the beginning.


@pytest.fixture(scope="module")
def simple():
    model = dense(optimizer="adam")
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
    """Looks at each epoch, so that epochs do not share a call."""

    def on_epoch_end(self, epoch, logs=None):
        pass


@pytest.mark.parametrize(
    "kwargs",
    [
        {"callbacks": [Looker()]},  # epoch by epoch
        {"steps_per_execution": 3, "callbacks": Looker()},  # 4 steps: 3 and 1
        {"steps_per_execution": 99},
        {"callbacks": [keras.callbacks.LambdaCallback(on_train_batch_end=lambda k, logs: None)]},
        {"verbose": 2},
        {"verbose": 1},
    ],
)
def test_any_number_of_steps_a_call_gives_the_same(kwargs, simple):
    assert_same(simple_fit(simple, **kwargs), simple_fit(simple))


@pytest.mark.xla
def test_stateful_epochs_in_one_call_equal_single_epochs():
    model = stateful()
    before = contents(model)
    results = []
    for callbacks in [], [Looker()]:
        put_back(model, before)
        history = fit(model, LANES, epochs=5, verbose=0, callbacks=callbacks)
        results.append((history.history, trained(model)))
    assert_same(*results)


# PyTorch refuses 2 steps an execution.
@pytest.mark.parametrize(("steps", "size"), [(1, 8), (1, 7)] if TORCH else [(1, 8), (1, 7), (2, 8)])
def test_callbacks_get_the_batch_numbers_of_keras(steps, size):
    events = []
    for train in in_order, keras_fit:
        record, model = recorder(), dense(steps_per_execution=steps)
        given = {"epochs": 2, "callbacks": [record], "validation_data": (X[:2], Y[:2])}
        train(model, (X[:size], Y[:size]), batch_size=2, **given)
        events.append(record.events)
    assert events[0] == events[1]
    assert ("on_train_batch_end", 3) in events[0]


def test_initial_epoch_continues_an_earlier_fit(simple):
    model, _ = simple
    whole = simple_fit(simple, epochs=4)
    simple_fit(simple, epochs=2)
    record = recorder()
    given = {"epochs": 4, "initial_epoch": 2, "callbacks": [record]}
    history = fit(model, FULL, batch_size=2, seed=3, verbose=0, **given)
    assert_same(trained(model), whole[1])
    assert history.epoch == [2, 3]
    assert [n for name, n in record.events if name == "on_epoch_end"] == [2, 3]


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_end"])
def test_stop_training_ends_where_keras_ends(hook):
    class Stop(keras.callbacks.Callback):
        pass

    def stop(self, *args, **kwargs):
        self.model.stop_training = True

    setattr(Stop, hook, stop)
    given = {"batch_size": 2, "epochs": 2, "callbacks": lambda name: [Stop()]}
    (model, _), *_ = by_both(dense, FULL, **given)
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 1


def test_early_stopping_restores_the_best_weights(simple):
    # The loss falls, so by "max" the first epoch is the best.
    stop = keras.callbacks.EarlyStopping("loss", patience=1, mode="max", restore_best_weights=True)
    history, after = simple_fit(simple, callbacks=[stop])
    assert len(history["loss"]) == 2
    assert_same(after[0], simple_fit(simple, epochs=1)[1][0])


def test_a_backup_resumes_training(tmp_path):
    seen = []

    class Crash(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(epoch)
            if seen == [0, 1]:
                raise KeyboardInterrupt

    for _ in range(2):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        try:
            fit(dense(), (X, Y), epochs=3, callbacks=[backup, Crash()], verbose=0)
        except KeyboardInterrupt:
            continue
    assert seen == [0, 1, 1, 2]


def test_batch_hooks_of_a_derived_callback_are_called(tmp_path):
    seen = []

    class Own(keras.callbacks.ModelCheckpoint):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)

    fit(dense(), FULL, batch_size=3, verbose=0, callbacks=[Own(str(tmp_path / "model.keras"))])
    assert seen == [0, 1, 2]


def rows_of(path):
    with path.open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_callbacks_write_and_see_the_same_as_in_keras(tmp_path):
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

    given = {"batch_size": 2, "epochs": 3, "validation_data": FULL, "callbacks": callbacks}
    *_, (history, _) = by_both(lambda: dense(optimizer="adam"), FULL, **given)
    assert seen["seqframe"] == seen["keras"]
    assert len(set(history.history["learning_rate"])) > 1
    own, theirs = tmp_path / "seqframe", tmp_path / "keras"
    files = sorted(path.name for path in theirs.iterdir())
    assert sorted(path.name for path in own.iterdir()) == files
    assert "step2.keras" in files
    assert_same(rows_of(own / "log.csv"), rows_of(theirs / "log.csv"), atol=1e-5)
    for name in set(files) - {"log.csv"}:
        saved = dense(optimizer="adam"), dense(optimizer="adam")
        for model, folder in zip(saved, (own, theirs), strict=True):
            model.load_weights(folder / name)
        assert_same(trained(saved[0]), trained(saved[1]), atol=1e-5)


def test_swapped_ema_weights_equal_keras():
    def make():
        return dense(optimizer=keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5))

    swap = lambda name: [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]  # noqa: E731
    by_both(make, FULL, batch_size=2, epochs=2, validation_data=FULL, callbacks=swap)


# The shuffle.


def test_seed_determines_the_order(simple):
    same = [simple_fit(simple, seed=7, shuffle=shuffle) for shuffle in (None, True)]
    assert_same(*same)
    for other in {"seed": 8}, {"shuffle": False}, {"seed": None}:
        assert not np.array_equal(simple_fit(simple, **other)[1][0][0], same[0][1][0][0])
    one, other = (simple_fit(simple, seed=None)[1][0][0] for _ in range(2))
    assert not np.array_equal(one, other)


# Models that are not built yet, and data that are not in Keras's precision.


def test_an_unbuilt_stateful_model_trains():
    model = keras.Sequential([layers.SimpleRNN(2, stateful=True), layers.Dense(1)])
    model.compile("sgd", "mse")
    fit(model, (X, Y), batch_size=2, verbose=0)
    assert [state.shape for state in get_states(model)[0]] == [(2, 2)]


def test_numbers_reach_the_model_in_keras_precision():
    """NumPy's numbers are float64. A loss that does not cast must not see that."""

    class Own(keras.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(y - y_pred))

    model = compiled(Own([keras.Input((2, 1)), layers.SimpleRNN(1)]))
    for data in (X.astype("float64"), Y.astype("float64")), FRAMES:
        fit(model, data, verbose=0)


class Doubles(layers.Layer):
    """Changes its input in place if the backend can."""

    def call(self, x):
        return x.mul_(2) if TORCH else 2 * x


@pytest.mark.parametrize("limit", [2**30, 0])
def test_the_users_data_are_never_changed(limit):
    model, values = dense(Doubles()), numbers(40)
    arrays = X.copy(), Y.copy()
    for data, inputs in (arrays, arrays[0]), 2 * (SequenceFramer(2).frame(values),):
        in_order(model, data, max_device_bytes=limit)
        evaluate(model, data, batch_size=BATCH, verbose=0, max_device_bytes=limit)
        predict(model, inputs, batch_size=BATCH, verbose=0, max_device_bytes=limit)
    assert_same([*arrays, values], [X, Y, numbers(40)])


# Compilation.


def test_one_program_trains_other_data_in_another_order():
    counter = Counter()
    model = dense(counter)
    fit(model, FULL, batch_size=2, epochs=1, verbose=0, validation_data=FULL)
    before = counter.calls
    other = X[2:] + 1, Y[2:] * 2
    for kwargs in {"epochs": 3}, {"shuffle": False}, {"seed": 5, "steps_per_execution": 3}:
        fit(model, other, batch_size=2, verbose=0, validation_data=other, **kwargs)
    assert counter.calls - before == (5 * 8 if TORCH else 0)


@pytest.mark.xla
@pytest.mark.usefixtures("every_form")
def test_compiling_again_uses_the_new_optimizer_loss_and_frozen_weights():
    model = dense(kind=OwnMetrics, optimizer=keras.optimizers.SGD(0.1))
    fit(model, FULL, batch_size=2, verbose=0)
    optimizer = keras.optimizers.SGD(0.0)
    model.compile(optimizer, "mse")
    before = model.get_weights()
    fit(model, FULL, batch_size=2, verbose=0)
    assert_same(model.get_weights(), before)
    model.compile(optimizer, "mae")  # the same optimizer and metrics
    mean = fit(model, FULL, batch_size=8, verbose=0).history["mean"]
    expected = np.abs(predict(model, FULL[0], verbose=0) - FULL[1]).mean()
    np.testing.assert_allclose(mean, expected, rtol=1e-6)
    model.layers[-1].trainable = False
    model.add(layers.Dense(1))
    model.compile("sgd", "mse")
    frozen, free = model.layers[-2].get_weights(), model.layers[-1].get_weights()
    fit(model, FULL, batch_size=2, verbose=0)
    assert_same(model.layers[-2].get_weights(), frozen)
    assert not np.array_equal(model.layers[-1].get_weights()[0], free[0])


def test_every_jit_compile_trains_the_same():
    """Under PyTorch, the argument or Keras's own switch asks for `torch.compile`."""
    weights = []
    for switch, choice in [(False, False), (False, "auto"), (False, True), (True, "auto")]:
        model = dense(jit_compile=switch)
        in_order(model, (X, Y), batch_size=5, epochs=2, jit_compile=choice)
        weights.append(model.get_weights())
    for other in weights[1:]:
        assert_same(other, weights[0], atol=1e-5)


only_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="elsewhere a step is compiled in one way only"
)


@only_tensorflow
@pytest.mark.parametrize("operation", ["strings", "Python"])
def test_programs_that_xla_refuses_run_as_a_graph(operation, caplog, monkeypatch):
    import tensorflow as tf

    class Foreign(layers.Layer):
        def call(self, x):
            if operation == "Python":
                return tf.ensure_shape(tf.py_function(lambda v: 1 * v, [x], tf.float32), x.shape)
            return x * tf.cast(tf.strings.length(tf.strings.as_string(x)) > 0, tf.float32)

    monkeypatch.setattr("seqframe.training.programs._PAYBACK", 0.0)  # XLA is tried
    weights = []
    for choice in "auto", False:
        model = dense(Foreign(name="foreign"))
        with caplog.at_level("INFO", "seqframe"):
            for _ in range(2):
                fit(model, FULL, batch_size=2, seed=1, epochs=9, verbose=0, jit_compile=choice)
        weights.append(model.get_weights())
    assert "XLA cannot compile the layer 'foreign'" in caplog.text
    assert_same(*weights)

    before = contents(model)
    with pytest.raises(ValueError, match=r"(?s)layer 'foreign'.* `jit_compile=False`"):
        fit(model, FULL, batch_size=2, verbose=0, jit_compile=True)
    assert_same(contents(model), before)


@only_tensorflow
def test_strings_never_reach_xla():
    """They would end the process."""
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
        in_order(model, (text, y), batch_size=3, max_device_bytes=limit)
        assert_same(trained(model), expected, atol=1e-6)
    predictions = predict(model, text, verbose=0)
    np.testing.assert_allclose(predictions, model(tf.constant(text)), atol=1e-6)
    with pytest.raises(ValueError, match="given strings"):
        fit(model, (text, y), verbose=0, jit_compile=True)


def test_the_time_of_compilation_is_logged_and_printed(caplog, capsys, monkeypatch):
    if not TORCH:  # which compiles nothing
        monkeypatch.setattr("seqframe.training.programs._WORTH_TELLING", 0.0)
    model = dense()
    with caplog.at_level("INFO", "seqframe"):
        for _ in range(2):
            fit(model, FULL, batch_size=2, verbose=2)
    expected = [] if TORCH else ["Compiled the training step in"]
    assert [record.getMessage()[:29] for record in caplog.records] == expected
    assert capsys.readouterr().out.count("Compiled the training step in") == len(expected)


def test_a_loss_scale_continues_from_fit_to_fit():
    found = []
    for train in keras_fit, in_order:
        inner = keras.optimizers.SGD(0.01)
        scaled = keras.optimizers.LossScaleOptimizer(
            inner, initial_scale=8.0, dynamic_growth_steps=2
        )
        model = dense()
        model.compile(scaled, "mse")
        for _ in range(3):
            train(model, FULL, batch_size=2)
            scale = float(ops.convert_to_numpy(scaled.dynamic_scale))
            found.append((scale, len(scaled.variables)))
    assert found[:3] == found[3:]
    assert found[0][0] < found[1][0] < found[2][0]


# Errors and interruptions.


def test_interrupted_validation_on_a_dataset_leaves_the_training_state():
    class Interrupted(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    states = []
    pair = X[:8, :1], Y[:8]
    for more in {}, {"validation_data": Slices(pair, 2)}:
        model, callbacks = stateful(), [StatefulTrainer("never"), Interrupted()]
        try:
            fit(model, pair, callbacks=callbacks, verbose=0, **more)
        except KeyboardInterrupt:
            assert more
        states.append(get_states(model))
    assert not hasattr(model.test_function, "plain")
    assert np.abs(states[0][0][0]).min() > 0
    assert_same(*states)


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
def test_an_error_while_tracing_leaves_the_model_as_it_was(wrong):
    metrics = [] if wrong == "loss" else [BadMetric(wrong)]
    model = recurrent(batch_size=2, steps=1)
    compiled(model, "adam", failing if wrong == "loss" else "mse", metrics=metrics)
    set_states(model, [[np.ones((2, 2), "float32")]])
    before, trainer = contents(model), StatefulTrainer()
    for use in fit, evaluate:
        with pytest.raises(RuntimeError, match="this cannot be traced"):
            use(model, LANES, verbose=0, callbacks=[trainer])
        assert_same(contents(model), before)
    compiled(model, "adam", metrics=[])
    fit(model, LANES, verbose=0, callbacks=[trainer])
    assert not np.array_equal(model.get_weights()[0], before[0][0])


def interrupt(*args, **kwargs):
    raise KeyboardInterrupt


def test_an_interrupted_model_trains_on():
    model = regressor("adam", batch_size=2, steps=1)
    names = [variable.path for variable in model.variables]
    for hook, kwargs in {
        "on_train_begin": {},
        "on_train_batch_end": {},
        "on_epoch_end": {"validation_data": LANES},
    }.items():
        callback = keras.callbacks.LambdaCallback(**{hook: interrupt})
        with pytest.raises(KeyboardInterrupt):
            fit(model, LANES, epochs=3, verbose=0, callbacks=[callback], **kwargs)
    assert [variable.path for variable in model.variables] == names
    assert int(model.optimizer.iterations) == 1 + len(LANES)

    twin = regressor("adam", batch_size=2, steps=1)
    put_back(twin, contents(model))
    fit(model, LANES, verbose=0)
    keras_fit(twin, joined(LANES), batch_size=2, callbacks=[StatefulTrainer(lanes=LANES)])
    assert_same(trained(model), trained(twin), atol=1e-5)
    assert len(predict(model, LANES, verbose=0)) == len(LANES.frames)


def test_integers_of_numpy_are_integers(simple):
    model, before = simple
    given = dict(epochs=2, initial_epoch=1, batch_size=3, seed=1, steps_per_execution=2)
    given |= dict(validation_steps=1, validation_batch_size=2, validation_freq=2)
    found = []
    for kind in (int, np.int64):
        put_back(model, before)
        as_kind = {name: kind(value) for name, value in given.items()}
        history = fit(model, FULL, validation_data=FULL, verbose=0, **as_kind).history
        found += [[list(history.values()), predict(model, X, batch_size=kind(3), verbose=0)]]
    assert_same(found[1], found[0], atol=0)
    assert StatefulTrainer(np.int64(3)).reset == 3


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"steps_per_execution": -1}, ValueError),
        ({"batch_size": 2.5}, TypeError),
        ({"seed": -1}, ValueError),
        ({"epochs": -1}, ValueError),
        ({"initial_epoch": -1}, ValueError),
        ({"validation_freq": [1, 0]}, ValueError),
        ({"validation_freq": "2"}, TypeError),
        ({"jit_compile": "yes"}, ValueError),
        ({"max_device_bytes": None}, ValueError),
        ({"validation_data": 0.2}, TypeError),
        ({"validation_data": "test"}, TypeError),
        ({"validation_data": (X, Y, Y, Y)}, TypeError),
    ],
)
def test_wrong_arguments_are_refused(wrong, error, simple):
    model, before = simple
    put_back(model, before)
    (name,) = wrong
    with pytest.raises(error, match=f"`{name}`"):
        fit(model, FULL, verbose=0, **wrong)
    assert_same(contents(model), before)
