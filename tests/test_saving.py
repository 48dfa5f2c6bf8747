"""Saved generators: a loaded one gives what the saved one gave, and no code is run."""

import contextlib
import json
import pickle
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import numbers, recurrent, seeded

from seqframe import Generator, SequenceFramer, Vocabulary
from seqframe.files import written_beside
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
    [(None, None, 1), ([np.int64(1)], None, 2), (np.array([1]), None, 2), (None, added, 1)],
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


# --- Files that are damaged, or that somebody else wrote.


def members(path):
    """Return the contents of a saved generator by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, contents, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def with_settings(path, contents, **settings):
    changed = {**json.loads(contents["seqframe.json"]), **settings}
    return write(path, {**contents, "seqframe.json": json.dumps(changed)})


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    """Return the bytes of a saved generator, and what it generates."""
    path = tmp_path_factory.mktemp("saved") / "generator.keras"
    generator = Generator(model, ABCD)
    generator.save(path)
    return path.read_bytes(), generator.generate("AB", 20)


@pytest.fixture
def contents(saved, tmp_path):
    (tmp_path / "saved.keras").write_bytes(saved[0])
    return members(tmp_path / "saved.keras")


def assert_refused(path, match=""):
    with pytest.raises(ValueError, match=rf"(?s)`path` .*{re.escape(path.name)}.*{match}"):
        Generator.load(path)


def test_every_truncated_file_is_refused(saved, tmp_path):
    content, path = saved[0], tmp_path / "short.keras"
    for length in {*range(0, len(content), 97), *range(len(content) - 120, len(content))}:
        path.write_bytes(content[:length])
        assert_refused(path)


def test_flipped_bits_are_found_or_do_not_matter(saved, tmp_path):
    """Some bytes of an archive, such as its dates, do not change what it holds."""
    content, text = saved
    path, messages, texts = tmp_path / "flipped.keras", [], []
    rng = np.random.default_rng(7)
    directory = content.index(b"PK\x01\x02")  # names, sizes and checksums come last
    places = [*rng.integers(len(content), size=160), *rng.integers(directory, len(content), 40)]
    for place, bit in zip(places, rng.integers(8, size=200), strict=True):
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        try:
            texts.append(Generator.load(path).generate("AB", 20))
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 150
    assert all("flipped.keras" in message for message in messages)
    assert {*texts} == {text}


def test_members_that_lack_or_that_are_no_json_are_refused(contents, tmp_path):
    path = tmp_path / "odd.keras"
    for name in contents:
        rest = {other: content for other, content in contents.items() if other != name}
        assert_refused(write(path, rest) if name != "metadata.json" else write(path, {}))
        for other in b"", b"text", b"[1]", b"{}", b"[" * 100_000, b"\xff", contents[name][:-9]:
            if name != "metadata.json":  # Keras does not read it
                assert_refused(write(path, {**contents, name: other}))


def test_zip_bombs_are_refused_unread(contents, tmp_path):
    path = tmp_path / "bomb.keras"
    for name in "seqframe.json", "config.json", "model.weights.h5", "more.bin":
        with zipfile.ZipFile(write(path, contents), "w", zipfile.ZIP_DEFLATED) as archive:
            for other in {*contents, name}:
                with archive.open(other, "w", force_zip64=True) as member:
                    for _ in range(200 if other == name else 1):
                        member.write(bytes(2**20) if other == name else contents[other])
        assert_refused(path, match=rf"{name}. would take 209,715,200 bytes")


def test_a_file_that_was_compressed_later_is_loaded(contents, saved, tmp_path):
    path = write(tmp_path / "small.keras", contents, zipfile.ZIP_DEFLATED)
    assert Generator.load(path).generate("AB", 20) == saved[1]


DENSE = keras.saving.serialize_keras_object(layers.Dense(1))
WRONG_SETTINGS = [
    {"targets": 99},
    {"targets": [[0]]},
    {"targets": True},
    {"targets": {"a": 1}},
    {"sampler": DENSE},
    {"sampler": "greedy"},
    {"feedback": 3},
    {"feedback": DENSE},
    {"logits_processor": {}},
    {"logits_processor": {**DENSE, "class_name": "Nothing", "module": "os"}},
    {"sampler": {"module": "os", "class_name": "function", "config": "system"}},
    {"sampler": {"module": "keras.utils", "class_name": "function", "config": "get_file"}},
    {"from_logits": "x"},
    {"from_logits": 1},
    {"stateful": "x"},
    {"seed": -1},
    {"seed": "x"},
    {"framer": None},
    {"framer": {}},
    {"framer": {"sequence_length": 0}},
    {"format": "1"},
    {"format": 2},
    {"more": 1},
]


@pytest.mark.parametrize("settings", WRONG_SETTINGS, ids=str)
def test_wrong_settings_are_refused(settings, contents, tmp_path):
    assert_refused(with_settings(tmp_path / "wrong.keras", contents, **settings))


def test_a_file_that_names_python_code_is_refused(contents, tmp_path):
    """Functions are found by their registered names, never made from the file."""
    with pytest.warns(UserWarning, match="lambda"):
        code = keras.saving.serialize_keras_object(lambda p, last: p)
    assert_refused(with_settings(tmp_path / "code.keras", contents, feedback=code), "unsafe|safe")


@pytest.mark.filterwarnings("ignore:Skipping invalid path")
def test_nothing_is_written_beside_or_run_by_a_foreign_file(contents, tmp_path):
    """Pickles stay closed, and members with other paths stay where they are."""

    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "run",)

    folder = tmp_path / "in"
    folder.mkdir()
    for name in "../out", f"{tmp_path}/out", "model.pkl", "assets/../../out":
        path = write(folder / "foreign.keras", {**contents, name: pickle.dumps(Evil())})
        with contextlib.suppress(ValueError):
            Generator.load(path)
        assert sorted(each.name for each in tmp_path.iterdir()) == ["in", "saved.keras"]
    assert_refused(write(path, {**contents, "model.weights.h5": pickle.dumps(Evil())}))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [None, b"", b"text", "model", "directory"])
def test_other_files_are_refused(model, content, tmp_path):
    path = tmp_path / "file.keras"
    if content == "model":
        model.save(path)
    elif content == "directory":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    assert_refused(path)
    if content == "directory":
        with pytest.raises(ValueError, match="`path` must name a file"):
            Generator(model, ABCD).save(path)


@pytest.mark.parametrize("path", [None, 3, b"a.keras", ["a.keras"], "", "a\0.keras"])
def test_a_path_is_a_str_or_a_path(model, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = Generator(model, ABCD)
    for use in generator.save, Generator.load:
        with pytest.raises((TypeError, ValueError), match="`path` must"):
            use(path)
    assert not list(tmp_path.iterdir())


# --- Writers that are killed.

WRITER = """
import sys
from pathlib import Path
from seqframe.files import written_beside
folder = Path(sys.argv[1])
print("ready", flush=True)
for number in range(1_000_000):
    content = str(number % 10) * 500_000
    with written_beside(folder / "file.keras") as path:
        path.write_text(content)
    with written_beside(folder / "folder") as path:
        path.mkdir()
        for part in "abc":
            (path / part).write_text(content)
