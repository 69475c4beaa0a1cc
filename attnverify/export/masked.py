"""Which results are exactly 0 in masked slots, so that what else stands there must not count."""

from __future__ import annotations

from collections.abc import Iterable

import sympy

from attnverify.compile.recipe import Op

TRUTHS = {
    "less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
    "logical_and", "logical_or", "logical_not",
}  # fmt: skip
_KEEP_ZERO = {"negative", "square", "relu", "broadcast", "stop_gradient", "as_real"}


def hides(ops: Iterable[Op]) -> bool:
    """Whether some scores are selected: -inf stands where they are not seen."""
    return any(op.kind == "scalar" and op.value == -sympy.oo for op in ops)


def weights(ops: Iterable[Op]) -> set[str]:
    """The results that a selection, of scores or of weights, has made 0 in masked slots.

    A selection among numbers that no input enters, such as a rotation's, masks nothing. A truth as
    a number is a selection by itself, as where it picks an entry of a table.
    """
    fills: dict[str, sympy.Expr | None] = {}
    given: set[str] = set()
    hidden: set[str] = set()
    zero: set[str] = set()
    truths: set[str] = set()
    for op in ops:
        read = [operand.name for operand in op.operands]
        if op.kind == "scalar":
            fills[op.out] = op.value
        if (op.kind == "input" and op.detail == "real") or given.intersection(read):
            given.add(op.out)
        if op.kind == "map" and op.detail in TRUTHS:
            truths.add(op.out)
        if op.detail == "as_real" and read[0] in truths:
            zero.add(op.out)
        if op.kind == "map" and op.out in given:
            fill = fills.get(read[-1])
            if _is_hidden(op.detail, read, fill, hidden):
                hidden.add(op.out)
            if _is_zero(op.detail, read, fill, zero, hidden):
                zero.add(op.out)
    return zero


def _is_hidden(function: str, read: list[str], fill: sympy.Expr | None, hidden: set[str]) -> bool:
    """Whether -inf stands in masked slots."""
    if function == "select":
        return fill == -sympy.oo or read[1] in hidden
    return function in ("add", "subtract") and bool(hidden.intersection(read))


def _is_zero(
    function: str, read: list[str], fill: sympy.Expr | None, zero: set[str], hidden: set[str]
) -> bool:
    """Whether 0 stands in masked slots."""
    if function == "select":
        return fill == 0 or read[1] in zero
    if function == "exp":
        return read[0] in hidden
    if function == "multiply":
        return bool(zero.intersection(read))
    return function in _KEEP_ZERO and read[0] in zero
