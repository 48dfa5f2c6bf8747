"""What is built holds what it should, says what it is, and works where it is installed."""

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

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
MODULES = {
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "seqframe").rglob("*")
    if path.suffix in (".py", ".typed")
}
#: What no archive may hold: what is built, cached or a tool's own.
WASTE = re.compile(
    r"__pycache__|\.(py[co]|so)$|(^|/)(_?build|dist|generated|[^/]*\.egg-info|\.\w+)/|docs/examples/"
)


def build(target: str, source: Path, out: Path) -> Path:
    """Build "sdist" or "wheel" from a source tree, and return the archive."""
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{target}", "-o", out, source]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
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


def test_the_wheel_holds_the_package_alone(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    about = f"seqframe-{seqframe.__version__}.dist-info"
    extra = {f"{about}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
    assert names == MODULES | extra
    assert {"seqframe/py.typed", "seqframe/backend/tensorflow.py"} <= names


def test_the_wheel_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        text = archive.read(path).decode("utf-8")
    said = email.message_from_string(text)
    assert said["Name"] == "seqframe"
    assert said["Version"] == PROJECT["version"] == seqframe.__version__
    assert said["Requires-Python"] == ">=3.11"
    assert said["License-Expression"] == "Apache-2.0"
    assert said["License-File"] == "LICENSE"
    assert said["Description-Content-Type"] == "text/markdown"
    assert said.get_payload().strip() == (ROOT / "README.md").read_text("utf-8").strip()
    extras = PROJECT["optional-dependencies"]
    assert set(said.get_all("Provides-Extra")) == set(extras)
    assert {"test", "docs", "plot", "jax", "torch"} <= set(extras)
    needed = [name for name in said.get_all("Requires-Dist") if "extra ==" not in name]
    assert sorted(needed) == sorted(PROJECT["dependencies"])
    assert len(said.get_all("Requires-Dist")) == len(needed) + sum(map(len, extras.values()))


@pytest.mark.parametrize(
    "name",
    [
        "seqframe/py.typed",
        "examples/data/sunspots.csv",
        "tests/test_packaging.py",
        "benchmarks/framing.py",
        "docs/guide/state.md",
        "conftest.py",
        "constraints-lowest.txt",
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "CITATION.cff",
        "CONTRIBUTING.md",
        "LICENSE",
        "PKG-INFO",
    ],
)
def test_the_sdist_holds_what_a_developer_needs(unpacked, name):
    assert (unpacked / name).is_file()


def test_the_sdist_holds_the_trees_whole_and_no_waste(unpacked):
    held = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert [name for name in held if WASTE.search(name)] == []
    for tree in ("seqframe", "tests", "examples", "benchmarks"):
        own = {path.relative_to(ROOT).as_posix() for path in (ROOT / tree).rglob("*.py")}
        assert own <= held


def test_the_wheel_from_the_sdist_is_that_from_the_tree(wheel, unpacked, tmp_path):
    assert build("wheel", unpacked, tmp_path).read_bytes() == wheel.read_bytes()


def test_the_installed_wheel_runs_the_first_example(wheel, tmp_path):
    """In a new environment, away from the repository.

    Dependencies are those of the environment that runs the tests, which stands behind the new one:
    to install them anew is no different here, and takes a minute. The package is the wheel's.
    """
    home = tmp_path / "environment"
    venv.create(home, with_pip=True)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel]
    subprocess.run(install, check=True)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": home, "platbase": home}))
    paths = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (site / "behind.pth").write_text("\n".join(paths))

    example = "01_one_letter_to_one_letter.py"
    shutil.copy(ROOT / "examples" / example, tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*arguments: str) -> str:
        command = [python, *arguments]
        ran = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    assert Path(run("-c", "import seqframe; print(seqframe.__file__)").strip()).parent == (
        site / "seqframe"
    )
    shown = run(example)
    pairs = itertools.pairwise(ascii_uppercase)
    assert shown.splitlines()[:25] == [f"{letter} -> {following}" for letter, following in pairs]
    (accuracy,) = re.findall(r"Model Accuracy: (\d+\.\d\d)%", shown)
    guesses = re.findall(r"\['([A-Z])'\] -> ([A-Z])", shown)
    assert "".join(letter for letter, _ in guesses) == ascii_uppercase[:-1]
    right = sum(letter + guess in ascii_uppercase for letter, guess in guesses)
    assert right / 25 == pytest.approx(float(accuracy) / 100)
    assert right >= 15
