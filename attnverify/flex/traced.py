"""What stands for a number or a truth value while a Python function is traced.

A traced value is an expression of the algebra that looks like a tensor without axes: operators and
the functions of torch and NumPy build the next one, each by its rule in RULES. What Python would do
with the value itself (a truth value, a whole number, a length) is refused.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NoReturn, TypeVar

import numpy as np

from attnverify.algebra.predicates import FALSE, Predicate
from attnverify.algebra.terms import Expr
from attnverify.errors import TraceError
from attnverify.flex.reasons import reason
from attnverify.flex.signs import is_whole

Rule = Callable[..., Any]
F = TypeVar("F", bound=Rule)
RULES: dict[str, Rule] = {}
# Where look-ups into closed-over tables go while a function is traced.
LOOK_UPS: ContextVar[Rule] = ContextVar("LOOK_UPS")
# What was refused in the run so far: a function that catches the error is not traced by that.
REFUSALS: ContextVar[list[TraceError]] = ContextVar("REFUSALS")


def rule(*names: str) -> Callable[[F], F]:
    """Enter a function into RULES under the names that torch, NumPy and Python have for it."""

    def entered(function: F) -> F:
        RULES.update(dict.fromkeys(names, function))
        return function

    return entered


def called(name: str, *args: Any, **kwargs: Any) -> Any:
    """What the rule of a name makes of its arguments; TraceError where there is none."""
    try:
        return _ruled(name, args, kwargs)
    except TraceError as error:
        raise _kept(error) from None


def _kept(error: TraceError) -> TraceError:
    REFUSALS.get().append(error)
    return error


def _ruled(name: str, args: Any, kwargs: Any) -> Any:
    if kwargs.get("out") is not None:
        raise TraceError(f"calls {name} with out=, which writes into a tensor")
    bare = name.removeprefix("__").removesuffix("__")
    known = RULES.get(name) or RULES.get(bare)
    if known is None:
        what, hint = reason(bare)
        raise TraceError(what, hint=hint)
    try:
        inspect.signature(known).bind(*args, **kwargs)
    except TypeError as error:
        raise TraceError(f"calls {name} with arguments that are not traced ({error})") from None
    return known(*args, **kwargs)


def _torch_called(name: str, args: Any, kwargs: Any, *, method: bool) -> Any:
    """A call of torch's; `x.where(condition, other)` has its condition second."""
    if method and name == "where" and len(args) == 3:
        args = (args[1], args[0], args[2])
    return called(name, *args, **kwargs)


def _refused(what: str, hint: str = "") -> Callable[..., NoReturn]:
    """A method of Python's that has no meaning for a value that differs from place to place."""

    def method(*_args: Any, **_kwargs: Any) -> NoReturn:
        raise _kept(TraceError(what, hint=hint))

    return method


def _operator(name: str) -> Callable[[Any, Any], Any]:
    return lambda self, other: called(name, self, other)


def _swapped(name: str) -> Callable[[Any, Any], Any]:
    return lambda self, other: called(name, other, self)


_NUMBER = "asks Python for the number behind a traced value"
_LOOK_UP = "write a closed-over tensor, table[q_idx]"


