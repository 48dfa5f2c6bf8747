"""Generations: the newest files of a folder, which no interrupted write can damage.

A file holds one nest of plain values and arrays: a header in JSON, the arrays' bytes, and a
checksum of all of it. Nothing in it is ever run. NumPy's own format cannot name bfloat16, and
safetensors has no checksum.
"""

import hashlib
import json
import re
import struct
import warnings
from pathlib import Path
from typing import Any

import ml_dtypes  # so that NumPy knows bfloat16
import numpy as np

from seqframe.files import written_beside

_MAGIC = b"seqframe checkpoint 1\n"
_LENGTH = struct.Struct("<Q")  # of the header
_DIGEST = hashlib.sha256
_KEPT = 2  # generations
_NAME = re.compile(r"generation-(\d+)\.checkpoint")
_PLAIN = (bool, int, float, str, type(None))
_OTHER_DTYPES = {name for name in vars(ml_dtypes) if not name.startswith("_")}

#: Plain values, arrays, and lists, tuples and dicts of them.
Content = Any


class Generations:
    """The newest files of a folder, the older ones in case the newest one is damaged.

    Args:
        folder: Path. It is made by the first `write`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     generations = Generations(Path(folder))
    ...     for epoch in range(3):
    ...         generations.write({"epoch": epoch, "weights": np.arange(2)})
    ...     names = [path.name for path in generations.paths()]
    ...     generations.read(), names  # doctest: +NORMALIZE_WHITESPACE
    ({'epoch': 2, 'weights': array([0, 1])},
     ['generation-3.checkpoint', 'generation-2.checkpoint'])
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def paths(self) -> list[Path]:
        """Return the files, the newest first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(found, key=_number, reverse=True)

    def write(self, content: Content) -> None:
        """Write the next generation, and remove all but the newest ones.

        The file gets its name when all of it is on the disk.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        paths = self.paths()
        number = _number(paths[0]) + 1 if paths else 1
        newest = self.folder / f"generation-{number}.checkpoint"
        with written_beside(newest) as unfinished, unfinished.open("wb") as file:
            for part in _parts(content):
                file.write(part)
        for path in paths[_KEPT - 1 :]:
            path.unlink(missing_ok=True)

    def read(self) -> Content:
        """Return the content of the newest file that is not damaged; None if there is no file.

        A damaged file gets another name, so that it does not count as a generation.
        """
        paths = self.paths()
        for number, path in enumerate(paths):
            content = read_file(path)
            if content is None:
                continue
            for damaged in paths[:number]:
                warnings.warn(
                    f"The checkpoint {str(damaged)!r} is damaged. The one before it is used, "
                    f"{str(path)!r}.",
                    stacklevel=2,
                )
                damaged.replace(damaged.with_suffix(".damaged"))
            return content
        if paths:
            names = " and ".join(repr(str(path)) for path in paths)
            raise ValueError(
                f"The checkpoint cannot be read, because every generation is damaged: {names}. "
                "Delete them to begin anew."
            )
        return None


def read_file(path: Path) -> Content | None:
    """Return the content of a file; None if it is damaged or of another kind."""
    data = path.read_bytes()
    size = _DIGEST().digest_size
    body, digest = memoryview(data)[:-size], data[-size:]
    if not data.startswith(_MAGIC) or _DIGEST(body).digest() != digest:
        return None
    begin = len(_MAGIC) + _LENGTH.size
    (length,) = _LENGTH.unpack_from(data, len(_MAGIC))
    header = json.loads(bytes(body[begin : begin + length]))
    arrays, offset = [], begin + length
    for dtype, shape in header["arrays"]:
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(data, np.dtype(dtype), count, offset)
        # A copy, because a backend may share an array's memory and write into it.
        arrays.append(array.reshape(shape).copy())
        offset += array.nbytes
    return _unpacked(header["content"], arrays)


def is_plain(value: Any) -> bool:
    """Whether a file can hold a value.

    >>> is_plain({"best": 0.5, "weights": [np.zeros(2)]}), is_plain(print), is_plain({1: 2})
    (True, False, False)
    """
    try:
        _packed(value, [])
    except TypeError:
        return False
    return True


def _parts(content: Content) -> Any:
    """Yield the bytes of a file."""
    arrays: list[np.ndarray] = []
    packed = _packed(content, arrays)
    specs = [(_dtype_name(array.dtype), array.shape) for array in arrays]
    header = json.dumps({"content": packed, "arrays": specs}).encode()
    digest = _DIGEST()
    for part in (_MAGIC, _LENGTH.pack(len(header)), header):
        digest.update(part)
        yield part
    for array in arrays:
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        digest.update(data)
        yield data
    yield digest.digest()


def _packed(value: Any, arrays: list[np.ndarray]) -> Any:
    """Return a value as JSON has it. Its arrays are appended to `arrays`."""
    if type(value) in _PLAIN:
        return value
    if type(value) is list:
        return [_packed(item, arrays) for item in value]
    if type(value) is tuple:
        return {"tuple": [_packed(item, arrays) for item in value]}
    if type(value) is dict and all(type(key) is str for key in value):
        return {"dict": {key: _packed(item, arrays) for key, item in value.items()}}
    if isinstance(value, np.ndarray | np.generic):
        _dtype_name(value.dtype)
        arrays.append(np.asarray(value))
        return {"array" if isinstance(value, np.ndarray) else "scalar": len(arrays) - 1}
    raise TypeError(f"A checkpoint cannot hold a {type(value).__name__}.")


def _unpacked(packed: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(packed, list):
        return [_unpacked(item, arrays) for item in packed]
    if not isinstance(packed, dict):
        return packed
    ((kind, value),) = packed.items()
    if kind == "tuple":
        return tuple(_unpacked(item, arrays) for item in value)
    if kind == "dict":
        return {key: _unpacked(item, arrays) for key, item in value.items()}
    return arrays[value] if kind == "array" else arrays[value][()]


def _dtype_name(dtype: np.dtype) -> str:
    if dtype.kind in "biufcSUmM":
        return dtype.str
    if dtype.name in _OTHER_DTYPES:
        return dtype.name
    raise TypeError(f"A checkpoint cannot hold an array of dtype {dtype}.")


def _number(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    return int(found[1]) if found else 0
