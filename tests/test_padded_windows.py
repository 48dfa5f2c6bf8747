"""Windows that are padded: of short series, and of the last steps of long ones."""

import keras
import numpy as np
import pytest
from keras import layers
from models import assert_same, compiled, numbers, run, seeded

import seqframe as sf
from seqframe import Generator, SequenceFramer, Vocabulary

RECORDINGS = {"Ann": numbers(12, 2, seed=1), "Bob": numbers(7, 2, seed=2), "Cy": numbers(3, 2)}
TAGS = {name: (steps[:, :1] > 0).astype("float32") for name, steps in RECORDINGS.items()}
TAGGING = dict(sequence_stride=5, gap=-1, return_sequences=True)


def tagger(batch_size=None, steps=None):
    inputs = keras.Input((steps, 2), batch_size=batch_size)
    cell = layers.GRU(3, return_sequences=True, stateful=batch_size is not None)
    parts = [inputs, cell, layers.Dense(1, activation="sigmoid")]
    return compiled(seeded(keras.Sequential(parts)), loss="binary_crossentropy")


# --- The last steps of a recording.


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_every_step_of_a_recording_gets_its_prediction(batch_size):
    frames = SequenceFramer(5, pad_end=True, **TAGGING).frame(RECORDINGS, TAGS)
    expected = [run(tagger(), steps[None])[0] for steps in RECORDINGS.values()]

    found = sf.predict(tagger(batch_size, 5), frames, verbose=0)

    np.testing.assert_allclose(found[frames.mask()], np.concatenate(expected), atol=1e-5)


@pytest.mark.parametrize("batch_size", [None, 2])
def test_padding_at_the_end_teaches_nothing(batch_size):
    trained, losses = [], []
    for value in 0, 9:
        framer = SequenceFramer(5, pad_end=True, padding_value=value, **TAGGING)
        frames, model = framer.frame(RECORDINGS, TAGS), tagger(batch_size, 5)
        fitted = sf.fit(model, frames, epochs=2, batch_size=2, shuffle=False, verbose=0)
        losses.append([*fitted.history["loss"], sf.evaluate(model, frames, verbose=0)])
        trained.append(model.get_weights())
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert_same(trained[0], trained[1], atol=1e-6)


def test_frames_that_may_be_padded_train_as_their_arrays_do():
    frames = SequenceFramer(5, pad_end=True, **TAGGING).frame(RECORDINGS, TAGS)
    X, y, weight = frames.arrays()
    one, other = tagger(steps=5), tagger(steps=5)
    sf.fit(one, frames, batch_size=3, shuffle=False, verbose=0)
    other.fit(X, y, sample_weight=weight, batch_size=3, shuffle=False, verbose=0)
    assert_same(one.get_weights(), other.get_weights(), atol=1e-6)


def test_binary_tags_without_an_axis_are_refused():
    tags = {name: rows[:, 0] for name, rows in TAGS.items()}
    frames = SequenceFramer(5, pad_end=True, **TAGGING).frame(RECORDINGS, tags)
    with pytest.raises(ValueError, match=r"`pad_end`.*\(steps, 1\)"):
        sf.fit(tagger(2, 5), frames, verbose=0)


def test_lanes_say_how_many_steps_get_no_prediction():
    # 12, 7 and 3 steps: 2 steps of Ann and 2 of Bob fill no window, and Cy has none.
    framer = SequenceFramer(5, **TAGGING)
    long = {name: RECORDINGS[name] for name in ("Ann", "Bob")}
    frames = framer.frame(long, {name: TAGS[name] for name in long})
    message = r"No label is predicted for 4 last steps, .* `pad_end=True`"
    model = tagger(2, 5)
    for use in (
        lambda: frames.lanes(2),
        lambda: sf.predict(model, frames, verbose=0),
        lambda: sf.evaluate(model, frames, verbose=0),
    ):
        with pytest.warns(UserWarning, match=message) as caught:
            use()
        own = [each.filename for each in caught if "No label" in str(each.message)]
        assert own == [__file__]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "framer",
    [
        SequenceFramer(5, pad_end=True, **TAGGING),
        SequenceFramer(5, sequence_stride=5, return_sequences=True),  # nobody needs the last steps
        SequenceFramer(3, sequence_stride=3, gap=-1, return_sequences=True),  # 12 steps, no rest
    ],
)
def test_lanes_do_not_warn_of_steps_that_nobody_misses(framer):
    framer.frame(RECORDINGS["Ann"], TAGS["Ann"]).lanes(1)


# --- Short series.


