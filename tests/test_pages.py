"""Every example on a page runs, in the page's order, and prints what the page shows."""

import codeop
import contextlib
import doctest
import io
import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import seqframe

pytestmark = pytest.mark.project

ROOT = Path(__file__).parent.parent
GUIDE = sorted((ROOT / "docs/guide").glob("*.md"))
NO_SESSIONS = ("index", "promises")
DOCTESTED = [f"docs/guide/{page.name}" for page in GUIDE if page.stem not in NO_SESSIONS]
DOCTESTED += ["docs/chapter.md", "docs/coming-from.md"]

on_tensorflow = pytest.mark.skipif(
    find_spec("tensorflow") is None or os.environ.get("KERAS_BACKEND") not in (None, "tensorflow"),
    reason="pages show TensorFlow's output",
)

# What the README takes as given. Each key is the beginning of the block that needs the code.
GIVEN = {
    "framer = SequenceFramer(48": """
import numpy as np, pandas as pd
steps = np.arange(400)
sales = pd.DataFrame({
    "store": np.repeat(["north", "south"], 200),
    "units": np.sin(steps / 4), "price": np.cos(steps / 9), "holiday": steps % 7 == 0,
}).astype({"units": "float32", "price": "float32", "holiday": "float32"})
""",
    "model.fit(X, y": """
from seqframe import StatefulTrainer
frames, stateless = SequenceFramer(1).frame("ABCDEFGHIJ"), model
X, y = frames.arrays()
layers = [keras.layers.LSTM(4, stateful=True), keras.layers.Dense(10, "softmax")]
model = keras.Sequential([keras.Input(batch_shape=(1, 1, 1)), *layers])
model.compile("adam", "sparse_categorical_crossentropy")
""",
    "generator = Generator(model, frames.framer, sampler": """
model, frames = stateless, SequenceFramer(3).frame("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
""",
    "generator = Generator(model, frames.framer)\ngenerator.forecast": """
from seqframe import backtest
frames = framer.frame(sales, targets="units", by="store", future=["price", "holiday"])
stores = sales[:200], sales[200:]
history, unseen, plans = (
    pd.concat([store[first:stop] for store in stores])
    for first, stop in [(0, 150), (60, 200), (150, 174)]
)
plans = plans[["store", "price", "holiday"]]
past, future = (keras.Input(shape, name=name) for name, shape in frames.x_shape.items())
read = [keras.layers.GRU(4)(past), keras.layers.Flatten()(future)]
model = keras.Model([past, future], keras.layers.Dense(24)(keras.layers.Concatenate()(read)))
""",
}


def blocks(page):
    """Return the code blocks of a page, each as (language, text)."""
    text = (ROOT / page).read_text("utf-8")
    return re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M)


@on_tensorflow
@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_scripts_print_the_output_below_them(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace, compared = {}, 0
    found = blocks(page)
    for (language, code), (following, output) in zip(found, [*found[1:], ("", "")], strict=True):
        if language != "python":
            continue
        for beginning, given in GIVEN.items():
            if code.startswith(beginning):
                exec(given, namespace)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, page, "exec"), namespace)
        if not following and printed.getvalue():
            assert printed.getvalue() == output
            compared += 1
    assert compared >= 1
    assert len(found[0][1].splitlines()) <= 12  # the first example is short


@on_tensorflow
@pytest.mark.parametrize("page", DOCTESTED)
def test_sessions_print_what_they_show(page):
    from sybil.document import Document
    from sybil.parsers.myst import PythonCodeBlockParser

    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    document = Document.parse(str(ROOT / page), PythonCodeBlockParser(doctest_optionflags=flags))
    examples = list(document.examples())
    assert len(examples) >= 9
    for example in examples:
        example.evaluate()


@pytest.mark.parametrize("page", ["docs/quickstart.md", *DOCTESTED])
def test_blocks_can_be_pasted(page):
    """A session reads the lines after an indented part as more of it, unless the block ends."""
    compiler, wrong = codeop.CommandCompiler(), []
    for language, block in blocks(page):
        lines = block.splitlines()
        if ">>>" in block:
            lines = [line[4:] for line in lines if line.startswith((">>>", "..."))]
        pasted = []
        for line in lines if language == "python" else []:
            pasted.append(line)
            try:
                done = compiler("\n".join(pasted), page, "single") is not None
            except SyntaxError:
                done = wrong.append(line) is None
            if done and not line.startswith(" "):
                pasted.clear()
    assert wrong == []


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(page):
    """Sphinx checks the links of the other pages."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text("utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_map_of_the_house_names_files_that_exist():
    """A path is as in the repository, or begins below seqframe/ or one of its folders."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    paths = set(re.findall(r"[\w./-]*\w(?:\.(?:py|txt|md)\b|/(?=[\s`]))", text))
    assert {"framing/geometry.py", "geometry.py", "backend/", "constraints-lowest.txt"} <= paths
    package = {path.relative_to(ROOT) for path in (ROOT / "seqframe").rglob("*")}
    ends = {"/".join(path.parts[k:]) for path in package for k in range(len(path.parts))}
    here = (path for path in paths if path.rstrip("/") not in ends)
    assert [path for path in here if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", seqframe.__all__)
def test_public_names_are_in_the_reference(name):
    pages = "".join(page.read_text("utf-8") for page in (ROOT / "docs/api").glob("*.rst"))
    assert re.search(rf"^\.\. auto(class|function|module):: (\w+\.)*{name}\b", pages, re.M)
