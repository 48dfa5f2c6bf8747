"""Steppers: steps as they arrive give what the whole sequence gives."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from keras import layers
from models import assert_same, compiled, contents, numbers, run, seeded

from seqframe import (
    Generator,
    SequenceFramer,
    Stepper,
    Vocabulary,
    carry_state,
    fit,
    get_states,
)

ROWS, STEPS, FEATURES = 3, 7, 2
WIDE = {"return_sequences": True}


def chain(*parts, steps=None, features=FEATURES, batch_size=None):
    shape = (steps,) if features is None else (steps, features)
    return seeded(keras.Sequential([keras.Input(shape, batch_size=batch_size), *parts]))


def normalization():
    return layers.Normalization(mean=np.full(FEATURES, 0.3), variance=np.full(FEATURES, 2.0))


def batch_normalized():
    model = chain(layers.LSTM(3, **WIDE), layers.BatchNormalization(), layers.Dense(2))
    model.layers[1].moving_variance.assign(np.full(3, 2.0))
    return model


def functional():
    inputs = keras.Input((None, FEATURES))
    hidden = layers.GRU(3, **WIDE)(inputs)
    hidden = layers.Concatenate()([hidden, layers.Dense(2, "tanh")(inputs)])
    hidden = layers.LayerNormalization()(layers.LSTM(3, **WIDE)(hidden)) + hidden[..., :3]
    return seeded(keras.Model(inputs, layers.TimeDistributed(layers.Dense(2))(hidden)))


def nested():
    inner = keras.Sequential([keras.Input((None, FEATURES)), layers.LSTM(3, **WIDE)])
    return chain(inner, layers.Dropout(0.5), layers.Dense(2))


def mixed():
    policy = keras.DTypePolicy("mixed_bfloat16")
    return chain(layers.LSTM(3, dtype=policy, **WIDE), layers.Dense(2, dtype=policy))


# A label for each step: the whole sequence gives what the steps give.
TAGGERS = {
    "GRU": lambda: chain(layers.GRU(3, recurrent_dropout=0.3, **WIDE), layers.Dense(2)),
    "SimpleRNN, normalization": lambda: chain(normalization(), layers.SimpleRNN(3, **WIDE)),
    "stacked cells": lambda: chain(layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], **WIDE)),
    "two layers, batch normalization": batch_normalized,
    "functional, time distributed": functional,
    "nested, dropout": nested,
    "mixed precision": mixed,
    "a convolution of one step": lambda: chain(layers.Conv1D(3, 1), layers.GRU(2, **WIDE)),
    "masked": lambda: chain(layers.Masking(9.0), layers.LSTM(3, **WIDE)),
    "a layer of the user's": lambda: chain(Doubled(), layers.LSTM(3, **WIDE)),
}


class Doubled(layers.Layer):
    def call(self, inputs):
        return 2 * inputs


def assert_close(found, expected, tolerance=1e-5):
    found, expected = (np.asarray(each, "float32") for each in (found, expected))
    np.testing.assert_allclose(found, expected, tolerance, tolerance, equal_nan=False)


@pytest.mark.xla
@pytest.mark.parametrize("kind", TAGGERS)
def test_steps_give_what_the_whole_sequence_gives(kind):
    model, x = TAGGERS[kind](), numbers(ROWS, STEPS, FEATURES)
    expected = model.predict(np.concatenate([x, numbers(ROWS, 3, FEATURES)], axis=1), verbose=0)
    stepper = Stepper(model, rows=ROWS)
    found = np.stack([stepper(x[:, k]) for k in range(STEPS)], axis=1)
    assert_close(found, expected[:, :STEPS], 1e-2 if kind == "mixed precision" else 1e-5)
    stepper.reset()
    again = np.stack([stepper(x[:, k]) for k in range(STEPS)], axis=1)
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("cell", ["LSTM", "SimpleRNN"])
def test_a_model_of_the_last_step_says_what_it_would_say_to_all_steps_so_far(cell):
    model, x = chain(getattr(layers, cell)(3), layers.Dense(2)), numbers(STEPS, FEATURES)
    stepper = Stepper(model)
    for k in range(STEPS):
        assert_close(stepper(x[k]), model.predict_on_batch(x[None, : k + 1])[0])


@pytest.mark.parametrize(("steps", "batch_size"), [(1, 4), (5, 1)])
def test_batch_size_and_steps_of_training_do_not_matter(steps, batch_size):
    parts = [layers.LSTM(3, stateful=True, **WIDE), layers.GRU(2, stateful=True, **WIDE)]
    model = chain(*parts, steps=steps, batch_size=batch_size)
    twin = chain(layers.LSTM(3, **WIDE), layers.GRU(2, **WIDE))
    twin.set_weights(model.get_weights())
    x = numbers(ROWS, STEPS, FEATURES)
    stepper = Stepper(model, rows=ROWS)
    found = np.stack([stepper(x[:, k]) for k in range(STEPS)], axis=1)
    assert_close(found, twin.predict(x, verbose=0))


# --- State: rows are independent, and a stepper goes on where it was.


def stateful_model(rows=2):
    """Return a model of stacked cells and a GRU that was built for other rows and steps."""
    parts = [
        layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], stateful=True, **WIDE),
        layers.GRU(3, stateful=True, **WIDE),
    ]
    return chain(*parts, layers.Dense(2), steps=4, batch_size=rows)


@pytest.fixture(scope="module")
def model():
    return stateful_model()


def fed(stepper, x):
    """Return the outputs of steps `(rows, steps, features)`."""
    return np.stack([stepper(x[:, k]) for k in range(x.shape[1])], axis=1)


def test_rows_are_independent_and_reset_by_themselves(model):
    x = numbers(ROWS, STEPS, FEATURES)
    stepper = Stepper(model, rows=ROWS)
    whole = fed(stepper, x)
    stepper.reset()
    changed = x.copy()
    changed[1] = 0.5
    found = fed(stepper, changed)
    np.testing.assert_array_equal(found[[0, 2]], whole[[0, 2]])
    assert np.abs(found[1] - whole[1]).max() > 1e-3

    stepper.reset()
    fed(stepper, x[:, :3])
    for rows in [1], np.array([False, True, False]), np.int64(1):
        before = stepper.state
        stepper.reset(rows=rows)
        went_on = fed(stepper, x[:, 3:])
        np.testing.assert_array_equal(went_on[[0, 2]], whole[[0, 2], 3:])
        fresh = Stepper(model)
        assert_close(went_on[1], fed(fresh, x[1:2, 3:])[0])
        stepper.state = before


def test_a_state_that_is_written_goes_on_bit_for_bit(model):
    x = numbers(2, STEPS, FEATURES)
    stepper, other = Stepper(model, rows=2), Stepper(model, rows=2)
    fed(stepper, x)
    other.state = kept = stepper.state
    assert keras.tree.map_structure(np.shape, kept) == keras.tree.map_structure(
        np.shape, get_states(model)
    )
    expected = fed(stepper, x)
    np.testing.assert_array_equal(fed(other, x), expected)
    stepper.state = kept  # it has a memory of its own
    np.testing.assert_array_equal(fed(stepper, x), expected)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_pickled_and_saved_steppers_go_on_bit_for_bit(precision, tmp_path):
    policy = keras.DTypePolicy(precision)
    cells = [layers.LSTMCell(3, dtype=policy), layers.GRUCell(2, dtype=policy)]
    layer = layers.RNN(layers.StackedRNNCells(cells, dtype=policy), dtype=policy)
    stepper = Stepper(chain(layer), SequenceFramer(4, columns=["u", "v"]), rows=2)
    x = numbers(2, STEPS, FEATURES)
    fed(stepper, x)
    stepper.save(tmp_path / "stepper.keras")
    copies = [
        pickle.loads(pickle.dumps(stepper)),
        copy.deepcopy(stepper),
        Stepper.load(tmp_path / "stepper.keras"),
    ]
    expected = fed(stepper, x)
    for each in copies:
        assert each.framer == stepper.framer
        np.testing.assert_array_equal(fed(each, x), expected)
    assert Stepper.load(tmp_path / "stepper.keras", rows=5)(np.zeros((5, 2))).shape == (5, 2)
    keras.saving.load_model(tmp_path / "stepper.keras")


def test_the_file_of_a_generator_is_loaded_as_a_stepper_and_not_the_other_way(model, tmp_path):
    recurrent = chain(layers.LSTM(3), layers.Dense(2), steps=3)
    Generator(recurrent, SequenceFramer(3)).save(tmp_path / "generator.keras")
    loaded = Stepper.load(tmp_path / "generator.keras", rows=2)
    x = numbers(2, STEPS, FEATURES)
    np.testing.assert_array_equal(fed(loaded, x), fed(Stepper(recurrent, rows=2), x))
    Stepper(model).save(tmp_path / "stepper.keras")
    with pytest.raises(ValueError, match=r"`path`.*Use `Stepper.load`"):
        Generator.load(tmp_path / "stepper.keras")
    (tmp_path / "damaged.keras").write_bytes((tmp_path / "stepper.keras").read_bytes()[:-100])
    for name in "damaged.keras", "missing.keras":
        with pytest.raises(ValueError, match=rf"`path`.*`Stepper.save`.*{name}"):
            Stepper.load(tmp_path / name)


# --- The model: it is not changed, and changes of it show in the next step.


def test_a_stepper_does_not_change_its_model(model):
    with carry_state(model):
        model(numbers(2, 4, FEATURES))
    before = contents(model)
    stepper = Stepper(model, rows=3)
    fed(stepper, numbers(3, STEPS, FEATURES))
    stepper.reset()
    assert_same(contents(model), before)
    config = [layer.unroll for layer in model.layers if hasattr(layer, "unroll")]
    assert not any(config)


def test_training_and_adapt_show_in_the_next_step():
    scaling = layers.Normalization()
    model = compiled(chain(scaling, layers.LSTM(3, **WIDE), layers.Dense(2)))
    scaling.adapt(numbers(1, 50, FEATURES))
    x, stepper = numbers(1, STEPS, FEATURES), Stepper(model)
    before = fed(stepper, x)
    data = numbers(8, 5, FEATURES), numbers(8, 5, 2)
    for change in (
        lambda: fit(model, data, epochs=2, verbose=0),
        lambda: model.fit(*data, epochs=2, verbose=0),
        lambda: scaling.adapt(3 + numbers(1, 50, FEATURES)),
        lambda: model.set_weights([0.5 * array for array in model.get_weights()]),
    ):
        change()
        stepper.reset()
        found = fed(stepper, x)
        assert_close(found, run(model, x))  # Keras's `predict` keeps the old constants
        assert np.abs(found - before).max() > 1e-4
        before = found


def test_the_state_stays_if_a_layer_is_adapted():
    scaling = layers.Normalization()
    model, x = chain(scaling, layers.SimpleRNN(3)), numbers(1, STEPS, FEATURES)
    scaling.adapt(numbers(1, 50, FEATURES))
    stepper = Stepper(model)
    fed(stepper, x)
    [[before]] = stepper.state
    scaling.adapt(3 + numbers(1, 50, FEATURES))
    found = stepper(x[:, 0])
    kernel, recurrent, bias = model.get_weights()[-3:]
    scaled = keras.ops.convert_to_numpy(scaling(x))[:, 0]
    assert_close(found, np.tanh(scaled @ kernel + before @ recurrent + bias))


def test_threads_take_turns():
    model = chain(layers.SimpleRNN(1, activation="linear"), steps=5, features=1)
    model.set_weights([np.ones((1, 1)), np.ones((1, 1)), np.zeros(1)])  # it adds up all steps
    stepper = Stepper(model)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: float(stepper([1.0])[0]), range(200)))
    assert sorted(found) == list(range(1, 201))


# --- What a step may be.


@pytest.mark.parametrize("rows", [1, 3])
def test_shapes_of_a_step_and_of_its_result(rows):
    one = Stepper(chain(layers.GRU(2), features=1), rows=rows)
    two = Stepper(chain(layers.GRU(2)), rows=rows)
    ids = Stepper(chain(layers.Embedding(5, 2), layers.GRU(2), features=None), rows=rows)
    for stepper, step in (one, (1,)), (two, (2,)), (ids, ()):
        x = np.zeros((rows, *step), "int32" if stepper is ids else "float64")
        expected = stepper(x)
        assert (expected.shape, expected.dtype) == ((rows, 2), np.dtype("float32"))
        same = [x.tolist(), x.astype("int64"), keras.ops.convert_to_tensor(x)]
        same += [x[:, 0]] if stepper is one and rows > 1 else []
        for each in same:
            stepper.reset()
            np.testing.assert_array_equal(stepper(each), expected)
        single = [x[0], x[0].tolist()] if rows == 1 else []
        single += [0.0] if rows == 1 and stepper is one else []
        for each in single:
            stepper.reset()
            np.testing.assert_array_equal(stepper(each), expected[0])


@pytest.mark.parametrize(
    ("layout", "symbols"), [("tokens", "ABC"), ("timesteps", ["the", "cat", "sat"])]
)
def test_symbols_are_read_by_the_framer(layout, symbols):
    parts = [layers.Embedding(3, 2)] if layout == "tokens" else []
    model = chain(*parts, layers.GRU(2), features=None if parts else 1)
    framer = SequenceFramer(4, layout=layout, vocabulary=Vocabulary(symbols))
    single, pair = Stepper(model, framer), Stepper(model, framer, rows=2)
    first, _, last = symbols
    expected = single(np.int32(2))
    for each in last, 2:
        single.reset()
        np.testing.assert_array_equal(single(each), expected)
    single.reset()
    np.testing.assert_array_equal(single([last]), expected[None])
    found = pair([first, last])
    both = ["AC"] if symbols == "ABC" else []
    for each in [*both, np.array([first, last]), np.array([0, 2]), [0, 2]]:
        pair.reset()
        np.testing.assert_array_equal(pair(each), found)
    assert_close(found[1], expected)


def test_columns_of_tables_are_read_by_name():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(numbers(STEPS, 2), columns=["u", "v"]).assign(name="a")
    model = chain(layers.GRU(2))
    framer = SequenceFramer(4).frame(table[["u", "v"]]).framer
    by_position = Stepper(model)
    expected = [by_position(x) for x in table[["u", "v"]].to_numpy()]
    turned = table[["v", "name", "u"]]
    for steps in (
        [row for _, row in turned.iterrows()],
        turned.to_dict("records"),
        [turned[["v", "u"]].iloc[k : k + 1] for k in range(STEPS)],
    ):
        stepper = Stepper(model, framer)
        assert_close([stepper(x).reshape(-1) for x in steps], expected)
    with pytest.raises(ValueError, match=r"`x`.*\['v'\]"):
        Stepper(model, framer)({"u": 1.0})


@pytest.mark.parametrize("wide", [True, False])
def test_a_future_is_given_beside_the_past(wide):
    """Each step has the covariates of its own target, or there is one for the last target."""
    past = keras.Input((5, 1), name="past")
    shape = (5, 1, FEATURES) if wide else (1, FEATURES)
    future = keras.Input(shape, name="future")
    hidden = layers.LSTM(3, return_sequences=wide)(past)
    known = layers.Reshape((-1, FEATURES) if wide else (FEATURES,))(future)
    output = layers.Dense(2)(layers.Concatenate()([hidden, known]))
    model = seeded(keras.Model({"past": past, "future": future}, output))
    stepper = Stepper(model, SequenceFramer(5, return_sequences=wide), rows=ROWS)
    x, ahead = numbers(ROWS, 5, 1), numbers(ROWS, 5, 1, FEATURES)
    found = [stepper({"past": x[:, k], "future": ahead[:, k]}) for k in range(5)]
    given = {"past": x, "future": ahead if wide else ahead[:, -1]}
    expected = model.predict(given, verbose=0)
    assert_close(np.stack(found, 1) if wide else found[-1], expected)
    for wrong in x[:, 0], {"past": x[:, 0]}, {"past": x[:, 0], "later": ahead[:, 0]}:
        with pytest.raises(ValueError, match=r"`x` must be a dict of \['past', 'future'\]"):
            stepper(wrong)
    with pytest.raises(ValueError, match=r"`x\['future'\]`"):
        stepper({"past": x[:, 0], "future": ahead[:, 0, 0]})


# --- What is refused.


BAD_STEPS = {
    "features": (np.zeros((2, 3)), ValueError, r"`x` must have shape \(2, 2\)"),
    "rows": (np.zeros((3, 2)), ValueError, "other `rows`"),
    "one row": (np.zeros(2), ValueError, "`x`"),
    "a time axis": (np.zeros((2, 1, 2)), ValueError, "`x`"),
    "ragged": ([[1.0], [1.0, 2.0]], ValueError, "`x` is ragged"),
    "NaN": (np.array([[1.0, np.nan], [0, 0]]), ValueError, "`x` must be finite"),
    "infinite": (np.array([[1.0, 1e300], [0, 0]]), ValueError, "`x` must be finite"),
    "text": (np.array([["a", "b"], ["c", "d"]]), TypeError, "`x`.*real numbers"),
    "symbols": ("AB", ValueError, "`framer` with a vocabulary"),
    "complex": (np.zeros((2, 2), complex), TypeError, "`x`.*real numbers"),
    "objects": (np.array([[None, 1], [1, 1]]), TypeError, "`x`.*real numbers"),
    "dates": (np.zeros((2, 2), "datetime64[D]"), TypeError, "`x`.*real numbers"),
    "masked": (np.ma.zeros((2, 2)), TypeError, "`x` must not be a masked array"),
    "a dict": ({"u": 1}, TypeError, "`x`.*dict"),
    "nothing": (None, TypeError, "`x`"),
}
BAD_IDS = {
    "too large": (np.array([0, 5]), ValueError, r"`x` must be in 0 … 4"),
    "negative": ([0, -1], ValueError, "`x`"),
    "floats": (np.zeros(2), TypeError, "`x` must hold integer ids"),
    "bool": (np.zeros(2, bool), TypeError, "`x` must hold integer ids"),
}


@pytest.fixture(scope="module")
def steppers(model):
    ids = chain(layers.Embedding(5, 2), layers.GRU(2), features=None)
    return Stepper(model, rows=2), Stepper(ids, rows=2)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("case", [*BAD_STEPS, *BAD_IDS])
def test_steps_that_are_refused_change_nothing(steppers, case):
    stepper = steppers[case in BAD_IDS]
    x, error, match = {**BAD_STEPS, **BAD_IDS}[case]
    before = stepper.state
    with pytest.raises(error, match=match):
        stepper(x)
    assert_same(stepper.state, before)


def test_other_arguments_that_are_refused(model, steppers, tmp_path):
    stepper, _ = steppers
    for rows in 2, [-1], [True]:
        with pytest.raises(ValueError, match="`rows`"):
            stepper.reset(rows=rows)
    with pytest.raises(ValueError, match="`state` must have"):
        stepper.state = get_states(chain(layers.GRU(2, stateful=True), steps=1, batch_size=2))
    with pytest.raises(ValueError, match="rows"):
        Stepper(model, rows=0)
    with pytest.raises(TypeError, match="`rows`"):
        Stepper(model, rows=2.0)
    with pytest.raises(TypeError, match=r"`framer`.*frames.framer"):
        Stepper(model, SequenceFramer(1).frame([1, 2, 3]))
    with pytest.raises(ValueError, match=r"`path`.*\.keras"):
        stepper.save(tmp_path / "stepper.zip")
    framer = SequenceFramer(4, layout="tokens", vocabulary=Vocabulary("ABC"))
    ids = Stepper(chain(layers.Embedding(3, 2), layers.GRU(2), features=None), framer)
    for unknown in "Z", ["Z"], "AB", 3:
        with pytest.raises(ValueError, match="`x`"):
            ids(unknown)


def attention():
    inputs = keras.Input((None, FEATURES))
    hidden = layers.LSTM(4, **WIDE)(inputs)
    attended = layers.MultiHeadAttention(1, 2)(hidden, hidden, use_causal_mask=True)
    return keras.Model(inputs, layers.Dense(2)(attended))


def pooled():
    return chain(layers.LSTM(3, **WIDE), layers.GlobalAveragePooling1D(), layers.Dense(2))


def shared():
    layer, inputs = layers.LSTM(FEATURES, **WIDE), keras.Input((None, FEATURES))
    return keras.Model(inputs, layer(layer(inputs)))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.rnn = layers.GRU(2, return_sequences=True)

    def call(self, x):
        return self.rnn(x)


REFUSED = {
    "bidirectional": (
        lambda: chain(layers.Bidirectional(layers.LSTM(3, **WIDE))),
        "'bidirectional.*' reads several steps",
    ),
    "backwards": (lambda: chain(layers.LSTM(3, go_backwards=True, name="back")), "'back'"),
    "convolution": (
        lambda: chain(layers.Conv1D(3, 3, padding="causal", name="conv"), layers.LSTM(3)),
        "'conv' reads several steps",
    ),
    "convolution of valid steps": (
        lambda: chain(layers.Conv1D(3, 3, name="conv"), layers.LSTM(3), steps=9),
        "'conv' reads several steps",
    ),
    "attention": (attention, "attention.* reads several steps"),
    "pooling": (pooled, "average_pooling.* reads several steps"),
    "flattened": (
        lambda: chain(layers.LSTM(3, **WIDE), layers.Flatten(), layers.Dense(2), steps=4),
        "flatten.* reads several steps",
    ),
    "a layer called twice": (shared, "differs"),
    "no recurrent layer": (lambda: chain(layers.Dense(2)), "recurrent layers.*Call the model"),
    "recurrent within a step": (
        lambda: chain(layers.Reshape((-1, 2, 1)), layers.TimeDistributed(layers.LSTM(2))),
        "recurrent layers",
    ),
    "single steps without state": (lambda: chain(layers.LSTM(3), steps=1), "single steps"),
    "one of two is stateful": (
        lambda: chain(
            layers.LSTM(2, stateful=True, **WIDE),
            layers.LSTM(2, name="fresh", **WIDE),
            steps=3,
            batch_size=1,
        ),
        "'fresh'",
    ),
    "not built": (lambda: keras.Sequential([layers.LSTM(2)]), "`model` must be built"),
    "undeclared": (lambda: built(Subclassed()), "`framer` can be left out"),
    "two outputs": (
        lambda: keras.Model(
            inputs := keras.Input((None, 1)), [layers.LSTM(2)(inputs), layers.GRU(2)(inputs)]
        ),
        "one output",
    ),
}
FRAMERS = {
    "windows as steps": (SequenceFramer(2, layout="features"), "Leave `framer` out"),
    "sampling rate": (SequenceFramer(4, sampling_rate=2), "every 2th step|sampling_rate"),
    "tokens": (SequenceFramer(4, layout="tokens"), 'layout="tokens"'),
}


def built(model):
    model(numbers(1, 3, FEATURES))
    return model


@pytest.mark.parametrize("case", REFUSED)
def test_models_that_are_refused(case):
    make, match = REFUSED[case]
    with pytest.raises(ValueError, match=match):
        Stepper(make())


@pytest.mark.parametrize("case", FRAMERS)
def test_framers_that_are_refused(case):
    framer, match = FRAMERS[case]
    with pytest.raises(ValueError, match=match):
        Stepper(chain(layers.GRU(2), steps=4), framer)


def test_a_subclassed_model_is_stepped_with_its_framer():
    model, x = built(Subclassed()), numbers(1, STEPS, FEATURES)
    stepper = Stepper(model, SequenceFramer(3, return_sequences=True, columns=["u", "v"]))
    assert_close(fed(stepper, x), model.predict(x, verbose=0))
