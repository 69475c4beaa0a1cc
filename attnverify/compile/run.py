"""Run a recipe operation by operation, with a hook after each one.

It is the oracle's own program. The printed source is what runs fast; this loop is what rounding
analysis perturbs and what block plans and taint are worked out on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, TypeAlias

import numpy as np
import opt_einsum
import sympy

from attnverify.algebra.terms import symbol_axis, symbols_of
from attnverify.algebra.text import scalar_text
from attnverify.compile import special, tables, thresholds
from attnverify.compile.recipe import Label, Labels, Loop, Op, Operand, Recipe, label_axis
from attnverify.errors import ShapeError, UnknownPrimitiveError

Array: TypeAlias = Any
# Below this many entries, looking for a way to multiply matrices costs more than it saves.
PLAIN = 2**15
Hook = Callable[[Op, Array, tuple[Array, ...]], Array]

FUNCTIONS: dict[str, Callable[..., Array]] = {
    **{
        name: getattr(np, name)
        for name in (
            "add",
            "subtract",
            "multiply",
            "floor_divide",
            "maximum",
            "negative",
            "exp",
            "log",
            "sqrt",
            "square",
            "tanh",
            "sin",
            "cos",
            "sign",
            "absolute",
            "power",
            "less",
            "less_equal",
            "greater",
            "greater_equal",
            "equal",
            "not_equal",
            "logical_and",
            "logical_or",
            "logical_not",
        )
    },
    "relu": lambda x: np.maximum(x, 0),
    "step": lambda x: (x > 0).astype(np.result_type(x, np.float32)),
    "larger": lambda x, y: np.where(y > x, y, x),
    "smaller": lambda x, y: np.where(y < x, y, x),
    "stop_gradient": lambda x: x,
    "logistic": special.expit,
    "erf": special.erf,
    "inverse": lambda x: np.divide(1, x, out=np.zeros_like(x), where=x != 0),
    "finite": lambda x: np.where(np.isneginf(x), 0, x),
    "select": np.where,
    "t5_bucket": tables.t5_bucket,
}
# Functions that are told the working precision first.
TYPED: dict[str, Callable[..., Array]] = {
    "as_real": lambda dtype, x: np.asarray(x).astype(dtype),
    "alibi_slope": lambda dtype, h, n: tables.alibi_slope(h, n, dtype),
    "undefined": lambda dtype: dtype.type(np.nan),
}


@dataclass
class Machine:
    """The values so far, the sizes and the parameters of one run."""

    values: dict[str, Array]
    sizes: Mapping[str, int]
    parameters: Mapping[str, Any]
    dtype: np.dtype[Any]
    hook: Hook
    counters: dict[str, int]

    def aligned(self, operand: Operand, labels: Labels) -> Array:
        """The operand with its dimensions in the order of `labels`, missing ones as size one."""
        return aligned(self.values[operand.name], operand.labels, labels)

    def step(self, op: Op) -> None:
        """Run one operation and pass its result through the hook."""
        if op.kind == "loop":
            self._loop(op.loop)
            return
        rule = RULES.get(op.kind)
        if rule is None:
            raise UnknownPrimitiveError(
                "running a recipe has no rule for this operation", found=op.kind
            )
        operands = tuple(self.values[o.name] for o in op.operands)
        self.values[op.out] = self.hook(op, rule(self, op), operands)

    def _loop(self, loop: Loop | None) -> None:
        if loop is None:
            raise UnknownPrimitiveError("a loop without a body")
        size = self.sizes[label_axis(loop.along)]
        kept: dict[str, list[Array]] = {name: [] for name, _ in loop.kept}
        for held, begin, _next in loop.carried:
            self.values[held] = self.values[begin.name]
        for position in reversed(range(size)) if loop.reverse else range(size):
            self.counters[loop.along] = position
            for op in loop.ops:
                self.step(op)
            for name, value in loop.kept:
                kept[name].append(self.values[value.name])
            following = {held: self.values[after.name] for held, _, after in loop.carried}
            self.values.update(following)
        for name, value in loop.kept:
            rows = kept[name][::-1] if loop.reverse else kept[name]
            shape = [self.sizes[label_axis(x)] for x in value.labels]
            self.values[name] = np.stack(rows) if rows else np.zeros((0, *shape), self.dtype)


def run(
    recipe: Recipe,
    arrays: Mapping[str, Array],
    sizes: Mapping[str, int],
    parameters: Mapping[str, Any],
    dtype: Any = "float64",
    *,
    hook: Hook = lambda _op, value, _operands: value,
) -> dict[str, Array]:
    """The outputs of a recipe; `hook(op, value, operands)` returns the value to go on with.

    Arrays have the recipe's own axis order, product axes as one; outputs likewise.
    """
    machine = Machine(dict(arrays), sizes, parameters, np.dtype(dtype), hook, {})
    with np.errstate(all="ignore"):
        for op in recipe.ops:
            machine.step(op)
    return {
        name: placed(machine.values[value.name], value.labels, places, sizes)
        for name, value, places in recipe.outputs
    }


def aligned(array: Array, have: Labels, want: Labels) -> Array:
    """An array with its dimensions in the order of `want`, missing ones as size one."""
    array = np.asarray(array)
    if have == want:
        return array
    order = [x for x in want if x in have]
    array = np.transpose(array, [have.index(x) for x in order])
    return array.reshape([array.shape[order.index(x)] if x in order else 1 for x in want])


def placed(
    array: Array, have: Labels, places: tuple[Labels, ...], sizes: Mapping[str, int]
) -> Array:
    """An output in the spec's own axis order, product axes joined."""
    want = tuple(x for place in places for x in place)
    whole = np.broadcast_to(aligned(array, have, want), [sizes[label_axis(x)] for x in want])
    return whole.reshape([prod(sizes[label_axis(x)] for x in place) for place in places])


