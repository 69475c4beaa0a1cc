"""One function of an exported file, from a spec's recipe."""

from __future__ import annotations

import re

from attnverify.algebra.parameters import domain
from attnverify.algebra.terms import Parameter
from attnverify.compile.lower import lower
from attnverify.compile.recipe import Labels, Operand, label_axis
from attnverify.compile.scalars import size_name
from attnverify.export.body import Body, returned
from attnverify.export.dialects import Dialect
from attnverify.export.layout import broken, called, listed, safe, tuple_of
from attnverify.export.live import live
from attnverify.export.masked import weights
from attnverify.export.names import Names
from attnverify.export.sizes import Sizes
from attnverify.spec import Spec


class Function:
    """A spec as a function of one library.

    `asked` are the axes whose sizes no array tells, `used` the helpers that its lines call.
    """

    def __init__(
        self, spec: Spec, dialect: Dialect, name: str, asked: tuple[str, ...] = ()
    ) -> None:
        self.spec, self.dialect, self.name = spec, dialect, name
        self.sizes = Sizes(spec, asked)
        self.asked = self.sizes.asked
        self.recipe = lower(spec)
        self.arrays = [op.out for op in self.recipe.ops if op.kind == "input"]
        self.kinds = [entry.tensor.kind for entry in spec.inputs]
        self.settings = [*(p.name for p in spec.parameters), *map(size_name, self.asked)]
        self.used = {"expect"}

    def text(self) -> str:
        """The whole function."""
        lines = [
            *self.signature(),
            f'    """{self.equations()}\n    """',
            *(f"    {line}" for line in self._begin()),
            *self._body(),
        ]
        return "\n".join(lines)

    def signature(self, name: str = "") -> list[str]:
        """The line that names the function and its arguments."""
        named = [_argument(p) for p in self.spec.parameters] + [*map(size_name, self.asked)]
        return called(
            f"def {name or self.name}", [*self.arrays, *(["*", *named] if named else [])], ":"
        )

    def equations(self) -> str:
        """The equations in the words of `attnverify show`."""
        return safe(self.spec.text()).replace("\n", "\n    ")

    def _begin(self) -> list[str]:
        """Domains of parameters, arrays from what is handed in, sizes."""
        lines = [line for p in self.spec.parameters for line in _domain_check(p)]
        if self.dialect.arrays:
            lines += [self._arrays(self.arrays[n : n + 6]) for n in range(0, len(self.arrays), 6)]
        return [*lines, *(part for line in self.sizes.lines for part in broken(line))]

    def _arrays(self, names: list[str]) -> str:
        """Arrays of the library from what is handed in, such as lists."""
        right = f"map({self.dialect.library}.asarray, {tuple_of(names)})"
        return f"{', '.join(names)}{',' * (len(names) == 1)} = {right}"

    def _body(self) -> list[str]:
        """The operations, and the outputs in order."""
        outputs = self.recipe.outputs
        ends = [value.name for _, value, _ in outputs]
        ops = live(self.recipe.ops, ends)
        taken = {*self.arrays, *self.settings, *map(size_name, self.recipe.axes)}
        names = Names(taken | self.dialect.own, self.spec.heads)
        body = Body(self.dialect, self.spec.name, names, weights=weights(ops))
        split = {name for name, places in self.recipe.inputs if any(len(p) > 1 for p in places)}
        for op in ops:
            if op.kind == "input" and op.out in split:
                sizes = ", ".join(size_name(label_axis(x)) for x in op.labels)
                body.line(f"{op.out} = {op.out}.reshape({sizes})")
        body.run(ops, ends)
        results = [self._result(body, *output) for output in outputs]
        self.used |= body.used
        lines = [part for line in body.lines for part in broken(line)]
        return [*self._types(lines, results), *lines, *listed("return", results, "    ")]

    def _result(self, body: Body, name: str, value: Operand, places: tuple[Labels, ...]) -> str:
        """An output by name: what is not one yet gets a line of its own."""
        text = returned(body, value, places)
        if text.isidentifier() or len(self.recipe.outputs) == 1:
            return text
        given = body.names.give(name, len(self.recipe.ops), float("inf"))
        body.line(f"{given} = {text}")
        return given

    def _types(self, lines: list[str], results: list[str]) -> list[str]:
        """Where the working type and the device are read, if some line asks."""
        first = next(n for n, kind in zip(self.arrays, self.kinds, strict=True) if kind == "real")
        code = "\n".join([*lines, *results])
        named = {"real": self.dialect.real, "device": self.dialect.device}
        return [
            f"    {name} = {text.format(first)}"
            for name, text in named.items()
            if text and re.search(rf"\b{name}\b", code)
        ]


def _argument(parameter: Parameter) -> str:
    """A parameter as an argument, with its default where it has one."""
    default = parameter.default
    if default is None:
        return parameter.name
    return f"{parameter.name}={int(default) if parameter.integer else repr(float(default))}"


def _domain_check(parameter: Parameter) -> list[str]:
    """A parameter outside its domain is an error."""
    name = parameter.name
    bounds = [("<", parameter.ge), ("<=", parameter.gt), (">", parameter.le), (">=", parameter.lt)]
    wrong = [f"{name} {sign} {bound}" for sign, bound in bounds if bound is not None]
    wrong += [f"{name} % {parameter.multiple_of}"] if parameter.multiple_of else []
    if not wrong:
        return []
    return [f"if {' or '.join(wrong)}:", f'    raise ValueError("{name} is {domain(parameter)}")']
