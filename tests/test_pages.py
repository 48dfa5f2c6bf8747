"""Every example on a page runs, in the page's order, and prints what the page shows."""

import codeop
import contextlib
import doctest
import importlib
import inspect
import io
import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import seqframe

pytestmark = pytest.mark.project
pytest.importorskip("keras", reason="the pages train models")

ROOT = Path(__file__).parent.parent
GUIDE = sorted((ROOT / "docs/guide").glob("*.md"))
SCRIPTS = ["docs/quickstart.md", "docs/guide/text-end-to-end.md"]
NO_SESSIONS = ("index", "promises", "text-end-to-end")
DOCTESTED = [f"docs/guide/{page.name}" for page in GUIDE if page.stem not in NO_SESSIONS]
DOCTESTED += ["docs/chapter.md", "docs/coming-from.md"]

on_tensorflow = pytest.mark.skipif(
    find_spec("tensorflow") is None or os.environ.get("KERAS_BACKEND") not in (None, "tensorflow"),
    reason="pages show TensorFlow's output",
)


def blocks(page):
    """Return the code blocks of a page, each as (language, text)."""
    text = (ROOT / page).read_text("utf-8")
    return re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M)


def scripts(page):
    """Return the scripts of a page, each as (code, output, whether the output is sampled)."""
    text = (ROOT / page).read_text("utf-8")
    found = re.findall(
        r"^```python\n(.*?)^```\n+(<!-- sampled.*?-->\n+)?(?:^```\n(.*?)^```)?", text, re.S | re.M
    )
    return [(code, output, bool(sampled)) for code, sampled, output in found]


def run_script(code, namespace):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "<page>", "exec"), namespace)
    return printed.getvalue()


def outline(output):
    """Return the beginnings of lines without their numbers, which other machines print as well."""
    return [re.sub(r"\d+", "0", line)[:15] for line in output.splitlines()]


@on_tensorflow
@pytest.mark.parametrize("page", ["README.md", *SCRIPTS])
def test_scripts_print_the_output_below_them(page, tmp_path, monkeypatch):
    """Each script of the README is a session of its own. Each other page is one session."""
    monkeypatch.chdir(tmp_path)
    found, session = scripts(page), {}
    for code, output, is_sampled in found:
        shown = run_script(code, {} if page == "README.md" else session)
        assert (outline(shown) if is_sampled else shown) == (
            outline(output) if is_sampled else output
        )
    assert len(found) >= 3


def test_the_start_page_shows_what_the_readme_runs():
    readme = scripts("README.md")
    assert len(readme[0][0].splitlines()) <= 12  # the first example is short
    assert scripts("docs/index.md") == readme[:1]


def test_the_readme_fits_a_few_screens():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


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


@pytest.mark.parametrize("page", ["README.md", *SCRIPTS, *DOCTESTED])
def test_outputs_are_values(page):
    """A reader learns more from what was computed than from `True`."""
    lines = (ROOT / page).read_text("utf-8").splitlines()
    assert [number for number, line in enumerate(lines, 1) if line in ("True", "False")] == []


@pytest.mark.parametrize("page", [*SCRIPTS, *DOCTESTED])
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
    text = (ROOT / page).read_text("utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    links += re.findall(r'(?:src|srcset)="([^"]+)', text)
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


# --- The reference.

API = ROOT / "docs/api"
# Public classes, each with the page that describes it.
CLASSES = {
    name: value
    for module in (seqframe, seqframe.samplers, seqframe.processors)
    for name in dir(module)
    if inspect.isclass(value := getattr(module, name))
    and value.__module__.startswith("seqframe.")
    and not name.startswith("_")
    and name not in ("Configured", "Sampling")  # bases and helpers of samplers
}
# Public functions of a module that `seqframe.__all__` has as one name.
FUNCTIONS = [
    name
    for name, value in vars(seqframe.datasets).items()
    if inspect.isfunction(value) and not name.startswith("_")
]
# Methods that other files of the package or Keras call.
INTERNAL = re.compile(
    r"on_\w+|SequenceFramer\.geometry|LeftOut\.sentences|GeneratorState\.is_whole"
)


def described(name):
    """Return the members on the page of a class."""
    (page,) = (
        text
        for path in API.rglob("*.rst")
        if re.search(rf"^\.\. autoclass:: (\w+\.)*{name}\b", text := path.read_text("utf-8"), re.M)
    )
    block = re.search(rf"^\.\. autoclass:: (?:\w+\.)*{name}\b.*?(?=^\S|\Z)", page, re.S | re.M)[0]
    if re.search(r":members:\n", block):
        return None
    listed = re.findall(r":(?:special-)?members: (.*)", block)
    return {*", ".join(listed).split(", "), *re.findall(r"auto(?:method|property):: (\w+)", block)}


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_has_a_page_with_its_public_members(name):
    cls, members = CLASSES[name], described(name)
    own = {
        member
        for base in cls.__mro__
        if base.__module__.startswith("seqframe.")
        and (base is cls or base not in [*CLASSES.values(), seqframe.samplers.Configured])
        for member, value in vars(base).items()
        if not member.startswith("_") and getattr(value, "__doc__", None)
    }
    if members is None:  # all of them
        return
    told = cls.__doc__ + "".join(base.__doc__ or "" for base in cls.__mro__)
    missing = {
        member
        for member in own - members
        if not INTERNAL.search(f"{name}.{member}") and f"{member}:" not in told
    }
    assert missing == set()
    assert {member for member in members if member and not hasattr(cls, member)} == set()
    assert {member for member in members if re.match(r"_[^_]", member)} == set()


def test_the_reference_has_every_public_name_and_no_other():
    pages = "".join(page.read_text("utf-8") for page in API.rglob("*.rst"))
    found = re.findall(r"^\.\. auto(?:class|function|module):: (?:\w+\.)*(\w+)", pages, re.M)
    assert sorted(found) == sorted({*seqframe.__all__, *CLASSES, *FUNCTIONS})


# --- Examples and pictures.


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").glob("[0-9]*.py")), ids=lambda p: p.stem
)
def test_examples_can_be_downloaded_one_by_one(path):
    code = path.read_text("utf-8")
    imported = set(re.findall(r"^ *(?:import|from) (\w+)", code, re.M))
    assert imported & {other.stem for other in path.parent.glob("*.py")} == set()
    assert "__file__" not in code


def test_pictures_are_those_that_the_script_draws(monkeypatch):
    """`python docs/pictures.py` draws them."""
    pytest.importorskip("matplotlib", reason="it draws")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    drawn = {*importlib.import_module("pictures").PICTURES}
    stored = {path.stem.rpartition("-")[0] for path in (ROOT / "docs/_static").glob("*-*.svg")}
    assert stored == drawn


def test_broken_links_of_a_site_are_found(tmp_path, monkeypatch):
    """`python docs/browser.py` looks for them, and at the pages in a browser."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    links = ["b.html", "b.html#here", "#top", "https://keras.io/#x", "b.html#gone", "c.html"]
    body = '<p id="top">' + "".join(f'<a href="{link}">x</a>' for link in links)
    (tmp_path / "a.html").write_text(body + '<img src="d.svg">')
    (tmp_path / "b.html").write_text('<p id="here">')
    found = [*importlib.import_module("browser").broken_links(tmp_path)]
    assert found == [f"a.html: {link} leads nowhere" for link in ("b.html#gone", "c.html", "d.svg")]
