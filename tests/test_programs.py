"""Programs: which form runs the steps, and that every form computes the same."""

import math
import signal
import threading

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import assert_same, compiled, contents, numbers, put_back, recurrent, seeded

from seqframe import SequenceFramer, evaluate, fit, predict
from seqframe import backend as own
from seqframe.backend.common import Form
from seqframe.training.programs import Trial, forms_for

BACKEND = keras.backend.backend()
X, Y = numbers(22, 2, 1), numbers(22, 1, seed=1)  # five batches of 4, and 2 more samples

only_jax = pytest.mark.skipif(BACKEND != "jax", reason="elsewhere variables keep their values")
no_torch = pytest.mark.skipif(BACKEND == "torch", reason="PyTorch compiles nothing by itself")


def network(*more, **kwargs):
    inner = [keras.Input((2, 1)), *more, layers.Flatten(), layers.Dense(3), layers.Dense(1)]
    return compiled(seeded(keras.Sequential(inner)), "adam", **kwargs)


# --- The choice, without a network.

FIRST, SECOND, THIRD = Form(True, False), Form(False, True), Form(True, True)


@pytest.fixture
def savings(monkeypatch):
    """Let the second form save half of a step, and the third one a quarter."""
    shares = {SECOND: 0.5, THIRD: 0.25}
    monkeypatch.setattr(
        own, "may_save", lambda form, seconds: shares[form] * seconds, raising=False
    )
    monkeypatch.setattr(own, "COMPILATION", dict.fromkeys([FIRST, *shares], 2.0), raising=False)


def paced(seconds, left, compilation=1.0):
    """Return the forms of the pieces of a run, if a step of each form takes these seconds."""
    trial, used = Trial([FIRST, SECOND, THIRD]), []
    for _ in range(12):
        form = trial.next_form(left)
        trial.compilation.setdefault(form, compilation)
        trial.note(form, seconds[form], 1)
        used.append(form)
    return used


@pytest.mark.parametrize(
    ("seconds", "left", "used"),
    [
        # Too few steps to pay for a compilation.
        ((0.01, 0.005, 0.005), 200, [FIRST] * 12),
        # The second form pays and is faster. The third one could save too little then.
        ((1.0, 0.5, 0.5), 12, [FIRST] * 3 + [SECOND] * 9),
        # With very many steps all are tried.
        ((1.0, 0.5, 0.4), 1e6, [FIRST] * 3 + [SECOND] * 3 + [THIRD] * 6),
        # A form that is much slower is dropped after two pieces.
        ((1.0, 9.0, 9.0), 1e6, [FIRST] * 3 + [SECOND] * 2 + [THIRD] * 2 + [FIRST] * 5),
    ],
)
def test_forms_are_tried_if_they_may_pay(savings, seconds, left, used):
    assert paced(dict(zip([FIRST, SECOND, THIRD], seconds, strict=True)), left) == used


def test_many_short_calls_pay_like_a_long_one(savings):
    trial = Trial([FIRST, SECOND])
    trial.compilation[FIRST] = 1.0
    used = []
    for _ in range(20):
        form = trial.next_form(left=1)
        trial.note(form, 1.0 if form == FIRST else 0.5, 1)
        used.append(form)
    assert used[:3] == [FIRST] * 3
    assert used[-1] == SECOND


# --- Every form computes the same.


def trained(model, data, **kwargs):
    """Return the weights, the History, the logs and the predictions of a model."""
    common = dict(batch_size=4, verbose=0, **kwargs)
    history = fit(model, data, epochs=3, shuffle=False, validation_data=data, **common)
    logs = evaluate(model, data, return_dict=True, **common)
    found = predict(model, data[0] if isinstance(data, tuple) else data, **common)
    return [contents(model), history.history, logs, found]


@pytest.mark.parametrize("form", own.FORMS, ids=str)
def test_every_form_trains_as_keras_does(form):
    if BACKEND == "torch" and form.xla:
        pytest.skip("test_training.py compares `torch.compile`")
    forced = dict(program="loop" if form.loop else "steps", jit_compile=form.xla)
    model, twin = network(layers.Dropout(0.0)), network(layers.Dropout(0.0))
    found = trained(model, (X, Y), **forced)
    history = twin.fit(
        X, Y, batch_size=4, epochs=3, shuffle=False, validation_data=(X, Y), verbose=0
    )
    assert found[1].keys() == history.history.keys()
    for name, values in history.history.items():
        np.testing.assert_allclose(found[1][name], values, rtol=1e-5)
    assert_same(found[0], contents(twin), atol=1e-5)
    assert_same(found[3], twin.predict(X, verbose=0), atol=1e-5)


