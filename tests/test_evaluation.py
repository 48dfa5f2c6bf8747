"""evaluate and predict: Keras's numbers, in the order of the frames; the model is as it was."""

import itertools

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
    put_back,
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
    """A model that declares no shapes, and takes a past and a future or one input alone."""

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


STEPS = [numbers(9, 2, seed=1), numbers(8, 2, seed=2)]
FORECASTS = SequenceFramer(3, horizon=2).frame(
    STEPS, 1, future=STEPS, sample_weight=[np.abs(numbers(n, seed=n)) for n in (9, 8)]
)
PREFIXES = SequenceFramer(3, mode="prefixes").frame(numbers(8))
BOTH = [Y, numbers(SAMPLES, 2, seed=2)]
# What makes the model, what seqframe takes, what Keras takes, and the batch size.
CASES = {
    "a smaller last batch": (metered, (X, LABELS, WEIGHT), (X, LABELS, WEIGHT), 4),
    "a list of outputs, one batch, asked for larger": (
        lambda: of_two_outputs(list),
        *[(X, BOTH)] * 2,
        64,
    ),
    "a dict of outputs, weighted": (
        lambda: of_two_outputs(by_name),
        *[(X, by_name(BOTH), by_name([WEIGHT, WEIGHT[::-1].copy()]))] * 2,
        5,
    ),
    "a past, a future and weights": (undeclared, FORECASTS, FORECASTS.arrays(), 3),
    "padded frames": (undeclared, PREFIXES, PREFIXES.arrays(), 3),
}


class Case:
    """A model, its data, and what seqframe makes of them the first time."""

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


def test_neither_changes_the_model(case):
    assert_same(contents(case.model), case.before)


def test_another_call_gives_the_same_and_compiles_nothing(case):
    before = case.traces()
    assert_same([case.evaluate(), case.predict()], [case.logs, case.predictions])
    if BACKEND != "torch":  # which has no program to trace: the layers run at each step
        assert case.traces() == before


def test_streamed_equals_resident(case, monkeypatch):
    monkeypatch.setattr(schedule, "_MOST_INDICES", 2 * case.batch_size)  # two steps a block
    streamed = [run(max_device_bytes=0) for run in (case.evaluate, case.predict)]
    # XLA rounds a program of other shapes differently in the last bit.
    assert_same(streamed, [case.logs, case.predictions], atol=1e-6)


def test_evaluate_equals_keras(case):
    given = {"sample_weight": case.weight, "batch_size": case.batch_size, "verbose": 0}
    expected = case.model.evaluate(case.x, case.y, return_dict=True, **given)
    assert_same(dict(sorted(case.logs.items())), dict(sorted(expected.items())), atol=1e-5)
    result = case.model.get_metrics_result()
    assert_same({name: float(result[name]) for name in sorted(result)},
                {name: case.logs[name] for name in sorted(result)}, atol=1e-5)  # fmt: skip
    listed = case.model.evaluate(case.x, case.y, **given)
    assert_same(case.evaluate(return_dict=False), listed, atol=1e-5)


def test_predict_equals_keras(case):
    expected = case.model.predict(case.x, batch_size=case.batch_size, verbose=0)
    assert_same(case.predictions, expected, atol=1e-5)


# Stateful models.

SERIES = numbers(10)
MANY = [numbers(n, seed=n) for n in (7, 3, 5, 2)]
ONE = SequenceFramer(1).frame(SERIES)
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


