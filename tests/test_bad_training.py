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
    ({"validation_data": 0.2}, r"`validation_data`.*float.*`train, validation = "),
    ({"validation_data": "abc"}, "`validation_data`.*str"),
    ({"validation_data": X}, "`validation_data`.*ndarray"),
    ({"validation_data": {"x": X, "y": Y}}, "`validation_data`.*dict"),
    ({"validation_data": print}, "`validation_data`.*builtin"),
    ({"validation_data": (X,)}, "`validation_data`.*tuple"),
    ({"validation_data": [X, Y, Y, Y]}, "`validation_data`.*tuple"),
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
