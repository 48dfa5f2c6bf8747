"""A training that was stopped anywhere goes on as if it had not been."""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import setups
from keras import layers
from models import compiled, contents, numbers, put_back
from setups import EPOCHS, SETUPS, built, numbers_of, same, train

import seqframe
from seqframe import Checkpoint, SequenceFramer, fit
from seqframe.backend.internals import made_seed_generator
from seqframe.training.generations import Generations, read_file

BACKEND = keras.backend.backend()
FRAMES = SequenceFramer(3).frame(setups.WAVE[:40])
HALVES = SequenceFramer(3).frame(setups.WAVE).split(0.5, 0.5)
ROOT = Path(seqframe.__file__).parent.parent


class Stopped(BaseException):
    """Ends a training like a kill: no callback sees it."""


@pytest.fixture
def stop_after(monkeypatch):
    """Return a function that lets the process "end" after, or within, the n-th file."""
    write = Generations.write

    def stop(number, within=False):
        left = [number]

        def counted(self, content):
            left[0] -= 1
            if not left[0] and within:
                self.folder.mkdir(exist_ok=True)
                half = f".generation-{number}.{'0' * 32}.unfinished.checkpoint"
                (self.folder / half).write_bytes(b"seqframe che")
                raise Stopped
            write(self, content)
            if not left[0]:
                raise Stopped

        monkeypatch.setattr(Generations, "write", counted)

    return stop


@pytest.fixture
def goes_on(tmp_path, stop_after):
    """Return whether training a model goes on after its n-th file as if it had not ended."""

    def has_gone_on(number, model):
        whole = simple(tmp_path / "whole", model=model())
        stop_after(number)
        stopped(simple, tmp_path / "cut", model=model())
        stop_after(-1)
        return same(simple(tmp_path / "cut", model=model()), whole)

    return has_gone_on


def dense(**kwargs):
    return built(lambda: [layers.Flatten(), layers.Dense(1)], **kwargs)


def simple(path, *callbacks, model=None, frames=FRAMES, every=2, epochs=3, **more):
    """Train a small model with a checkpoint, and return the History and the model's numbers."""
    model = model or dense()
    callbacks = [Checkpoint(path, every), *callbacks]
    given = {"batch_size": 8, "seed": 1, "verbose": 0, "epochs": epochs, **more}
    history = fit(model, frames, callbacks=callbacks, **given)
    return history.epoch, history.history, numbers_of(model)


def stopped(call, *args, **kwargs):
    with pytest.raises(Stopped):
        call(*args, **kwargs)


# --- The law, for each setup.


@pytest.mark.parametrize("name", SETUPS)
def test_a_training_stopped_within_an_epoch_ends_as_one_never_stopped(name, tmp_path, stop_after):
    whole = train(name, Checkpoint(tmp_path / "whole", "epoch"))
    again = train(name, Checkpoint(tmp_path / "whole", "epoch"))  # nothing is left to do
    assert same(again, whole)
    for place in 3, 2:  # files from the last start on
        stop_after(place, within=place == 2)
        stopped(train, name, Checkpoint(tmp_path / "cut", 3))
    stop_after(-1)
    assert same(train(name, Checkpoint(tmp_path / "cut", 3)), whole)


def test_a_training_stopped_after_any_file_ends_as_one_never_stopped(tmp_path, stop_after):
    model = compiled(dense())
    fresh = contents(model)

    def run(name):
        put_back(model, fresh)  # the same model, so that its program is compiled once
        return simple(tmp_path / name, model=model, every=1)

    whole = run("whole")
    files = 3 * 5 + 1  # one for each step, and one at the end
    for place in range(1, files + 1):
        stop_after(place)
        stopped(run, f"after {place}")
        stop_after(-1)
        assert same(run(f"after {place}"), whole), place
    stop_after(files + 1)
    assert same(run("never"), whole)


def test_killed_processes_end_as_one_never_killed():
    command = [sys.executable, ROOT / "tests" / "kill.py", "--count", "3", "--backend", BACKEND]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert re.search(r"^3 of 3 runs, killed \d+ times", ran.stdout, re.M), ran.stdout + ran.stderr


def test_a_seed_that_was_drawn_is_kept(tmp_path, stop_after):
    stop_after(3)
    stopped(simple, tmp_path / "run", seed=None)
    seed = Generations(tmp_path / "run").read()["seed"]
    stop_after(-1)
    assert same(simple(tmp_path / "run", seed=None), simple(tmp_path / "other", seed=seed))


def test_a_checkpoint_changes_nothing(tmp_path):
    plain = dense()
    history = fit(plain, FRAMES, batch_size=8, seed=1, verbose=0, epochs=3)
    other = simple(tmp_path / "run")
    assert same(other, (history.epoch, history.history, numbers_of(plain)))


# --- What is saved.


