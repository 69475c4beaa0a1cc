"""One traced run of a function of the user's, and the line where it cannot be traced."""

from __future__ import annotations

import functools
import inspect
import linecache
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from attnverify.errors import AttnverifyError, TraceError
from attnverify.flex.traced import LOOK_UPS, REFUSALS, Traced, called

HERE = str(Path(__file__).parent)
# Frames below these folders are no line of the user's.
FOREIGN = (HERE, str(Path(np.__file__).parent), str(Path(functools.__file__)))


class Array(np.ndarray[Any, Any]):
    """A view of a closed-over NumPy array whose entries can be looked up at traced positions."""

    def __getitem__(self, index: Any) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(part, Traced) for part in parts):
            return called("getitem", self, index)
        return super().__getitem__(index)

    def __setitem__(self, index: Any, value: Any) -> None:
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(part, Traced) for part in (*parts, value)):
            called("setitem", self, index, value)
        super().__setitem__(index, value)


def array_view(value: Any) -> Any:
    """A NumPy array as one whose entries can be looked up at traced positions."""
    return value.view(Array) if isinstance(value, np.ndarray) else value


def run(function: Callable[..., Any], look_up: Callable[..., Any], *arguments: Traced) -> Any:
    """What a function returns for traced arguments; TraceError with the line where it cannot."""
    refusals: list[TraceError] = []
    tokens = LOOK_UPS.set(look_up), REFUSALS.set(refusals)
    try:
        found = function(*arguments)
    except Exception as error:  # noqa: BLE001  whatever the user's function raises is told by its line
        raise _told(error, function) from None
    finally:
        LOOK_UPS.reset(tokens[0])
        REFUSALS.reset(tokens[1])
    if refusals:
        raise refused(function, f"catches the error where it {refusals[0].message}")
    return found


def refused(function: Any, what: str, hint: str = "") -> TraceError:
    """The error for a function as a whole, at its first line."""
    code = getattr(inspect.unwrap(_innermost(function)), "__code__", None)
    if code is None:
        return TraceError(f"{function!r} {what}", hint=hint)
    return _at_line(code.co_filename, code.co_firstlineno, code.co_name, what, hint)


def _innermost(function: Any) -> Any:
    """The Python function behind a partial, a method or a callable object."""
    while isinstance(function, functools.partial):
        function = function.func
    function = getattr(function, "__func__", function)
    return function if hasattr(function, "__code__") else type(function).__call__


def _told(error: Exception, function: Any) -> TraceError:
    what, hint = f"raises {type(error).__name__}: {error}", ""
    if isinstance(error, AttnverifyError):
        what, hint = error.message, error.parts.get("hint", "")
        if not isinstance(error, TraceError):
            what = f"cannot be traced: {what}"
    places = list(_places(error.__traceback__))
    if not places:
        return refused(function, what, hint)
    frame = places[-1]
    return _at_line(frame.filename, frame.lineno or 0, frame.name, what, hint)


def _places(found: TracebackType | None) -> Iterator[traceback.FrameSummary]:
    """The frames of the user's own code, outermost first."""
    for frame in traceback.extract_tb(found):
        library = "/site-packages/torch/" in frame.filename.replace("\\", "/")
        if not library and not frame.filename.startswith(FOREIGN):
            yield frame


def _at_line(path: str, line: int, name: str, what: str, hint: str) -> TraceError:
    source = linecache.getline(path, line).strip()
    shown = f": `{source}`" if source else ""
    return TraceError(f"line {line} of {Path(path).name}, in {name}{shown} {what}", hint=hint)
