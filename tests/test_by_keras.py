"""Keras's own loops, which run what no program can, give what the compiled program gives."""

import logging

import keras
import numpy as np
import pytest
from keras import layers
from models import Slices, assert_same, compiled, contents, numbers, put_back, recurrent, seeded

from seqframe import SequenceFramer, StatefulTrainer, evaluate, fit, predict

BACKEND = keras.backend.backend()
ONE = SequenceFramer(1).frame(numbers(10))  # 9 frames: batches of 4, 4 and 1, lanes of 5 and 4
SEVERAL = SequenceFramer(1).frame([numbers(n, seed=n) for n in (6, 2, 2)])  # of 5 and 1 + 1
ARRAYS = *ONE.arrays(), np.linspace(0, 2, len(ONE), dtype="float32")
LABELS = ARRAYS[0], np.arange(len(ONE)) % 2, ARRAYS[2]
WEIGHTED = SequenceFramer(1).frame(numbers(10), sample_weight=np.abs(numbers(10, seed=1)))
PAIRS = ARRAYS[0][:6], ARRAYS[1][:6]


class Pair:
    """Two models of the same numbers, of which one runs eagerly."""

    def __init__(self, batch_size=None):
        self.models = [
            compiled(model(batch_size), "adam", run_eagerly=run_eagerly, weighted_metrics=["mae"])
            for run_eagerly in (False, True)
        ]
        self.before = contents(self.models[0])

    def each(self, run):
        """Return what a function of each model gives, and what it makes of the model."""
        results = []
        for model in self.models:
            put_back(model, self.before)
            results.append([run(model), contents(model)])
        return results


def model(batch_size):
    if batch_size:
        return recurrent(
            batch_size=batch_size, steps=1, unroll=True
        )  # a loop is slow to run eagerly
    return seeded(keras.Sequential([keras.Input((1, 1)), layers.Flatten(), layers.Dense(1)]))


@pytest.fixture(scope="module")
def stateless():
    return Pair()


@pytest.fixture(scope="module")
def stateful():
    return Pair(batch_size=2)


def assert_alike(results):
    one, other = results
    assert_same(other, one, atol=1e-5)


def trained(pair, data, **kwargs):
    def run(model):
        made = {name: value() if callable(value) else value for name, value in kwargs.items()}
        history = fit(model, data, **{"epochs": 2, "seed": 4, "verbose": 0, **made})
        return [history.epoch, history.history]

    return pair.each(run)


@pytest.mark.parametrize(
    ("data", "kwargs"),
    [
        (ONE, {}),  # with a smaller last batch
        (ONE, {"initial_epoch": 1}),  # in the order of the second epoch
        (ARRAYS, {}),  # shuffled by our seed
        (WEIGHTED, {}),
        (LABELS, {"class_weight": {0: 2.0, 1: 0.5}}),  # with weights, which Keras refuses
        (ONE, {"validation_data": ARRAYS, "validation_freq": [2], "epochs": 3}),
        (SEVERAL.lanes(4), {}),
    ],
)
def test_a_stateless_model_trains_the_same(data, kwargs, stateless):
    assert_alike(trained(stateless, data, batch_size=4, **kwargs))


@pytest.mark.parametrize(
    ("data", "reset"),
    [
        (ONE, "never"),  # also not at the beginning of an epoch
        (SEVERAL, None),
        (SEVERAL, 2),
        (SEVERAL.lanes(2), "never"),  # except at each new sequence
        (PAIRS, "batch"),
    ],
)
def test_a_stateful_model_trains_the_same(data, reset, stateful):
    trainers = {} if reset is None else {"callbacks": lambda: [StatefulTrainer(reset)]}
    assert_alike(trained(stateful, data, validation_data=ONE, **trainers))


def test_a_trainer_with_lanes_and_an_initial_state_trains_the_same(stateful):
    lanes = SEVERAL.lanes(2)
    ones = [[np.ones((2, 2), "float32")]]

    def trainer():
        return [StatefulTrainer("never", lanes, ones)]

    assert_alike(trained(stateful, SEVERAL, callbacks=trainer))


@pytest.mark.parametrize("data", [ONE, ARRAYS])
def test_a_stateless_model_evaluates_and_predicts_the_same(data, stateless):
    inputs = data if data is ONE else data[0]
    assert_alike(stateless.each(lambda model: evaluate(model, data, batch_size=4, verbose=0)))
    assert_alike(stateless.each(lambda model: predict(model, inputs, batch_size=4, verbose=0)))
    lanes = SEVERAL.lanes(4)
    assert_alike(stateless.each(lambda model: predict(model, lanes, verbose=0)))