@pytest.mark.skipif(BACKEND != "torch", reason="Keras draws by the backend's generator only there")
def test_draws_of_the_backends_own_generator_go_on(goes_on):
    def model():
        return built(lambda: [layers.Flatten(), layers.Dropout(0.5), layers.Dense(1)])

    assert goes_on(3, model)


def test_draws_of_callbacks_go_on(tmp_path, stop_after):
    class Drawn(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["numpy"] = np.random.rand()
            logs["keras"] = float(keras.random.uniform(()))

    def run(name, seed):
        model = dense()
        # Older versions of Keras do not set it by `set_random_seed`.
        made_seed_generator().state.assign(np.array([seed, 0], "uint32"))
        return simple(tmp_path / name, Drawn(), model=model)

    whole = run("whole", 7)
    stop_after(3)
    stopped(run, "cut", 7)
    np.random.seed(99)
    stop_after(-1)
    assert same(run("cut", 8), whole)


def test_weights_of_all_dtypes_are_kept(goes_on):
    def model():
        return built(lambda: [layers.Flatten(), layers.Dense(1, dtype="bfloat16")])

    assert goes_on(2, model)


def test_a_scaled_loss_goes_on(goes_on):
    def model():
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.1, momentum=0.9), initial_scale=4.0, dynamic_growth_steps=3
        )
        return dense(optimizer=optimizer)

    assert goes_on(4, model)


def test_public_counters_of_any_callback_are_kept(tmp_path, stop_after):
    class Own(keras.callbacks.Callback):
        def __init__(self, patience):
            super().__init__()
            self.patience, self.best, self.seen = patience, [np.zeros(2)], {"epochs": 0}
            self.open = 0

        def on_epoch_begin(self, epoch, logs=None):
            self.open += 1

        def on_train_batch_end(self, batch, logs=None):
            self.open -= batch == 0  # then it is as it was when training began

        def on_epoch_end(self, epoch, logs=None):
            self.best.append(np.full(2, logs["loss"]))
            self.seen["epochs"] += 1

    whole, own = Own(1), Own(2)
    simple(tmp_path / "whole", whole)
    stop_after(4)
    stopped(simple, tmp_path / "cut", Own(1))
    stop_after(-1)
    simple(tmp_path / "cut", own)
    assert same((own.best, own.seen, own.open), (whole.best, whole.seen, 0))
    assert own.patience == 2  # a setting is what the resumed call says


