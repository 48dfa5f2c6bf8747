"""The wheel and the source distribution hold what they should, and the wheel works."""

import email
import itertools
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path
from string import ascii_uppercase

import pytest

import seqframe

pytestmark = pytest.mark.project

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PACKAGE = {
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "seqframe").rglob("*")
    if path.suffix in (".py", ".typed", ".csv")
}
# No archive may hold these: build outputs, caches and the folders of tools.
WASTE = re.compile(
    r"__pycache__|\.(py[co]|so)$|(^|/)(_?build|dist|generated|[^/]*\.egg-info|\.\w+)/|docs/examples/"
)


def run(*command: object, **options: object) -> str:
    """Run a command, and return what it prints."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def build(target: str, source: Path, out: Path) -> Path:
    """Build "sdist" or "wheel" from a source tree, and return the archive."""
    run(sys.executable, "-m", "build", "--no-isolation", f"--{target}", "-o", out, source)
    (archive,) = out.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The source distribution, unpacked."""
    directory = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))) as archive:
        archive.extractall(directory, filter="data")
    return directory / f"seqframe-{seqframe.__version__}"


def test_the_wheel_holds_only_the_package(wheel):
    about = f"seqframe-{seqframe.__version__}.dist-info"
    extra = {f"{about}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
    assert set(zipfile.ZipFile(wheel).namelist()) == PACKAGE | extra
    assert {"seqframe/py.typed", "seqframe/backend/tensorflow.py"} <= PACKAGE


def test_the_wheel_has_the_metadata_of_the_project(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        metadata = email.message_from_string(archive.read(path).decode("utf-8"))
    assert metadata["Version"] == PROJECT["version"] == seqframe.__version__
    names = ["Name", "Requires-Python", "License-Expression", "License-File"]
    assert [metadata[name] for name in names] == ["seqframe", ">=3.11", "Apache-2.0", "LICENSE"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().strip() == (ROOT / "README.md").read_text("utf-8").strip()
    extras = PROJECT["optional-dependencies"]
    assert set(metadata.get_all("Provides-Extra")) == set(extras)
    assert {"test", "docs", "plot", "jax", "torch"} <= set(extras)
    required = metadata.get_all("Requires-Dist")
    needed = [name for name in required if "extra ==" not in name]
    assert sorted(needed) == sorted(PROJECT["dependencies"])
    assert len(required) == len(needed) + sum(map(len, extras.values()))


def test_the_sdist_holds_whole_trees_and_no_waste(unpacked):
    held = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert [name for name in held if WASTE.search(name)] == []
    needed = [ROOT / name for name in ("LICENSE", "CITATION.cff", "constraints-lowest.txt")]
    needed += [path for path in ROOT.glob("*.*") if path.suffix in (".py", ".md", ".toml")]
    for tree in ("seqframe", "tests", "examples", "benchmarks", "docs"):
        suffixes = (".py", ".md", ".csv", ".typed")
        needed += [path for path in (ROOT / tree).rglob("*.*") if path.suffix in suffixes]
    names = {path.relative_to(ROOT).as_posix() for path in needed}
    assert {name for name in names if not WASTE.search(name)} <= held


def test_the_sdist_and_the_tree_give_the_same_wheel(wheel, unpacked, tmp_path):
    assert build("wheel", unpacked, tmp_path).read_bytes() == wheel.read_bytes()


def test_the_installed_wheel_runs_the_first_example(wheel, tmp_path):
    """The wheel is installed in a new environment, away from the repository.

    It uses the dependencies of the current environment: installing them anew takes a minute and
    tests nothing more.
    """
    home = tmp_path / "environment"
    venv.create(home, with_pip=True)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": home, "platbase": home}))
    paths = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (site / "behind.pth").write_text("\n".join(paths))

    example = shutil.copy(ROOT / "examples/01_one_letter_to_one_letter.py", tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    options = dict(cwd=tmp_path, env=environment)
    where = run(python, "-c", "import seqframe; print(seqframe.__file__)", **options)
    assert Path(where.strip()).parent == site / "seqframe"
    shown = run(python, example, **options)
    pairs = itertools.pairwise(ascii_uppercase)
    assert shown.splitlines()[:25] == [f"{letter} -> {following}" for letter, following in pairs]
    (accuracy,) = re.findall(r"Model Accuracy: (\d+\.\d\d)%", shown)
    guesses = re.findall(r"\['([A-Z])'\] -> ([A-Z])", shown)
    assert "".join(letter for letter, _ in guesses) == ascii_uppercase[:-1]
    right = sum(letter + guess in ascii_uppercase for letter, guess in guesses)
    assert right / 25 == pytest.approx(float(accuracy) / 100)
    assert right >= 15