@pytest.mark.parametrize("data", [ONE, SEVERAL])  # rows of several begin a sequence on the way
def test_a_stateful_model_evaluates_and_predicts_the_same(data, stateful):
    assert_alike(stateful.each(lambda model: evaluate(model, data, verbose=0, return_dict=True)))
    assert_alike(stateful.each(lambda model: predict(model, data, verbose=0)))
    assert_alike(trained(stateful, ONE, validation_data=data))


@pytest.mark.skipif(BACKEND == "torch", reason="Keras runs one step a call under PyTorch")
def test_resets_inside_an_execution_are_refused():
    eager = compiled(model(2), run_eagerly=True, steps_per_execution=2)
    fit(eager, ONE, verbose=0)
    before = contents(eager)
    with pytest.raises(ValueError, match=r"steps_per_execution=2"):
        fit(eager, SEVERAL, verbose=0)
    assert_same(contents(eager), before)


def test_a_log_line_gives_the_reason(stateless, caplog):
    plain, eager = stateless.models
    with caplog.at_level(logging.WARNING, "seqframe"):
        predict(plain, ONE, verbose=0)
        assert not caplog.records
        for run in (
            lambda: fit(eager, ONE, verbose=0),
            lambda: evaluate(eager, ONE, verbose=0),
            lambda: predict(eager, ONE, verbose=0),
        ):
            caplog.clear()
            run()
            (record,) = caplog.records
            assert "by Keras's own loop, step by step" in record.getMessage()
            assert "`run_eagerly=True`" in record.getMessage()


def test_python_in_a_train_step_runs_at_every_step():
    seen = []

    class Own(keras.Sequential):
        def train_step(self, *args):
            seen.append(len(args[-1][0]))
            return super().train_step(*args)

    own = Own([keras.Input((1, 1)), layers.Flatten(), layers.Dense(1)])
    compiled(own, run_eagerly=True)
    fit(own, ONE, batch_size=4, epochs=2, verbose=0)
    assert seen == [4, 4, 1] * 2


# Datasets.

EIGHT = tuple(array[:8] for array in ARRAYS)


def endless(arrays, batch_size):
    while True:
        yield from map(Slices(arrays, batch_size).__getitem__, range(4))


def of_tensorflow(arrays, batch_size):
    data = pytest.importorskip("tensorflow").data.Dataset
    return data.from_tensor_slices(arrays).batch(batch_size, drop_remainder=True)


def of_torch(arrays, batch_size):
    torch = pytest.importorskip("torch")
    tensors = torch.utils.data.TensorDataset(*map(torch.tensor, arrays))
    return torch.utils.data.DataLoader(tensors, batch_size)


def of_grain(arrays, batch_size):
    source = pytest.importorskip("grain").MapDataset.source(list(zip(*arrays, strict=True)))
    return source.batch(batch_size)


DATASETS = {
    "PyDataset": (Slices, None),
    "generator": (endless, 4),  # it never ends
    "tf.data": (of_tensorflow, None),
    "DataLoader": (of_torch, None),
    "grain": (of_grain, None),
}


@pytest.mark.parametrize("kind", DATASETS)
def test_a_dataset_gives_what_its_arrays_give(kind, stateful):
    """Arrays run as a program, and a dataset in Keras's loop, which must keep the state right."""
    make, steps = DATASETS[kind]
    plain, _ = stateful.models
    results = []
    for data, count in [(lambda: EIGHT, None), (lambda: make(EIGHT, 2), steps)]:
        put_back(plain, stateful.before)
        # Keras would give the first batches of a generator twice.
        given = {"validation_data": EIGHT if count else data(), "steps_per_epoch": count}
        history = fit(plain, data(), epochs=2, verbose=0, **given)
        loss = evaluate(plain, data(), steps=count, verbose=0)
        inputs = EIGHT[0] if data() is EIGHT else data()
        predictions = predict(plain, inputs, steps=count, verbose=0)
        results.append([history.history, loss, predictions, contents(plain)])
    assert_alike(results)