def test_large_data_of_a_callback_are_not_copied(tmp_path, stop_after):
    class Own(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.data, self.best = {"x": np.zeros(2**18)}, np.zeros(2**18)

        def on_epoch_end(self, epoch, logs=None):
            self.best = np.full(2**18, logs["loss"])

    whole, own = Own(), Own()
    simple(tmp_path / "whole", whole)
    data = own.data
    stop_after(4)
    stopped(simple, tmp_path / "cut", Own())
    size = max(path.stat().st_size for path in (tmp_path / "cut").iterdir())
    stop_after(-1)
    simple(tmp_path / "cut", own)
    assert own.data is data
    assert same(own.best, whole.best)
    assert size < 3 * 2**20  # the best of 2 MiB, and no data


def test_states_of_callbacks_must_be_plain(tmp_path):
    class Own(keras.callbacks.Callback):
        def get_state(self):
            return {"model": self.model}

        def set_state(self, state):
            pass

    with pytest.raises(TypeError, match=r"get_state.*Own"):
        simple(tmp_path / "run", Own())


def test_averaged_weights_are_swapped_back(tmp_path, stop_after):
    def run(path):
        optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
        swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
        return simple(path, swap, model=dense(optimizer=optimizer), every="epoch")

    whole = run(tmp_path / "whole")
    stop_after(2)
    stopped(run, tmp_path / "cut")
    stop_after(-1)
    assert same(run(tmp_path / "cut"), whole)


# --- What is refused.


OTHERS = {
    "batch size": ({"batch_size": 4}, "batch size"),
    "seed": ({"seed": 2}, "order of the training"),
    "shuffle": ({"shuffle": False}, "order of the training"),
    "data": ({"frames": SequenceFramer(3).frame(setups.WAVE[1:41])}, "data of the training"),
    "other frames": ({"frames": HALVES[1]}, "data of the training"),
    "frames": ({"frames": SequenceFramer(3).frame(setups.WAVE[:44])}, "frames of the training"),
    "classes": ({"class_weight": {0: 2.0}}, "framing of the training"),
    "validation": ({"validation_data": FRAMES}, "validation: None before"),
    "fewer epochs": ({"epochs": 1}, "epochs=1"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_call_is_refused(name, tmp_path, stop_after):
    changed, rule = OTHERS[name]
    frames = HALVES[0] if name == "other frames" else FRAMES
    stop_after(5)
    stopped(simple, tmp_path / "run", frames=frames)
    stop_after(-1)
    model = dense()
    before = numbers_of(model)
    with pytest.raises(ValueError, match=rule):
        simple(tmp_path / "run", model=model, **changed)
    assert same(numbers_of(model)[: len(before)], before)


def test_another_model_is_refused(tmp_path):
    simple(tmp_path / "run")
    for other in (
        built(lambda: [layers.Flatten(), layers.Dense(2), layers.Dense(1)]),
        dense(optimizer="rmsprop"),
        dense(metrics=["mae"]),
    ):
        with pytest.raises(ValueError, match=r"another run.*another `path`"):
            simple(tmp_path / "run", model=other)


def test_an_ended_run_takes_no_more_epochs(tmp_path):
    simple(tmp_path / "run")
    with pytest.raises(ValueError, match=r"ended after 3 epochs.*initial_epoch=3"):
        simple(tmp_path / "run", epochs=4)


def test_more_epochs_may_follow_before_the_end(tmp_path, stop_after):
    whole = simple(tmp_path / "whole", epochs=4)
    stop_after(5)
    stopped(simple, tmp_path / "cut", epochs=3)
    stop_after(-1)
    assert same(simple(tmp_path / "cut", epochs=4), whole)


def test_a_callback_that_counted_must_be_there(tmp_path, stop_after):
    stop_after(5)
    stopped(simple, tmp_path / "run", keras.callbacks.EarlyStopping("loss"))
    stop_after(-1)
    with pytest.raises(ValueError, match=r"callback EarlyStopping.*`callbacks` as before"):
        simple(tmp_path / "run")


def test_a_run_without_its_validation_is_refused(tmp_path, stop_after):
    stop_after(5)
    stopped(simple, tmp_path / "run", validation_data=FRAMES)
    stop_after(-1)
    with pytest.raises(ValueError, match="validation: 8 before, and None now"):
        simple(tmp_path / "run")


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch has no other program without compiling")
def test_another_program_is_refused(tmp_path, stop_after):
    stop_after(2)
    stopped(simple, tmp_path / "run", program="loop")
    stop_after(-1)
    with pytest.raises(ValueError, match=r"`program`.*as before"):
        simple(tmp_path / "run", program="steps")


@pytest.mark.parametrize("every", [0, -1, "steps", True, None, float("nan"), -0.5])
def test_every_is_checked(every, tmp_path):
    with pytest.raises(ValueError, match="`every`"):
        Checkpoint(tmp_path, every)


def test_paths_are_checked(tmp_path):
    (tmp_path / "file").touch()
    for path in tmp_path / "file", "":
        with pytest.raises(ValueError, match="`path`"):
            Checkpoint(path)
    with pytest.raises(TypeError, match="`path`"):
        Checkpoint(3)


def test_two_checkpoints_are_refused(tmp_path):
    with pytest.raises(ValueError, match="one Checkpoint"):
        simple(tmp_path / "run", Checkpoint(tmp_path / "other"))


# --- Files.


CONTENT = {
    "numbers": [1, 0.1, float("inf"), True, None, "é", np.float32(0.1)],
    "nest": ({"array": np.arange(3)}, [], (), {}),
    "arrays": [np.zeros((0, 2)), np.array(2.5), np.array(["a"]), np.ones((2, 3)).T],
}


def test_contents_are_read_as_they_were_written(tmp_path):
    Generations(tmp_path).write(CONTENT)
    found = Generations(tmp_path).read()
    assert same(found, CONTENT)
    assert str(found) == str(CONTENT)


def test_a_file_with_any_byte_changed_or_missing_is_damaged(tmp_path):
    files = Generations(tmp_path)
    files.write({"epoch": 1, "weights": numbers(3)})
    (path,) = files.paths()
    data = path.read_bytes()
    for k in range(len(data)):
        path.write_bytes(data[:k])
        assert read_file(path) is None
        path.write_bytes(data[:k] + bytes([data[k] ^ 1]) + data[k + 1 :])
        assert read_file(path) is None
    path.write_bytes(data + b"\0")
    assert read_file(path) is None


def test_the_older_file_is_used_if_the_newest_is_damaged(tmp_path, stop_after):
    whole = simple(tmp_path / "whole")
    stop_after(4)
    stopped(simple, tmp_path / "run")
    stop_after(-1)
    files = Generations(tmp_path / "run")
    newest, older = files.paths()
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=re.escape(str(newest))):
        assert same(simple(tmp_path / "run"), whole)
    assert newest.with_suffix(".damaged").exists()
    for path in files.paths():
        path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=re.escape(str(files.paths()[0]))):
        simple(tmp_path / "run")
    assert older not in files.paths()


def test_two_files_are_kept(tmp_path):
    simple(tmp_path / "run", every=1)
    assert len(list((tmp_path / "run").iterdir())) == 2


# --- Keras's own loops.


def by_keras(path, *callbacks, every="epoch", is_lost=False):
    """Train by Keras's own `fit` on a dataset that is shuffled anew in each epoch."""
    model = built(lambda: [layers.Flatten(), layers.Dropout(0.2, seed=1), layers.Dense(1)])
    dataset = FRAMES.dataset(8, shuffle=True, seed=3)
    stop = keras.callbacks.EarlyStopping("loss", patience=2)
    checkpoint = Checkpoint(path, every, dataset=dataset)
    history = model.fit(
        dataset, epochs=4, verbose=0, shuffle=False, callbacks=[checkpoint, stop, *callbacks]
    )
    return history.epoch, history.history, numbers_of(model), stop.best, stop.wait


def test_keras_own_fit_goes_on_at_an_epoch(tmp_path, stop_after):
    whole = by_keras(tmp_path / "whole")
    assert same(by_keras(tmp_path / "whole")[:3], whole[:3])
    for place in 2, 1:
        stop_after(place)
        stopped(by_keras, tmp_path / "cut")
    stop_after(-1)
    assert same(by_keras(tmp_path / "cut"), whole)


@pytest.mark.parametrize("every", [3, 0.5])
def test_keras_own_fit_cannot_begin_at_a_batch(every, tmp_path):
    with pytest.raises(ValueError, match=r'every="epoch"'):
        by_keras(tmp_path / "run", every=every)


def test_a_dataset_must_have_a_state(tmp_path):
    with pytest.raises(TypeError, match="`dataset`"):
        Checkpoint(tmp_path, dataset=[1, 2])


def test_a_dataset_in_our_fit_goes_on_in_its_order(tmp_path, stop_after):
    def run(path):
        model = dense()
        dataset = FRAMES.dataset(8, shuffle=True, seed=3)
        given = {"epochs": 4, "verbose": 0, "shuffle": False, "validation_data": FRAMES}
        history = fit(model, dataset, callbacks=[Checkpoint(path)], **given)
        return history.epoch, history.history, numbers_of(model)

    whole = run(tmp_path / "whole")
    stop_after(2)
    stopped(run, tmp_path / "cut")
    stop_after(-1)
    assert same(run(tmp_path / "cut"), whole)


def test_models_that_keras_runs_go_on_at_an_epoch(tmp_path, stop_after):
    def run(path, every="epoch"):
        return simple(path, model=dense(run_eagerly=True), every=every)

    whole = run(tmp_path / "whole")
    stop_after(1)
    stopped(run, tmp_path / "cut")
    stop_after(-1)
    assert same(run(tmp_path / "cut"), whole)
    with pytest.raises(ValueError, match=r'every="epoch"'):
        run(tmp_path / "other", every=2)


def test_a_run_that_was_given_up_leaves_no_trace(tmp_path, stop_after):
    stop_after(5)
    model = dense()
    stopped(simple, tmp_path / "run", model=model)
    stop_after(-1)
    assert fit(model, FRAMES, epochs=2, verbose=0).epoch == [0, 1]


def test_early_stopping_counts_on(tmp_path, stop_after):
    epochs = train("stopped_early", Checkpoint(tmp_path / "whole"))[0]
    assert len(epochs) < EPOCHS
    stop_after(len(epochs))  # it has stopped the training, which has not ended
    stopped(train, "stopped_early", Checkpoint(tmp_path / "cut"))
    stop_after(-1)
    assert train("stopped_early", Checkpoint(tmp_path / "cut"))[0] == epochs


def test_a_callback_keeps_its_own_list(tmp_path, stop_after):
    class Recorder(keras.callbacks.Callback):
        def __init__(self, log):
            super().__init__()
            self.log = log

        def on_epoch_end(self, epoch, logs=None):
            self.log.append(epoch)

    stop_after(2)
    stopped(simple, tmp_path, Recorder([]), every="epoch", epochs=4)
    stop_after(0)
    log = []
    simple(tmp_path, Recorder(log), every="epoch", epochs=4)
    assert log == [0, 1, 2, 3]


def test_keras_own_fit_goes_on_with_the_same_checkpoint_after_an_error(tmp_path):
    class Failing(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError("for once")

    saves, model = Checkpoint(tmp_path), dense()
    x, y = numbers(16, 3, 1), numbers(16, 1)
    given = {"epochs": 4, "batch_size": 8, "shuffle": False, "verbose": 0}
    with pytest.raises(RuntimeError):
        model.fit(x, y, callbacks=[Failing(), saves], **given)
    history = model.fit(x, y, callbacks=[saves], **given)
    assert history.epoch == [0, 1, 2, 3]
    whole = dense()
    whole.fit(x, y, **given)
    assert same(numbers_of(model), numbers_of(whole))
