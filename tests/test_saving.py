"""Saved generators: a loaded one gives what the saved one gave, and no code is run."""

import json
import zipfile

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import numbers, recurrent, seeded

from seqframe import Generator, SequenceFramer, Vocabulary
from seqframe.samplers import BeamSampler, RandomSampler, TopKSampler, TopPSampler

ABCD = SequenceFramer(1, vocabulary=Vocabulary("ABCD"))


@pytest.fixture(scope="module")
def model():
    parts = [layers.LSTM(3, stateful=True), layers.Dense(4, use_bias=False)]
    return seeded(keras.Sequential([keras.Input((1, 1), batch_size=2), *parts]), scale=2, seed=6)


@keras.saving.register_keras_serializable("tests")
def without_d(logits, generated, step):
    """Ban a symbol."""
    return ops.where(ops.arange(4) == 3, -float("inf"), logits)


@keras.saving.register_keras_serializable("tests")
def added(prediction, last_input):
    """Feed a difference back as a value."""
    return last_input + prediction


@keras.saving.register_keras_serializable("tests")
def least(logits, seed):
    """Choose the least likely symbol."""
    return ops.argmin(logits, axis=-1)


@pytest.mark.parametrize(
    "sampler",
    ["greedy", RandomSampler(0.7), TopKSampler(2), TopPSampler(0.8, 1.5), BeamSampler(3), least],
    ids=lambda sampler: getattr(sampler, "__name__", str(sampler)),
)
def test_a_loaded_generator_says_the_same(model, sampler, tmp_path):
    generator = Generator(model, ABCD, sampler=sampler, logits_processor=without_d, seed=4)
    generator.save(tmp_path / "generator.keras")
    loaded = Generator.load(tmp_path / "generator.keras")
    assert loaded.generate(["AB", "CDA"], 20) == generator.generate(["AB", "CDA"], 20)
    assert loaded.framer == generator.framer
    assert loaded.sampler == generator.sampler


@pytest.mark.parametrize(
    ("targets", "feedback", "columns"),
    [(None, None, 1), ([1], None, 2), (np.array([1]), None, 2), (None, added, 1)],
)
def test_a_loaded_generator_forecasts_the_same(targets, feedback, columns, tmp_path):
    made = Generator(
        recurrent(steps=3, features=columns),
        SequenceFramer(3, sequence_stride=2, padding_value=np.float32(0.5)),
        targets=targets,
        feedback=feedback,
        stateful=True,
    )
    made.save(str(tmp_path / "made.keras"))
    loaded = Generator.load(str(tmp_path / "made.keras"))
    ahead = None if targets is None else numbers(4, 1, seed=2)
    given = (numbers(5, columns), 4)
    np.testing.assert_array_equal(
        loaded.forecast(*given, future=ahead), made.forecast(*given, future=ahead)
    )


@pytest.mark.parametrize(
    ("name", "way_out"), [("nodir/generator.keras", "mkdir"), ("generator.zip", r"\.keras")]
)
def test_paths_that_are_refused(model, name, way_out, tmp_path):
    with pytest.raises(ValueError, match=f"`path`.*{way_out}"):
        Generator(model, ABCD).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_custom_layers_are_passed_on(tmp_path):
    class Twice(layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    made = Generator(seeded(keras.Sequential([keras.Input((2, 1)), layers.Flatten(), Twice(),
                                              layers.Dense(1)])))  # fmt: skip
    made.save(tmp_path / "made.keras")
    loaded = Generator.load(tmp_path / "made.keras", custom_objects={"Twice": Twice})
    np.testing.assert_array_equal(loaded.forecast([1, 2], 3), made.forecast([1, 2], 3))


@pytest.mark.parametrize("name", ["feedback", "logits_processor", "sampler"])
def test_functions_without_a_registered_name_are_refused(model, name, tmp_path):
    path = tmp_path / "generator.keras"
    Generator(model, ABCD).save(path)
    before = path.read_bytes()
    nameless = Generator(model, ABCD, **{name: lambda *args: args[0]})
    with pytest.raises(ValueError, match=f"`{name}`.*register_keras_serializable"):
        nameless.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_names_python_code_is_refused(model, tmp_path):
    """Functions are found by their registered names, never made from the file."""
    path = tmp_path / "generator.keras"
    generator = Generator(model, ABCD)
    generator.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["seqframe.json"])
    with pytest.warns(UserWarning, match="lambda"):
        config["feedback"] = keras.saving.serialize_keras_object(lambda p, last: p)
    members["seqframe.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match=r"unsafe|safe_mode"):
        Generator.load(path)


@pytest.mark.parametrize("content", [None, b"", b"text", "model", "directory"])
def test_other_files_are_refused(model, content, tmp_path):
    path = tmp_path / "file.keras"
    if content == "model":
        model.save(path)
    elif content == "directory":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="`path`"):
        Generator.load(path)