class Record(keras.callbacks.Callback):
    """Keeps the hooks that it sees."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((batch, sorted(logs)))

    def on_test_batch_begin(self, batch, logs=None):
        self.seen.append(("test", batch))

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(sorted(logs))


def test_a_stateless_model_on_a_dataset_trains_as_keras_trains_it(stateless, tmp_path):
    """With weights of classes, Keras's order, a smaller last batch, and all sorts of callbacks."""
    plain, _ = stateless.models
    evaluate(plain, LABELS, verbose=0)  # it makes the metrics, for which Keras draws an order
    results, seen = [], []
    for train in fit, keras.Model.fit:
        put_back(plain, stateless.before)
        keras.utils.set_random_seed(3)  # Keras shuffles the batches
        log, record = tmp_path / f"{train.__module__}.csv", Record()
        callbacks = [
            record,
            keras.callbacks.EarlyStopping("loss", patience=0, mode="max"),
            keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=0, min_delta=10.0),
            keras.callbacks.ModelCheckpoint(log.with_suffix(".weights.h5"), save_weights_only=True),
            keras.callbacks.CSVLogger(log),
        ]
        given = {"epochs": 4, "class_weight": {0: 2.0}, "validation_data": LABELS, "verbose": 0}
        history = train(plain, Slices(LABELS[:2], 4), callbacks=callbacks, **given)
        assert len(history.epoch) == 2  # the loss falls
        rows = np.loadtxt(log, delimiter=",", skiprows=1)
        assert log.with_suffix(".weights.h5").exists()
        results.append([history.history, rows, contents(plain)])
        seen.append(record.seen)
    assert_alike(results)
    assert seen[0] == seen[1]


def test_arrays_validate_a_model_that_a_dataset_trains(stateful):
    plain, _ = stateful.models
    results = []
    for validation in SEVERAL, SEVERAL.lanes(2).dataset():
        for data in EIGHT, Slices(EIGHT, 2):
            put_back(plain, stateful.before)
            history = fit(plain, data, epochs=2, validation_data=validation, verbose=0)
            results.append([history.history, contents(plain)])
    for other in results[1:]:
        assert_alike([results[0], other])


def test_lanes_of_a_dataset_are_lanes(stateful):
    results = [
        trained(stateful, data)[0] for data in (SEVERAL.lanes(2), SEVERAL.lanes(2).dataset())
    ]
    assert_alike(results)


class Broken(Slices):
    """Slices whose third batch cannot be read."""

    def __getitem__(self, k):
        if k == 2:
            raise RuntimeError("no such file")
        return super().__getitem__(k)


@pytest.mark.parametrize("use", [fit, evaluate, predict])
def test_an_error_in_keras_own_loop_leaves_a_model_that_trains(use, stateful):
    plain, _ = stateful.models
    wrong = numbers(8, 1, 5), EIGHT[1]
    put_back(plain, stateful.before)
    for dataset, message in (Slices(wrong, 2), None), (Broken(EIGHT, 2), "no such file"):
        with pytest.raises(Exception, match=message):
            use(plain, dataset, verbose=0)
        if use is not fit or message is None:
            assert_same(contents(plain), stateful.before)
    assert np.isfinite(contents(plain)[0][0]).all()
    ours, theirs = trained(stateful, EIGHT)
    assert_alike([ours, theirs])


REFUSED = {
    "batch_size": (lambda m, d: fit(m, d, batch_size=2), "makes its own batches"),
    "seed": (lambda m, d: fit(m, d, seed=1), "makes its own batches"),
    "redraw": (lambda m, d: fit(m, d, redraw=True), "makes its own batches"),
    "program": (lambda m, d: fit(m, d, program="loop"), "Leave `program` out"),
    "calls": (lambda m, d: fit(m, d, steps_per_execution=5), "`model.compile`"),
    "y": (lambda m, d: fit(m, d, EIGHT[1]), r"`y`.*Slices"),
    "sample_weight": (lambda m, d: evaluate(m, d, sample_weight=EIGHT[2]), r"`sample_weight`"),
    "shuffle": (lambda m, d: fit(m, d, shuffle=True), "shuffle=True"),
    "validation_split": (lambda m, d: fit(m, d, validation_split=0.2), "`validation_data`"),
    "another size": (lambda m, d: fit(m, Slices(EIGHT, 4)), "`batch_size=2`"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_dataset_decides_is_refused(what, stateful):
    attempt, message = REFUSED[what]
    plain, _ = stateful.models
    put_back(plain, stateful.before)
    with pytest.raises((TypeError, ValueError), match=message):
        attempt(plain, Slices(EIGHT, 2))
    assert_same(contents(plain), stateful.before)