def stretches(frames):
    """Return the numbers of the frames between which two lanes carry the state, as ranges."""
    edges = [*frames.breaks, len(frames)]
    if frames is ONE:
        edges = [0, -(-len(frames) // 2), len(frames)]
    return [np.arange(first, stop) for first, stop in itertools.pairwise(edges)]


IN_LANES = [(ONE, False), (ONE, True), (SEVERAL, True), (HOLED, False)]


@pytest.mark.parametrize(("frames", "in_lanes"), IN_LANES, ids=["one", "lanes", "many", "holed"])
def test_a_stateful_model_goes_through_each_sequence_by_itself(
    frames, in_lanes, stateful, monkeypatch
):
    model, twin = stateful
    data = frames.lanes(2) if in_lanes else frames
    x, y = frames.arrays()
    expected = np.concatenate(
        [run(twin, x[part].reshape(1, -1, 1))[0] for part in stretches(frames)]
    )
    if in_lanes:
        monkeypatch.setattr(schedule, "_MOST_INDICES", 4)  # blocks of two steps, the last of one
    for limit in {} if in_lanes else {"max_device_bytes": 2**30}, {"max_device_bytes": 0}:
        predictions = predict(model, data, verbose=0, **limit)
        np.testing.assert_allclose(predictions, expected, atol=1e-5)
        assert_same(get_states(model), WARM)
        loss, mae = evaluate(model, data, verbose=0, **limit)
        errors = predictions[:, 0] - y
        # Rows that ran out count for nothing, but Keras's loss is a mean over all rows.
        rows = 2 * len(frames.lanes(2))
        np.testing.assert_allclose(loss, np.square(errors).sum() / rows, rtol=1e-4)
        np.testing.assert_allclose(mae, np.abs(errors).mean(), rtol=1e-4)
        assert_same(get_states(model), WARM)


def test_stateful_arrays_are_taken_in_their_order(stateful):
    model, _ = stateful
    x, y = X[:, :1], Y
    given = {"batch_size": 2, "verbose": 0, "callbacks": [StatefulTrainer()]}
    expected = model.predict(x, **given), model.evaluate(x, y, **given)
    found = predict(model, x, verbose=0), evaluate(model, (x, y), verbose=0)
    assert_same(found, expected, atol=1e-5)
    assert_same(get_states(model), WARM)


def test_the_fresh_state_is_the_one_that_the_trainer_has(stateful):
    model, _ = stateful
    trainer = StatefulTrainer(initial_state=[[np.ones((2, 2), "float32")]])
    first = ONE.lanes(2)[0][0]
    set_states(model, trainer.initial_state)
    expected = run(model, first)
    set_states(model, WARM)
    predictions = predict(model, ONE, verbose=0, callbacks=[trainer])
    np.testing.assert_allclose(predictions[[0, 5]], expected, atol=1e-6)
    assert_same(get_states(model), WARM)


def test_a_stateless_model_takes_lanes():
    model = compiled(keras.Sequential([keras.Input((1, 1)), layers.Flatten()]))
    predictions = predict(model, SEVERAL.lanes(3), verbose=0)
    assert_same(predictions, SEVERAL.arrays()[0][:, 0].astype("float32"))


# What the model is now, not what it was when its program was compiled.


@pytest.fixture(scope="module")
def simple():
    return compiled(
        seeded(keras.Sequential([keras.Input((2, 1)), layers.Flatten(), layers.Dense(1)]))
    )


def keras_loss(model):
    return model.evaluate(X, Y, batch_size=5, verbose=0)


def test_new_weights_and_a_new_loss_are_used(simple):
    for loss in "mse", "mae":
        simple.compile("sgd", loss)
        for seed in 1, 2:
            seeded(simple, seed=seed)
            found = evaluate(simple, (X, Y), batch_size=5, verbose=0)
            np.testing.assert_allclose(found, keras_loss(simple), rtol=1e-5)
            predictions = predict(simple, X, batch_size=5, verbose=0)
            np.testing.assert_allclose(predictions, run(simple, X), rtol=1e-5)


def test_a_model_need_not_be_compiled_nor_built_to_predict():
    model = keras.Sequential([layers.Flatten(), layers.Dense(1)])
    predictions = predict(model, PREFIXES, batch_size=3, verbose=0)
    np.testing.assert_allclose(predictions, run(model, PREFIXES.arrays()[0]), atol=1e-6)
    with pytest.raises(ValueError, match=r"must be compiled.*`model\.compile"):
        evaluate(model, PREFIXES)


class OwnLogs(keras.Sequential):
    """Returns logs of its own, of names that stand before and after those of Keras."""

    def test_step(self, *args):
        result = super().test_step(*args)
        logs, *rest = result if isinstance(result, tuple) else (result,)
        logs = {**logs, "zeta": 2 * logs["loss"], "alpha": 3 * logs["loss"]}
        return (logs, *rest) if rest else logs


def test_logs_of_ones_own_are_listed_as_in_keras():
    model = compiled(OwnLogs([keras.Input((2, 1)), layers.Flatten(), layers.Dense(1)]))
    found = evaluate(model, (X, Y), batch_size=5, verbose=0)
    assert len(found) == 3
    np.testing.assert_allclose(found, keras_loss(model), rtol=1e-5)


def test_validation_in_fit_is_evaluate(simple):
    history = fit(simple, (X, Y), batch_size=5, validation_data=(X, Y), verbose=0).history
    assert history["val_loss"] == [evaluate(simple, (X, Y), batch_size=5, verbose=0)]


# Hooks.


class Watcher(keras.callbacks.Callback):
    """Keeps the numbers of the batches that it is told of, and the predictions."""

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


def test_callbacks_are_told_of_each_batch_as_in_keras(simple):
    """The batch numbers, the losses so far and the predictions; the last batch is smaller."""
    own, theirs = Watcher(), Watcher()
    evaluate(simple, (X, Y), batch_size=4, verbose=0, callbacks=[own])
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


@pytest.mark.parametrize("kind", ["test", "predict"])
def test_an_interruption_gives_the_state_back(kind, stateful):
    model, _ = stateful
    before, trainer = contents(model), StatefulTrainer()

    class Interrupt(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

        on_predict_batch_end = on_test_batch_end

    with pytest.raises(KeyboardInterrupt):
        (evaluate if kind == "test" else predict)(
            model, ONE, verbose=0, callbacks=[trainer, Interrupt()]
        )
    assert_same(contents(model), before)


class Look(keras.callbacks.Callback):
    """Evaluates and predicts after each epoch of training."""

    def on_epoch_end(self, epoch, logs=None):
        evaluate(self.model, ONE, verbose=0)
        predict(self.model, ONE, verbose=0)


def test_training_goes_on_as_if_nobody_had_looked(stateful):
    model, _ = stateful
    before, results = contents(model), []
    for callbacks in [], [Look()]:
        put_back(model, before)
        callbacks = [StatefulTrainer("never"), *callbacks]
        history = fit(model, ONE, epochs=2, verbose=0, callbacks=callbacks)
        results.append([history.history, contents(model)])
    assert_same(*results)
    put_back(model, before)


# What does not fit.


REFUSED = {
    "inputs of another shape": (
        lambda m: predict(m, numbers(4, 3, 1)),
        r"takes inputs of .*\(2, 1\)",
    ),
    "frames of another shape": (lambda m: evaluate(m, ONE), r"takes inputs of .*\(2, 1\)"),
    "targets of another shape": (
        lambda m: evaluate(m, (X, numbers(SAMPLES, 3))),
        r"targets do not fit",
    ),
    "no targets": (lambda m: evaluate(m, X), r"`frames` must be .*`\(X, y\)`.*ndarray"),
    "nothing": (lambda m: predict(m, None), r"`frames`.* must hold arrays"),
    "no samples": (lambda m: predict(m, X[:0]), r"must hold samples"),
    "no batch": (lambda m: predict(m, X, batch_size=0), r"`batch_size` must be an integer ≥ 1"),
    "no such choice": (lambda m: predict(m, X, jit_compile="yes"), r"`jit_compile` must be one of"),
    "nor for evaluate": (
        lambda m: evaluate(m, (X, Y), jit_compile=None),
        r"`jit_compile` must be one of",
    ),
    "no number": (lambda m: predict(m, X, max_device_bytes="1 GB"), r"`max_device_bytes` must be"),
    "a negative number": (
        lambda m: evaluate(m, (X, Y), max_device_bytes=-1),
        r"`max_device_bytes` must be",
    ),
    "no state": (
        lambda m: predict(m, X, callbacks=[StatefulTrainer()]),
        r"must have a stateful layer",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused(what, simple):
    attempt, message = REFUSED[what]
    before = contents(simple)
    with pytest.raises((TypeError, ValueError), match=message):
        attempt(simple)
    assert_same(contents(simple), before)


@pytest.mark.parametrize("data", [SEVERAL, SEVERAL.lanes(3), (X[:9, :1], Y[:9])])
def test_a_stateful_model_keeps_to_its_batch_size(data, stateful):
    model, _ = stateful
    with pytest.raises(ValueError, match=r"its own batch size, 2.*a batch of [13]"):
        evaluate(model, data, batch_size=None if isinstance(data, tuple) else 3)
    assert_same(get_states(model), WARM)


@pytest.mark.parametrize("use", [fit, evaluate, predict])
def test_lanes_keep_to_their_batch_size(use):
    model = compiled(keras.Sequential([keras.Input((1, 1)), layers.Flatten()]))
    with pytest.raises(ValueError, match=r"number of lanes: 3\. Received: batch_size=2\. Leave"):
        use(model, SEVERAL.lanes(3), batch_size=2, verbose=0)
    use(model, SEVERAL.lanes(3), batch_size=3, verbose=0)


def test_lanes_to_validate_on_have_a_batch_size_of_their_own():
    model = compiled(keras.Sequential([keras.Input((1, 1)), layers.Flatten()]))
    validation = SEVERAL.lanes(3)
    history = fit(model, SEVERAL, batch_size=2, validation_data=validation, verbose=0).history
    assert history["val_loss"] == [evaluate(model, validation, verbose=0)]


@pytest.mark.parametrize("use", [fit, evaluate, predict])
def test_a_dataset_is_made_of_frames(use):
    frames = SequenceFramer(2).frame(numbers(9))
    model = compiled(recurrent())
    message = rf"`frames` must be .* a dataset, FramesDataset.*`model.{use.__name__}`"
    with pytest.raises(TypeError, match=message):
        use(model, frames.dataset(2), verbose=0)


@pytest.mark.parametrize("use", [fit, evaluate, predict])
@pytest.mark.parametrize("kind", ["batches", "generator", "grain", "tensorflow", "torch"])
def test_so_is_one_of_another_library(kind, use):
    frames = SequenceFramer(2).frame(numbers(9))
    if kind == "tensorflow":
        pytest.importorskip("tensorflow")
    if kind == "torch":
        torch_data = pytest.importorskip("torch.utils.data")
    data = {
        "batches": lambda: frames.batches(2),
        "generator": lambda: (batch for batch in frames.batches(2)),
        "grain": lambda: frames.to_grain().batch(2),
        "tensorflow": lambda: frames.to_tf(2),
        "torch": lambda: torch_data.DataLoader(frames.to_torch(), 2),
    }[kind]()
    with pytest.raises(TypeError, match=r"a dataset, \w+\. Pass the frames or lanes that"):
        use(compiled(recurrent()), data, verbose=0)


def test_predictions_may_be_of_frames_with_dates_for_targets():
    days = np.arange(9).astype("datetime64[D]")
    frames = SequenceFramer(2).frame(numbers(9), days)
    model = compiled(recurrent())
    plain = SequenceFramer(2).frame(numbers(9))
    assert_same(predict(model, frames, verbose=0), predict(model, plain, verbose=0))
    for use in fit, evaluate:
        with pytest.raises(TypeError, match="`targets` must hold real numbers"):
            use(model, frames, verbose=0)