class Traced:
    """What numbers and truth values share: the operators, and the protocols of torch and NumPy."""

    __slots__ = ()

    __add__, __radd__ = _operator("add"), _swapped("add")
    __sub__, __rsub__ = _operator("sub"), _swapped("sub")
    __mul__, __rmul__ = _operator("mul"), _swapped("mul")
    __truediv__, __rtruediv__ = _operator("div"), _swapped("div")
    __floordiv__, __rfloordiv__ = _operator("floor_divide"), _swapped("floor_divide")
    __mod__, __rmod__ = _operator("remainder"), _swapped("remainder")
    __pow__, __rpow__ = _operator("pow"), _swapped("pow")
    __lt__, __le__ = _operator("lt"), _operator("le")
    __gt__, __ge__ = _operator("gt"), _operator("ge")
    __and__, __rand__ = _operator("bitwise_and"), _swapped("bitwise_and")
    __or__, __ror__ = _operator("bitwise_or"), _swapped("bitwise_or")
    __xor__, __rxor__ = _operator("bitwise_xor"), _swapped("bitwise_xor")
    __lshift__, __rshift__ = _operator("bitwise_left_shift"), _operator("bitwise_right_shift")

    def __eq__(self, other: object) -> Any:
        return called("eq", self, other)

    def __ne__(self, other: object) -> Any:
        return called("ne", self, other)

    def __neg__(self) -> Any:
        return called("neg", self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return called("abs", self)

    def __invert__(self) -> Any:
        return called("bitwise_not", self)

    __bool__ = _refused(
        "asks Python for the truth value of what differs from place to place",
        "write torch.where(...) instead of if, & | ~ instead of and, or, not, and "
        "(a <= x) & (x <= b) instead of a <= x <= b",
    )
    __int__ = _refused(_NUMBER, "leave out int(...): positions are whole numbers already")
    __float__ = _refused(
        _NUMBER, "use torch's function instead of math's, and leave out float(...)"
    )
    __complex__ = _refused(_NUMBER)
    __index__ = _refused("uses a traced value as a whole number of Python's", _LOOK_UP)
    __hash__ = _refused("looks a traced value up in a dictionary or a set", _LOOK_UP)
    __iter__ = _refused("loops over a traced value")
    __array__ = _refused("turns a traced value into an array")
    __setitem__ = _refused("writes into a traced value", "write torch.where(...)")
    __round__ = __floor__ = __ceil__ = __trunc__ = _refused(_NUMBER, "use torch's function")

    def __len__(self) -> int:
        # torch asks every index for its length, and does without.
        raise TraceError("takes the length of a traced value")

    def __getitem__(self, index: Any) -> Any:
        raise _kept(TraceError("takes an entry of a traced value, which has no axes"))

    @classmethod
    def __torch_function__(
        cls, function: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        method = type(function).__name__ == "method_descriptor"
        return _torch_called(function.__name__, args, kwargs or {}, method=method)

    def __array_function__(self, function: Any, _types: Any, args: Any, kwargs: Any) -> Any:
        return called(function.__name__, *args, **kwargs)

    def __array_ufunc__(self, function: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        name = function.__name__ if method == "__call__" else f"{function.__name__}.{method}"
        return called(name, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # protocols are asked for, and their absence has a meaning
            raise AttributeError(name)
        if name in ATTRIBUTES:
            return ATTRIBUTES[name](self)
        return lambda *args, **kwargs: _torch_called(name, (self, *args), kwargs, method=True)

    def __repr__(self) -> str:
        return f"<a traced {type(self).__name__.lower()}>"


@rule("getitem")
def _entry(table: Any, index: Any) -> Any:
    return LOOK_UPS.get()(table, index)


def _torch() -> Any:
    """The torch that the user's function has loaded, if any: it is not loaded here."""
    return sys.modules.get("torch")


def _type(value: Any) -> Any:
    """The type that a value has in torch, or in NumPy where there is no torch."""
    home = _torch() or np
    if isinstance(value, Truth):
        return home.bool if home is not np else np.bool_
    return home.int64 if isinstance(value, Number) and is_whole(value.expr) else home.float32


class Number(Traced):
    """A number at each place; minus infinity where `hidden` holds, which no key survives."""

    __slots__ = ("expr", "hidden")

    def __init__(self, expr: Expr, hidden: Predicate = FALSE) -> None:
        self.expr, self.hidden = expr, hidden


class Truth(Traced):
    """A truth value at each place."""

    __slots__ = ("holds",)

    def __init__(self, holds: Predicate) -> None:
        self.holds = holds


# What a tensor without axes knows of itself, by name.
ATTRIBUTES: dict[str, Callable[[Any], Any]] = {
    "ndim": lambda _: 0,
    "shape": lambda _: (),
    "device": lambda _: _torch().device("cpu") if _torch() else "cpu",
    "dtype": _type,
}
