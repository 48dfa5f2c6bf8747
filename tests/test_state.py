"""Recurrent state: chunks equal the whole, and states are read, written and reset."""

import re

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import assert_same, compiled, contents, numbers, recurrent, run, seeded

from seqframe import StatefulTrainer, fit, get_states, reset_states, set_states

BATCH, STEPS, FEATURES = 2, 6, 3
CHUNKS = [(6,), (3, 3), (1, 2, 3), (1, 1, 1, 1, 1, 1)]


class NestedCell(layers.Layer):
    """A cell with three states, two of them nested, that does not begin at zero."""

    def __init__(self, units=2):
        super().__init__()
        self.units = self.output_size = units
        self.state_size = [units, [units, 3]]

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units))

    def get_initial_state(self, batch_size=None):
        ones = ops.ones((batch_size, self.units))
        return [ones, [0.5 * ones, 2 * ops.ones((batch_size, 3))]]

    def call(self, inputs, states):
        a, (b, c) = states
        drive = ops.matmul(inputs, self.kernel) + ops.mean(c, axis=-1, keepdims=True)
        output = ops.tanh(drive + 0.5 * a - 0.3 * b)
        return output, [output, [a, 0.9 * c + output[:, :1]]]


class Holder(layers.Layer):
    """A user's layer that holds a stateful one."""

    def __init__(self, **kwargs):
        super().__init__()
        self.held = [layers.GRU(2, **kwargs)]

    def build(self, input_shape):
        self.held[0].build(input_shape)

    def call(self, inputs):
        return self.held[0](inputs)


def _nested(**kwargs):
    inner = keras.Sequential([layers.LSTM(2, **kwargs), layers.Dense(2)])
    return keras.Sequential([inner, Holder(**kwargs)])


STATEFUL = {"stateful": True, "return_sequences": True}
KINDS = {
    "LSTM": lambda **kw: [layers.LSTM(2, **kw)],
    "GRU": lambda **kw: [layers.GRU(2, **kw)],
    "ConvLSTM1D": lambda **kw: [
        layers.Reshape((-1, FEATURES, 1)),
        layers.ConvLSTM1D(2, 2, padding="same", **kw),
    ],
    "stacked cells": lambda **kw: [
        layers.RNN([layers.LSTMCell(2), layers.GRUCell(3), NestedCell()], **kw)
    ],
    "custom cell": lambda **kw: [layers.RNN(NestedCell(), **kw)],
    "nested models": lambda **kw: [_nested(**kw)],
    "dropout": lambda **kw: [
        layers.Dropout(0.5),
        layers.LSTM(2, dropout=0.5, recurrent_dropout=0.5, **kw),
    ],
    "two layers": lambda **kw: [layers.LSTM(2, **kw), layers.SimpleRNN(3, **kw)],
}


def build(kind):
    inputs = keras.Input((None, FEATURES), batch_size=BATCH)
    outputs = inputs
    for layer in KINDS[kind](**STATEFUL):
        outputs = layer(outputs)
    return seeded(keras.Model(inputs, outputs))


@pytest.fixture(scope="module")
def x():
    return numbers(BATCH, STEPS, FEATURES)


@pytest.fixture(scope="module")
def lstm():
    """A model of three rows."""
    return seeded(
        keras.Sequential([keras.Input((1, 1), batch_size=3), layers.LSTM(2, stateful=True)])
    )