@pytest.mark.parametrize("form", own.FORMS, ids=str)
def test_every_form_averages_the_losses_of_outputs_as_keras_does(form):
    jit_compile = "auto" if BACKEND == "torch" else form.xla

    def model():
        inputs = keras.Input((2, 1))
        inner = layers.Flatten()(inputs)
        outputs = {name: layers.Dense(1, name=name)(inner) for name in "ab"}
        return compiled(seeded(keras.Model(inputs, outputs)))

    data, twin = (X, {"a": Y, "b": 5 * Y}), model()
    kept = dict(batch_size=4, verbose=0)
    forced = dict(program="loop" if form.loop else "steps", jit_compile=jit_compile, **kept)
    found = fit(model(), data, shuffle=False, validation_data=data, **forced).history
    history = twin.fit(*data, shuffle=False, validation_data=data, **kept).history
    assert found.keys() == history.keys() >= {"a_loss", "val_b_loss"}
    for name, values in history.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, err_msg=name)
    logs = evaluate(twin, data, return_dict=True, **forced)
    assert logs == pytest.approx(twin.evaluate(*data, return_dict=True, **kept), rel=1e-5)


@pytest.mark.usefixtures("every_form")
def test_lanes_keep_their_state_from_form_to_form():
    lanes = SequenceFramer(1).frame([numbers(25, seed=2), numbers(15, seed=3)]).lanes(2)
    results = []
    model = compiled(recurrent(batch_size=2, steps=1))
    before = contents(model)
    for program in "auto", first_program():
        put_back(model, before)
        history = fit(model, lanes, epochs=2, verbose=0, program=program)
        results.append([contents(model), history.history])
    assert_same(*results, atol=1e-6)


# --- What the user says.


def test_a_program_that_the_backend_has_not_is_an_error():
    model = network()
    before = contents(model)
    with pytest.raises(ValueError, match="program"):
        fit(model, (X, Y), program="whole")
    if BACKEND == "torch":
        with pytest.raises(ValueError, match=r"torch.*program='loop'"):
            fit(model, (X, Y), program="loop")
    if BACKEND == "tensorflow":
        with pytest.raises(ValueError, match=r"program='steps', jit_compile=False"):
            fit(model, (X, Y), program="steps", jit_compile=False)
    assert_same(contents(model), before)


@pytest.mark.skipif(BACKEND == "jax", reason="under JAX, Keras's own loop runs such models")
def test_jit_compile_of_compile_counts():
    unlike = not network().jit_compile  # what "auto" does not become
    model = network(jit_compile=unlike)
    assert {form.xla for form in forms_for(model, "auto", "auto")} == {unlike}
    assert {form.xla for form in forms_for(model, "auto", not unlike)} == {not unlike}


@only_jax
def test_without_jit_compile_keras_itself_trains(caplog):
    model, twin = network(jit_compile=False), network()
    fit(model, (X, Y), batch_size=4, shuffle=False, verbose=0)
    assert "jit_compile=False" in caplog.text
    fit(twin, (X, Y), batch_size=4, shuffle=False, verbose=0)
    assert_same(contents(model), contents(twin), atol=1e-6)


@no_torch
@pytest.mark.usefixtures("every_form")
def test_the_choice_is_told(caplog, capsys):
    with caplog.at_level("INFO", "seqframe"):
        fit(network(), (X, Y), batch_size=4, epochs=3, verbose=2)
    for text in caplog.text, capsys.readouterr().out:
        assert "The training steps run as" in text
        assert "µs" in text


# --- Random numbers.

