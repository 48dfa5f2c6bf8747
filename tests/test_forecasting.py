"""Each step of a forecast is the model's output for the frame that ends before it."""

import warnings

import keras
import numpy as np
import pandas
import pytest
from keras import layers, ops
from models import assert_same, contents, numbers, recurrent, run, seeded, user_warnings

from seqframe import Generator, SequenceFramer, backtest, fit, reset_states
from seqframe.model.state import carry_state, model_batch_size, stateful_layers

STEPS = 7


def windows(model, rule, known, future):
    """Return a model's output for the frame whose targets come after `known`.

    The framer makes the frame, as in training.
    """
    ahead = np.zeros((rule.horizon, *known.shape[1:]), "float32")
    frames = rule.frame(np.concatenate([known, ahead]), future=future)
    x, _ = frames[len(frames) - 1 : len(frames)]
    output = run(model, keras.tree.map_structure(lambda a: a.astype("float32"), x))[0]
    if not rule.return_sequences:
        return output
    return output[frames.lengths()[-1] - 1 if rule.padding == "post" else -1]


def single_steps(model, rule, known, future):
    """Return a stateful model's output after all steps but the gap's, shown one by one."""
    rows = model_batch_size(model)
    reset_states(model)
    for t in range(len(known) - rule.gap):
        x = np.repeat(known[t].reshape(1, 1, -1), rows, axis=0)
        if future is not None:
            ahead = future[t + rule.gap + 1 :][: rule.horizon].reshape(1, rule.horizon, -1)
            ahead = ahead[:, None] if rule.return_sequences else ahead
            x = {"past": x, "future": np.repeat(ahead, rows, axis=0)}
        with carry_state(model):
            output = model.predict_on_batch(x)[0]
    return output[-1] if rule.return_sequences else output


def plain_forecast(model, rule, history, steps, future=None, feed=None):
    """Return what a plain loop forecasts; `feed(prediction, last, clock)` makes the next input.

    Older windows predict the gap. A single block, from the newest window, reads nothing of it.
    """
    known = np.asarray(history, "float32")
    if rule.gap and steps <= rule.horizon:
        unread = np.full((rule.gap, *known.shape[1:]), np.nan, "float32")
        known = np.concatenate([known, unread])
    elif rule.gap:
        between = roll_on(model, rule, known, rule.gap, future, feed)
        known = np.concatenate([known, between])
    return roll_on(model, rule, known, steps, future, feed)


def roll_on(model, rule, known, steps, future, feed):
    """Return the steps after `known`, of which the last `rule.gap` are not shown at first."""
    say = single_steps if stateful_layers(model) else windows
    begin = len(known)
    while len(known) < begin + steps:
        for prediction in say(model, rule, known, future).reshape(rule.horizon, -1):
            row = prediction if feed is None else feed(prediction, known[-1], len(known))
            row = np.reshape(row, (1, *known.shape[1:]))
            known = np.concatenate([known, row.astype("float32")])
    return known[begin : begin + steps]


def assert_close(found, expected):
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def two_inputs(rule, features=1, known=2, outputs=1, batch_size=None, wide_future=None):
    """Return a model of a dict of a past and a future."""
    length, horizon = rule.sequence_length, rule.horizon
    shape = (1, length * features) if rule.layout == "features" else (length, features)
    ahead = (length, horizon, known) if rule.return_sequences else (horizon, known)
    inputs = {
        "past": keras.Input(shape, batch_size=batch_size, name="past"),
        "future": keras.Input(ahead, batch_size=batch_size, name="future"),
    }
    options = {"stateful": batch_size is not None, "return_sequences": rule.return_sequences}
    recurrent = layers.SimpleRNN(3, **options)
    if rule.return_sequences:
        future = layers.Reshape((length, horizon * known))(inputs["future"])
        hidden = recurrent(layers.Concatenate()([inputs["past"], future]))
    else:
        future = layers.Flatten()(inputs["future"])
        hidden = layers.Concatenate()([recurrent(inputs["past"]), future])
    return seeded(keras.Model(inputs, layers.Dense(horizon * outputs)(hidden)))


WIDE = {"return_sequences": True}
FUTURES = {
    "a step": SequenceFramer(3),
    "blocks, gap": SequenceFramer(3, horizon=3, gap=1),
    "features": SequenceFramer(3, layout="features", horizon=2),
    "a target for each step": SequenceFramer(3, horizon=2, **WIDE),
    "a target for each step, gap, rate": SequenceFramer(3, gap=1, sampling_rate=2, **WIDE),
    "prefixes": SequenceFramer(8, mode="prefixes", padding_value=-1, **WIDE),
    "prefixes, padded after": SequenceFramer(
        8, mode="prefixes", padding="post", padding_value=-1, horizon=2, **WIDE
    ),
    "stateful": SequenceFramer(1, gap=1),
    "stateful, a target for each step": SequenceFramer(1, horizon=2, **WIDE),
}


