"""The operations of a recipe as lines of one library: what stands inside an exported function."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from attnverify.compile.recipe import Labels, Loop, Op, Operand, label_axis
from attnverify.compile.scalars import shape, size_name
from attnverify.errors import UnknownPrimitiveError
from attnverify.export.dialects import PLAIN, Dialect
from attnverify.export.layout import called, tuple_of
from attnverify.export.live import folded, last_uses
from attnverify.export.names import Names
from attnverify.export.scalars import is_atom, number_text
from attnverify.export.text import ATOM, Text, filled, letters_of


@dataclass
class Body:
    """Writes operations in order; `used` collects the helpers that the lines call."""

    dialect: Dialect
    spec: str
    names: Names
    lines: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    known: dict[str, Text] = field(default_factory=dict)
    weights: set[str] = field(default_factory=set)
    indent: str = "    "
    counter: str = ""

    def line(self, text: str) -> None:
        """Add a line, or an empty one."""
        self.lines.append(self.indent + text if text else "")

    def run(self, ops: tuple[Op, ...], ends: Iterable[str]) -> None:
        """Write the operations, of which `ends` are read after the last."""
        ends = tuple(ends)
        inside = folded(ops, ends, self.names.own)
        last = last_uses(ops, inside, ends)
        for position, op in enumerate(ops):
            if op.loop is not None:
                self._loop(op.loop, position, last)
                continue
            found = self._value(op)
            if op.out in inside or _is_constant(op):
                self.known[op.out] = found
            elif op.kind != "input":
                name = self.names.give(op.out, position, last.get(op.out, position))
                self.known[op.out] = Text(name, plain=found.plain)
                self.line(f"{name} = {found.text}")

    def _value(self, op: Op) -> Text:
        rules = {
            "input": self._input, "scalar": self._scalar, "position": self._position,
            "map": self._map, "reduce": self._reduce, "contract": self._contract,
            "root": self._root, "step": self._step,
        }  # fmt: skip
        if op.kind not in rules:
            raise self._unknown("operation", op.kind, op)
        return rules[op.kind](op)

    def _unknown(self, what: str, found: str, op: Op) -> UnknownPrimitiveError:
        return UnknownPrimitiveError(
            f"no form of this {what} in {self.dialect.title}",
            spec=self.spec,
            equation=re.sub(r"_\d+$", "", op.out),
            found=found,
            hint="export to another library, or write the equation with listed functions",
        )

    # Reading

    def read(self, operand: Operand, labels: Labels) -> Text:
        """The operand with its dimensions in the order of `labels`, missing ones as size one."""
        found = self.known[operand.name]
        order = [x for x in labels if x in operand.labels]
        if tuple(order) != operand.labels:
            spots = ", ".join(str(operand.labels.index(x)) for x in order)
            permute = "permute" if self.dialect.library == "torch" else "transpose"
            found = Text(f"{self.dialect.library}.{permute}({found.text}, ({spots}))")
        missing = [x not in operand.labels for x in labels]
        lead = missing.index(False) if False in missing else len(missing)
        if not any(missing[lead:]):
            return found
        spread = ", ".join("None" if gone else ":" for gone in missing[lead:])
        return Text(f"{found.within()}[{spread}]")

    def _input(self, op: Op) -> Text:
        self.known[op.out] = found = Text(op.out)
        return found

    def _scalar(self, op: Op) -> Text:
        if op.detail:
            return Text(self.counter, plain=self.dialect.plain_counter)
        text = number_text(op.value)
        return Text(text, ATOM if is_atom(text) else 0, plain=True)

    def _position(self, op: Op) -> Text:
        return Text(self.dialect.arange.format(size_name(label_axis(op.labels[0]))))

    def _step(self, op: Op) -> Text:
        source = op.operands[0]
        spot = source.labels.index(op.detail)
        at = ", ".join([":"] * spot + [self.counter])
        return Text(f"{self.known[source.name].within()}[{at}]")

    # Functions

    def _map(self, op: Op) -> Text:
        parts = [self.read(operand, op.labels) for operand in op.operands]
        if op.detail == "broadcast" and set(op.operands[0].labels) == set(op.labels):
            return parts[0]
        if op.detail == "broadcast":
            sizes = f"({shape(op.labels)}{',' * (len(op.labels) == 1)})"
            value = self.array(parts[0]).text
            return Text(f"{self.dialect.library}.broadcast_to({value}, {sizes})")
        if all(part.plain for part in parts) and op.detail in PLAIN:
            return Text(*filled(PLAIN[op.detail], parts), plain=True)
        if op.detail == "as_real" and parts[0].plain:
            return self.array(parts[0])
        if op.detail == "select" and parts[1].plain and parts[2].plain:
            parts[1] = self.array(parts[1])
        form = self._weighed(op) or self._form(op, parts)
        if form.partition("(")[0] in self.dialect.helpers:
            self.used.add(form.partition("(")[0])
        return Text(*filled(form, parts))

    def _weighed(self, op: Op) -> str:
        """The form of a product of weights, 0 where they are 0; empty for another function."""
        zero = [operand.name in self.weights for operand in op.operands]
        if op.detail != "multiply" or sum(zero) != 1:
            return ""
        weight, other = sorted(op.operands, key=lambda o: o.name not in self.weights)
        if weight.labels != op.labels or not other.labels:
            return ""
        return "times({0}, {1})" if zero[0] else "times({1}, {0})"

    def _form(self, op: Op, parts: list[Text]) -> str:
        """How the library writes a function; PyTorch has some apart for Python numbers."""
        marks = "".join("n" if part.plain else "t" for part in parts)
        forms = self.dialect.forms
        form = forms.get(f"{op.detail}:{marks}", forms.get(op.detail))
        if form is None:
            raise self._unknown("function", op.detail, op)
        return form

    def array(self, value: Text) -> Text:
        """A number as an array of the working type."""
        return Text(self.dialect.number.format(value.text)) if value.plain else value

    def _reduce(self, op: Op) -> Text:
        source = op.operands[0]
        spots = [str(n) for n, x in enumerate(source.labels) if x not in op.labels]
        axes = spots[0] if len(spots) == 1 else f"({', '.join(spots)})"
        form = self.dialect.forms[f"reduce {op.detail}"]
        return Text(form.format(self.known[source.name].text, axes))

    def _contract(self, op: Op) -> Text:
        letters = letters_of(op)
        zero = [operand.name in self.weights for operand in op.operands]
        weighed = len(zero) == 2 and sum(zero) == 1
        # The weights come first, as the helper takes them.
        operands = op.operands[::-1] if weighed and zero[1] else op.operands
        terms = ",".join("".join(letters[x] for x in o.labels) for o in operands)
        formula = f'"{terms}->{"".join(letters[x] for x in op.labels)}"'
        arrays = ", ".join(self.known[operand.name].text for operand in operands)
        self.used |= {"contract"} if weighed else set()
        function = "contract" if weighed else f"{self.dialect.library}.einsum"
        return Text(f"{function}({formula}, {arrays})")

    def _root(self, op: Op) -> Text:
        (source,) = op.operands
        (axis,) = (n for n, x in enumerate(source.labels) if x not in op.labels)
        self.used.add("threshold")
        return Text(f"threshold({self.known[source.name].text}, {axis}, {op.detail})")

    # Recurrences

    def _loop(self, loop: Loop, position: int, last: dict[str, int]) -> None:
        """A loop over the steps, and the values of all steps as arrays."""
        held = [self.names.give(name, position, float("inf")) for name, _, _ in loop.carried]
        self.known |= {
            name: Text(text) for (name, _, _), text in zip(loop.carried, held, strict=True)
        }
        kept = [self.names.give(name, position, last.get(name, position)) for name, _ in loop.kept]
        counter = self.names.give(loop.counter, position, float("inf"))
        inner = Body(
            self.dialect, self.spec, self.names.inner(position), used=self.used,
            known=dict(self.known), indent=self.indent + "    ", counter=counter,
        )  # fmt: skip
        following = [after.name for _, _, after in loop.carried]
        values = [value.name for _, value in loop.kept]
        inner.run(loop.ops, [*following, *values])
        begun = [self.array(self.known[begin.name]).text for _, begin, _ in loop.carried]
        after = [inner.array(inner.known[name]).text for name in following]
        rows = [inner.array(inner.known[name]).text for name in values]
        write = _scan if self.dialect.library == "jnp" else _python_loop
        write(self, loop, inner.lines, _Steps(counter, held, begun, after, kept, rows))
        self.known |= {name: Text(text) for (name, _), text in zip(loop.kept, kept, strict=True)}


@dataclass(frozen=True)
class _Steps:
    """The names of a loop: of its counter, states, their first and next values, what it keeps."""

    counter: str
    held: list[str]
    begun: list[str]
    after: list[str]
    kept: list[str]
    rows: list[str]


def _python_loop(body: Body, loop: Loop, lines: list[str], steps: _Steps) -> None:
    """A loop in Python that appends to lists."""
    size = size_name(label_axis(loop.along))
    for name, begin in zip(steps.held, steps.begun, strict=True):
        body.line(f"{name} = {begin}")
    for name in steps.kept:
        body.line(f"{name} = []")
    order = body.dialect.forms["backwards" if loop.reverse else "forwards"].format(size)
    body.line(f"for {steps.counter} in {order}:")
    body.lines += lines
    for name, row in zip(steps.kept, steps.rows, strict=True):
        body.line(f"    {name}.append({row})")
    if steps.held:
        body.line(f"    {', '.join(steps.held)} = {', '.join(steps.after)}")
    for name in steps.kept:
        source = f"{name}[::-1]" if loop.reverse else name
        body.line(f"{name} = {body.dialect.library}.stack({source})")


def _scan(body: Body, loop: Loop, lines: list[str], steps: _Steps) -> None:
    """JAX's own loop over steps, which is traced once for all of them."""
    size = size_name(label_axis(loop.along))
    step = body.names.give("step", -1, float("inf"))
    body.line("")
    body.line(f"def {step}(held, {steps.counter}):")
    if steps.held:
        left = ", ".join(steps.held) if len(steps.held) > 1 else tuple_of(steps.held)
        body.line(f"    {left} = held")
    body.lines += lines
    body.line(f"    return {tuple_of(steps.after)}, {tuple_of(steps.rows)}")
    body.line("")
    order = ["reverse=True"] if loop.reverse else []
    given = [step, tuple_of(steps.begun), f"jnp.arange({size})", *order]
    body.lines += called(f"_, {tuple_of(steps.kept)} = lax.scan", given, "", body.indent)


def _is_constant(op: Op) -> bool:
    """Whether an operation is a number without sizes and parameters, or the step's position."""
    if op.kind != "scalar":
        return op.kind == "map" and op.detail == "undefined"
    return bool(op.detail) or op.value is None or not op.value.free_symbols


def returned(body: Body, value: Operand, places: tuple[Labels, ...]) -> str:
    """An output in the spec's own axis order, product axes joined."""
    want = tuple(x for place in places for x in place)
    text = body.read(value, want)
    library = body.dialect.library
    if set(value.labels) != set(want):
        text = Text(f"{library}.broadcast_to({body.array(text).text}, ({shape(want)},))")
    if any(len(place) > 1 for place in places):
        sizes = ", ".join(" * ".join(size_name(label_axis(x)) for x in p) for p in places)
        text = Text(f"{text.within()}.reshape({sizes})")
    return text.text


__all__ = ["Body", "returned"]
