"""Which chunks of keys a block of rows does not see, by intervals of positions.

An integer or truth value is an interval over a chunk; a score selected to minus infinity and a
weight selected to zero are followed from operation to operation.  A chunk is left out only if each
sum over keys gets nothing from it, whatever the inputs are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.compile.recipe import Op, Recipe
from attnverify.compile.run import scalar_value

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Chunked:
    """Per chunk: the interval of an integer or truth value, whether all is zero, or hidden."""

    low: Any = -np.inf
    high: Any = np.inf
    zero: Any = np.False_
    hidden: Any = np.False_


ANY = Chunked()
COMPARED = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"}


def unseen(
    recipe: Recipe,
    label: str,
    places: Mapping[str, tuple[Any, Any]],
    sizes: Mapping[str, int],
    parameters: Mapping[str, Any],
) -> Flags | None:
    """Whether each chunk of the keys `label` gives nothing to any output.

    `places` has the least and largest value of integer inputs: of a whole block of rows, or of each
    chunk.  None where the recipe gives no way to tell.
    """
    values: dict[str, Chunked] = {}
    silent: Any = True
    for op in recipe.ops:
        if op.kind == "input":
            values[op.out] = Chunked(*places[op.out]) if op.out in places else ANY
            continue
        parts = [values[o.name] for o in op.operands]
        if _summed(op, label):
            silent = silent & _gives_nothing(op, parts, label)
        # What is summed over keys is one value for all chunks: nothing is known of it by chunk.
        values[op.out] = ANY if _summed(op, label) else _rule(op, parts, sizes, parameters)
    for _, operand, _ in recipe.outputs:
        if label in operand.labels:
            silent = silent & values[operand.name].zero
    return None if silent is True else np.asarray(silent)


def _summed(op: Op, label: str) -> bool:
    return label not in op.labels and any(label in o.labels for o in op.operands)


def _gives_nothing(op: Op, parts: list[Chunked], label: str) -> Any:
    if op.kind == "contract" or (op.kind == "reduce" and op.detail == "sum"):
        return _any(p.zero for p in parts)
    return parts[0].hidden if op.kind in ("reduce", "root") else False


def _any(flags: Any) -> Any:
    found: Any = False
    for flag in flags:
        found = found | flag
    return found


def _rule(
    op: Op, parts: list[Chunked], sizes: Mapping[str, int], parameters: Mapping[str, Any]
) -> Chunked:
    if op.kind == "scalar":
        if op.value is None:
            return Chunked(0, 0, zero=True)
        number = float(scalar_value(op.value, sizes, parameters, np.dtype(float)))
        # A number that is not whole may be another one in another working precision.
        ends = (number, number) if number.is_integer() else (-np.inf, np.inf)
        return Chunked(*ends, zero=number == 0, hidden=number == -np.inf)
    if op.kind == "contract":
        return Chunked(zero=_any(p.zero for p in parts))
    if op.kind == "reduce" and op.detail == "sum":
        return Chunked(zero=parts[0].zero)
    return _map(op.detail, parts) if op.kind == "map" else ANY


def _map(name: str, p: list[Chunked]) -> Chunked:
    if name in ("stop_gradient", "as_real", "broadcast"):
        return p[0]
    if name == "add":
        return Chunked(p[0].low + p[1].low, p[0].high + p[1].high, hidden=p[0].hidden | p[1].hidden)
    if name == "subtract":
        hidden = p[0].hidden & np.logical_not(p[1].hidden)
        return Chunked(p[0].low - p[1].high, p[0].high - p[1].low, hidden=hidden)
    if name == "negative":
        return Chunked(-p[0].high, -p[0].low, p[0].zero)
    if name == "multiply":
        return Chunked(zero=p[0].zero | p[1].zero)
    if name == "maximum":
        return Chunked(hidden=p[0].hidden & p[1].hidden)
    if name == "exp":
        return Chunked(zero=p[0].hidden)
    if name in ("sqrt", "square", "relu", "tanh", "sin", "absolute", "sign"):
        return Chunked(zero=p[0].zero)
    if name == "select":
        return _selected(*p)
    return _truth(name, p)


def _selected(keep: Chunked, value: Chunked, other: Chunked) -> Chunked:
    never, always = np.equal(keep.high, 0), np.greater(keep.low, 0)
    zero = (never & other.zero) | (always & value.zero) | (value.zero & other.zero)
    hidden = (never & other.hidden) | (always & value.hidden) | (value.hidden & other.hidden)
    return Chunked(zero=zero, hidden=hidden)


def _truth(name: str, p: list[Chunked]) -> Chunked:
    if name == "logical_not":
        return _sure(np.equal(p[0].high, 0), np.greater(p[0].low, 0))
    if name == "logical_and":
        return _sure(
            np.greater(p[0].low, 0) & np.greater(p[1].low, 0),
            np.equal(p[0].high, 0) | np.equal(p[1].high, 0),
        )
    if name == "logical_or":
        return _sure(
            np.greater(p[0].low, 0) | np.greater(p[1].low, 0),
            np.equal(p[0].high, 0) & np.equal(p[1].high, 0),
        )
    if name not in COMPARED:
        return ANY
    left, right = p
    below, above = np.less(left.high, right.low), np.greater(left.low, right.high)
    under, over = np.less_equal(left.high, right.low), np.greater_equal(left.low, right.high)
    single = under & over
    return {
        "less": _sure(below, over),
        "less_equal": _sure(under, above),
        "greater": _sure(above, under),
        "greater_equal": _sure(over, below),
        "equal": _sure(single, below | above),
        "not_equal": _sure(below | above, single),
    }[name]


def _sure(true: Any, false: Any) -> Chunked:
    """A truth value: 1 where it surely holds, 0 where it surely does not, else from 0 to 1."""
    low, high = np.where(true, 1.0, 0.0), np.where(false, 0.0, 1.0)
    return Chunked(low, high, zero=np.asarray(false))