def test_a_masked_short_series_is_predicted_as_it_is():
    framer = SequenceFramer(5, min_length=2, padding_value=9)
    frames = framer.frame(RECORDINGS)
    parts = [layers.Masking(9), layers.GRU(3), layers.Dense(2)]
    model = seeded(keras.Sequential([keras.Input((None, 2)), *parts]))
    expected = []
    for i in range(len(frames)):
        name, inputs, _ = frames.steps(i)
        expected.append(run(model, RECORDINGS[name][inputs][None])[0])
    found = sf.predict(model, frames, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert frames.lengths()[-1] == 2  # of Cy, whose three steps make one frame


def test_a_short_history_is_forecast_through_padding():
    framer = SequenceFramer(4, min_length=1, sampling_rate=2, padding_value=9)
    parts = [layers.Masking(9), layers.GRU(3), layers.Dense(2)]
    generator = Generator(seeded(keras.Sequential([keras.Input((4, 2)), *parts])), framer)
    histories = list(RECORDINGS.values())
    together = generator.forecast([*histories, histories[0][:1]], 3)
    for history, found in zip([*histories, histories[0][:1]], together, strict=True):
        known = [*history]
        for _ in range(3):
            steps = np.array(known[::-1][::2][:4][::-1])
            known.append(run(generator.model, steps[None])[0])
        np.testing.assert_allclose(found, known[-3:], atol=1e-5)


@pytest.mark.parametrize("least", [1, 2, 4])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_shared_history_gives_each_part_its_own_targets(least, stride):
    framer = SequenceFramer(4, min_length=least, sequence_stride=stride)
    frames = framer.frame({"long": np.arange(20), "short": np.arange(6)})
    _, test = frames.split(0.5, 0.5, share_history=True)
    rows = [test.steps(i) for i in range(len(test))]
    long = [row for row in rows if row.sequence == "long"]
    # The first test target follows the cut at once, and its input is whole.
    assert (long[0].targets.tolist(), long[0].inputs.tolist()) == ([10], [6, 7, 8, 9])
    assert [int(row.targets[0]) for row in long] == list(range(10, 20, stride))
    if least < 4:  # the short series has too few steps before the cut, and is padded
        short = [row for row in rows if row.sequence == "short"]
        assert all(row.targets[0] >= 3 for row in short)
        assert len(short[0].inputs) <= 4


# --- One row of features.


@pytest.mark.parametrize("features", [(), (2,), (2, 2)])
def test_flat_frames_are_timesteps_in_a_row(features):
    values = numbers(9, *features)
    if len(features) > 1:  # a list says that the array is no stack
        values = [values]
    flat = SequenceFramer(3, layout="flat").frame(values)
    X, _ = flat.arrays()
    size = int(np.prod(features))
    assert flat.x_shape == (3 * size,)
    np.testing.assert_array_equal(X, SequenceFramer(3).frame(values).arrays()[0].reshape(6, -1))
    assert SequenceFramer.from_config(flat.framer.get_config()) == flat.framer


def test_a_dense_model_of_flat_frames_trains_and_forecasts():
    values, framer = numbers(30, 2), SequenceFramer(3, layout="flat")
    one, other = (
        compiled(seeded(keras.Sequential([keras.Input((6,)), layers.Dense(2)]))) for _ in range(2)
    )
    frames = framer.frame(values)
    sf.fit(one, frames, shuffle=False, verbose=0)
    other.fit(*frames.arrays(), shuffle=False, verbose=0)
    assert_same(one.get_weights(), other.get_weights(), atol=1e-6)
    known = [*values]
    for _ in range(4):
        known.append(run(one, np.concatenate(known[-3:])[None])[0])
    found = Generator(one, framer).forecast(values, 4)
    np.testing.assert_allclose(found, known[-4:], atol=1e-5)


def test_a_dense_model_of_flat_symbols_writes():
    vocabulary = Vocabulary("ABC")
    framer = SequenceFramer(2, layout="flat", vocabulary=vocabulary)
    model = seeded(keras.Sequential([keras.Input((2,)), layers.Dense(3, use_bias=False)]), 3)
    ids = [2, 1]
    for _ in range(6):
        ids.append(int(np.argmax(run(model, np.array([ids[-2:]], "float32"))[0])))
    assert Generator(model, framer).generate("CB", 6) == vocabulary.decode(ids[2:])


def test_a_model_of_another_number_of_columns_is_refused():
    model = keras.Sequential([keras.Input((7,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="`framer` does not fit the model"):
        Generator(model, SequenceFramer(3, layout="flat"))
    model = keras.Sequential([keras.Input((6,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="`history` must have steps of shape"):
        Generator(model, SequenceFramer(3, layout="flat")).forecast(numbers(9, 3), 2)
