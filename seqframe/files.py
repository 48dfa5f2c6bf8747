"""Paths that users pass, and writing beside a path: what is there stays whole if writing fails."""

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def check_path(path: Any) -> Path:
    """Return a user's path as a `Path`, or raise if it is none.

    >>> check_path("alphabet.keras").name
    'alphabet.keras'
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise TypeError(f"`path` must be a str or a `pathlib.Path`. Received: path={path!r}.")
    if not os.fspath(path) or "\0" in os.fspath(path):
        raise ValueError(f"`path` must name a file or a folder. Received: path={path!r}.")
    return Path(path)


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to, and move it to `path` at the end.

    A process that is killed leaves what it wrote. The next writer to the same path removes it.
    """
    path = path.resolve()  # the file that a link names is replaced, not the link
    _clean(path)
    # Each writer has a file of its own. If two write at once, the second one ends the first.
    unfinished = _beside(path, uuid.uuid4().hex, "unfinished")
    try:
        yield unfinished
        for each in [unfinished, *unfinished.rglob("*")]:
            _sync(each)
        _move(unfinished, path)
        _sync(path.parent)  # which has the new name
    finally:
        _remove(unfinished)


def _beside(path: Path, token: str, state: str) -> Path:
    return path.with_name(f".{path.stem}.{token}.{state}{path.suffix}")


def _clean(path: Path) -> None:
    """Remove what earlier writers to a path left. Put back what they had moved away."""
    stem, suffix = re.escape(path.stem), re.escape(path.suffix)
    name = re.compile(rf"\.{stem}\.[0-9a-f]{{32}}\.(unfinished|replaced){suffix}")
    for other in sorted(path.parent.iterdir()):
        found = name.fullmatch(other.name)
        if found and found[1] == "replaced" and not path.exists():
            other.rename(path)
        elif found:
            _remove(other)


def _move(unfinished: Path, path: Path) -> None:
    if not path.is_dir():
        unfinished.replace(path)
        return
    # A folder cannot be replaced in one step.
    old = _beside(path, uuid.uuid4().hex, "replaced")
    path.rename(old)
    try:
        unfinished.rename(path)
    except OSError:
        old.rename(path)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Put what a file or a folder holds on the disk. Windows cannot do so with folders."""
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
