"""Print a recipe as NumPy source: readable lines, dead arrays written over."""

from __future__ import annotations

import keyword
from collections.abc import Iterable
from dataclasses import dataclass, field

import sympy

from attnverify.compile.products import einsum_arguments, matmul
from attnverify.compile.recipe import (
    Labels,
    Loop,
    Op,
    Operand,
    Recipe,
    holds_whole,
    label_axis,
)
from attnverify.compile.scalars import joined, scalar_source, shape, size_name
from attnverify.errors import UnknownPrimitiveError

# Functions with an `out` argument, by the name that recipes use.
UFUNCS = {
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
}
BOOLEAN = {
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "equal",
    "not_equal",
    "logical_and",
    "logical_or",
    "logical_not",
}
# The others, written out; {0}, {1}, {2} are the operands.
FORMS = {
    "relu": "np.where({0} > 0, {0}, 0)",
    "step": "({0} > 0) * real(1)",
    "larger": "np.where({1} > {0}, {1}, {0})",
    "smaller": "np.where({1} < {0}, {1}, {0})",
    "stop_gradient": "constant({0})",
    "logistic": "expit({0})",
    "erf": "erf({0})",
    "inverse": "inverse({0})",
    "finite": "np.where(np.isneginf({0}), 0, {0})",
    "as_real": "np.array({0}, real)",
    "select": "np.where({0}, {1}, {2})",
    "alibi_slope": "alibi_slope({0}, {1}, real)",
    "t5_bucket": "t5_bucket({0}, {1}, {2}, {3})",
    "undefined": "real('nan')",
}
IN_PLACE = {
    "select": "np.copyto({1}, {2}, where=np.logical_not({0}))",
    "relu": "np.maximum({0}, 0, out={0})",
}


