"""What passes between the judge and a subject's process: a JSON header, then raw buffers.

A message is the length of its header in eight bytes, the header, and the buffers of the arrays
that the header lists.  Nothing that the subject's side sends is unpickled or run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import prod
from typing import IO, Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from attnverify.errors import SubjectError

Array = NDArray[Any]
Arrays = dict[str, Array]

# Where the names of arrays of different meaning stand in one message, a word is put before each.
PARTS = ("output", "gradient", "after", "first", "later", "kept", "earlier", "input", "seed")
# A header names arrays and says a sentence or two: more than this is noise on the line.
HEADER = 2**24
WIDTH = 8
# Names of ml_dtypes' own types mean something to NumPy once it is loaded.
FOREIGN = frozenset(name for name in dir(ml_dtypes) if name.startswith(("bfloat", "float")))


class BrokenMessageError(SubjectError):
    """What came is no message: cut short, or not as the header says."""


def joined(**parts: Mapping[str, Array | None]) -> Arrays:
    """Arrays of different meaning under one name each; those that are None are left out."""
    return {
        f"{part} {name}": array
        for part, named in parts.items()
        for name, array in named.items()
        if array is not None
    }


def parted(arrays: Mapping[str, Array]) -> dict[str, Arrays]:
    """The arrays by meaning.

    >>> parted(joined(output={"O": np.ones(2)}))["output"]
    {'O': array([1., 1.])}
    """
    found: dict[str, Arrays] = {part: {} for part in PARTS}
    for name, array in arrays.items():
        part, _, rest = name.partition(" ")
        if part not in found:
            raise BrokenMessageError("an array of no known meaning", found=name)
        found[part][rest] = array
    return found


def send(stream: IO[bytes], header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write one message; an array of a type that has no raw form goes by shape and type alone."""
    listed = [_listed(name, array) for name, array in arrays.items()]
    text = json.dumps({**header, "arrays": listed}, default=_plain).encode()
    stream.write(len(text).to_bytes(WIDTH, "big") + text)
    for entry, array in zip(listed, arrays.values(), strict=True):
        if entry["raw"]:
            stream.write(np.ascontiguousarray(array).tobytes())
    stream.flush()


def receive(stream: IO[bytes], most: int) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read one message, its arrays copied; `most` is the largest number of bytes that they take.

    Raises EOFError where the other side has ended, BrokenMessageError for what is no message.
    """
    length = int.from_bytes(_exactly(stream, WIDTH), "big")
    if length > HEADER:
        raise BrokenMessageError("a header of a length that none has", found=length, due=HEADER)
    try:
        header = json.loads(_exactly(stream, length))
        listed = [(str(e["name"]), *_form(e)) for e in header.pop("arrays")]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BrokenMessageError("a header that cannot be read", found=error) from error
    total = sum(size for *_, size in listed)
    if total > most:
        raise BrokenMessageError("arrays that are larger than allowed", found=total, due=most)
    return header, dict(_read(stream, listed))


def _read(
    stream: IO[bytes], listed: list[tuple[str, tuple[int, ...], np.dtype[Any], int]]
) -> Iterator[tuple[str, Array]]:
    for name, shape, dtype, size in listed:
        if dtype.kind == "O":
            yield name, np.empty(shape, dtype)
        else:
            yield name, np.ndarray(shape, dtype, buffer=_exactly(stream, size))


def _exactly(stream: IO[bytes], count: int) -> bytearray:
    """That many bytes; EOFError where fewer come."""
    found = bytearray(count)
    view, have = memoryview(found), 0
    while have < count:
        part = stream.read(min(count - have, 2**20))
        if not part:
            raise EOFError
        view[have : have + len(part)] = part
        have += len(part)
    return found


def _listed(name: str, array: Array) -> dict[str, Any]:
    dtype = str(array.dtype)
    raw = array.dtype.kind in "biufc" or dtype in FOREIGN
    return {"name": name, "shape": list(array.shape), "dtype": dtype, "raw": raw}


def _form(entry: Mapping[str, Any]) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type and bytes of a listed array; one without a raw form is an array of objects."""
    shape = tuple(int(size) for size in entry["shape"])
    if any(size < 0 for size in shape):
        raise ValueError(f"shape {shape}")
    dtype = np.dtype(str(entry["dtype"]) if entry["raw"] else "object")
    if entry["raw"] and dtype.kind not in "biufc" and str(dtype) not in FOREIGN:
        raise ValueError(f"dtype {dtype}")
    # Objects are pointers of eight bytes here, and none of them is read.
    return shape, dtype, prod(shape) * dtype.itemsize


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no form in JSON")
