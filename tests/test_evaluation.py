"""evaluate and predict give Keras's numbers, and leave the model as it was."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import (
    Counter,
    assert_same,
    compiled,
    contents,
    numbers,
    recurrent,
    run,
    seeded,
)

from seqframe import (
    SequenceFramer,
    StatefulTrainer,
    evaluate,
    fit,
    get_states,
    predict,
    reset_states,
    set_states,
)
from seqframe.backend.internals import all_layers
from seqframe.training import schedule

BACKEND = keras.backend.backend()
SAMPLES = 10
X = numbers(SAMPLES, 2, 1)
Y = numbers(SAMPLES, 1, seed=1)
LABELS = np.arange(SAMPLES) % 3
WEIGHT = np.linspace(0, 2, SAMPLES, dtype="float32")


def features(x):
    return layers.Flatten()(Counter()(x))


def metered():
    inputs = keras.Input((2, 1))
    outputs = layers.Dense(3, activation="softmax")(features(inputs))
    return compiled(
        seeded(keras.Model(inputs, outputs)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        weighted_metrics=[keras.metrics.SparseCategoricalCrossentropy(name="entropy")],
    )


def of_two_outputs(nest):
    inputs = keras.Input((2, 1))
    outputs = [
        layers.Dense(units, name=name)(features(inputs)) for name, units in (("b", 1), ("a", 2))
    ]
    model = seeded(keras.Model(inputs, nest(outputs)))
    return compiled(model, loss=nest(["mse", "mae"]), metrics=nest([["mae"], ["mse"]]))


def by_name(both):
    return dict(zip("ba", both, strict=True))


class Undeclared(keras.Model):
    """A model that declares no shapes, and takes one input or a past and a future."""

    def __init__(self):
        super().__init__()
        self.counter, self.dense = Counter(), layers.Dense(1)

    def call(self, inputs):
        parts = [layers.Flatten()(part) for part in keras.tree.flatten(inputs)]
        return self.dense(ops.concatenate([self.counter(part) for part in parts], axis=1))


def undeclared():
    model = Undeclared()
    model.compile("sgd", "mse", weighted_metrics=["mae"])
    return model


class OwnLogs(keras.Sequential):
    """Returns logs of its own, with names before and after Keras's names."""

    def test_step(self, *args):
        result = super().test_step(*args)
        logs, *rest = result if isinstance(result, tuple) else (result,)
        logs = {**logs, "zeta": 2 * logs["loss"], "alpha": 3 * logs["loss"]}
        return (logs, *rest) if rest else logs


def with_own_logs():
    return compiled(
        seeded(OwnLogs([keras.Input((2, 1)), Counter(), layers.Flatten(), layers.Dense(1)]))
    )


STEPS = [numbers(9, 2, seed=1), numbers(8, 2, seed=2)]
FORECASTS = SequenceFramer(3, horizon=2).frame(
    STEPS, 1, future=STEPS, sample_weight=[np.abs(numbers(n, seed=n)) for n in (9, 8)]
)
PREFIXES = SequenceFramer(3, mode="prefixes").frame(numbers(8))
BOTH = [Y, numbers(SAMPLES, 2, seed=2)]
NAMED = X, by_name(BOTH), by_name([WEIGHT, WEIGHT[::-1].copy()])
# What makes the model, what seqframe takes, what Keras takes, and the batch size.
CASES = {
    "a smaller last batch": (metered, *[(X, LABELS, WEIGHT)] * 2, 4),
    "a list of outputs, one batch": (lambda: of_two_outputs(list), *[(X, BOTH)] * 2, 64),
    "a dict of outputs, weighted": (lambda: of_two_outputs(by_name), *[NAMED] * 2, 5),
    "own logs": (with_own_logs, *[(X, Y)] * 2, 5),
    "a past, a future and weights": (undeclared, FORECASTS, FORECASTS.arrays(), 3),
    "padded frames": (undeclared, PREFIXES, PREFIXES.arrays(), 3),
}