@dataclass
class Printer:
    """Prints operations; `reuse` allows results to be written into arrays that are dead.

    `traced` source runs under autograd, whose maximum has no word for what nothing's is.
    """

    reuse: bool = True
    traced: bool = False
    lines: list[str] = field(default_factory=list)
    owned: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    indent: str = "    "

    def function(self, recipe: Recipe) -> str:
        """The whole source: one function from arrays, sizes and parameters to the outputs."""
        sizes = [size_name(axis) for axis in recipe.axes]
        arguments = [*(name for name, _ in recipe.inputs), *sizes, *recipe.parameters]
        split = {name: places for name, places in recipe.inputs if any(len(p) > 1 for p in places)}
        last = last_reads(recipe.ops, [operand for _, operand, _ in recipe.outputs])
        for number, op in enumerate(recipe.ops):
            if op.kind == "input":
                self.whole |= {op.out} if holds_whole(op, self.whole) else set()
                if op.out in split:
                    self.line(f"{op.out} = {op.out}.reshape({shape(op.labels)})")
                continue
            self.op(op, {name for name, n in last.items() if n == number})
        given = {name for name, _ in recipe.inputs}
        results = ", ".join(
            f'"{name}": {self._output(value, places, given)}'
            for name, value, places in recipe.outputs
        )
        return "\n".join(
            [
                f"def {identifier(recipe.name)}({', '.join(arguments)}):",
                *self.lines,
                f"{self.indent}return {{{results}}}",
                "",
            ]
        )

    def _output(self, value: Operand, places: tuple[Labels, ...], given: set[str]) -> str:
        want = tuple(x for place in places for x in place)
        text = self.aligned(value, want)
        if set(value.labels) != set(want):
            text = f"np.array(np.broadcast_to({text}, ({shape(want)},)))"
        elif value.name in given:
            text = f"np.array({text})"
        if any(len(place) > 1 for place in places):
            text = f"({text}).reshape({', '.join(joined(place) for place in places)})"
        return text

    def line(self, text: str) -> None:
        """Add one line of source."""
        self.lines.append(self.indent + text)

    def name(self, operand: Operand) -> str:
        """The variable or constant that an operand stands for."""
        return self.constants.get(operand.name) or self.names.get(operand.name, operand.name)

    def aligned(self, operand: Operand, labels: Labels) -> str:
        """The operand with its dimensions in the order of `labels`, missing ones as size one."""
        name = self.name(operand)
        order = [x for x in labels if x in operand.labels]
        if tuple(order) != operand.labels:
            name = (
                f"np.transpose({name}, ({', '.join(str(operand.labels.index(x)) for x in order)},))"
            )
        missing = [x not in operand.labels for x in labels]
        lead = missing.index(False) if False in missing else len(missing)
        if not any(missing[lead:]):
            return name
        return f"{name}[{', '.join('None' if gone else ':' for gone in missing[lead:])}]"

    def op(self, op: Op, dead: set[str]) -> None:
        """Print one operation; `dead` are the arrays that nothing reads afterwards."""
        rules = {
            "scalar": self._scalar,
            "position": self._position,
            "map": self._map,
            "reduce": self._reduce,
            "contract": self._contract,
            "root": self._root,
            "loop": self._loop,
            "step": self._step,
        }
        if op.kind not in rules:
            raise UnknownPrimitiveError(
                "NumPy source has no rule for this operation", found=op.kind
            )
        rules[op.kind](op, dead)
        if holds_whole(op, self.whole):
            # Integers and truth values are never written over: results are real.
            self.whole.add(op.out)
            self.owned.discard(op.out)

    def _scalar(self, op: Op, _: set[str]) -> None:
        value = sympy.Integer(0) if op.value is None else op.value
        text = op.detail or scalar_source(value)
        if not value.free_symbols or op.detail:
            bare = text.isidentifier() or text.isdigit() or text.startswith("-")
            self.constants[op.out] = text if bare else f"({text})"
        else:
            self.line(f"{op.out} = {text}")

    def _position(self, op: Op, _: set[str]) -> None:
        self.line(f"{op.out} = np.arange({size_name(label_axis(op.labels[0]))})")

    def _step(self, op: Op, _: set[str]) -> None:
        source = op.operands[0]
        spot = source.labels.index(op.detail)
        counter = op.detail.partition("@")[0]
        at = ", ".join([":"] * spot + [self.names.get("along", counter)])
        self.line(f"{op.out} = {self.name(source)}[{at}]")

    def _map(self, op: Op, dead: set[str]) -> None:
        function = op.detail
        parts = [self.aligned(o, op.labels) for o in op.operands]
        if function == "broadcast":
            sizes = "".join(f"{size_name(label_axis(x))}, " for x in op.labels)
            self.line(f"{op.out} = {self._copied(f'np.broadcast_to({parts[0]}, ({sizes}))')}")
            return
        target = self._target(op, dead)
        if target is not None and function in IN_PLACE:
            self.line(IN_PLACE[function].format(*parts))
            self._take_over(op.out, target)
        elif target is not None and function in UFUNCS:
            self.line(f"np.{function}({', '.join(parts)}, out={self.name(target)})")
            self._take_over(op.out, target)
        else:
            self.line(f"{op.out} = {self._expression(function, parts)}")
            self.owned.add(op.out)

    def _expression(self, function: str, parts: list[str]) -> str:
        if function in UFUNCS or function in BOOLEAN:
            return f"np.{function}({', '.join(parts)})"
        if function not in FORMS:
            raise UnknownPrimitiveError(
                "NumPy source has no rule for this primitive", found=function
            )
        return FORMS[function].format(*parts)

    def _copied(self, view: str) -> str:
        """A view as an array of its own: what it looks at may be written over while it is read."""
        return f"np.array({view})" if self.reuse else view

    def _target(self, op: Op, dead: set[str]) -> Operand | None:
        """A dead array of the result's shape to write into."""
        if not self.reuse:
            return None
        spots = [1] if op.detail == "select" else range(len(op.operands))
        for spot in spots:
            operand = op.operands[spot]
            if (
                operand.name in dead
                and operand.name in self.owned
                and operand.labels == op.labels
                and op.labels
            ):
                return operand
        return None

    def _take_over(self, out: str, target: Operand) -> None:
        self.names[out] = self.name(target)
        self.owned.add(out)

    def _reduce(self, op: Op, _: set[str]) -> None:
        source = op.operands[0]
        axes = tuple(n for n, x in enumerate(source.labels) if x not in op.labels)
        axis = str(axes[0]) if len(axes) == 1 else str(axes)
        empty = ", initial=-np.inf" if op.detail == "max" and not self.traced else ""
        self.line(f"{op.out} = np.{op.detail}({self.name(source)}, axis={axis}{empty})")
        self.owned.add(op.out)

    def _contract(self, op: Op, _: set[str]) -> None:
        self.owned.add(op.out)
        if len(op.operands) == 2:
            text = matmul(self.name(op.operands[0]), self.name(op.operands[1]), op)
            if text is not None:
                self.line(f"{op.out} = {text}")
                return
        text = f"np.einsum({einsum_arguments(op, [self.name(o) for o in op.operands])})"
        # einsum gives a view where it sums nothing, as of a diagonal.
        whole = len(op.operands) == 1 and set(op.operands[0].labels) == set(op.labels)
        self.line(f"{op.out} = {self._copied(text) if whole else text}")

    def _root(self, op: Op, _: set[str]) -> None:
        (source,) = op.operands
        (axis,) = (n for n, x in enumerate(source.labels) if x not in op.labels)
        self.line(f'{op.out} = threshold({self.name(source)}, {axis}, "{op.detail}")')
        self.owned.add(op.out)

    def _loop(self, op: Op, _: set[str]) -> None:
        loop = op.loop
        if loop is None:
            raise UnknownPrimitiveError("a loop without a body", found=op.out)
        size = size_name(label_axis(loop.along))
        for held, begin, _next in loop.carried:
            self.line(f"{held} = {self.name(begin)}")
        for name, _value in loop.kept:
            self.line(f"{name} = []")
        order = f"reversed(range({size}))" if loop.reverse else f"range({size})"
        self.line(f"for {loop.counter} in {order}:")
        self._body(loop)
        for name, value in loop.kept:
            source = f"{name}[::-1]" if loop.reverse else name
            rest = "".join(f", {size_name(label_axis(x))}" for x in value.labels)
            self.line(f"{name} = np.stack({source}) if {name} else np.zeros((0{rest}))")

    def _body(self, loop: Loop) -> None:
        # Values of a step outlive it in the kept lists, so nothing inside is written in place.
        inner = Printer(
            reuse=False,
            traced=self.traced,
            lines=self.lines,
            names={**self.names, "along": loop.counter},
            constants=self.constants,
            whole=self.whole,
            indent=self.indent + "    ",
        )
        for op in loop.ops:
            inner.op(op, set())
        for name, value in loop.kept:
            inner.line(f"{name}.append({inner.name(value)})")
        for held, _begin, following in loop.carried:
            inner.line(f"{held} = {inner.name(following)}")


def last_reads(ops: tuple[Op, ...], kept: Iterable[Operand]) -> dict[str, int]:
    """The number of the last operation that reads each array; outputs are read after the end."""
    last = {operand.name: number for number, op in enumerate(ops) for operand in op.operands}
    last.update(dict.fromkeys((operand.name for operand in kept), len(ops)))
    return last


def identifier(name: str) -> str:
    """A spec's name as a Python identifier."""
    text = "".join(ch if ch.isalnum() else "_" for ch in name)
    text = text if text and not text[0].isdigit() else f"_{text}"
    return f"{text}_attention" if keyword.iskeyword(text) else text