"""


def is_whole(*paths):
    """Whether files hold what one writer wrote, or do not exist."""
    written = "".join(path.read_text() for path in paths if path.exists())
    return len({*written}) <= 1 and len(written) in (0, len(paths) * 500_000)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("number", range(4))
def test_a_killed_writer_leaves_whole_files(number, tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        time.sleep(np.random.default_rng(number).uniform(0, 0.05))
        writer.kill()
    file, folder = tmp_path / "file.keras", tmp_path / "folder"
    assert is_whole(file)
    assert is_whole(*(folder / part for part in "abc"))
    # The next writers leave nothing else.
    with written_beside(file) as path:
        path.write_text("new")
    with written_beside(folder) as path:
        path.mkdir()
    assert sorted(tmp_path.iterdir()) == [file, folder]


def test_what_killed_writers_leave_is_cleaned_up(tmp_path):
    path, token = tmp_path / "file.keras", 32 * "a"
    others = [".file.txt.unfinished.keras", f".other.{token}.unfinished.keras", "file"]
    for name in [f".file.{token}.unfinished.keras", f".file.{token}.replaced.keras", *others]:
        (tmp_path / name).write_text(name)
    with pytest.raises(KeyError), written_beside(path):
        raise KeyError
    # A folder that was moved away, but never replaced, is back.
    assert path.read_text() == f".file.{token}.replaced.keras"
    path.write_text("old")
    with pytest.raises(KeyError), written_beside(path) as unfinished:  # noqa: PT012
        unfinished.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    assert {each.name for each in tmp_path.iterdir()} == {"file.keras", *others}