def scalar_value(
    value: sympy.Expr, sizes: Mapping[str, int], parameters: Mapping[str, Any], dtype: np.dtype[Any]
) -> Any:
    """A scalar of sizes and parameters as a number of the working precision or an integer."""
    known: list[tuple[sympy.Symbol, bool, int | float]] = []
    for symbol in symbols_of(value):
        axis = symbol_axis(symbol)
        number = sizes[axis] if axis is not None else parameters[str(symbol)]
        whole = isinstance(number, int)
        known.append((symbol, whole, number if whole else float(number)))
    return _number(value, tuple(known), dtype)


@lru_cache(maxsize=4096)
def _number(
    value: sympy.Expr,
    known: tuple[tuple[sympy.Symbol, bool, int | float], ...],
    dtype: np.dtype[Any],
) -> Any:
    """A scalar with its symbols replaced by numbers; few differ from one run to the next."""
    table = {
        symbol: sympy.Integer(number) if whole else sympy.Float(repr(number), 40)
        for symbol, whole, number in known
    }
    result = value.xreplace(table)
    if result.is_Integer and value.is_integer:
        return int(result)
    if result in (sympy.oo, -sympy.oo):
        return float(result)
    if not result.is_finite:
        raise ShapeError(
            "a factor of the spec has no value at these sizes",
            found=f"{scalar_text(value)[0]} at "
            + ", ".join(f"{symbol_axis(symbol) or symbol}={number}" for symbol, _, number in known),
            hint="a size of zero stands in a denominator: give it another size",
        )
    # Forty digits as text: no working precision loses anything on the way.
    return dtype.type(str(sympy.N(result, 40)))


def _input(machine: Machine, op: Op) -> Array:
    array = np.asarray(machine.values[op.out])
    array = array.reshape([machine.sizes[label_axis(x)] for x in op.labels])
    return array.astype(machine.dtype) if op.detail == "real" else array


def _scalar(machine: Machine, op: Op) -> Array:
    if op.detail:
        return next(
            position for along, position in machine.counters.items() if str(op.value) == along
        )
    return scalar_value(
        sympy.Integer(0) if op.value is None else op.value,
        machine.sizes,
        machine.parameters,
        machine.dtype,
    )


def _position(machine: Machine, op: Op) -> Array:
    return np.arange(machine.sizes[label_axis(op.labels[0])])


def _map(machine: Machine, op: Op) -> Array:
    parts = [
        machine.aligned(o, op.labels) if o.labels else machine.values[o.name] for o in op.operands
    ]
    if op.detail == "broadcast":
        return np.broadcast_to(parts[0], [machine.sizes[label_axis(x)] for x in op.labels])
    if op.detail in TYPED:
        return TYPED[op.detail](machine.dtype, *parts)
    function = FUNCTIONS.get(op.detail)
    if function is None:
        raise UnknownPrimitiveError(
            "running a recipe has no rule for this primitive", found=op.detail
        )
    return function(*parts)


def _reduce(machine: Machine, op: Op) -> Array:
    source = op.operands[0]
    axes = tuple(n for n, x in enumerate(source.labels) if x not in op.labels)
    value = machine.values[source.name]
    return (
        np.max(value, axis=axes, initial=-np.inf)
        if op.detail == "max"
        else np.sum(value, axis=axes)
    )


def _contract(machine: Machine, op: Op) -> Array:
    operands = [machine.values[o.name] for o in op.operands]
    if sum(map(np.size, operands)) <= PLAIN:
        return np.einsum(formula(op), *operands)
    return opt_einsum.contract(formula(op), *operands)


def _root(machine: Machine, op: Op) -> Array:
    (source,) = op.operands
    (axis,) = (n for n, x in enumerate(source.labels) if x not in op.labels)
    return thresholds.begin(machine.values[source.name], axis, op.detail)


def _step(machine: Machine, op: Op) -> Array:
    source = op.operands[0]
    return np.take(
        machine.values[source.name],
        machine.counters[op.detail],
        axis=source.labels.index(op.detail),
    )


RULES: dict[str, Callable[[Machine, Op], Array]] = {
    "input": _input,
    "scalar": _scalar,
    "position": _position,
    "map": _map,
    "reduce": _reduce,
    "contract": _contract,
    "root": _root,
    "step": _step,
}


def formula(op: Op) -> str:
    """The einsum formula of a contraction."""
    return _formula(tuple([operand.labels for operand in op.operands]), op.labels)


@lru_cache(maxsize=4096)
def _formula(operands: tuple[Labels, ...], result: Labels) -> str:
    letters: dict[Label, str] = {}
    for x in (x for labels in operands for x in labels):
        letters.setdefault(x, opt_einsum.get_symbol(len(letters)))
    terms = ["".join(letters[x] for x in labels) for labels in operands]
    return f"{','.join(terms)}->{''.join(letters[x] for x in result)}"