class Case:
    """A model, its data, and what seqframe returns the first time."""

    def __init__(self, make, data, arrays, batch_size):
        self.model, self.data, self.batch_size = make(), data, batch_size
        self.x, self.y, *weight = arrays
        self.weight = weight[0] if weight else None
        self.inputs = self.x if isinstance(data, tuple) else data
        predict(self.model, self.inputs, batch_size=batch_size, verbose=0)  # builds it
        self.before = contents(self.model)
        self.logs = self.evaluate()
        self.predictions = self.predict()

    def evaluate(self, **kwargs):
        kwargs = {"return_dict": True, **kwargs}
        return evaluate(self.model, self.data, batch_size=self.batch_size, verbose=0, **kwargs)

    def predict(self, **kwargs):
        return predict(self.model, self.inputs, batch_size=self.batch_size, verbose=0, **kwargs)

    def traces(self):
        counters = [layer for layer in all_layers(self.model) if isinstance(layer, Counter)]
        return sum(counter.calls for counter in counters)


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return Case(*CASES[request.param])


def test_the_model_stays_as_it_was(case):
    assert_same(contents(case.model), case.before)


def test_another_call_gives_the_same_and_compiles_nothing(case):
    case.evaluate(), case.predict()  # JAX's programs may have been freed since the first call
    before = case.traces()
    assert_same([case.evaluate(), case.predict()], [case.logs, case.predictions])
    if BACKEND != "torch":  # which has no program to trace: the layers run at each step
        assert case.traces() == before


def test_streamed_equals_resident(case, monkeypatch):
    monkeypatch.setattr(schedule, "_MOST_INDICES", 2 * case.batch_size)  # two steps a block
    streamed = [run(max_device_bytes=0) for run in (case.evaluate, case.predict)]
    # XLA rounds a program of other shapes differently in the last bit.
    assert_same(streamed, [case.logs, case.predictions], atol=1e-6)


@pytest.mark.xla
@pytest.mark.usefixtures("every_form")
def test_evaluate_equals_keras(case):
    given = {"sample_weight": case.weight, "batch_size": case.batch_size, "verbose": 0}
    expected = case.model.evaluate(case.x, case.y, return_dict=True, **given)
    assert_same(dict(sorted(case.logs.items())), dict(sorted(expected.items())), atol=1e-5)
    listed = case.model.evaluate(case.x, case.y, **given)
    assert_same(case.evaluate(return_dict=False), listed, atol=1e-5)


@pytest.mark.xla
@pytest.mark.usefixtures("every_form")
def test_predict_equals_keras(case):
    expected = case.model.predict(case.x, batch_size=case.batch_size, verbose=0)
    assert_same(case.predictions, expected, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 3, 9])  # of batches of 4, 4 and 2
def test_a_few_steps_equal_keras(steps, simple):
    given = {"batch_size": 4, "steps": steps, "verbose": 0}
    expected = simple.evaluate(X, Y, sample_weight=WEIGHT, **given)
    assert_same(evaluate(simple, X, Y, sample_weight=WEIGHT, **given), expected, atol=1e-5)
    assert_same(predict(simple, X, **given), simple.predict(X, **given), atol=1e-5)


# Stateful models.

MANY = [numbers(n, seed=n) for n in (7, 3, 5, 2)]
ONE = SequenceFramer(1).frame(numbers(10))
SEVERAL = SequenceFramer(1).frame(MANY)
HOLED = SequenceFramer(1).frame(MANY, valid=[np.arange(n) != 2 for n in (7, 3, 5, 2)])
WARM = [[np.full((2, 2), 0.3, "float32")]]


@pytest.fixture(scope="module")
def stateful():
    """Return a stateful model of two rows and its stateless twin, which takes whole sequences."""
    model = compiled(recurrent(batch_size=2, steps=1), weighted_metrics=["mae"])
    inputs = keras.Input((None, 1))
    rnn = layers.SimpleRNN(2, return_sequences=True)
    twin = keras.Sequential([inputs, rnn, layers.Dense(1)])
    twin.set_weights(model.get_weights())
    set_states(model, WARM)
    return model, twin


# The data, whether they are passed as lanes, and the frames between two resets of a row.
IN_LANES = {
    "one": (ONE, False, [9]),
    "lanes": (ONE, True, [9]),
    "many": (SEVERAL, True, [6, 2, 4, 1]),
    "holed": (HOLED, False, [1, 3, 1, 1, 1, 1]),
}


