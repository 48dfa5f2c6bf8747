"""Bad arguments of fit, evaluate, predict and StatefulTrainer are refused at the call."""

import keras
import numpy as np
import pytest
from keras import layers
from models import Counter, assert_same, compiled, contents, numbers, recurrent, seeded

from seqframe import SequenceFramer, StatefulTrainer, evaluate, fit, predict

BACKEND = keras.backend.backend()
X, Y = numbers(6, 2, 1), numbers(6, 1)
FRAMES = SequenceFramer(2).frame(numbers(9))
HUGE = 2**63
TEXTS = np.array(list("abcabc"))
OBJECTS = np.array([1.0, None, 2.0, 3.0, 4.0, 5.0], object)
RECORDS = np.zeros(6, [("a", "f4"), ("b", "f4")])
DAYS = np.arange(6).astype("datetime64[D]")

# Arguments of `fit`, and what the error names.
ARGUMENTS = [
    ({"callbacks": 5}, r"`callbacks` must be a list.*Received: 5"),
    ({"callbacks": 0}, "`callbacks`.*Received: 0"),
    ({"callbacks": "EarlyStopping"}, "`callbacks`.*EarlyStopping"),
    ({"callbacks": [print]}, "`callbacks`.*print"),
    ({"callbacks": [StatefulTrainer]}, "`callbacks`"),  # the class, not an object of it
    ({"class_weight": [1, 2]}, r"`class_weight` must be a dict.*\[1, 2\]"),
    ({"class_weight": 2.0}, "`class_weight`.*class_weight=2.0"),
    ({"class_weight": {"a": 1.0}}, "`class_weight`.*'a': 1.0"),
    ({"class_weight": {HUGE: 1.0}}, f"`class_weight`.*{HUGE}"),
    ({"class_weight": {0: "much"}}, "`class_weight`.*0: 'much'"),
    ({"class_weight": {0: np.nan}}, "`class_weight`.*0: nan"),
    ({"validation_data": 0.2}, r"`validation_data`.*float.*`frames\.split\(0\.8, 0\.2\)`"),
    ({"validation_data": "abc"}, "`validation_data`.*str"),
    ({"validation_data": X}, r"needs targets.*y=None.*`\(X, y\)`"),
    ({"validation_data": {"x": X, "y": Y}}, "needs targets"),
    ({"validation_data": print}, "`validation_data`.*builtin"),
    ({"validation_data": (X,)}, "needs targets"),
    ({"validation_data": [X, Y, Y, Y]}, "`validation_data`.*tuple of 4"),
    ({"validation_split": 0.2}, r"`validation_split`.*Frames.*`train, validation = frames\.split"),
    ({"validation_split": 1.0}, "`validation_split`.*1.0"),
    ({"validation_split": "0.2"}, "`validation_split`.*'0.2'"),
    ({"validation_steps": 0}, "`validation_steps`"),
    ({"validation_batch_size": 2.5}, "`validation_batch_size`.*2.5"),
    ({"steps_per_epoch": 0}, "`steps_per_epoch`"),
    ({"steps_per_epoch": 2, "batch_size": 2}, "steps_per_epoch=2 for 4 batches.*a dataset"),
    ({"y": Y}, "`y` is for arrays.*Frames"),
    ({"sample_weight": Y}, "`sample_weight` is for arrays.*`frame`"),
    ({"validation_data": (X, TEXTS)}, "`y`.*dtype=<U1"),
    ({"validation_freq": 0}, "`validation_freq`"),
    ({"validation_freq": "often"}, "`validation_freq`.*often"),
    ({"epochs": 1.5}, "`epochs`.*1.5"),
    ({"epochs": -1}, "`epochs`.*-1"),
    ({"epochs": HUGE}, f"`epochs`.*{HUGE}"),
    ({"initial_epoch": HUGE}, f"`initial_epoch`.*{HUGE}"),
    ({"batch_size": HUGE}, f"`batch_size`.*{HUGE}"),
    ({"batch_size": "32"}, "`batch_size`.*'32'"),
    ({"batch_size": True}, "`batch_size`.*True"),
    ({"steps_per_execution": HUGE}, f"`steps_per_execution`.*{HUGE}"),
    ({"seed": HUGE}, f"`seed`.*{HUGE}"),
    ({"seed": -1}, "`seed`.*-1"),
    ({"shuffle": "batch"}, "`shuffle`.*'batch'"),
    ({"verbose": 3}, "`verbose`.*3"),
    ({"verbose": "loud"}, "`verbose`.*'loud'"),
    ({"redraw": "yes"}, "`redraw`.*'yes'"),
    ({"max_device_bytes": "x"}, "`max_device_bytes`.*'x'"),
    ({"max_device_bytes": np.nan}, "`max_device_bytes`.*nan"),
    ({"program": "fast"}, "`program`.*'fast'"),
    ({"jit_compile": "yes"}, "`jit_compile`.*'yes'"),
]
SHARED = ("callbacks", "batch_size", "max_device_bytes", "verbose", "program", "jit_compile")