def cut(x, lengths):
    return np.split(x, np.cumsum(lengths)[:-1], axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_equal_the_whole(kind, x):
    model = build(kind)
    model(7 * x)  # a state that the reset removes
    reset_states(model)
    whole, state = run(model, x), get_states(model)

    for lengths in CHUNKS:
        reset_states(model)
        chunks = [run(model, chunk) for chunk in cut(x, lengths)]
        assert_same(np.concatenate(chunks, axis=1), whole, atol=1e-6)
        assert_same(get_states(model), state, atol=1e-6)

    predicted = model.predict(
        np.concatenate(cut(x, (2, 2, 2))),
        batch_size=BATCH,
        verbose=0,
        callbacks=[StatefulTrainer()],
    )
    assert_same(np.concatenate(np.split(predicted, 3), axis=1), whole, atol=1e-6)


def test_masked_chunks_equal_the_masked_whole(x):
    x = x.copy()
    x[0, 2:4] = x[1, 5:] = 0
    real = x.any(axis=-1)
    inputs = keras.Input((None, FEATURES), batch_size=BATCH)
    masked = layers.Masking()(inputs)
    model = seeded(keras.Model(inputs, layers.LSTM(2, **STATEFUL)(masked)))
    whole, state = run(model, x), get_states(model)
    for lengths in CHUNKS:
        reset_states(model)
        chunks = [run(model, chunk) for chunk in cut(x, lengths)]
        # At a masked step Keras repeats the output before it, within the chunk.
        assert_same(np.concatenate(chunks, axis=1)[real], whole[real], atol=1e-6)
        assert_same(get_states(model), state, atol=1e-6)


def train_with_fit(model, x, y):
    trainer = StatefulTrainer("never")
    model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0, callbacks=[trainer])


def train_with_seqframe(model, x, y):
    fit(model, (x, y), verbose=0, callbacks=[StatefulTrainer("never")])


@pytest.mark.parametrize("train", [train_with_fit, train_with_seqframe])
def test_training_carries_the_state_of_every_layer(train, x):
    # One model of all kinds, and chunks of one step: programs take their time to compile.
    inputs = keras.Input((1, FEATURES), batch_size=BATCH)
    outputs = []
    for kind in [kind for kind in KINDS if kind != "dropout"]:
        branch = inputs
        for layer in KINDS[kind](unroll=True, **STATEFUL):
            branch = layer(branch)
        outputs.append(ops.sum(layers.Flatten()(branch), axis=-1, keepdims=True))
    model = seeded(keras.Model(inputs, layers.Concatenate()(outputs)))
    compiled(model, keras.optimizers.SGD(0.0))
    chunks = np.split(x, STEPS, axis=1)
    y = np.zeros((len(chunks) * BATCH, len(outputs)), "float32")
    for chunk in chunks:
        model(chunk)
    whole = get_states(model)

    reset_states(model)
    train(model, np.concatenate(chunks), y)

    assert_same(get_states(model), whole, atol=1e-5)


