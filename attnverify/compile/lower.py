"""From a Spec to a recipe: its inputs, statements and outputs in order; a recurrence is a loop."""

from __future__ import annotations

from attnverify.algebra.rewrite import walk
from attnverify.algebra.terms import Apply, Entry, Expr
from attnverify.compile.expressions import Lowering
from attnverify.compile.recipe import (
    LOOSE,
    Builder,
    Labels,
    Loop,
    Op,
    Operand,
    Recipe,
    label,
)
from attnverify.equations import Equation, Recurrence, equations_of, reads
from attnverify.spec import Spec

# Names that printed source uses for itself.
RESERVED = {
    "np",
    "real",
    "inverse",
    "expit",
    "erf",
    "constant",
    "alibi_slope",
    "t5_bucket",
    "threshold",
}


def lower(spec: Spec) -> Recipe:
    """The recipe of a spec: of the statements that its outputs need."""
    sizes = {f"n_{axis.name}" for axis in spec.axes}
    state = Lowering(Builder(names=RESERVED | sizes | {p.name for p in spec.parameters}))
    inputs = tuple(_input(state, entry) for entry in spec.inputs)
    for statement in _needed(spec):
        _statement(state, statement)
    outputs = []
    for name in spec.outputs:
        head = spec.heads[name]
        outputs.append((name, state.plain(state.read(head), name), _places(head)))
    names = tuple(p.name for p in spec.parameters)
    axes = tuple(axis.name for axis in spec.axes)
    return Recipe(spec.name, inputs, tuple(state.build.ops), tuple(outputs), names, axes)


def _needed(spec: Spec) -> list[Equation | Recurrence]:
    """The statements that the outputs read, directly or through others, in order."""
    names = set(spec.outputs)
    kept: list[Equation | Recurrence] = []
    for statement in reversed(spec.equations):
        if names & {equation.name for equation in equations_of(statement)}:
            kept.append(statement)
            names.update(reads(statement))
    return kept[::-1]


def _places(entry: Entry) -> tuple[Labels, ...]:
    """The labels of each array place, several on a product axis."""
    return tuple(
        tuple(label(i) for i in (place if isinstance(place, tuple) else (place,)))
        for place in entry.places
    )


def _input(state: Lowering, entry: Entry) -> tuple[str, tuple[Labels, ...]]:
    """Name an input array, its product axes split."""
    labels = tuple(label(i) for i in entry.indices)
    name = state.build.name(entry.tensor.name)
    state.build.append(Op(name, labels, "input", detail=entry.tensor.kind))
    state.values[entry.tensor.name] = (entry.indices, Operand(name, labels))
    return entry.tensor.name, _places(entry)


def _statement(state: Lowering, statement: Equation | Recurrence) -> None:
    """Lower one statement and remember its values."""
    if isinstance(statement, Recurrence):
        _recurrence(state, statement)
        return
    state.order = tuple(label(i) for i in statement.head.indices)
    value = state.expr(statement.body, statement.name, state.order)
    state.values[statement.name] = (statement.head.indices, value)


def _recurrence(state: Lowering, rec: Recurrence) -> None:
    """Lower a recurrence: its steps are the body of a loop, and every step's values are kept."""
    build, along = state.build, label(rec.along)
    begun = {name: _whole(state, value, rec, name, "_first") for name, value in rec.initial}
    inner = _inside(state, rec)
    results: dict[str, Operand] = {}
    kept: list[tuple[str, Operand]] = []
    for step in rec.steps:
        inner.order = _rest(rec, step.name)
        results[step.name] = value = _whole(inner, step.body, rec, step.name)
        inner.values[step.name] = (step.head.indices, value)
        kept.append((build.name(f"{step.name}_steps"), value))
    carried = tuple(
        (inner.earlier[name][1].name, begun[name], results[name]) for name in rec.states
    )
    loop = Loop(along, inner.counter, rec.reverse, tuple(inner.build.ops), carried, tuple(kept))
    build.append(Op(build.name("loop"), (), "loop", _loop_reads(loop, begun), loop=loop))
    build.loose.update(name for name, value in kept if value.name in build.loose)
    for step, (name, value) in zip(rec.steps, kept, strict=True):
        state.values[step.name] = (step.head.indices, Operand(name, (along, *value.labels)))


def _inside(state: Lowering, rec: Recurrence) -> Lowering:
    """The state inside a loop: the values outside, and the names that hold the step before."""
    outer = state.build
    inner = Lowering(Builder(names=outer.names, whole=outer.whole, loose=outer.loose))
    inner.along, inner.counter = rec.along, state.build.name(rec.along.name)
    inner.values = dict(state.values)
    for name in rec.states:
        held = Operand(state.build.name(f"{name}_held"), _rest(rec, name))
        inner.earlier[name] = (rec.head(name).indices, held)
        if _may_be_loose(state, rec):
            outer.loose.add(held.name)
    return inner


def _may_be_loose(state: Lowering, rec: Recurrence) -> bool:
    """Whether some state of a recurrence may be NaN or infinite: what it reads, or computes, is."""
    bodies = [*(step.body for step in rec.steps), *(value for _, value in rec.initial)]
    return any(
        (isinstance(node, Apply) and node.primitive in LOOSE)
        or (isinstance(node, Entry) and state.loose(node))
        for body in bodies
        for node in walk(body)
    )


def _rest(rec: Recurrence, name: str) -> Labels:
    """The labels of a step's value: those of its head but for the recurrence's index."""
    return tuple(label(i) for i in rec.head(name).indices if i != rec.along)


def _whole(state: Lowering, value: Expr, rec: Recurrence, name: str, tail: str = "") -> Operand:
    """The value of a step, or before the first one, as an array with all its dimensions."""
    want = _rest(rec, name)
    # The sums over a loop of one step are of what begins it: integers would not take real numbers.
    found = state.real(state.plain(state.expr(value, name + tail, want), name))
    return state.full(found, want, name + tail)


def _loop_reads(loop: Loop, begun: dict[str, Operand]) -> tuple[Operand, ...]:
    """The arrays from outside that a loop reads."""
    own = {op.out for op in loop.ops} | {name for name, _, _ in loop.carried}
    outside = [o for op in loop.ops for o in op.operands if o.name not in own]
    return tuple(dict.fromkeys([*begun.values(), *outside]))