@pytest.mark.parametrize("name", IN_LANES)
def test_a_stateful_model_reads_each_sequence_from_a_fresh_state(name, stateful, monkeypatch):
    model, twin = stateful
    frames, in_lanes, sizes = IN_LANES[name]
    data = frames.lanes(2) if in_lanes else frames
    x, y = frames.arrays()
    parts = np.split(x.reshape(-1, 1), np.cumsum(sizes)[:-1])
    expected = np.concatenate([run(twin, part[None])[0] for part in parts])
    if in_lanes:
        monkeypatch.setattr(schedule, "_MOST_INDICES", 4)  # blocks of two steps, the last of one
    for limit in {} if in_lanes else {"max_device_bytes": 2**30}, {"max_device_bytes": 0}:
        predictions = predict(model, data, verbose=0, **limit)
        np.testing.assert_allclose(predictions, expected, atol=1e-5)
        assert_same(get_states(model), WARM)
        loss, mae = evaluate(model, data, verbose=0, **limit)
        errors = predictions[:, 0] - y
        np.testing.assert_allclose(loss, np.square(errors).mean(), rtol=1e-4)
        np.testing.assert_allclose(mae, np.abs(errors).mean(), rtol=1e-4)
        assert_same(get_states(model), WARM)


RECORDINGS = [numbers(n, 1, seed=n) for n in (9, 5, 3, 7)]
# In Keras's loop too, which runs models that are not compiled.
LOOPS = pytest.mark.parametrize("loop", [{}, {"run_eagerly": True}], ids=["program", "keras"])


@LOOPS
def test_results_depend_neither_on_other_sequences_nor_on_the_batch_size(loop):
    twin = recurrent(batch_size=1, steps=1, features=1, activation="tanh", unroll=True)
    expected, targets = [], []
    for recording in RECORDINGS:
        reset_states(twin)
        expected.append(np.concatenate([run(twin, x[None, None]) for x in recording[:-1]]))
        targets.append(recording[1:])
    for batch_size in 1, 2, 6:
        model = recurrent(batch_size=batch_size, steps=1, features=1, unroll=True)
        metrics = ["mae", keras.metrics.RootMeanSquaredError(name="root")]
        compiled(model, metrics=metrics, weighted_metrics=[keras.metrics.MeanSquaredError("wmse")])
        if loop:
            model.run_eagerly = True
        for count in 1, 2, 4:
            if loop and count > batch_size:
                continue  # Keras's loop cannot reset single rows
            frames = SequenceFramer(1).frame(RECORDINGS[:count])
            errors = np.concatenate(expected[:count]) - np.concatenate(targets[:count])
            mean, absolute = np.square(errors).mean(), np.abs(errors).mean()
            for data in [frames, frames.lanes(batch_size)]:
                found = predict(model, data, verbose=0)
                np.testing.assert_allclose(found, np.concatenate(expected[:count]), atol=1e-5)
                logs = evaluate(model, data, verbose=0, return_dict=True)
                shown = {"loss": mean, "mae": absolute, "root": mean**0.5, "wmse": mean}
                assert logs == pytest.approx(shown, rel=1e-4)


@LOOPS
def test_validation_of_a_stateful_model_equals_evaluation(loop):
    model = compiled(recurrent(batch_size=2, steps=1, unroll=True), weighted_metrics=["mae"])
    if loop:
        model.run_eagerly = True
    logs = fit(model, ONE, validation_data=ONE, verbose=0).history
    again = evaluate(model, ONE, verbose=0, return_dict=True)
    assert {f"val_{name}": [value] for name, value in again.items()}.items() <= logs.items()
    # Nothing of it stays with the model.
    x, y = numbers(2, 1, 1), numbers(2, 1)
    reset_states(model)
    expected = np.square(run(model, x) - y).mean()
    reset_states(model)
    assert model.evaluate(x, y, batch_size=2, verbose=0)[0] == pytest.approx(expected, rel=1e-4)


