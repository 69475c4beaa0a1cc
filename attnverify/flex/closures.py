"""Functions with other values in the places of what they close over.

A traced run needs to see look-ups into NumPy arrays and numbers that are left open, which Python
offers no hook for: so that a copy of the function is run, whose closure, globals, defaults and
attributes hold what stands for them.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

# What stands for a value under a name.
Change = Callable[[str, Any], Any]
# Their globals are their own affair; what their functions close over is the user's.
LIBRARIES = {"torch", "numpy", "functools"}


class Copies:
    """Copies functions with every closed-over value changed.

    >>> def scaled(factor):
    ...     return lambda x: factor * x
    >>> Copies(lambda name, value: 10 if name == "factor" else value).of("f", scaled(2))(3)
    30
    """

    def __init__(self, change: Change) -> None:
        self._change = change
        # The originals are kept, so that no other object takes their place in memory.
        self._made: dict[int, tuple[Any, Any]] = {}

    def of(self, name: str, value: Any) -> Any:
        """What stands for a value: itself changed, or a copy of what may hold changed values."""
        known = self._made.get(id(value))
        if known is not None:
            return known[1]
        match value:
            case FunctionType():
                return self._function(value)
            case MethodType():
                return MethodType(self.of(name, value.__func__), self.of(name, value.__self__))
            case functools.partial():
                return self._partial(value)
            case tuple() | list() if _holds(value):
                return type(value)([self.of(name, item) for item in value])
            case dict() if _holds(value):
                return {key: self.of(str(key), item) for key, item in value.items()}
        if _is_object(value):
            return self._object(value)
        return self._change(name, value)

    def _keep(self, value: Any, made: Any) -> Any:
        self._made[id(value)] = (value, made)
        return made

    def _function(self, function: FunctionType) -> FunctionType:
        names = function.__code__.co_freevars
        cells = tuple(CellType() for _ in names)
        scope = dict(function.__globals__)
        made = FunctionType(
            function.__code__, scope, function.__name__, function.__defaults__, cells
        )
        # A function may close over itself, so that the copy is known before it is filled.
        self._keep(function, made)
        made.__dict__.update(function.__dict__)
        made.__kwdefaults__ = self._named(function.__kwdefaults__ or {}) or None
        made.__defaults__ = self._defaults(function)
        for name, cell, old in zip(names, cells, function.__closure__ or (), strict=True):
            if _filled(old):
                cell.cell_contents = self.of(name, old.cell_contents)
        if (function.__module__ or "").partition(".")[0] not in LIBRARIES:
            used = {name for name in _names(function.__code__) if name in scope}
            scope.update(self._named({name: scope[name] for name in used}))
        return made

    def _defaults(self, function: FunctionType) -> tuple[Any, ...] | None:
        if function.__defaults__ is None:
            return None
        code = function.__code__
        names = code.co_varnames[: code.co_argcount][-len(function.__defaults__) :]
        return tuple(map(self.of, names, function.__defaults__))

    def _partial(self, partial: functools.partial[Any]) -> functools.partial[Any]:
        names = _argument_names(partial.func)
        return functools.partial(
            self.of("function", partial.func),
            *(self.of(names.get(k, f"argument_{k}"), arg) for k, arg in enumerate(partial.args)),
            **self._named(partial.keywords),
        )

    def _object(self, value: Any) -> Any:
        made = self._keep(value, copy.copy(value))
        vars(made).update(self._named(vars(value)))
        return made

    def _named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.of(name, value) for name, value in values.items()}


def _argument_names(function: Any) -> dict[int, str]:
    code = getattr(function, "__code__", None)
    return dict(enumerate(code.co_varnames[: code.co_argcount])) if code else {}


def _filled(cell: CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:  # a name that is not assigned yet
        return False
    return True


def _names(code: CodeType) -> set[str]:
    """The names that code and the code within it look up."""
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return {*code.co_names}.union(*map(_names, inner))


def _is_object(value: Any) -> bool:
    """Whether a value is a callable object of a class written in Python."""
    return (
        callable(value)
        and not isinstance(value, type)
        and isinstance(type(value).__call__, FunctionType)
        and hasattr(value, "__dict__")
    )


def _holds(value: Any) -> bool:
    """Whether an item of a collection may hold closed-over values."""
    if isinstance(value, dict | list | tuple):
        return any(map(_holds, value.values() if isinstance(value, dict) else value))
    return callable(value) or getattr(value, "shape", None) not in (None, ())
