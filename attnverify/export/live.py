"""The operations that the outputs need, and how often each result is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from attnverify.compile.recipe import Loop, Op, Operand


def live(ops: Iterable[Op], needed: Iterable[str]) -> tuple[Op, ...]:
    """The operations whose results are needed; inputs stay, and loops keep what is read later."""
    wanted, kept = set(needed), []
    for op in reversed(tuple(ops)):
        if op.loop is not None:
            trimmed = _trimmed(op, op.loop, wanted)
            if trimmed is not None:
                kept.append(trimmed)
                wanted |= {operand.name for operand in trimmed.operands}
        elif op.out in wanted or op.kind == "input":
            kept.append(op)
            wanted |= {operand.name for operand in op.operands}
    return tuple(reversed(kept))


def _trimmed(op: Op, loop: Loop, wanted: set[str]) -> Op | None:
    """A loop that keeps no more than is read after it, and carries no more than that needs."""
    kept = tuple((name, value) for name, value in loop.kept if name in wanted)
    if not kept:
        return None
    ends = {value.name for _, value in kept}
    carried: tuple[tuple[str, Operand, Operand], ...] = ()
    while True:
        ops = live(loop.ops, ends)
        seen = reads(ops) | ends
        carried = tuple(part for part in loop.carried if part[0] in seen)
        following = {after.name for _, _, after in carried}
        if following <= ends:
            break
        ends |= following
    own = {inner.out for inner in ops} | {held for held, _, _ in carried}
    read = [operand for inner in ops for operand in inner.operands]
    read += [value for _, value in kept] + [after for _, _, after in carried]
    outside = [operand for operand in read if operand.name not in own]
    operands = tuple(dict.fromkeys([*(begin for _, begin, _ in carried), *outside]))
    return replace(op, operands=operands, loop=replace(loop, ops=ops, carried=carried, kept=kept))


def reads(ops: Iterable[Op]) -> set[str]:
    """The names that operations read."""
    return {operand.name for op in ops for operand in op.operands}


_INSIDE = ("map", "scalar", "reduce", "contract", "step")


def folded(
    ops: tuple[Op, ...], ends: Iterable[str], own: Iterable[str] = (), most: int = 3
) -> dict[str, int]:
    """Which results are written inside the one operation that reads them, at which position.

    A function of place reads it so, where its dimensions stand as that function has them; `most` is
    how many operations one line may hold. A contraction with an `own` name, the spec's, keeps its
    line.
    """
    count = Counter(operand.name for op in ops for operand in op.operands)
    count.update(ends)
    lines = {op.out for op in ops if op.kind == "contract"}.intersection(own)
    made = {op.out: op for op in ops if op.kind in _INSIDE and op.out not in lines}
    weight = {op.out: 1 for op in ops if op.kind not in ("map", "scalar")}
    inside: dict[str, int] = {}
    for position, op in enumerate(ops):
        if op.kind != "map" or op.detail == "broadcast":
            continue
        weight[op.out] = 1
        for operand in op.operands:
            known = made.get(operand.name)
            fits = not operand.labels or operand.labels == op.labels
            if known is None or known.detail == "broadcast" or not fits:
                continue
            if count[operand.name] == 1 and weight.get(operand.name, 0) + weight[op.out] <= most:
                inside[operand.name] = position
                weight[op.out] += weight.get(operand.name, 0)
    return inside


def last_uses(ops: tuple[Op, ...], inside: dict[str, int], ends: Iterable[str]) -> dict[str, int]:
    """The position at which each result is read last, once the folded ones have moved."""
    at = list(range(len(ops)))
    for position in reversed(range(len(ops))):
        at[position] = at[inside[ops[position].out]] if ops[position].out in inside else position
    last: dict[str, int] = {}
    for position, op in enumerate(ops):
        for operand in op.operands:
            last[operand.name] = max(last.get(operand.name, -1), at[position])
    last.update(dict.fromkeys(ends, len(ops)))
    return last
