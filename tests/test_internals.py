"""What Keras cannot do: each test fails as soon as its workaround is not needed.

A workaround for one backend is tested only there.
"""

import re
from contextlib import nullcontext
from inspect import signature

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import assert_same, compiled, contents, numbers, recurrent, run, seeded

from seqframe import get_states, reset_states
from seqframe.backend.internals import (
    all_layers,
    begin_at_epoch,
    begin_earlier,
    build_for_training,
    calling_list,
    compiled_with,
    copied_states,
    counted_rows,
    equal_batches,
    global_seed_generator,
    inference_copy,
    made_seed_generator,
    private_counters,
    producer,
    raw_values,
    traveling_states,
    unweighted_metrics,
    values_at_hand,
)

BACKEND = keras.backend.backend()
only_jax = pytest.mark.skipif(BACKEND != "jax", reason="a workaround for JAX")
only_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="a workaround for TensorFlow")
only_torch = pytest.mark.skipif(BACKEND != "torch", reason="a workaround for PyTorch")


class OwnError(Exception):
    """Raised by a test."""


class Holder(layers.Layer):
    """A user's layer that holds another."""

    def __init__(self, held):
        super().__init__()
        self.held = [held]

    def call(self, inputs):
        return self.held[0](inputs)


def stateful(kind=layers.LSTM, batch_size=2, steps=1):
    layer = kind(2, stateful=True)
    inputs = keras.Input((steps, 1), batch_size=batch_size)
    return compiled(seeded(keras.Sequential([inputs, layer, layers.Dense(1)]))), layer


def test_keras_tells_the_first_output_of_a_layer_only():
    inputs, shared = keras.Input((2,)), layers.Activation("linear")
    one, other = layers.Dense(3)(inputs), layers.Dense(3)(inputs)
    first, second = shared(one), shared(other)
    assert shared.output is first  # the public attribute knows no second one
    assert producer(first) == (shared, [one])
    operation, given = producer(second)
    assert operation is shared
    assert given[0] is other


def test_keras_looks_for_scopes_to_read_a_variable():
    variable = keras.Variable([1.0])
    (held,) = raw_values([variable])
    assert held is variable.value
    with keras.StatelessScope([(variable, ops.zeros(1))]):
        assert variable.value is not held  # the public attribute has looked
        assert raw_values([variable])[0] is held


def test_keras_lists_one_level_of_layers_only():
    deep, held, wrapped = layers.Dense(1), layers.Dense(1), layers.Dense(1)
    inner = keras.Sequential([keras.Input((2, 1)), deep])
    model = keras.Sequential(
        [keras.Input((2, 1)), inner, Holder(held), layers.TimeDistributed(wrapped)]
    )
    for layer in deep, held, wrapped:
        assert not any(layer is other for other in model.layers)
        assert sum(layer is other for other in all_layers(model)) == 1
    assert any(model is layer for layer in all_layers(model))


def own_states(size):
    return [[keras.Variable(np.zeros((size, 2), "float32"), trainable=False) for _ in "hc"]]


def test_keras_ties_a_stateful_layer_to_its_batch_size():
    model, layer = stateful(batch_size=2)
    x = numbers(3, 1, 1)
    with pytest.raises(Exception, match=r"batch|size|shape|[Dd]imension"):
        model(x)

    reset_states(model)
    before, states = contents(model), own_states(3)
    copied = run(inference_copy(model, [layer], states), x)
    assert np.abs(states[0][0]).min() > 0  # where the state went

    assert_same(contents(model), before)
    assert_same(copied[:2], run(model, x[:2]), atol=1e-6)


def test_keras_takes_assigned_states_for_weights():
    _, layer = stateful()
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        layer.states = own_states(3)[0]


def five_steps(kind):
    """Return a model that declares five time steps, one way or another."""
    inputs = keras.Input((5, 1))
    outputs = layers.LSTM(2)(inputs)
    functional = keras.Model(inputs, outputs)
    if kind == "functional":
        return functional
    return keras.Sequential([keras.Input((5, 1)), functional])


@pytest.mark.parametrize("kind", ["functional", "nested"])
def test_keras_refuses_another_number_of_time_steps(kind):
    model = seeded(five_steps(kind))
    x = numbers(1, 1, 1)
    with pytest.raises(ValueError, match="expected shape"):
        model(x)
    assert run(inference_copy(model, [], []), x).shape == (1, 2)
    with pytest.raises(ValueError, match="expected shape"):
        model(x)


