"""A warning says why a loss is NaN."""

import re
import warnings

import numpy as np
import pytest
from models import compiled, numbers, recurrent, user_warnings

from seqframe import SequenceFramer, fit
from seqframe.training.nan import warn_of_nan


def lost(values, at, value=np.nan):
    values = values.copy()
    values[at] = value
    return values


RULE = SequenceFramer(2)
BROKEN = RULE.frame([numbers(20), lost(numbers(20), 7)])
CYCLE = SequenceFramer(2, mode="subsequences", num_samples=9, wrap=True, min_length=2, seed=1)
ASIDE = (BROKEN.arrays()[0], lost(np.nan_to_num(BROKEN.arrays()[1]), [0, 4]))
TRAINED_ON = {
    "frames": (BROKEN, "3 of 36 frames.*`skip_nan=True`"),
    "targets": (RULE.frame(numbers(9), lost(numbers(9), 8)), "1 of 7 frames"),
    "some skipped": (RULE.frame(lost(numbers(9), 8), valid=np.arange(9) > 5), "1 of 1 frames"),
    "lanes": (SequenceFramer(1).frame(lost(numbers(9), 3)).lanes(2), "2 of 8 frames"),
    "arrays": (ASIDE, "4 of 36 samples"),
    "draws": (CYCLE.frame(lost(numbers(4), 3)), "1 steps"),
}


@pytest.mark.parametrize("verbose", [0, 2])
@pytest.mark.parametrize("kind", TRAINED_ON)
def test_a_nan_loss_is_explained_once(kind, verbose, recwarn):
    data, message = TRAINED_ON[kind]
    model = compiled(recurrent(steps=1 if kind == "lanes" else 2))
    fit(model, data, epochs=3, verbose=verbose)
    (warning,) = user_warnings(recwarn)
    assert re.search("The loss is NaN.*" + message, str(warning.message))
    assert warning.filename == __file__


def test_a_nan_loss_is_explained_in_keras_own_loop(recwarn):
    fit(compiled(recurrent(), run_eagerly=True), BROKEN, epochs=2, verbose=0)
    (warning,) = user_warnings(recwarn)
    assert "3 of 36 frames" in str(warning.message)


def test_a_nan_loss_with_whole_data_is_not_explained(recwarn, monkeypatch):
    model = compiled(recurrent())
    model.set_weights([w * np.nan for w in model.get_weights()])
    data = [numbers(9), lost(numbers(9), 3)]
    whole, skipped = RULE.frame(numbers(9)), RULE.frame(data, skip_nan=True)
    for frames in (whole, skipped, whole.arrays()):
        assert np.isnan(fit(model, frames, epochs=2, verbose=0).history["loss"]).all()
    # If the loss is a number, the data are not searched.
    monkeypatch.setattr("seqframe.training.nan.count_touching_nan", None)
    fit(compiled(recurrent()), whole, epochs=2, verbose=0)
    assert not user_warnings(recwarn)


def test_a_dataset_is_not_searched(recwarn):
    dataset = BROKEN.dataset(4)
    assert np.isnan(fit(compiled(recurrent()), dataset, verbose=0).history["loss"]).all()
    assert not user_warnings(recwarn)


def test_a_subset_without_nan_is_not_blamed():
    values = np.arange(12.0)
    values[9] = np.nan
    frames = SequenceFramer(2).frame(values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_nan(frames.subset([0, 1]), float("nan"))
    with pytest.warns(UserWarning, match="1 of 2 frames touch a NaN"):
        warn_of_nan(frames.subset([0, 7]), float("nan"))
