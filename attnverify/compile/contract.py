"""Order the contraction of several arrays: pairs by opt_einsum, scalars on the smallest array."""

from __future__ import annotations

from functools import cache
from math import prod

import opt_einsum

from attnverify.compile.recipe import Builder, Labels, Operand, label_axis, union

# Sizes are not known when a recipe is made; these stand in for them where an order must be chosen.
NOMINAL = {
    "batch": 2,
    "heads": 8,
    "group": 2,
    "repeat": 4,
    "queries": 512,
    "keys": 512,
    "time": 512,
}
CHANNELS = 64
FEW_ARRAYS = 5


def nominal(labels: Labels) -> int:
    """The number of entries to expect of an array with these labels."""
    return prod(NOMINAL.get(label_axis(x), CHANNELS) for x in labels)


def contract_all(
    build: Builder, values: list[Operand], over: Labels, hint: str, want: Labels
) -> Operand:
    """The sum over `over` of a product of arrays, labels in the order of `want` if they can be."""
    scalars = [value for value in values if not value.labels]
    arrays = [value for value in values if value.labels]
    result = tuple(x for x in union(a.labels for a in arrays) if x not in over)
    result = tuple(sorted(result, key=lambda x: want.index(x) if x in want else len(want)))
    if not arrays:
        return _times(build, scalars, hint)
    if scalars:
        arrays, scalars = _scaled_early(build, arrays, scalars, result)
    arrays = [_summed_alone(build, arrays, n, over, hint) for n in range(len(arrays))]
    while len(arrays) > 1:
        first, second = _next_pair(arrays, result)
        rest = [a for n, a in enumerate(arrays) if n not in (first, second)]
        needed = set(result).union(*(a.labels for a in rest))
        arrays = [*rest, _pair(build, arrays[first], arrays[second], needed, result, hint=hint)]
    value = arrays[0]
    if set(value.labels) - set(result):
        value = build.emit(
            "reduce", tuple(x for x in value.labels if x in result), (value,), "sum", hint=hint
        )
    return _times(build, [value, *scalars], hint)


def _times(build: Builder, values: list[Operand], hint: str) -> Operand:
    result = values[0]
    for value in values[1:]:
        result = build.emit(
            "map", union((result.labels, value.labels)), (result, value), "multiply", hint=hint
        )
    return result


def _scaled_early(
    build: Builder, arrays: list[Operand], scalars: list[Operand], result: Labels
) -> tuple[list[Operand], list[Operand]]:
    """Multiply scalars into the smallest array, where it is smaller than the result."""
    smallest = min(range(len(arrays)), key=lambda n: nominal(arrays[n].labels))
    if nominal(arrays[smallest].labels) >= nominal(result):
        return arrays, scalars
    scaled = _times(build, [arrays[smallest], *scalars], f"{arrays[smallest].name}_scaled")
    return [scaled if n == smallest else a for n, a in enumerate(arrays)], []


def _summed_alone(
    build: Builder, arrays: list[Operand], n: int, over: Labels, hint: str
) -> Operand:
    """An array with the summed labels that no other array has summed first."""
    others = {x for m, a in enumerate(arrays) if m != n for x in a.labels}
    alone = [x for x in arrays[n].labels if x in over and x not in others]
    if not alone:
        return arrays[n]
    kept = tuple(x for x in arrays[n].labels if x not in alone)
    return build.emit("reduce", kept, (arrays[n],), "sum", hint=hint)


def _next_pair(arrays: list[Operand], result: Labels) -> tuple[int, int]:
    if len(arrays) == 2:
        return 0, 1
    letters = {x: opt_einsum.get_symbol(n) for n, x in enumerate(union(a.labels for a in arrays))}
    terms = ["".join(letters[x] for x in a.labels) for a in arrays]
    formula = f"{','.join(terms)}->{''.join(letters[x] for x in result)}"
    return _first_of_path(formula, tuple(tuple(nominal((x,)) for x in a.labels) for a in arrays))


@cache
def _first_of_path(formula: str, shapes: tuple[tuple[int, ...], ...]) -> tuple[int, int]:
    """The first pair of the best order; derivatives of one product ask for the same ones often."""
    # The best order is sought among factorially many: beyond a few arrays a good one has to do.
    search = "optimal" if len(shapes) <= FEW_ARRAYS else "auto"
    path, _ = opt_einsum.contract_path(formula, *shapes, shapes=True, optimize=search)
    first, second = sorted(path[0])[:2]
    return first, second


def _pair(
    build: Builder, left: Operand, right: Operand, needed: set[str], result: Labels, *, hint: str
) -> Operand:
    """One pairwise contraction, or a product place by place where nothing is summed."""
    labels = tuple(x for x in union((left.labels, right.labels)) if x in needed)
    labels = tuple(sorted(labels, key=lambda x: result.index(x) if x in result else -1))
    if set(left.labels) | set(right.labels) == set(labels):
        return build.emit(
            "map", union((left.labels, right.labels)), (left, right), "multiply", hint=hint
        )
    return build.emit("contract", labels, (left, right), hint=hint)
