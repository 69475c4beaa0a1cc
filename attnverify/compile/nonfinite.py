"""Put NaN into exactly the results that can see an input entry that is NaN or inf.

Scores are selected, not multiplied, so a masked entry never reaches a result. Values are computed
on a finite copy; this file follows, operation by operation, which results a spoiled entry can be
seen from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.compile.recipe import Op, Recipe
from attnverify.compile.run import aligned, formula, placed, run

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Trace:
    """Flags per entry: spoiled by a non-finite input, selected to zero, selected to -inf."""

    spoiled: Flags
    zero: Flags
    hidden: Flags


def spread(
    recipe: Recipe,
    arrays: Mapping[str, Any],
    results: dict[str, Any],
    sizes: Mapping[str, int],
    parameters: Mapping[str, Any],
) -> dict[str, Any]:
    """The results with NaN wherever a visible input entry is NaN or inf.

    `arrays` are the inputs as given, `results` the outputs for their finite copy.
    """
    follower = _Follower(arrays)
    clean = {
        name: np.where(np.isfinite(a), a, 0) if a.dtype.kind == "f" else a
        for name, a in arrays.items()
    }
    run(recipe, clean, sizes, parameters, hook=follower)
    for name, value, places in recipe.outputs:
        spoiled = placed(follower.traces[value.name].spoiled, value.labels, places, sizes)
        results[name] = np.where(spoiled, np.nan, results[name])
    return results


class _Follower:
    """A hook that carries a Trace beside every value."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self.arrays = arrays
        self.traces: dict[str, Trace] = {}

    def __call__(self, op: Op, value: Any, operands: tuple[Any, ...]) -> Any:
        shape = np.shape(value)
        if op.kind == "input":
            given = np.asarray(self.arrays[op.out])
            bad = ~np.isfinite(given) if given.dtype.kind == "f" else np.zeros(given.shape, bool)
            self.traces[op.out] = Trace(
                bad.reshape(shape), np.zeros(shape, bool), np.zeros(shape, bool)
            )
            return value
        parts = [
            self._of(o.name, operand) for o, operand in zip(op.operands, operands, strict=True)
        ]
        rule = _RULES.get(op.kind, _clean)
        self.traces[op.out] = rule(op, parts, operands, shape)
        return value

    def _of(self, name: str, value: Any) -> Trace:
        """The trace of an operand."""
        none = np.zeros(np.shape(value), bool)
        return self.traces.get(name, Trace(none, none, none))


def _clean(op: Op, parts: list[Trace], operands: tuple[Any, ...], shape: tuple[int, ...]) -> Trace:
    none = np.zeros(shape, bool)
    return Trace(none, none, none)


def _aligned(op: Op, parts: list[Trace]) -> list[Trace]:
    """Traces of a map's operands, each broadcast against the result's labels."""
    result = []
    for operand, trace in zip(op.operands, parts, strict=True):
        flags = [
            aligned(f, operand.labels, op.labels) for f in (trace.spoiled, trace.zero, trace.hidden)
        ]
        result.append(Trace(*flags))
    return result


def _map(op: Op, parts: list[Trace], operands: tuple[Any, ...], shape: tuple[int, ...]) -> Trace:
    def whole(flags: Flags) -> Flags:
        return np.broadcast_to(flags, shape)

    parts = _aligned(op, parts)
    none = np.zeros(shape, bool)
    if op.detail == "select":
        keep = whole(aligned(np.asarray(operands[0], bool), op.operands[0].labels, op.labels))
        value = parts[1]
        fill = (
            float(np.asarray(operands[2]).reshape(-1)[0]) if np.size(operands[2]) == 1 else np.nan
        )
        seen = whole(value.spoiled) & keep | whole(parts[0].spoiled)
        return Trace(
            seen,
            (whole(value.zero) & keep) | (~keep if fill == 0 else none),
            (whole(value.hidden) & keep) | (~keep if fill == -np.inf else none),
        )
    spoiled, zero, hidden = none, none, none
    for part in parts:
        spoiled = spoiled | whole(part.spoiled)
        hidden = hidden | whole(part.hidden)
    if op.detail == "multiply":
        zero = whole(parts[0].zero) | whole(parts[-1].zero)
    if op.detail == "exp":
        return Trace(spoiled & ~hidden, hidden, none)
    if op.detail in ("add", "subtract"):
        return Trace(spoiled & ~hidden, none, hidden)
    return Trace(spoiled & ~zero, zero, none)


def _reduce(op: Op, parts: list[Trace], operands: tuple[Any, ...], shape: tuple[int, ...]) -> Trace:
    source = op.operands[0]
    axes = tuple(n for n, x in enumerate(source.labels) if x not in op.labels)
    trace = parts[0]
    away = trace.hidden if op.detail == "max" else trace.zero
    gone = np.all(away, axis=axes)
    none = np.zeros(shape, bool)
    spoiled = np.any(trace.spoiled & ~away, axis=axes)
    return Trace(
        spoiled, none if op.detail == "max" else gone, gone if op.detail == "max" else none
    )


def _root(op: Op, parts: list[Trace], operands: tuple[Any, ...], shape: tuple[int, ...]) -> Trace:
    """A threshold is spoiled by any score that is seen."""
    (source,) = op.operands
    axes = tuple(n for n, x in enumerate(source.labels) if x not in op.labels)
    none = np.zeros(shape, bool)
    return Trace(np.any(parts[0].spoiled & ~parts[0].hidden, axis=axes), none, none)


def _contract(
    op: Op, parts: list[Trace], operands: tuple[Any, ...], shape: tuple[int, ...]
) -> Trace:
    """An entry is spoiled where some term has a spoiled factor and none that is selected away."""
    shown = [(~part.zero).astype(float) for part in parts]
    count = np.zeros(shape)
    for n, part in enumerate(parts):
        terms = [shown[m] if m != n else part.spoiled * shown[n] for m in range(len(parts))]
        count = count + np.einsum(formula(op), *terms)
    some = np.einsum(formula(op), *shown)
    return Trace(count > 0, some == 0, np.zeros(shape, bool))


_RULES: dict[str, Callable[[Op, list[Trace], tuple[Any, ...], tuple[int, ...]], Trace]] = {
    "map": _map,
    "reduce": _reduce,
    "contract": _contract,
    "root": _root,
}