BY_DEFAULT = False if BACKEND == "tensorflow" else "auto"  # as Keras itself on a CPU
DRAWING = {
    "an LSTM": lambda: [layers.LSTM(3, dropout=0.5)],
    "masks": lambda: [layers.SimpleRNN(3, dropout=0.5, recurrent_dropout=0.5)],
    "few": lambda: [layers.SpatialDropout1D(0.5)],
    "much": lambda: [layers.Flatten(), layers.Dense(300), layers.Dropout(0.5)],
    "a seed": lambda: [layers.GaussianNoise(0.5), layers.SimpleRNN(3, dropout=0.5, seed=1)],
}


def drawn(kind, fit_it):
    """Return the losses of a network that draws by a seed, after `fit_it` has trained it."""
    keras.utils.set_random_seed(3)
    return fit_it(network(*DRAWING[kind]())).history["loss"]


def two_epochs(**kwargs):
    given = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0, **kwargs}
    return lambda model: fit(model, (X, Y), **given)  # the last batch is smaller


@pytest.mark.xla
@pytest.mark.parametrize("kind", DRAWING)
def test_the_same_seed_draws_the_same_in_every_program(kind):
    looking = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    expected = drawn(kind, two_epochs())
    for way in {"callbacks": [looking]}, {"max_device_bytes": 0}:
        assert_same(drawn(kind, two_epochs(**way)), expected, atol=1e-5)
    # Without a seed, PyTorch's dropout and Keras's data loader draw from the same generator.
    if BACKEND != "torch" or kind == "a seed":
        assert_same(drawn(kind, keras_own(BY_DEFAULT)), expected, atol=1e-5)


def keras_own(jit_compile):
    def run(model):
        model.jit_compile = model.jit_compile if jit_compile == "auto" else jit_compile
        return model.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0)

    return run


@pytest.mark.skipif(BACKEND != "tensorflow", reason="elsewhere all programs draw the same")
def test_a_long_run_with_some_dropout_uses_xla_for_all_batches():
    longer = drawn("few", two_epochs(epochs=210))
    assert_same(longer[:2], drawn("few", keras_own(jit_compile=True)), atol=1e-5)


@pytest.mark.xla
@pytest.mark.skipif(BACKEND == "torch", reason="Keras's data loader draws a number each epoch")
@pytest.mark.parametrize("jit_compile", [True, False] if BACKEND == "tensorflow" else ["auto"])
@pytest.mark.parametrize("kind", ["much"])
def test_keras_draws_the_same_if_both_are_compiled_alike(kind, jit_compile):
    expected = drawn(kind, keras_own(jit_compile))
    for form in own.FORMS:
        if jit_compile in ("auto", form.xla):
            program = "loop" if form.loop else "steps"
            found = drawn(kind, two_epochs(program=program, jit_compile=jit_compile))
            assert_same(found, expected, atol=1e-5)


# --- Errors and interrupts.


@no_torch
@pytest.mark.usefixtures("every_form")
def test_an_error_in_a_trial_leaves_the_model_as_after_the_last_whole_step():
    class Failing(layers.Layer):
        traced = 0

        def call(self, x):
            Failing.traced += 1
            if Failing.traced > allowed:
                raise RuntimeError("Enough.")
            return x

    full, allowed = (X[:20], Y[:20]), math.inf
    first, model = network(Failing()), network(Failing())
    Failing.traced = 0
    only_one = dict(program=first_program(), jit_compile=own.FORMS[0].xla)
    fit(first, full, batch_size=4, verbose=0, **only_one)
    Failing.traced, allowed = 0, Failing.traced  # the second form cannot be traced
    with pytest.raises(RuntimeError, match="Enough"):
        fit(model, full, batch_size=4, epochs=2, shuffle=False, verbose=0)
    steps = int(ops.convert_to_numpy(model.optimizer.iterations))
    assert 0 < steps < 10
    expected = network()
    for batch in range(steps):
        rows = slice(4 * (batch % 5), 4 * (batch % 5 + 1))
        expected.train_on_batch(X[rows], Y[rows])
    assert_same(model.get_weights(), expected.get_weights(), atol=1e-6)


def first_program():
    return "loop" if own.FORMS[0].loop else "steps"