class Holding(keras.Model):
    """A user's model that holds layers in every way."""

    def __init__(self):
        super().__init__()
        self.rnns = {"first": [layers.GRU(2, stateful=True, return_sequences=True)]}
        self.last = layers.RNN([layers.GRUCell(2), layers.LSTMCell(2)], stateful=True)
        self.inner = five_steps("nested")
        self.method = self.inner.call
        self.pair = (layers.BatchNormalization(), "text")

    def call(self, inputs):
        (first,) = self.rnns["first"]
        return self.last(self.pair[0](first(inputs))) + self.method(inputs)


def test_copies_of_models_share_variables_and_no_layer():
    model = Holding()
    x = numbers(2, 5, 1)
    expected = run(model, x)
    reset_states(model)
    recurrent = [layer for layer in all_layers(model) if getattr(layer, "stateful", False)]
    before, seen = contents(model), [dict(vars(layer)) for layer in all_layers(model)]
    states = [
        keras.tree.map_structure(
            lambda v: keras.Variable(np.zeros(v.shape, "float32"), trainable=False), layer.states
        )
        for layer in recurrent
    ]
    copied = inference_copy(model, recurrent, states)
    assert_same(run(copied, x), expected)
    assert all(np.abs(state).min() > 0 for state in keras.tree.flatten(states))
    assert_same(contents(model), before)
    assert [dict(vars(layer)) for layer in all_layers(model)] == seen
    assert [id(v) for v in copied.variables] == [id(v) for v in model.variables]
    own = {id(layer) for layer in all_layers(model)}
    assert not own & {id(layer) for layer in all_layers(copied)}
    assert len(all_layers(copied)) == len(own)


CONTEXTS = {
    "jax": lambda model, layer: traveling_states(model, [layer]),
    "torch": lambda model, layer: copied_states([layer]),
}


def contents_of(model, layer):
    """Return what a context may leave behind."""
    variables = [id(variable) for variable in model.variables]
    return variables, list(layer._seed_generators), [dict(vars(each)) for each in all_layers(model)]


@pytest.mark.skipif(BACKEND not in CONTEXTS, reason="TensorFlow needs no workaround")
def test_contexts_leave_nothing_behind():
    name = BACKEND
    model, layer = stateful()
    before = contents_of(model, layer)
    with CONTEXTS[name](model, layer):
        inside = contents_of(model, layer)
        with pytest.raises(OwnError), CONTEXTS[name](model, layer):
            raise OwnError
        assert contents_of(model, layer) == inside  # the outer one goes on
    assert contents_of(model, layer) == before


def test_keras_has_no_bar_that_began_before_its_making(capsys):
    assert not [name for name in signature(keras.utils.Progbar).parameters if "start" in name]
    bar = keras.utils.Progbar(2, verbose=2)
    begin_earlier(bar, 7000.0)
    bar.update(2, finalize=True)
    (seconds,) = re.findall(r"2/2 - (\d+)s", capsys.readouterr().out)
    assert 7000 <= int(seconds) < 7100


def test_keras_has_no_public_way_back_to_its_own_input_spec():
    model = five_steps("functional")
    own = model.input_spec
    model.input_spec = None
    assert model.input_spec is None
    assert own is not None
    with pytest.raises(AttributeError):
        del model.input_spec


@only_jax
def test_keras_creates_metric_variables_in_the_first_step():
    x, y = numbers(2, 1, 1), np.zeros((2, 1), "float32")
    variables = {}
    for how in "nothing", "build", "step":
        model, _ = stateful()
        compiled(model, metrics=["mae"])
        before = model.get_weights()
        if how == "build":
            build_for_training(model, (x, y))
            assert_same(model.get_weights(), before)
        if how == "step":
            model.train_on_batch(x, y)
        variables[how] = [variable.shape for variable in model.metrics_variables]
    assert len(variables["nothing"]) < len(variables["build"])
    assert variables["build"] == variables["step"]