@pytest.mark.parametrize(
    ("kind", "known"), [*((kind, 2) for kind in FUTURES), ("blocks, gap", 1), ("stateful", 1)]
)
def test_models_are_shown_the_future_of_the_steps_they_predict(kind, known):
    """A model with targets for each input step is shown the future of the history too."""
    rule = FUTURES[kind]
    model = two_inputs(rule, known=known, batch_size=2 if "stateful" in kind else None)
    history, shorter = numbers(7), numbers(6, seed=2)
    future = numbers(30, known, seed=1)
    clock = future if known > 1 else future[:, 0]
    needs_past = "stateful" in kind or rule.return_sequences
    # To roll on, a model needs the future of the gap too.
    steps = STEPS if needs_past or not rule.gap else rule.horizon
    expected = plain_forecast(model, rule, history, steps, clock)

    ahead = -(-steps // rule.horizon) * rule.horizon
    begin = len(history) + rule.gap
    first = 0 if needs_past else begin
    given = clock[first : begin + ahead]
    generator = Generator(model, rule)
    assert_close(generator.forecast(history, steps, future=given), expected)

    # Several histories each have their own.
    others = given[: len(given) - needs_past]
    found = generator.forecast([history, shorter], steps, future=[given, others])
    assert_close(found[0], expected)
    assert_close(found[1], generator.forecast(shorter, steps, future=others))
    for wrong, received in (given, "ndarray"), ([given], "list of length 1"), (3, "int"):
        with pytest.raises(ValueError, match=f"`future` must be a list.* Received: {received}"):
            generator.forecast([history, shorter], steps, future=wrong)

    # One clock: a row less or more is an error that says how many are needed.
    for wrong in given[:-1], clock[first : begin + ahead + 1]:
        message = rf"`future` must have {len(given)} rows.*Received: {len(wrong)} rows"
        with pytest.raises(ValueError, match=message):
            generator.forecast(history, steps, future=wrong)
    if steps < STEPS:
        longer = clock[first : begin + -(-STEPS // rule.horizon) * rule.horizon]
        with pytest.raises(ValueError, match=r"`steps` .*`horizon=3`.*longer `horizon`"):
            generator.forecast(history, STEPS, future=longer)
    with pytest.raises(ValueError, match=r"Received: future=None"):
        generator.forecast(history, steps)


def test_a_model_trained_on_a_future_forecasts_by_the_future():
    """From `fit` to `forecast`, whatever the order of the model's inputs."""
    drive = numbers(300, seed=4)
    values = np.zeros(300, "float32")
    for t in range(1, 300):
        values[t] = 0.5 * values[t - 1] + drive[t]
    frames = SequenceFramer(2).frame(values[:250], future=drive[:250])
    past, future = keras.Input((2, 1), name="past"), keras.Input((1, 1), name="future")
    merged = layers.Concatenate()([layers.Flatten()(past), layers.Flatten()(future)])
    output = layers.Dense(1)(merged)
    models = [
        keras.Model(inputs, output)
        for inputs in ({"past": past, "future": future}, [past, future], [future, past])
    ]
    models[0].compile(keras.optimizers.Adam(0.05), "mse")
    fit(models[0], frames, epochs=30, batch_size=32, verbose=0, seed=1)
    for model in models:
        found = Generator(model, frames.framer).forecast(values[:250], 50, future=drive[250:])
        np.testing.assert_allclose(found, values[250:], atol=0.02)


def flat(steps, features, outputs, seed=1):
    parts = [keras.Input((steps, features)), layers.Flatten(), layers.Dense(outputs)]
    return seeded(keras.Sequential(parts), scale=0.3, seed=seed)


TABLE = pandas.DataFrame(
    numbers(12, 3), pandas.date_range("2024-02-20", periods=12), ["a", "b", "c"]
)
AHEAD = pandas.DataFrame(numbers(9, 4, seed=3), columns=["z", "c", "b", "a"])
TARGETS = [
    ("b", ["b"], 1),
    (1, ["b"], 1),
    (["b"], ["b"], 1),
    (["c", "a"], ["c", "a"], 1),
    ((2, 0), ["c", "a"], 3),
    (["b"], ["b"], 3),
    (["c", "a", "b"], ["c", "a", "b"], 1),  # all of them, in an order of their own
]


@pytest.mark.filterwarnings("ignore:The framer knows no columns")
@pytest.mark.parametrize(("targets", "names", "horizon"), TARGETS)
def test_the_future_holds_the_columns_that_are_not_predicted(targets, names, horizon):
    rule = SequenceFramer(3, horizon=horizon)
    model = flat(3, 3, horizon * len(names))
    ahead = AHEAD[: -(-STEPS // horizon) * horizon]
    others = [name for name in TABLE.columns if name not in names]

    def feed(prediction, last, clock):
        row = AHEAD.iloc[clock - len(TABLE)][["a", "b", "c"]].to_numpy(copy=True)
        row[["abc".index(name) for name in names]] = prediction
        return row

    expected = plain_forecast(model, rule, TABLE, STEPS, feed=feed)
    expected = expected[:, ["abc".index(name) for name in names]]
    generator = Generator(model, rule, targets=targets)
    # By name, in any order and among others; or by position, in the order of the history.
    named = generator.forecast(TABLE, STEPS, future=ahead if others else None)
    single = isinstance(targets, (str, int))
    assert_close(named.to_numpy(), expected[:, 0] if single else expected)
    assert named.index.equals(pandas.date_range("2024-03-03", periods=STEPS))
    assert (named.name if single else named.columns.tolist()) == ("b" if single else names)
    if not others:
        with pytest.raises(ValueError, match=r"`future` must be left out.*Received: 4 columns"):
            generator.forecast(TABLE, STEPS, future=ahead)
        return
    array = ahead[others].to_numpy()
    assert_close(generator.forecast(TABLE, STEPS, future=array), named)
    if not isinstance(targets, str) and not isinstance(targets, list):
        assert_close(generator.forecast(TABLE.to_numpy(), STEPS, future=array), named)
    if len(others) == 1:
        assert_close(generator.forecast(TABLE, STEPS, future=array[:, 0]), named)
    with pytest.raises(ValueError, match=r"`future` must hold the columns.* future=None"):
        generator.forecast(TABLE, STEPS)
    with pytest.raises(ValueError, match=r"`future` must hold the columns.* a future of 4 columns"):
        generator.forecast(TABLE, STEPS, future=ahead.to_numpy())


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("features", [None, 2])
def test_feedback_makes_the_next_input(horizon, features):
    """Here the model predicts changes."""
    rule = SequenceFramer(3, horizon=horizon)
    history = numbers(8) if features is None else numbers(8, features)
    model = flat(3, features or 1, horizon * (features or 1))
    generator = Generator(model, rule, feedback=lambda prediction, last: last + prediction)
    expected = plain_forecast(
        model, rule, history, STEPS, feed=lambda prediction, last, clock: last + prediction
    )
    assert_close(generator.forecast(history, STEPS), expected)
    # Another function is another rollout.
    generator.feedback = lambda prediction, last: prediction - last
    expected = plain_forecast(
        model, rule, history, STEPS, feed=lambda prediction, last, clock: prediction - last
    )
    assert_close(generator.forecast(history, STEPS), expected)


@pytest.mark.parametrize("stateful", [False, True])
def test_several_series_are_each_forecast_as_single_series(stateful):
    model = flat(3, 2, 2)
    if stateful:
        model = recurrent(steps=1, features=2, outputs=2, units=3, batch_size=3)
    generator = Generator(model)
    series = [numbers(length, 2, seed=length) for length in (3, 9, 5)]
    alone = [generator.forecast(one, STEPS) for one in series]
    found = generator.forecast(series, STEPS)
    assert isinstance(found, list)
    for one, other in zip(found, alone, strict=True):
        assert_close(one, other)
    assert_close(found[1], plain_forecast(model, generator.framer, series[1], STEPS))
    tables = [pandas.DataFrame(one, columns=["a", "b"]) for one in series]
    for one, table, other in zip(generator.forecast(tables, STEPS), tables, alone, strict=True):
        assert one.index[0] == len(table)
        assert_close(one.to_numpy(), other)


@pytest.fixture(scope="module")
def linear():
    """A generator whose model predicts three steps of one column at a time."""
    return Generator(flat(3, 1, 1), SequenceFramer(3), seed=4)


HISTORY = numbers(6, seed=8)
RESIDUALS = np.array([-0.5, -0.1, 0.2, 0.7], "float32")


def residuals_of(model, rule, history, path):
    """Return what was added to each prediction of a path, from the steps before it."""
    errors, known = [], history
    for k in range(0, len(path), rule.horizon):
        errors.append(path[k : k + rule.horizon] - windows(model, rule, known, None))
        known = np.concatenate([known, path[k : k + rule.horizon]])
    return np.array(errors)


def nearest(errors, residuals):
    """Return which residual each error is."""
    apart = np.abs(errors[:, None] - residuals[None])
    apart = apart.reshape(len(errors), len(residuals), -1).max(axis=-1)
    assert apart.min(axis=1).max() < 1e-5
    return apart.argmin(axis=1)


def test_every_step_of_a_path_is_a_prediction_and_some_residual(linear):
    paths = linear.forecast(HISTORY, 10, num_samples=20, noise=RESIDUALS)
    assert paths.shape == (20, 10)
    found = np.array(
        [
            nearest(residuals_of(linear.model, linear.framer, HISTORY, path), RESIDUALS[:, None])
            for path in paths
        ]
    )
    counts = np.bincount(found.ravel(), minlength=4)
    assert counts.min() > 25  # of 200, where 50 are expected, 4 standard deviations below
    assert len({tuple(row) for row in found}) == 20
    assert len({tuple(column) for column in found.T}) == 10
    # A forecast without noise has none.
    assert linear.forecast(HISTORY, 10).shape == (10,)


@pytest.mark.parametrize("together", [False, True])
def test_residuals_of_a_block_are_drawn_together_or_for_each_step(together):
    rule = SequenceFramer(3, horizon=2)
    generator = Generator(flat(3, 1, 2), rule, seed=4)
    residuals = np.stack([RESIDUALS, 10 + RESIDUALS], axis=1) if together else RESIDUALS
    paths = generator.forecast(HISTORY, 6, num_samples=15, noise=residuals)
    each = [residuals_of(generator.model, rule, HISTORY, path) for path in paths]
    for errors in each:
        if together:
            nearest(errors, residuals)
        else:
            nearest(errors.reshape(-1, 1), residuals[:, None])
    if not together:
        assert np.ptp(np.concatenate(each), axis=1).max() > 1e-3


def test_the_same_seed_gives_the_same_paths(linear):
    generator = Generator(linear.model, linear.framer)

    def paths(seed, history=HISTORY, **options):
        generator.seed = seed
        return generator.forecast(history, 5, num_samples=3, noise=RESIDUALS, **options)

    first = paths(4)
    assert_same(paths(4), first)
    assert np.abs(paths(5) - first).max() > 0.05
    assert np.abs(paths(None) - paths(None)).max() > 0.05
    # Paths are numbered over all histories, and draw by their number.
    other = numbers(4, seed=2)
    for histories in [HISTORY], [HISTORY, other], [HISTORY, other, other]:
        assert_close(paths(4, histories)[0], first)
    one, same = paths(4, [HISTORY, HISTORY])
    assert np.abs(one - same).max() > 0.05
    assert_close(paths(4, [other, HISTORY])[1], same)
    # Errors that change take effect.
    generator.seed, errors = 4, RESIDUALS.copy()
    before = generator.forecast(HISTORY, 5, num_samples=3, noise=errors)
    errors *= 0
    after = generator.forecast(HISTORY, 5, num_samples=3, noise=errors)
    assert_close(before, first)
    assert_close(after, np.repeat([linear.forecast(HISTORY, 5)], 3, axis=0))


def test_the_sum_of_several_series_has_errors_of_its_own():
    """A law: independent errors add up by their squares, so quantiles of a sum are right."""
    model = keras.Sequential([keras.Input((2, 1)), layers.Flatten(), layers.Dense(1)])
    generator = Generator(seeded(model), seed=7)
    options = {"num_samples": 4_000, "noise": np.array([-1.0, 1.0], "float32")}
    paths = generator.forecast([HISTORY] * 4, 1, **options)
    errors = np.stack(paths)[:, :, 0] - generator.forecast(HISTORY, 1)
    np.testing.assert_allclose(np.abs(errors), 1, rtol=1e-5)
    total = errors.sum(axis=0).round().astype(int)
    found = np.bincount((total + 4) // 2, minlength=5) / 4_000
    # The binomial distribution, within four standard errors.
    np.testing.assert_allclose(found, np.array([1, 4, 6, 4, 1]) / 16, atol=4 * 0.008)
    np.testing.assert_allclose(np.corrcoef(errors) - np.eye(4), 0, atol=4 / 4_000**0.5)


def test_noise_may_be_a_function(linear):
    shifted = linear.forecast(HISTORY, 5, num_samples=2, noise=lambda values, seed: values + 1)
    expected = plain_forecast(
        linear.model, linear.framer, HISTORY, 5, feed=lambda prediction, *_: prediction + 1
    )
    assert_close(shifted, np.stack([expected, expected]))

    def normal(values, seed):
        return values + keras.random.normal(values.shape, 0, 0.5, seed=seed)

    paths = linear.forecast(HISTORY, 3, num_samples=2_000, noise=normal)
    first = paths[:, 0] - linear.forecast(HISTORY, 1)
    assert abs(first.mean()) < 0.05
    assert abs(first.std() - 0.5) < 0.04
    assert_same(linear.forecast(HISTORY, 3, num_samples=2_000, noise=normal), paths)
    with pytest.raises(ValueError, match=r"`noise` must return.*\(4, 1\).*Received: shape \(4,\)"):
        linear.forecast(HISTORY, 3, num_samples=4, noise=lambda values, seed: values[:, 0])


def test_quantiles_equal_quantiles_of_the_paths(linear):
    levels = [0.1, 0.5, 0.9]
    options = {"num_samples": 20, "noise": RESIDUALS}
    paths = linear.forecast(HISTORY, 5, **options)
    found = linear.forecast(HISTORY, 5, quantiles=levels, **options)
    assert found.dtype == "float32"
    assert_close(found, np.quantile(paths, levels, axis=0))
    assert_close(linear.forecast(HISTORY, 5, quantiles=0.5, **options), found[1:2])
    both = linear.forecast([HISTORY, HISTORY], 5, quantiles=levels, **options)
    assert_close(both[0], found)
    series = pandas.Series(HISTORY, pandas.date_range("2024-01-01", periods=6), name="price")
    table = linear.forecast(series, 5, quantiles=levels, **options)
    assert table.columns.tolist() == levels
    assert table.index[0] == pandas.Timestamp("2024-01-07")
    assert_close(table.to_numpy(), found.T)
    assert_close(linear.forecast(series, 5, **options), paths)
    plain = linear.forecast(series, 5)
    assert plain.name == "price"
    assert_close(plain.to_numpy(), linear.forecast(HISTORY, 5))


def test_dropout_draws_units_and_does_not_change_the_model():
    normalize, drop = layers.BatchNormalization(), layers.Dropout(0.5)
    parts = [keras.Input((3, 1)), normalize, layers.Flatten(), drop, layers.Dense(1)]
    model = seeded(keras.Sequential(parts))
    normalize.set_weights(np.array([[1.5], [0.2], [0.3], [2.0]], "float32"))
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    before, trainable = contents(model), [layer.trainable for layer in model.layers]
    generator = Generator(model, seed=3)

    keras.utils.set_random_seed(1)
    paths = generator.forecast(HISTORY, 4, num_samples=64, noise="dropout")
    keras.utils.set_random_seed(2)

    assert_same(contents(model), before)
    assert [layer.trainable for layer in model.layers] == trainable
    # The first step is a sum over some of the units, each twice as large as without dropout, of
    # inputs that are normalized by the moving statistics.
    weights, bias = model.layers[-1].get_weights()
    units = (1.5 * (HISTORY[-3:] - 0.3) / np.sqrt(2.0 + 1e-3) + 0.2) * weights[:, 0]
    which = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T
    kept = nearest(paths[:, :1], (2 * which @ units + bias)[:, None])
    assert np.bincount(kept, minlength=8).min() > 0
    assert len(np.unique(paths.round(5), axis=0)) > 50
    assert_same(generator.forecast(HISTORY, 4, num_samples=64, noise="dropout"), paths)
    other = Generator(model, seed=5).forecast(HISTORY, 4, num_samples=64, noise="dropout")
    assert np.abs(other - paths).max() > 1e-3
    # Without it, nothing is dropped.
    assert_close(
        generator.forecast(HISTORY, 4), plain_forecast(model, generator.framer, HISTORY, 4)
    )


def stateless(*parts, steps, functional=False):
    inputs = keras.Input((steps, 1))
    model = keras.Sequential([inputs, *parts])
    return keras.Model(inputs, model(inputs)) if functional else model


READ_STEP_BY_STEP = {
    "LSTM": lambda: [layers.LSTM(3), layers.Dense(1)],
    "two layers": lambda: [
        layers.Rescaling(0.5),
        layers.TimeDistributed(layers.Dense(2, "tanh")),
        layers.GRU(3, return_sequences=True),
        layers.LayerNormalization(),
        layers.Dropout(0.5),
        layers.SimpleRNN(2),
        layers.Dense(1),
    ],
    "cells": lambda: [
        layers.RNN([layers.SimpleRNNCell(2), layers.GRUCell(3)]),
        layers.Dense(1),
    ],
}


@pytest.mark.parametrize(
    ("kind", "functional"), [("LSTM", False), ("two layers", True), ("cells", False)]
)
def test_a_stateless_model_run_by_steps_equals_the_whole_history(kind, functional):
    """The forecast depends on the whole history, not on its last window."""
    model = seeded(stateless(*READ_STEP_BY_STEP[kind](), steps=4, functional=functional))
    whole = stateless(*READ_STEP_BY_STEP[kind](), steps=None)
    whole.set_weights(model.get_weights())
    before = contents(model)
    history = numbers(11)

    found = Generator(model, stateful=True).forecast(history, STEPS)

    known = history
    for _ in range(STEPS):
        known = np.append(known, run(whole, known[None, :, None])[0])
    assert_close(found, known[11:])
    assert np.abs(found - Generator(model).forecast(history, STEPS)).max() > 1e-4
    assert_same(contents(model), before)
    assert not stateful_layers(model)


def masked(kind, steps):
    """Return a functional model that masks zeros."""
    inputs = keras.Input((steps, 1))
    x = layers.Masking()(inputs)
    if kind == "added":
        x = layers.Add()([x, layers.Masking(mask_value=1.0)(inputs)])
    elif kind == "joined":
        x = layers.Concatenate()([x, inputs])
        x = layers.Concatenate()([x, layers.Masking(mask_value=1.0)(inputs)])
    x = layers.LSTM(3, return_sequences=True)(x)
    return keras.Model(inputs, layers.Dense(1)(layers.GRU(2)(x)))


@pytest.mark.parametrize("kind", ["one", "added", "joined"])
def test_masked_models_run_by_steps(kind):
    """Masked steps leave the state as it is, one by one as all at once."""
    model, whole = seeded(masked(kind, 4)), masked(kind, None)
    whole.set_weights(model.get_weights())
    history = numbers(9)
    history[[0, 3, 4]] = 0
    found = Generator(model, stateful=True).forecast(history, STEPS)
    known = history
    for _ in range(STEPS):
        known = np.append(known, run(whole, known[None, :, None])[0])
    assert_close(found, known[9:])


def masking_by(function):
    """Return a model whose own operation makes a mask of a bool for each step."""
    inputs = keras.Input((4, 1))
    return keras.Model(inputs, layers.Dense(1)(layers.SimpleRNN(2)(inputs, mask=function(inputs))))


class Own(keras.Model):
    """A model whose code could do anything with the steps."""

    def __init__(self):
        super().__init__()
        self.recurrent, self.dense = layers.SimpleRNN(2), layers.Dense(1)

    def call(self, inputs):
        return self.dense(self.recurrent(ops.flip(inputs, axis=1)))


def called(model):
    model(np.zeros((1, 4, 1), "float32"))
    return model


RNN = {"return_sequences": True}
NOT_STEP_BY_STEP = {
    "Bidirectional": lambda: stateless(layers.Bidirectional(layers.SimpleRNN(2)), steps=4),
    "Flatten": lambda: stateless(layers.SimpleRNN(2, **RNN), layers.Flatten(), steps=4),
    "Conv1D": lambda: stateless(layers.Conv1D(2, 2), layers.SimpleRNN(2), steps=4),
    "go_backwards": lambda: stateless(layers.SimpleRNN(2, go_backwards=True), steps=4),
    "pooling": lambda: stateless(
        layers.SimpleRNN(2, **RNN), layers.GlobalAveragePooling1D(), steps=4
    ),
    "an own model": lambda: called(Own()),
    "a mask from the other end": lambda: masking_by(
        lambda x: ops.flip(ops.any(ops.not_equal(x, 0), axis=-1), axis=1)
    ),
    "nothing recurrent": lambda: stateless(layers.Flatten(), layers.Dense(1), steps=4),
}


@pytest.mark.parametrize("kind", NOT_STEP_BY_STEP)
def test_models_that_need_several_steps_at_once_are_refused(kind):
    model = NOT_STEP_BY_STEP[kind]()
    with pytest.raises(ValueError, match=r"`stateful=True` is for models"):
        Generator(model, SequenceFramer(4), stateful=True)


def test_lists_of_tables_are_matched_by_their_labels():
    """Two series that are swapped are refused, and so is every future of another series."""
    panel = pandas.DataFrame(numbers(24, 2), columns=["units", "price"])
    panel.insert(0, "store", ["north"] * 12 + ["south"] * 12)
    frames = SequenceFramer(2).frame(panel, by="store", targets="units")
    generator = Generator(flat(2, 2, 1), frames.framer)
    north, south = (part.reset_index(drop=True) for _, part in panel.groupby("store"))
    own = [north[:3], south[:3]]
    found = generator.forecast([north, south], 3, future=own)
    alone = generator.forecast(south, 3, future=south[:3])
    assert_close(found[1], alone["units"])
    message = (
        r"`future{0}` must be of the same series as `history{0}`.*store='south' .*store='north'"
    )
    with pytest.raises(ValueError, match=message.replace("{0}", r"\[0\]")):
        generator.forecast([north, south], 3, future=own[::-1])
    with pytest.raises(ValueError, match=r"`future` must have rows of .* without 'north'"):
        generator.forecast(north, 3, future=south[:3])
    by_index = [part.set_index("store", append=True) for part in (north, south)]
    with pytest.raises(ValueError, match=message.replace("{0}", "")):
        generator.forecast(by_index[0], 3, future=by_index[1][:3])
    # Tables without labels, and arrays, are told apart by their place only.
    bare = [part.drop(columns="store") for part in own]
    assert_close(generator.forecast([north, south], 3, future=bare)[1], found[1])
    with pytest.raises(ValueError, match=r"`sequences\[0\]`.*store='south'"):
        backtest(generator, [north, south], 3, future=[south, north])


def test_errors_of_a_future_name_its_series():
    generator = Generator(two_inputs(SequenceFramer(3)), SequenceFramer(3))
    histories, future = [numbers(6), numbers(7)], numbers(4, 2)
    with pytest.raises(ValueError, match=r"`future\[1\]` must have 4 rows.*Received: 3 rows"):
        generator.forecast(histories, 4, future=[future, future[:3]])
    days = pandas.date_range("2026-01-01", periods=10)
    dated = [pandas.Series(each, days[: len(each)]) for each in histories]
    futures = [pandas.DataFrame(future, days[begin : begin + 4]) for begin in (6, 6)]
    with pytest.raises(ValueError, match=r"`future\[1\]` .* 2026-01-07 .* where 2026-01-08"):
        generator.forecast(dated, 4, future=futures)


def test_a_future_that_the_model_does_not_take_is_refused(linear):
    for generator in linear, Generator(linear.model, feedback=lambda prediction, last: prediction):
        with pytest.raises(ValueError, match="`future` must be left out"):
            generator.forecast(HISTORY, 3, future=numbers(3, 1))
        with pytest.raises(ValueError, match="`future` must be left out"):
            backtest(generator, HISTORY, 1, future=numbers(6, 1))


SAMPLES = {"num_samples": 3, "noise": RESIDUALS}
REFUSED = [
    ({"history": HISTORY[:2]}, "history"),
    ({"history": numbers(6, 2)}, "history"),
    ({"steps": 0}, "steps"),
    ({"noise": RESIDUALS}, "num_samples"),
    ({"quantiles": [0.5]}, "num_samples"),
    ({"num_samples": 3}, "noise"),
    ({**SAMPLES, "num_samples": 0}, "num_samples"),
    *(({**SAMPLES, "noise": noise}, "noise") for noise in ["normal", "dropout", 0.1, np.array(3)]),
    *(({**SAMPLES, "noise": noise}, "noise") for noise in [np.zeros((5, 2)), [], [1.0, np.nan]]),
    *(({**SAMPLES, "quantiles": levels}, "quantiles") for levels in [[0.5, 1.5], []]),
    ({"history": [HISTORY, HISTORY], "future": [HISTORY]}, "future.*2 histories"),
    ({"history": [HISTORY, HISTORY], "future": TABLE}, "future.*2 histories"),
]


@pytest.mark.parametrize(("given", "argument"), REFUSED)
def test_forecasts_refuse_wrong_arguments(linear, given, argument):
    with pytest.raises((TypeError, ValueError), match=argument):
        linear.forecast(**{"history": HISTORY, "steps": 3, **given})


SHORT = r"fewer than 3 steps.*{}.*`min_length`"


@pytest.mark.parametrize("mode", ["windows", "prefixes"])
def test_histories_shorter_than_any_input_are_told_once(mode):
    line = keras.Sequential([keras.Input((4, 1)), layers.Flatten(), layers.Dense(1)])
    generator = Generator(line, SequenceFramer(4, mode=mode, min_length=3))
    with pytest.warns(UserWarning, match=SHORT.format("`history` with 2 steps")) as told:
        generator.forecast(numbers(2), 2)
    assert [each.filename for each in user_warnings(told)] == [__file__]
    with pytest.warns(UserWarning, match=SHORT.format("2 of 3, `history\\['b'\\]` with 1 step,")):
        generator.forecast({"a": numbers(3), "b": numbers(1), "c": numbers(2)}, 2)
    with warnings.catch_warnings(action="error", category=UserWarning):
        generator.forecast([numbers(3), numbers(9)], 2)
    # A backtest begins where the model knows the length, if the user names no step.
    assert backtest(generator, numbers(9), 2).origins[0].tolist() == [0, 3]
    assert backtest(generator, numbers(9), 2, start=np.int64(1)).origins[0].tolist() == [0, 1]
    days = pandas.date_range("2026-01-01", periods=9)
    series = [pandas.Series(numbers(9), days), pandas.Series(numbers(9), days + days.freq * 7)]
    origins = backtest(generator, series, 2, start="2026-01-09").origins.tolist()
    assert min(at for number, at in origins if number == 1) == 3


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize(
    ("options", "steps"),
    [({}, 4), ({"pad_end": True, "min_length": 3}, 1), ({"mode": "prefixes"}, 1)],
)
def test_histories_as_short_as_inputs_are_not_told(options, steps):
    line = keras.Sequential([keras.Input((4, 1)), layers.Flatten(), layers.Dense(1)])
    Generator(line, SequenceFramer(4, **options)).forecast(numbers(steps), 2)


def test_nan_before_the_window_is_ignored(linear):
    history = np.concatenate([[np.nan], HISTORY])
    assert_close(linear.forecast(history, 3), linear.forecast(HISTORY, 3))


def test_a_nan_forecast_names_its_cause():
    rule = SequenceFramer(3, horizon=2)
    generator = Generator(two_inputs(rule, known=1), rule)
    clean, future = numbers(8), numbers(4, seed=1)
    holed = np.where(np.arange(8) == 7, np.nan, clean).astype("float32")
    with pytest.raises(ValueError, match=r"history\[1\] is NaN.*in the history"):
        generator.forecast([clean, holed], 4, future=[future, future])
    with pytest.raises(ValueError, match="in the future"):
        generator.forecast(clean, 4, future=np.append(future[:3], np.nan))
    generator.model.set_weights([weight * np.nan for weight in generator.model.get_weights()])
    with pytest.raises(ValueError, match="weights"):
        generator.forecast(clean, 4, future=future)


# --- Tables are read by the names of their columns.

DAYS = pandas.date_range("2024-02-20", periods=12)
SHOP = pandas.DataFrame(numbers(12, 3, seed=5), DAYS, ["units", "price", "holiday"])
PLANS = pandas.DataFrame(
    numbers(6, 2, seed=6), pandas.date_range("2024-03-03", periods=6), ["price", "holiday"]
)


def named(kind):
    """Return a generator of `units`, with the framer of the frames of SHOP."""
    if kind == "alone":
        frames = SequenceFramer(3).frame(SHOP, targets="units")
        model = flat(3, 3, 1)
    else:
        frames = SequenceFramer(3, horizon=2).frame(SHOP, targets="units", future=["holiday"])
        model = two_inputs(frames.framer, features=3, known=1)
    return Generator(model, frames.framer, targets="units")


def by_hand(generator, history, steps):
    """Return the forecast of a plain loop over arrays in the order of training."""
    known = history.to_numpy()
    ahead = np.concatenate([SHOP[["price", "holiday"]], PLANS])
    future = ahead[:, 1] if generator.framer.future_columns else None

    def feed(prediction, last, clock):
        return [prediction.item(), *ahead[clock]]

    found = plain_forecast(generator.model, generator.framer, known, steps, future, feed)
    return found[:, 0]


@pytest.mark.parametrize("kind", ["alone", "with a future"])
def test_tables_are_read_by_names(kind):
    generator = named(kind)
    expected = by_hand(generator, SHOP, 6)
    assert_close(generator.forecast(SHOP, 6, future=PLANS), expected)
    # In another order, with a column of text.
    other = SHOP.assign(store="a")[["holiday", "store", "price", "units"]]
    plans = PLANS.assign(store="a")[["store", "holiday", "price"]]
    found = generator.forecast([other, SHOP], 6, future=[plans, PLANS])
    for one in found:
        assert_close(one, expected)
        assert one.name == "units"
    # Arrays by position: the model's own future first.
    order = ["holiday", "price"] if kind == "with a future" else ["price", "holiday"]
    array = PLANS[order].to_numpy()
    assert_close(generator.forecast(SHOP.to_numpy(), 6, future=array), expected)

    wrong = [
        (SHOP.drop(columns="price"), PLANS, r"`history` must have .*, without \['price'\]"),
        (SHOP.rename(columns={"price": "Price"}), PLANS, r"without \['price'\]"),
        (SHOP, PLANS.rename(columns={"holiday": "x"}), r"`future` must .*\['holiday'\]"),
        (SHOP, PLANS.drop(columns="price"), r"`future` must hold .*\['price'\].*\['holiday'\]"),
        (SHOP.to_numpy()[:, :2], PLANS, r"`history` must have 3 features.*shape \(2,\)"),
        (SHOP, array[:, :1], r"`future` must hold the columns .* shape \(6, 1\)"),
    ]
    for history, future, message in wrong:
        with pytest.raises(ValueError, match=message):
            generator.forecast(history, 6, future=future)


@pytest.mark.parametrize("layout", ["timesteps", "features"])
def test_features_must_fit_the_model(layout):
    """Otherwise a layer that normalizes would broadcast a single feature to three."""
    shape = (3, 3) if layout == "timesteps" else (1, 9)
    model = keras.Sequential([keras.Input(shape), layers.Normalization(), layers.Flatten()])
    model.add(layers.Dense(1))
    generator = Generator(model, SequenceFramer(3, layout=layout), feedback=lambda one, last: last)
    for width in 1, 2, 4:
        with pytest.raises(ValueError, match=rf"`history` must .*Received: .*shape \({width},\)"):
            generator.forecast(numbers(6, width), 2)
    two = Generator(two_inputs(SequenceFramer(3)), SequenceFramer(3))
    for future in numbers(2, 3), numbers(2):
        with pytest.raises(ValueError, match=r"`future` must have steps of shape \(2,\)"):
            two.forecast(numbers(6), 2, future=future)