@only_jax
@pytest.mark.parametrize("program", ["loop", "steps"])
def test_an_interrupt_loses_no_values(program):
    """Programs overwrite the values that they are given."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    model = network()
    fit(model, (X, Y), batch_size=4, verbose=0, program=program)
    try:
        for attempt in range(20):
            signal.setitimer(signal.ITIMER_REAL, 1e-3 * (1 + attempt))
            with pytest.raises(KeyboardInterrupt):
                fit(model, (X, Y), batch_size=4, epochs=10**6, verbose=0, program=program)
            assert all(np.isfinite(values).all() for values in contents(model)[0])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@only_jax
@pytest.mark.parametrize("program", ["loop", "steps"])
def test_a_signal_whose_handler_returns_skips_no_step(program):
    """The handler sees the model's values, as one does that saves them."""
    model, twin = network(), network()
    fit(model, (X, Y), batch_size=4, epochs=1, shuffle=False, verbose=0, program=program)
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(contents(model)))
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
        fit(model, (X, Y), batch_size=4, epochs=200, shuffle=False, verbose=0, program=program)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen
    for epochs in 1, 200:
        fit(twin, (X, Y), batch_size=4, epochs=epochs, shuffle=False, verbose=0, program=program)
    assert_same(contents(model), contents(twin))


@only_jax
def test_values_that_others_hold_are_not_overwritten():
    model, other = network(), network()
    kept = [variable.value for variable in model.variables]
    for mine, its in zip(model.variables, other.variables, strict=True):
        its.assign(mine)
    expected = [np.array(value) for value in kept]
    fit(model, (X, Y), batch_size=4, epochs=2, verbose=0)
    assert_same([np.array(value) for value in kept], expected)
    assert_same(other.get_weights(), expected[: len(other.get_weights())])


# --- What is compiled anew.


@pytest.fixture
def compilations(monkeypatch, caplog):
    """Return a function that says how many programs were compiled so far."""
    monkeypatch.setattr("seqframe.training.programs._WORTH_TELLING", 0.0)
    caplog.set_level("INFO", "seqframe")
    return lambda: caplog.text.count("Compiled the")


@no_torch
@pytest.mark.parametrize("form", own.FORMS, ids=str)
def test_a_longer_series_needs_no_new_program(form, compilations):
    forced = dict(program="loop" if form.loop else "steps", jit_compile=form.xla)
    model = network()
    counts = []
    for steps in 66, 67, 90, 120:
        frames = SequenceFramer(2).frame(numbers(steps))
        fit(model, frames, batch_size=1, verbose=0, **forced)
        counts.append(compilations())
    assert counts[0] >= 1
    assert len(set(counts)) == 1


@pytest.mark.skipif(BACKEND != "tensorflow", reason="it counts TensorFlow's programs")
def test_one_epoch_and_many_share_a_program():
    lanes = SequenceFramer(1).frame(numbers(23)).lanes(2)
    model = compiled(recurrent(batch_size=2, steps=1))
    for _ in range(3):
        fit(model, lanes, epochs=9, verbose=0)
    (loop,) = model._seqframe_programs.loops.values()
    assert len(loop._programs) == 1


@only_jax
def test_identical_models_share_their_programs():
    from seqframe.backend.jax import _SHARED

    fit(network(), (X, Y), batch_size=4, verbose=0)
    before = list(_SHARED)
    twin = network()
    fit(twin, (X, Y), batch_size=4, shuffle=False, verbose=0)
    assert set(_SHARED) == set(before)
    expected = network()
    expected.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    assert_same(contents(twin), contents(expected), atol=1e-6)


@only_jax
def test_models_that_differ_in_a_constant_share_nothing():
    def scaled(mean):
        return network(layers.Normalization(mean=mean, variance=1.0))

    found = []
    for mean in 0.0, 1.0:
        model, twin = scaled(mean), scaled(mean)
        fit(model, (X, Y), batch_size=4, shuffle=False, verbose=0)
        twin.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
        assert_same(model.get_weights(), twin.get_weights(), atol=1e-6)
        found.append(model.get_weights()[0])
    assert not np.allclose(*found)


def test_training_in_a_thread_works():
    model, twin = network(), network()
    thread = threading.Thread(
        target=fit, args=(model, (X, Y)), kwargs=dict(batch_size=4, shuffle=False, verbose=0)
    )
    thread.start()
    thread.join()
    fit(twin, (X, Y), batch_size=4, shuffle=False, verbose=0)
    assert_same(contents(model), contents(twin))