@only_jax
def test_keras_loses_values_if_the_first_step_of_evaluate_raises():
    class Wrong(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, k):
            return x, np.zeros((3, 7), "float32")

    x = numbers(4, 2, 1)
    model = compiled(recurrent())
    build_for_training(model, (x, numbers(4, 1)))
    before = model.get_weights()
    with pytest.raises(TypeError, match="shape"), values_at_hand(model):
        model.evaluate(Wrong(), verbose=0)
    assert_same(model.get_weights(), before)
    model.evaluate(x, numbers(4, 1), verbose=0)
    with pytest.raises(TypeError, match="shape"):
        model.evaluate(Wrong(), verbose=0)
    with pytest.raises(TypeError):
        model.get_weights()


@only_jax
def test_keras_does_not_carry_state_under_jax():
    model, layer = stateful()
    x, y = numbers(4, 1, 1), np.zeros((4, 1), "float32")
    for use in (
        lambda: model.predict(x, batch_size=2, verbose=0),
        lambda: model.evaluate(x, y, batch_size=2, verbose=0),
        lambda: model.fit(x, y, batch_size=2, verbose=0),
    ):
        reset_states(model)
        fresh = get_states(model)
        use()
        assert_same(get_states(model), fresh)
        model.make_predict_function(force=True)
        with traveling_states(model, [layer]):
            use()
            assert np.abs(get_states(model)[0][0]).min() > 0


@only_jax
def test_traveling_states_are_no_weights():
    model, layer = stateful()
    weights = [id(variable) for variable in model.weights]
    with traveling_states(model, [layer]):
        assert [id(variable) for variable in model.weights] == weights
        assert {id(v) for v in layer.states} <= {id(v) for v in model.non_trainable_variables}


@only_torch
@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU])
def test_keras_cannot_fit_stateful_layers_under_torch(kind):
    model, layer = stateful(kind)
    x, y = numbers(4, 1, 1), np.zeros((4, 1), "float32")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        model.fit(x, y, batch_size=2, verbose=0)
    reset_states(model)
    with copied_states([layer]):
        model.fit(x, y, batch_size=2, verbose=0)
    assert np.abs(get_states(model)[0][0]).min() > 0


class OwnMetrics(keras.Sequential):
    """A model that lists its own metrics, as in Keras's guides."""

    def __init__(self, given):
        super().__init__(given)
        self.mean = keras.metrics.Mean(name="mean")

    @property
    def metrics(self):
        return [self.mean]


def test_keras_has_no_public_sign_of_a_compilation_with_the_same_optimizer():
    model, optimizer = OwnMetrics([keras.Input((1,)), layers.Dense(1)]), keras.optimizers.SGD()
    model.compile(optimizer, "mse")
    public, all_of_it = [model.optimizer, *model.metrics], compiled_with(model)
    model.compile(optimizer, "mae")
    assert all(a is b for a, b in zip(public, [model.optimizer, *model.metrics], strict=True))
    same = [a is b for a, b in zip(all_of_it, compiled_with(model), strict=True)]
    assert same == [True, False, False, True]  # the last: no metrics, twice


def test_keras_shows_metrics_and_weighted_metrics_as_one_list():
    names = []
    for kind in "metrics", "weighted_metrics":
        model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
        model.compile("sgd", "mse", **{kind: ["mae"]})
        model.train_on_batch(numbers(2, 1), numbers(2, 1))
        names.append(model.metrics_names)
        assert unweighted_metrics(model) == (["mae"] if kind == "metrics" else [])
    assert names[0] == names[1]
    model.compile("sgd", "mse")
    assert not unweighted_metrics(model)


def test_keras_counts_rows_of_weight_0():
    model = compiled(keras.Sequential([keras.Input((1,)), layers.Identity()]), metrics=["mae"])
    x, y, rows = np.ones((4, 1)), np.zeros((4, 1)), np.array([1.0, 0, 0, 0], "float32")
    x[1:] = 9  # the only frame has an error of 1
    given = x.astype("float32"), y.astype("float32")
    loss, mae = model.test_on_batch(*given, sample_weight=rows)
    assert loss == pytest.approx(1 / 4)
    assert mae == pytest.approx(7)
    if BACKEND != "jax":  # whose step takes the variables' values
        model.reset_metrics()
        x, y, rows = map(ops.convert_to_tensor, (*given, rows))
        with counted_rows(model, lambda: rows, ()):
            logs = model.test_step((x, y, rows))
        assert [float(logs[name]) for name in ("loss", "mae")] == pytest.approx([1, 1])


