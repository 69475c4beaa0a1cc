"""Where a program stores what it computes, when not everything is stored: products and outputs.

A fused kernel keeps scores, sums and differences in float32 and rounds what enters a product of
matrices (weights, slopes of the scores) and what it writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from attnverify.compile.recipe import Op, Recipe

# Functions whose result is one of their operands, or a whole number: nothing is rounded.
EXACT = {
    "select",
    "maximum",
    "finite",
    "negative",
    "step",
    "sign",
    "absolute",
    "stop_gradient",
    "as_real",
    "relu",
    "larger",
    "smaller",
    "broadcast",
}


@dataclass(frozen=True)
class Storage:
    """The arrays that are stored where they are computed: operands of products, and outputs.

    `given` are arrays that hold nothing but what inputs hold, but for a factor.
    """

    operands: frozenset[str]
    outputs: frozenset[str]
    given: frozenset[str]


def storage(recipe: Recipe, outputs: Iterable[str]) -> Storage:
    """What a recipe stores where only operands of products and these of its outputs are stored."""
    ops = list(_all(recipe.ops))
    made = {op.out: op for op in ops}
    also = dict(_renamed(ops))
    given = _given(ops)
    read = {o.name for op in ops if is_product(op) for o in op.operands}
    operands = {name for r in read for name in _sources(r, made, also) if name not in given}
    written = [value.name for name, value, _ in recipe.outputs if name in set(outputs)]
    ends = {name for w in written for name in _ends(w, also) if name not in given}
    return Storage(frozenset(operands), frozenset(ends), frozenset(given))


def is_product(op: Op) -> bool:
    """Whether an operation multiplies matrices: two of its operands have a label of their own."""
    if op.kind != "contract" or len(op.operands) < 2:
        return False
    own = 0
    for number, operand in enumerate(op.operands):
        others = {x for n, o in enumerate(op.operands) if n != number for x in o.labels}
        own += bool(set(operand.labels) & set(op.labels) - others)
    return own > 1


def _all(ops: Iterable[Op]) -> Iterator[Op]:
    """Every operation, those inside loops too."""
    for op in ops:
        yield op
        if op.loop is not None:
            yield from _all(op.loop.ops)


def _renamed(ops: list[Op]) -> Iterator[tuple[str, str]]:
    """What a loop calls a value of its steps."""
    for op in ops:
        if op.loop is not None:
            yield from ((name, value.name) for name, value in op.loop.kept)
            yield from ((held, after.name) for held, _, after in op.loop.carried)


def _given(ops: list[Op]) -> set[str]:
    """Inputs, scalars, and what is made of them by choosing, copying and scaling alone."""
    given: set[str] = set()
    for op in ops:
        passes = op.kind in ("input", "scalar", "position") or _passes(op, given)
        if passes and all(o.name in given for o in op.operands):
            given.add(op.out)
    return given


def _passes(op: Op, scalars: set[str]) -> bool:
    """Whether an operation only chooses, copies, or scales."""
    if op.kind == "step" or (op.kind == "map" and op.detail in EXACT):
        return True
    scaled = op.kind == "map" and op.detail == "multiply"
    return scaled and any(not o.labels and o.name in scalars for o in op.operands)


def _sources(name: str, made: dict[str, Op], also: dict[str, str]) -> Iterator[str]:
    """The arrays that hold what is stored in an operand: those that it is chosen from or scaled."""
    seen, left = set(), [name]
    while left:
        one = left.pop()
        if one in seen:
            continue
        seen.add(one)
        op = made.get(one)
        if one in also:
            left.append(also[one])
        elif op is not None and op.operands and (_passes(op, {o.name for o in op.operands})):
            left += [o.name for o in op.operands if o.labels]
        else:
            yield one


def _ends(name: str, also: dict[str, str]) -> Iterator[str]:
    """An output's array, by the name that a loop computes it under."""
    while name in also:
        name = also[name]
    yield name