def test_bidirectional_carries_both_directions(x):
    """Forward the whole, backward each chunk from the state that the chunk before left."""
    layer = layers.Bidirectional(layers.LSTM(2, **STATEFUL))
    model = seeded(keras.Sequential([keras.Input((None, FEATURES), batch_size=BATCH), layer]))
    there = layers.LSTM(2, return_sequences=True)
    back = layers.LSTM(2, return_sequences=True, return_state=True, go_backwards=True)
    for twin, own in (there, layer.forward_layer), (back, layer.backward_layer):
        twin.build(x.shape)
        twin.set_weights(own.get_weights())

    chunks, state = [], [ops.zeros((BATCH, 2))] * 2
    for chunk in cut(x, (2, 2, 2)):
        output, *state = back(chunk, initial_state=state)
        chunks.append(ops.flip(output, axis=1))
    backwards = ops.convert_to_numpy(ops.concatenate(chunks, axis=1))
    expected = np.concatenate([run(there, x), backwards], axis=-1)

    model(x)
    reset_states(model)
    by_chunks = [run(model, chunk) for chunk in cut(x, (2, 2, 2))]
    assert_same(np.concatenate(by_chunks, axis=1), expected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_states_round_trip(kind, x):
    model = build(kind)
    fresh = get_states(model)
    first = run(model, x)
    kept = get_states(model)
    second = run(model, x)

    set_states(model, kept)
    assert_same(get_states(model), kept)
    assert_same(run(model, x), second)
    reset_states(model)
    assert_same(get_states(model), fresh)
    assert_same(run(model, x), first)
    reset_states(model, kept)
    assert_same(run(model, x), second)


@pytest.mark.parametrize("mask", [(0, 0, 0), (0, 1, 0), (1, 0, 1), (1, 1, 1)])
def test_only_given_rows_are_reset(mask, lstm):
    mask = np.array(mask, bool)
    reset_states(lstm)
    lstm(numbers(3, 1, 1))
    used = get_states(lstm)
    ones = keras.tree.map_structure(np.ones_like, used)

    for values, fresh in (None, 0.0), (ones, 1.0):
        for rows in mask, np.flatnonzero(mask), np.flatnonzero(mask).tolist(), mask.tolist():
            set_states(lstm, used)
            reset_states(lstm, values, rows)
            for before, after in zip(used[0], get_states(lstm)[0], strict=True):
                np.testing.assert_array_equal(after, np.where(mask[:, None], fresh, before))


def test_one_row_is_reset_by_its_number(lstm):
    reset_states(lstm, [[np.ones((3, 2))] * 2])
    reset_states(lstm, rows=1)
    assert [row.tolist() for row in get_states(lstm)[0][0]] == [[1, 1], [0, 0], [1, 1]]


def test_rows_of_a_custom_cell_get_its_own_initial_state(x):
    model = build("custom cell")
    fresh = get_states(model)
    model(x)
    used = get_states(model)
    reset_states(model, rows=[0])
    for new, before, after in zip(
        *map(keras.tree.flatten, (fresh, used, get_states(model))), strict=True
    ):
        np.testing.assert_array_equal(after, np.stack([new[0], before[1]]))


def test_an_unbuilt_model_resets_nothing():
    model = keras.Sequential([layers.LSTM(2, stateful=True)])
    reset_states(model)
    assert not model.built


H = np.zeros((3, 2))
WRONG_STATES = [
    (3, r"shapes \(\)"),
    (None, r"shapes \(\)"),
    ([], r"shapes \[\]"),
    ([[H, H], [H, H]], r"\], \["),
    ([[H]], re.escape("shapes [[(3, 2)]]")),
    ([[H, H, H]], re.escape("(3, 2), (3, 2), (3, 2)]]")),
    ([[H, H[:2]]], re.escape("shapes [[(3, 2), (2, 2)]]")),  # of another batch size
    ([[H, H.T]], re.escape("shapes [[(3, 2), (2, 3)]]")),
    ([[H, 0.0]], re.escape("shapes [[(3, 2), ()]]")),
]


@pytest.mark.parametrize(("states", "message"), WRONG_STATES)
def test_states_that_do_not_fit_change_nothing(states, message, lstm):
    before = contents(lstm)
    with pytest.raises(ValueError, match=f"`states`.*{message}"):
        set_states(lstm, states)
    if states is not None:
        for rows in None, [0]:
            with pytest.raises(ValueError, match=f"`values`.*{message}"):
                reset_states(lstm, states, rows)
    assert_same(contents(lstm), before)


def test_states_of_another_structure_change_nothing(x):
    model = build("stacked cells")
    model(x)
    before = get_states(model)
    flat = [keras.tree.flatten(before)]
    for rows in None, [0]:
        with pytest.raises(ValueError, match="`values`"):
            reset_states(model, flat, rows)
    with pytest.raises(ValueError, match="`states`"):
        set_states(model, flat)
    assert_same(get_states(model), before)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([-1], r"\[-1\]"),  # not from the end
        ([0, 3], r"\[0, 3\]"),  # off by one
        ([0.0], "rows="),
        ([True, False], r"shape \(3,\)"),
    ],
)
def test_rows_that_do_not_exist_change_nothing(rows, message, lstm):
    lstm(numbers(3, 1, 1))
    before = contents(lstm)
    with pytest.raises(ValueError, match=f"`rows`.*{message}"):
        reset_states(lstm, rows=rows)
    assert_same(contents(lstm), before)


@pytest.mark.parametrize("use", [get_states, reset_states, lambda model: set_states(model, [])])
def test_a_model_needs_a_stateful_layer(use):
    with pytest.raises(ValueError, match="`stateful=True`"):
        use(recurrent())


@pytest.mark.parametrize(
    "use", [get_states, lambda m: set_states(m, [[H, H]]), lambda m: reset_states(m, [[H, H]])]
)
def test_a_model_needs_to_be_built(use):
    model = keras.Sequential([layers.LSTM(2, stateful=True, name="mine")])
    with pytest.raises(ValueError, match=r"'mine'.*`Input"):
        use(model)
