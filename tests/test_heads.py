"""Models of quantiles, and of the parameters of a distribution."""

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers, ops
from models import numbers, recurrent, run, seeded, with_future

from seqframe import Generator, SequenceFramer, fit

LEVELS = [0.1, 0.5, 0.8]
HISTORY = numbers(9)


def quantile_model(steps=3, features=1, horizon=2, columns=1):
    return recurrent(steps=steps, features=features, outputs=horizon * columns * 3)


# --- Quantiles.

KINDS = {
    "one step": (SequenceFramer(3), 1, None),
    "a block": (SequenceFramer(3, horizon=2), 1, None),
    "features": (SequenceFramer(3, horizon=2, layout="features"), 1, None),
    "a column": (SequenceFramer(3, horizon=2), 2, 1),
    "columns": (SequenceFramer(3, horizon=2), 3, [2, 0]),
    "every column": (SequenceFramer(3, horizon=2), 2, None),
    "a lead time": (SequenceFramer(3, horizon=2, gap=2), 1, None),
    "padded": (SequenceFramer(3, horizon=2, mode="prefixes", padding_value=-1), 1, None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_quantiles_of_a_block_are_the_models_own(kind):
    rule, features, targets = KINDS[kind]
    columns = features if targets is None else np.size(targets)
    shape = (1, 3 * features) if rule.layout == "features" else (3, features)
    model = seeded(
        keras.Sequential(
            [keras.Input(shape), layers.Flatten(), layers.Dense(rule.horizon * columns * 3)]
        )
    )
    history = numbers(7, features) if features > 1 else HISTORY[:7]
    x = history[-3:].reshape(1, *shape)
    expected = run(model, x)[0].reshape(rule.horizon, columns, 3)
    expected = expected if features > 1 and np.ndim(targets) + (targets is None) else expected[:, 0]
    generator = Generator(model, rule, targets=targets, quantiles=LEVELS)
    for levels in LEVELS, [0.8, 0.1], 0.5:
        found = generator.forecast(history, rule.horizon, quantiles=levels)
        places = [LEVELS.index(level) for level in np.atleast_1d(levels)]
        wanted = np.moveaxis(expected[..., places], -1, 0)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    median = generator.forecast(history, rule.horizon)
    np.testing.assert_allclose(median, expected[..., 1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_size", [None, 2], ids=["stateless", "stateful"])
@pytest.mark.parametrize("horizon", [1, 2])
def test_medians_are_fed_back(batch_size, horizon):
    """A law: such a model rolls on as one that predicts only the medians."""
    steps = 3 if batch_size is None else 1
    model = recurrent(batch_size=batch_size, steps=steps, outputs=horizon * 3)
    median = recurrent(batch_size=batch_size, steps=steps, outputs=horizon)
    *inner, kernel, bias = model.get_weights()
    median.set_weights([*inner, kernel[:, 1::3], bias[1::3]])
    rule = SequenceFramer(steps, horizon=horizon)
    found = Generator(model, rule, quantiles=LEVELS).forecast(HISTORY, 7)
    np.testing.assert_allclose(found, Generator(median, rule).forecast(HISTORY, 7), rtol=1e-5)


def test_a_model_of_quantiles_may_take_a_future():
    model = with_future(steps=3, horizon=2, known=1, outputs=6)
    rule = SequenceFramer(3, horizon=2)
    generator = Generator(model, rule, quantiles=LEVELS)
    future = numbers(2, 1, seed=4)
    found = generator.forecast(HISTORY, 2, future=future, quantiles=LEVELS)
    x = {"past": HISTORY[None, -3:, None], "future": future[None]}
    np.testing.assert_allclose(found, run(model, x)[0].reshape(2, 3).T, rtol=1e-5)


def test_paths_draw_from_the_predicted_quantiles():
    model = quantile_model()
    # Quantiles that rise, whatever the model reads.
    model.layers[-1].set_weights([np.zeros((2, 6)), np.array([0, 1, 3, 10, 11, 13.0])])
    generator = Generator(model, SequenceFramer(3, horizon=2), quantiles=LEVELS, seed=5)
    paths = generator.forecast(HISTORY, 5, num_samples=4000)
    assert paths.shape == (4000, 5)
    low = np.array([0, 10, 0, 10, 0])
    assert (paths >= low - 1e-5).all()
    assert (paths <= low + 3 + 1e-5).all()
    # Straight lines between the quantiles; a tail is its quantile.
    levels = [0.1, 0.3, 0.5, 0.65, 0.8, 0.95]
    found = np.quantile(paths[:, 0], levels)
    np.testing.assert_allclose(found, [0, 0.5, 1, 2, 3, 3], atol=0.12)
    # Steps are drawn by themselves, and so are columns of one seed and row.
    correlations = np.corrcoef(paths.T) - np.eye(5)
    assert np.abs(correlations).max() < 0.08
    both = generator.forecast([HISTORY, HISTORY[:5]], 5, num_samples=3)
    np.testing.assert_allclose(both[0], paths[:3], rtol=1e-4, atol=1e-5)
    again = generator.forecast(HISTORY, 5, num_samples=4000, quantiles=levels)
    np.testing.assert_allclose(again, np.quantile(paths, levels, axis=0), rtol=1e-4, atol=1e-4)


def test_draws_do_not_depend_on_quantiles_in_one_path():
    generator = Generator(quantile_model(), SequenceFramer(3, horizon=2), quantiles=LEVELS, seed=5)
    np.testing.assert_array_equal(
        generator.forecast(HISTORY, 3), generator.forecast([HISTORY], 3)[0]
    )


@pytest.mark.parametrize("library", ["series", "table", "panel"])
def test_quantiles_are_columns_of_a_table(library):
    days = pd.date_range("2026-01-01", periods=9)
    series = pd.Series(HISTORY, days, name="units")
    table = series.to_frame()
    names = {"columns": ["units"], "target_columns": "units", "by": "store"}
    rule = SequenceFramer(3, horizon=2, **names)
    generator = Generator(quantile_model(), rule, quantiles=LEVELS)
    given = {"series": series, "table": table, "panel": table.assign(store="a")}[library]
    found = generator.forecast(given, 2, quantiles=[0.1, 0.8])
    expected = generator.forecast(HISTORY, 2, quantiles=[0.1, 0.8])
    if library == "panel":
        assert found.columns.tolist() == ["store", "units_0.1", "units_0.8"]
        found = found.drop(columns="store")
    np.testing.assert_array_equal(found.to_numpy(), expected.T)
    assert found.index.equals(pd.date_range("2026-01-10", periods=2))


def test_quantiles_are_saved(tmp_path):
    generator = Generator(quantile_model(), SequenceFramer(3, horizon=2), quantiles=LEVELS)
    generator.save(tmp_path / "generator.keras")
    loaded = Generator.load(tmp_path / "generator.keras")
    assert loaded.quantiles == tuple(LEVELS)
    np.testing.assert_allclose(
        loaded.forecast(HISTORY, 2, quantiles=LEVELS),
        generator.forecast(HISTORY, 2, quantiles=LEVELS),
        rtol=1e-5,
    )


def test_a_pinball_loss_trains_quantiles():
    """Of noise around 0, the quantiles are those of the noise."""
    noise = np.random.default_rng(2).uniform(-1, 1, 3000).astype("float32")
    frames = SequenceFramer(2, horizon=2).frame(noise)
    levels = ops.convert_to_tensor(np.array(LEVELS, "float32"))

    def pinball(actual, predicted):
        error = actual[..., None] - predicted
        return ops.mean(ops.maximum(levels * error, (levels - 1) * error), axis=-1)

    model = keras.Sequential(
        [keras.Input((2, 1)), layers.Flatten(), layers.Dense(6), layers.Reshape((2, 3))]
    )
    model.compile(keras.optimizers.Adam(0.02), pinball)
    fit(model, frames, epochs=8, batch_size=64, seed=1, verbose=0)
    generator = Generator(model, frames.framer, quantiles=LEVELS)
    found = generator.forecast(np.zeros(2, "float32"), 2, quantiles=LEVELS)
    np.testing.assert_allclose(found, np.array([[-0.8], [0.0], [0.6]]) * [1, 1], atol=0.15)


# --- The parameters of a distribution.


def gaussian(parameters, seed):
    mean, scale = parameters[..., 0], parameters[..., 1]
    return mean + scale * keras.random.normal(mean.shape, seed=seed)


@pytest.mark.parametrize("horizon", [1, 2])
@pytest.mark.parametrize(("features", "targets"), [(1, None), (2, None), (2, 1), (3, [2, 0])])
def test_what_is_drawn_is_fed_back(horizon, features, targets):
    """A law: draws of the first parameter are the forecast of a model of that parameter."""
    columns = features if targets is None else np.size(targets)
    model = recurrent(steps=3, features=features, outputs=horizon * columns * 2)
    first = recurrent(steps=3, features=features, outputs=horizon * columns)
    *inner, kernel, bias = model.get_weights()
    first.set_weights([*inner, kernel[:, ::2], bias[::2]])
    rule = SequenceFramer(3, horizon=horizon)
    history = numbers(7, features) if features > 1 else HISTORY
    future = numbers(6, features - columns, seed=8) if columns < features else None
    seen = []

    def draw(parameters, seed):
        seen.append(tuple(parameters.shape))
        return parameters[..., 0]

    generator = Generator(model, rule, targets=targets)
    found = generator.forecast(history, 6, future=future, num_samples=2, noise=draw)
    expected = Generator(first, rule, targets=targets).forecast(history, 6, future=future)
    assert {*seen} == {(2, horizon, *([columns] if columns > 1 else []), 2)}
    assert found.shape == (2, *expected.shape)
    for path in found:
        np.testing.assert_allclose(path, expected, rtol=1e-4, atol=1e-5)


def test_a_distribution_has_the_drawn_quantiles():
    model = keras.Sequential([keras.Input((2, 1)), layers.Flatten(), layers.Dense(2)])
    model.set_weights([np.zeros((2, 2)), np.array([3.0, 0.5])])  # mean 3, deviation 0.5
    generator = Generator(model, SequenceFramer(2), seed=2)
    options = {"num_samples": 2000, "noise": gaussian}
    found = generator.forecast(HISTORY, 3, quantiles=[0.1, 0.5, 0.9], **options)
    expected = 3 + 0.5 * np.array([[-1.2816], [0], [1.2816]]) * np.ones(3)
    np.testing.assert_allclose(found, expected, atol=0.08)


def test_a_stateful_model_of_a_distribution_draws_on():
    model = recurrent(batch_size=3, steps=1, outputs=2)
    generator = Generator(model, SequenceFramer(1), seed=4)
    options = {"num_samples": 5, "noise": gaussian}
    found = generator.forecast(HISTORY, 6, **options)
    assert found.shape == (5, 6)
    assert len({path.tobytes() for path in found}) == 5
    np.testing.assert_array_equal(found, generator.forecast(HISTORY, 6, **options))


# --- Bad input.

RULE = SequenceFramer(3, horizon=2)


def forecast(outputs=6, levels=LEVELS, **arguments):
    generator = Generator(recurrent(steps=3, outputs=outputs), RULE, quantiles=levels)
    return generator.forecast(**{"history": HISTORY, "steps": 2, **arguments})


WRONG = [
    (dict(steps=3, quantiles=[0.1]), r"`quantiles` must be of \[0.1, 0.5, 0.8\].*num_samples"),
    (dict(quantiles=[0.2]), r"`quantiles` must be of .*Received: quantiles=\[0.2\].*num_samples"),
    (dict(quantiles=[1.2]), "`quantiles` must be numbers in 0 … 1"),
    (dict(num_samples=0), "`num_samples`"),
    (dict(noise=numbers(3)), "both `num_samples` and `noise`"),
]
WRONG = [(arguments, {}, message) for arguments, message in WRONG] + [
    ({}, dict(outputs=4), r"predict the 3 `quantiles` of every feature.*4 outputs.*`quantiles`,"),
    ({}, dict(levels=None), "predicts 3 numbers for every feature.*pass `quantiles` to"),
    (
        dict(num_samples=2, noise=numbers(3)),
        dict(levels=None),
        r"3 numbers.*`noise\(parameters, seed\)`",
    ),
    (
        dict(num_samples=2, noise=lambda prediction, seed: prediction),
        dict(levels=None),
        r"`noise` must return a tensor of shape \(2, 2\).*Received: shape \(2, 2, 3\)",
    ),
]


@pytest.mark.parametrize(("arguments", "options", "message"), WRONG)
def test_wrong_arguments_of_heads(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        forecast(**arguments, **options)


@pytest.mark.parametrize(
    "quantiles", [[0.1, 0.9], [0.9, 0.5], [0.5, 0.5], [], [0, 0.5], [0.5, 1], ["a"], "0.5", [True]]
)
def test_wrong_quantiles_of_a_model(quantiles):
    with pytest.raises((TypeError, ValueError), match="`quantiles`"):
        Generator(quantile_model(), RULE, quantiles=quantiles)


def test_a_single_path_is_drawn_as_the_first_of_several():
    rule = SequenceFramer(3, horizon=2)
    generator = Generator(seeded(quantile_model()), rule, quantiles=LEVELS, seed=5)
    several = generator.forecast(HISTORY, 4, num_samples=3)
    (single,) = generator.forecast(HISTORY, 4, num_samples=1)
    np.testing.assert_allclose(single, several[0], rtol=1e-5)
    assert not np.allclose(single, generator.forecast(HISTORY, 4))