@pytest.mark.skipif(BACKEND == "jax", reason="its step takes the variables' values")
def test_keras_weighs_losses_of_outputs_by_rows_of_weight_0():
    inputs = keras.Input((1,))
    outputs = {name: layers.Identity(name=name)(inputs) for name in "ab"}
    model = compiled(keras.Model(inputs, outputs))
    one, all_of_them = (ops.convert_to_tensor(rows, "float32") for rows in ([1, 0, 0], [1, 1, 1]))
    targets = dict.fromkeys("ab", ops.zeros((3, 1)))
    first = ops.ones((3, 1)), targets, one  # the only row that counts has an error of 1
    last = ops.zeros((3, 1)), targets, all_of_them
    model.test_step(first)  # makes the metrics
    for counts, expected in (False, 1 / 6), (True, 1 / 4):
        model.reset_metrics()
        for data in first, last:
            with counted_rows(model, lambda rows=data[2]: rows, ()) if counts else nullcontext():
                logs = model.test_step(data)
        assert float(logs["a_loss"]) == pytest.approx(expected)


@only_tensorflow
def test_keras_weighs_losses_of_outputs_by_the_sizes_that_it_knows():
    inputs = keras.Input((1,))
    outputs = {name: layers.Identity(name=name)(inputs) for name in "ab"}
    model = compiled(keras.Model(inputs, outputs))

    def batch(size, error):
        targets = dict.fromkeys("ab", ops.zeros((size, 1)))
        return ops.full((size, 1), error), targets

    model.test_step(batch(1, 1.0))  # makes the metrics
    for context, expected in (nullcontext(), 1 / 4), (equal_batches(model), 1 / 2):
        model.reset_metrics()
        with context:
            model.test_step(batch(1, 1.0))
            logs = model.test_step(batch(3, 0.0))
        assert float(logs["a_loss"]) == pytest.approx(expected)


def test_keras_tells_no_callback_of_the_others():
    class Looking(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            known = {**vars(self), **vars(self.model)}.values()
            told.append(any(isinstance(value, keras.callbacks.CallbackList) for value in known))
            found.append(calling_list(self))

    told, found, looking, other = [], [], Looking(), keras.callbacks.Callback()
    model = compiled(keras.Sequential([keras.Input((1,)), layers.Dense(1)]))
    model.fit(numbers(2, 1), numbers(2, 1), verbose=0, callbacks=[other, looking])
    assert told == [False]
    assert [each for each in found[0].callbacks if each in (other, looking)] == [other, looking]
    with pytest.raises(ValueError, match="`callbacks`"):
        calling_list(keras.callbacks.Callback())


def test_keras_lets_no_callback_choose_the_first_epoch():
    assert not any("epoch" in name for name in dir(keras.Model) if not name.startswith("_"))

    class Later(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            begin_at_epoch(self.model, 2)

        def on_epoch_begin(self, epoch, logs=None):
            begin_at_epoch(self.model, None)

    model = compiled(keras.Sequential([keras.Input((1,)), layers.Dense(1)]))
    data = {"x": numbers(2, 1), "y": numbers(2, 1), "epochs": 3, "verbose": 0}
    assert model.fit(**data, callbacks=[Later()]).epoch == [2]
    assert model.fit(**data).epoch == [0, 1, 2]


def test_keras_hides_the_generator_of_draws_without_a_seed():
    assert not hasattr(keras.random, "global_seed_generator")
    made = made_seed_generator()
    assert made is global_seed_generator()
    before = keras.ops.convert_to_numpy(made.state).copy()
    keras.random.uniform((2,))
    assert (keras.ops.convert_to_numpy(made.state) != before).any()


def test_callbacks_of_keras_count_in_private(tmp_path):
    path = str(tmp_path / "model.weights.h5")
    for callback in (
        keras.callbacks.ModelCheckpoint(path, save_weights_only=True),
        keras.callbacks.SwapEMAWeights(),
        keras.callbacks.TensorBoard(tmp_path),
    ):
        names = private_counters(callback)
        assert names
        missing = [name for name in names if not hasattr(callback, name)]
        assert missing in ([], ["_current_epoch"])  # made when an epoch begins
    assert private_counters(keras.callbacks.EarlyStopping()) == ()