def test_sample_weights_count_beside_idle_rows(stateful):
    model, _ = stateful
    frames = SequenceFramer(1).frame(MANY[:1], sample_weight=[np.abs(numbers(7))])
    predictions = predict(model, frames, verbose=0)[:, 0]
    _, y, own = frames.arrays()
    loss, mae = evaluate(model, frames, verbose=0)
    np.testing.assert_allclose(loss, (own * np.square(predictions - y)).mean(), rtol=1e-4)
    np.testing.assert_allclose(mae, (own * np.abs(predictions - y)).sum() / own.sum(), rtol=1e-4)


def test_one_frame_is_enough_for_any_batch_size():
    model = recurrent(batch_size=4, steps=1)
    frame = SequenceFramer(1).frame(numbers(2))
    assert_same(predict(model, frame, verbose=0), predict(model, ONE, verbose=0)[:1], atol=1e-6)


def test_training_says_that_it_cuts(stateful, caplog):
    model = compiled(recurrent(batch_size=2, steps=1))
    with caplog.at_level("INFO", "seqframe"):
        fit(model, SEVERAL, verbose=0)
        assert "are cut into" not in caplog.text
        fit(model, ONE, verbose=0)
        assert "cut into 2 lanes" in caplog.text


def test_stateful_arrays_keep_their_order(stateful):
    model, _ = stateful
    x, y = X[:, :1], Y
    given = {"batch_size": 2, "verbose": 0, "callbacks": [StatefulTrainer()]}
    expected = model.predict(x, **given), model.evaluate(x, y, **given)
    found = predict(model, x, verbose=0), evaluate(model, (x, y), verbose=0)
    assert_same(found, expected, atol=1e-5)
    assert_same(get_states(model), WARM)


def test_the_trainers_initial_state_is_used(stateful):
    model, _ = stateful
    trainer = StatefulTrainer(initial_state=[[np.ones((2, 2), "float32")]])
    set_states(model, trainer.initial_state)
    expected = run(model, ONE.lanes(2)[0][0])
    set_states(model, WARM)
    predictions = predict(model, ONE, verbose=0, callbacks=[trainer])
    np.testing.assert_allclose(predictions[0], expected[0], atol=1e-6)
    assert_same(get_states(model), WARM)


# One small model.


@pytest.fixture(scope="module")
def simple():
    return compiled(
        seeded(keras.Sequential([keras.Input((2, 1)), layers.Flatten(), layers.Dense(1)]))
    )


@pytest.fixture(scope="module")
def of_lanes():
    return compiled(keras.Sequential([keras.Input((1, 1)), layers.Flatten()]))


def test_new_weights_and_a_new_loss_are_used(simple):
    for loss in "mae", "mse":
        simple.compile("sgd", loss)
        for seed in 2, 1:
            seeded(simple, seed=seed)
            found = evaluate(simple, (X, Y), batch_size=5, verbose=0)
            expected = simple.evaluate(X, Y, batch_size=5, verbose=0)
            np.testing.assert_allclose(found, expected, rtol=1e-5)
            predictions = predict(simple, X, batch_size=5, verbose=0)
            np.testing.assert_allclose(predictions, run(simple, X), rtol=1e-5)


def test_a_model_that_is_neither_compiled_nor_built_predicts():
    model = keras.Sequential([layers.Flatten(), layers.Dense(1)])
    predictions = predict(model, PREFIXES, batch_size=3, verbose=0)
    np.testing.assert_allclose(predictions, run(model, PREFIXES.arrays()[0]), atol=1e-6)
    with pytest.raises(ValueError, match=r"`model\.compile"):
        evaluate(model, PREFIXES)


def test_validation_in_fit_equals_evaluate(simple, of_lanes):
    history = fit(simple, (X, Y), batch_size=5, validation_data=(X, Y), verbose=0).history
    assert history["val_loss"] == [evaluate(simple, (X, Y), batch_size=5, verbose=0)]
    lanes = SEVERAL.lanes(3)  # a batch size of their own
    history = fit(of_lanes, SEVERAL, batch_size=2, validation_data=lanes, verbose=0).history
    assert history["val_loss"] == [evaluate(of_lanes, lanes, verbose=0)]


def test_a_stateless_model_takes_lanes(of_lanes):
    predictions = predict(of_lanes, SEVERAL.lanes(3), verbose=0)
    assert_same(predictions, SEVERAL.arrays()[0][:, 0].astype("float32"))


