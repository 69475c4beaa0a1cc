"""Many draws of one size in one run: a label for the draws on every array that depends on them.

Since each operation says which labels it has, this is a rewrite of the list: inputs get one more
leading dimension, and whatever is computed from them keeps it. Scalars, positions and masks made
of positions alone stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from attnverify.compile.recipe import Label, Labels, Loop, Op, Operand, Recipe, holds_whole


def stacked(recipe: Recipe, over: Collection[str] | None = None) -> Recipe:
    """The recipe over many draws of its inputs at once; its last axis is that of the draws.

    Inputs and outputs have the draws as their first axis. Every real array has them too, so that
    each draw may be disturbed by itself. The run's sizes say how many draws there are.

    With `over`, only the inputs named have draws, and what does not depend on them is computed
    once for all.

    >>> from attnverify import load
    >>> from attnverify.compile.lower import lower
    >>> recipe = stacked(lower(load("global")))
    >>> recipe.axes[-1], recipe.inputs[0][1][0]
    ('draws', ('draw@draws',))
    """
    axis = "draws"
    while axis in recipe.axes:
        axis += "_"
    stacking = _Stacking(f"draw@{axis}", {op.out for op in _all(recipe.ops)}, over)
    stacking.names |= {f"n_{name}" for name in (*recipe.axes, axis)} | {*recipe.parameters}
    ops: list[Op] = []
    for op in recipe.ops:
        stacking.add(op, ops)
    mark = (stacking.mark,)
    return replace(
        recipe,
        inputs=tuple(
            (name, (mark, *places) if stacking.drawn(name) else places)
            for name, places in recipe.inputs
        ),
        ops=tuple(ops),
        outputs=tuple(
            (name, stacking.read(value), (mark, *places)) for name, value, places in recipe.outputs
        ),
        axes=(*recipe.axes, axis),
    )


def _all(ops: tuple[Op, ...]) -> list[Op]:
    """The operations and, after each loop, those inside it."""
    return [part for op in ops for part in (op, *(_all(op.loop.ops) if op.loop else ()))]


@dataclass
class _Stacking:
    """Which arrays have the draws, and at which of their dimensions."""

    mark: Label
    names: set[str]
    over: Collection[str] | None = None
    spots: dict[str, int] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)

    def drawn(self, name: str) -> bool:
        """Whether an input has draws."""
        return self.over is None or name in self.over

    def add(self, op: Op, ops: list[Op]) -> None:
        """Append an operation with the draws among its labels where they belong."""
        if op.loop is not None:
            if self._reads_draws(op):
                self._loop(op, op.loop, ops)
            else:
                ops.append(op)
            return
        whole = holds_whole(op, self.whole)
        if whole:
            self.whole.add(op.out)
        operands = tuple(self.read(operand) for operand in op.operands)
        if op.kind in ("step", "reduce") and operands != op.operands:
            # What is left of an array keeps its order: the draws stay where that array has them.
            labels = tuple(x for x in operands[0].labels if x in (self.mark, *op.labels))
            ops.append(replace(op, labels=labels, operands=operands))
            self.spots[op.out] = labels.index(self.mark)
        elif operands != op.operands or (op.kind == "input" and self.drawn(op.out)):
            ops.append(replace(op, labels=(self.mark, *op.labels), operands=operands))
            self.spots[op.out] = 0
        elif whole or op.kind == "scalar" or self.over is not None:
            ops.append(op)
        else:
            name = self._name(op.out)
            ops.append(replace(op, out=name))
            ops.append(self._repeated(op.out, Operand(name, op.labels)))

    def _reads_draws(self, op: Op) -> bool:
        """Whether a loop has draws to carry."""
        return self.over is None or any(operand.name in self.spots for operand in op.operands)

    def read(self, operand: Operand) -> Operand:
        """The operand with the draws among its labels, if it has them."""
        spot = self.spots.get(operand.name)
        if spot is None:
            return operand
        labels = operand.labels
        return Operand(operand.name, (*labels[:spot], self.mark, *labels[spot:]))

    def _repeated(self, out: str, value: Operand) -> Op:
        """The same value for every draw."""
        self.spots[out] = 0
        return Op(out, (self.mark, *value.labels), "map", (value,), "broadcast")

    def _wide(self, value: Operand, ops: list[Op]) -> Operand:
        """The value with the draws as its first dimension."""
        if value.name in self.spots:
            return self._leading(value, ops)
        name = self._name(value.name)
        ops.append(self._repeated(name, value))
        return Operand(name, (self.mark, *value.labels))

    def _leading(self, value: Operand, ops: list[Op]) -> Operand:
        """What an earlier loop kept has its steps first: a view with the draws before them."""
        wide = self.read(value)
        labels: Labels = (self.mark, *value.labels)
        if wide.labels == labels:
            return wide
        name = self._name(value.name)
        ops.append(Op(name, labels, "map", (wide,), "broadcast"))
        self.spots[name] = 0
        return Operand(name, labels)

    def _loop(self, op: Op, loop: Loop, ops: list[Op]) -> None:
        begun = [self._wide(begin, ops) for _, begin, _ in loop.carried]
        self.spots.update({held: 0 for held, _, _ in loop.carried})
        inside: list[Op] = []
        for part in loop.ops:
            self.add(part, inside)
        after = [self._wide(value, inside) for _, _, value in loop.carried]
        kept = [(name, self._wide(value, inside)) for name, value in loop.kept]
        self.spots.update({name: 1 for name, _ in loop.kept})
        held = [name for name, _, _ in loop.carried]
        changed = replace(
            loop,
            ops=tuple(inside),
            carried=tuple(zip(held, begun, after, strict=True)),
            kept=tuple(kept),
        )
        reads = (*begun, *(self.read(operand) for operand in op.operands))
        ops.append(replace(op, operands=tuple(dict.fromkeys(reads)), loop=changed))

    def _name(self, hint: str) -> str:
        name = f"{hint}_each"
        while name in self.names:
            name += "_"
        self.names.add(name)
        return name