@pytest.fixture(scope="module")
def model():
    return compiled(recurrent())


def refused(message, use, model, data, **kwargs):
    before = contents(model)
    with pytest.raises((TypeError, ValueError), match=message):
        use(model, data, **{"verbose": 0, **kwargs})
    assert_same(contents(model), before)


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS, ids=str)
def test_bad_arguments_are_refused(arguments, message, model):
    for use in [fit, evaluate, predict] if arguments.keys() <= set(SHARED) else [fit]:
        refused(message, use, model, FRAMES, **arguments)


BAD = {
    "text": TEXTS,
    "objects": OBJECTS,
    "records": RECORDS,
    "dates": DAYS,
    "complex": Y[:, 0] * 1j,
}


@pytest.mark.parametrize("kind", BAD)
def test_targets_and_weights_must_be_numbers(kind, model):
    bad = BAD[kind]
    for use in fit, evaluate:
        refused("`y` must hold real numbers", use, model, (X, bad))
        refused("`sample_weight` must hold real numbers", use, model, (X, Y, bad))
    inputs = np.broadcast_to(bad[:, None, None], (6, 2, 1))
    if kind == "text" and BACKEND == "tensorflow":
        return  # layers such as `TextVectorization` take strings
    refused("`X` must hold real numbers", predict, model, inputs)


# What a newcomer meets first: the last layer, the loss, the data, and the way out.

SPARSE, ONE_HOT, BINARY = (
    f"{kind}_crossentropy" for kind in ("sparse_categorical", "categorical", "binary")
)
IDS = np.arange(6) % 3
HOT = np.eye(3, dtype="float32")[IDS]
FIRST = {
    "two units for one number": (2, None, "mse", (X, Y[:, 0]), r"shape \(\).*`Dense\(1\)`"),
    "two units for a column": (2, None, "mse", (X, Y), r"shape \(1,\).*`Dense\(1\)`"),
    "no softmax": (3, None, SPARSE, (X, IDS), 'activation="softmax".*`from_logits=True`'),
    "no softmax, one-hot": (3, "relu", ONE_HOT, (X, HOT), 'activation="softmax"'),
    "no sigmoid": (1, None, BINARY, (X, IDS % 2), 'activation="sigmoid".*`from_logits=True`'),
    "a softmax of one": (1, "softmax", BINARY, (X, IDS % 2), "always 1.*sigmoid"),
    "ids for one-hot": (3, "softmax", ONE_HOT, (X, IDS), f"`{SPARSE}`.*to_categorical"),
    "one-hot for ids": (3, "softmax", SPARSE, (X, HOT), f"`{ONE_HOT}`.*argmax"),
    "ids from 1": (3, "softmax", SPARSE, (X, IDS + 1), "0 … 2.*from 1 to 3.*np.unique"),
    "ids from 1 with weights": (
        *(3, "softmax", SPARSE),
        (X, IDS + 1, np.arange(6) < 5.0),
        "0 … 2.*from 1 to 3",
    ),
    "no targets": (1, None, "mse", (X,), r"y=None.*`\(X, y\)`"),
    "a step too few": (1, None, "mse", (X[:, :1], Y), r"\(2, 1\).*\(1, 1\).*shape of `X`"),
    "targets of steps": (1, None, "mse", (X, np.stack([Y, Y], 1)), r"\(2, 1\).*shape of `y`"),
    "unequal sizes": (1, None, "mse", (X, Y[:4]), r"\[4, 6\] samples"),
    "lists": (1, None, "mse", (X.tolist(), Y), r"float as `X`.*`np\.array`"),
    "a text": (1, None, "mse", ("abcdef",), r"str as `X`.*`SequenceFramer\(…\)\.frame\(text\)`"),
    "an iterator": (1, None, "mse", (map(abs, [X]),), "map as `X`.*generator"),
    "batches": (1, None, "mse", (FRAMES.batches(2),), "Batches.*Pass the frames"),
    "frames with ids too large": (
        *(2, "softmax", SPARSE),
        (SequenceFramer(2).frame(numbers(7), np.arange(7) % 3),),
        "0 … 1.*from 0 to 2",
    ),
}