def test_predictions_ignore_targets_that_are_dates():
    days = np.arange(9).astype("datetime64[D]")
    frames = SequenceFramer(2).frame(numbers(9), days)
    model = compiled(recurrent())
    plain = SequenceFramer(2).frame(numbers(9))
    assert_same(predict(model, frames, verbose=0), predict(model, plain, verbose=0))
    for use in fit, evaluate:
        with pytest.raises(TypeError, match="`targets`"):
            use(model, frames, verbose=0)


# Hooks.


class Watcher(keras.callbacks.Callback):
    """Keeps the batch numbers, the losses and the predictions that hooks get."""

    def __init__(self):
        super().__init__()
        self.events, self.outputs = [], []

    def on_test_batch_begin(self, batch, logs=None):
        self.events.append(("begin", batch))

    def on_test_batch_end(self, batch, logs=None):
        self.events.append(("end", batch, round(float(logs["loss"]), 4)))

    def on_predict_batch_begin(self, batch, logs=None):
        self.events.append(("begin", batch))

    def on_predict_batch_end(self, batch, logs=None):
        self.events.append(("end", batch))
        self.outputs.append(ops.convert_to_numpy(logs["outputs"]))


def test_callbacks_see_each_batch_as_in_keras(simple):
    own, theirs = Watcher(), Watcher()
    evaluate(simple, (X, Y), batch_size=4, verbose=0, callbacks=[own])  # the last batch is smaller
    simple.evaluate(X, Y, batch_size=4, verbose=0, callbacks=[theirs])
    predict(simple, X, batch_size=4, verbose=0, callbacks=own)
    simple.predict(X, batch_size=4, verbose=0, callbacks=[theirs])
    assert own.events == theirs.events
    assert_same(own.outputs, theirs.outputs, atol=1e-6)


def test_a_callback_can_stop_evaluation(simple):
    class Stop(Watcher):
        def on_test_batch_end(self, batch, logs=None):
            self.model.stop_evaluating = batch == 1

    stop = Stop()
    evaluate(simple, (X, Y), batch_size=2, verbose=0, callbacks=[stop])
    assert stop.events == [("begin", 0), ("begin", 1)]
    evaluate(simple, (X, Y), batch_size=2, verbose=0)
    assert not simple.stop_evaluating


@pytest.mark.parametrize("use", [evaluate, predict])
def test_an_interruption_gives_the_state_back(use, stateful):
    model, _ = stateful
    before = contents(model)

    class Interrupt(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

        on_predict_batch_end = on_test_batch_end

    with pytest.raises(KeyboardInterrupt):
        use(model, ONE, verbose=0, callbacks=[StatefulTrainer(), Interrupt()])
    assert_same(contents(model), before)


# What does not fit.

REFUSED = {
    "inputs of another shape": (lambda m: predict(m, numbers(4, 3, 1)), r"\(2, 1\)"),
    "no targets": (lambda m: evaluate(m, X), r"y=None.*`\(X, y\)`"),
    "no steps": (lambda m: predict(m, X, steps=0), "`steps`"),
    "a table of some": (
        lambda m: predict(m, SequenceFramer(2).frame(numbers(9)), steps=1, as_table=True),
        "`as_table=True`.*steps=1",
    ),
    "a wrong choice": (lambda m: predict(m, X, jit_compile="yes"), "`jit_compile`"),
    "a number": (lambda m: evaluate(m, (X, Y), max_device_bytes=-1), "`max_device_bytes`"),
    "no state": (lambda m: predict(m, X, callbacks=[StatefulTrainer()]), "stateful layer"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_wrong_arguments_are_refused(what, simple):
    attempt, message = REFUSED[what]
    before = contents(simple)
    with pytest.raises((TypeError, ValueError), match=message):
        attempt(simple)
    assert_same(contents(simple), before)


@pytest.mark.parametrize("use", [fit, evaluate, predict])
def test_lanes_keep_their_batch_size(use, of_lanes):
    with pytest.raises(ValueError, match=r"batch_size=2\. Leave"):
        use(of_lanes, SEVERAL.lanes(3), batch_size=2, verbose=0)
    use(of_lanes, SEVERAL.lanes(3), batch_size=3, verbose=0)