def ending(units, activation, loss):
    inner = [keras.Input((2, 1)), layers.Flatten(), layers.Dense(units, activation=activation)]
    return compiled(seeded(keras.Sequential(inner)), loss=loss)


@pytest.mark.parametrize("what", FIRST)
def test_what_newcomers_meet_first_is_refused_with_the_way_out(what):
    units, activation, loss, data, message = FIRST[what]
    model = ending(units, activation, loss)
    before = contents(model)
    for use in fit, evaluate:
        with pytest.raises((TypeError, ValueError), match=message):
            use(model, data[0] if len(data) == 1 else data, verbose=0)
    assert_same(contents(model), before)


def test_a_softmax_under_a_loss_of_logits_warns():
    model = ending(3, "softmax", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for use in fit, evaluate:
        with pytest.warns(UserWarning, match="`from_logits=True`.*softmax") as warned:
            use(model, X, IDS, verbose=0)
        assert __file__ in {warning.filename for warning in warned}  # Keras may warn, too


ALLOWED = {  # what is unusual, but right
    "a class to ignore": (
        *(3, "softmax", keras.losses.SparseCategoricalCrossentropy(ignore_class=-1)),
        (X, IDS - 1),
    ),
    "ids beyond a skipped step": (
        *(2, "softmax", SPARSE),
        (SequenceFramer(2).frame(numbers(7), [-1, 0, 1, 1, 0, 1, 0]),),
    ),
    "logits": (3, None, keras.losses.SparseCategoricalCrossentropy(from_logits=True), (X, IDS)),
    "quantiles": (
        3,
        None,
        lambda y, q: keras.ops.mean(keras.ops.abs(y[:, None] - q)),
        (X, Y[:, 0]),
    ),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_what_is_unusual_but_right_trains(what):
    *made, data = ALLOWED[what]
    fit(ending(*made), data if len(data) > 1 else data[0], verbose=0)


@pytest.mark.parametrize("lanes", [3, "lanes", FRAMES, [FRAMES]], ids=lambda x: type(x).__name__)
def test_a_trainers_lanes_must_be_lanes(lanes):
    with pytest.raises(TypeError, match=r"`lanes` must be `Lanes`.*`frames\.lanes\(batch_size\)`"):
        StatefulTrainer(lanes=lanes)


class Reconstruct(keras.Model):
    """Adds a loss of its own, and needs no targets."""

    def __init__(self):
        super().__init__()
        self.seen, self.dense = Counter(), layers.Dense(1)

    def call(self, x):
        outputs = self.dense(self.seen(x))
        self.add_loss(keras.ops.mean(keras.ops.square(outputs - x)))
        return outputs


@pytest.mark.parametrize("declared", [False, True])
def test_a_model_may_need_no_targets(declared):
    def make():
        if not declared:
            model = Reconstruct()
            model(X)
        else:  # outputs of every step and feature
            model = keras.Sequential(
                [keras.Input((2, 1)), layers.Dense(1, activity_regularizer="l2")]
            )
        seeded(model).compile("sgd")
        return model

    ours, keras_own = make(), make()
    given = {"batch_size": 2, "verbose": 0, "shuffle": False}
    history = fit(ours, (X, None), **given).history
    expected = keras_own.fit(X, None, **given).history
    assert history["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert_same(ours.get_weights(), keras_own.get_weights(), atol=1e-6)
    loss = evaluate(ours, (X, None), batch_size=2, verbose=0)
    assert loss == pytest.approx(keras_own.evaluate(X, None, batch_size=2, verbose=0), rel=1e-4)
