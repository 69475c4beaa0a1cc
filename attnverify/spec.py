"""Spec: one attention variant as frozen data, and its dependency graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attnverify.algebra.latex import entry_latex, expression_latex, index_latex
from attnverify.algebra.predicates import Predicate
from attnverify.algebra.rewrite import entries, predicates_of, walk
from attnverify.algebra.sizes import completed, fitted, joined
from attnverify.algebra.terms import (
    Axis,
    Entry,
    Expr,
    Parameter,
    Scalar,
    Tensor,
    Total,
    symbol_axis,
    symbols_of,
)
from attnverify.equations import Equation, Recurrence, Statement, equations_of, reads
from attnverify.errors import SpecError
from attnverify.typecheck import typecheck

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, init=False)
class Spec:
    """One computation over named axes: inputs, equations that assign each name once, outputs.

    `announces` names invariants that fail as a property of the variant, each with its reason.
    Construction checks the whole spec and raises SpecError where it is not well formed.
    """

    name: str
    inputs: tuple[Entry, ...]
    equations: tuple[Statement, ...]
    outputs: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    description: str
    announces: Mapping[str, str]
    choices: Mapping[str, object]

    def __init__(
        self,
        name: str,
        inputs: Sequence[Entry],
        equations: Sequence[Statement],
        outputs: Sequence[Tensor | str],
        *,
        parameters: Sequence[Parameter] = (),
        description: str = "",
        announces: Mapping[str, str] | None = None,
        choices: Mapping[str, object] | None = None,
    ) -> None:
        names = tuple(out.name if isinstance(out, Tensor) else out for out in outputs)
        parts = {
            "name": name,
            "inputs": tuple(inputs),
            "equations": tuple(equations),
            "outputs": names,
            "parameters": tuple(parameters),
            "description": description,
            "announces": MappingProxyType(dict(announces or {})),
            "choices": MappingProxyType(dict(choices or {})),
        }
        for field, value in parts.items():
            object.__setattr__(self, field, value)
        typecheck(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Spec):
            return NotImplemented
        # Axes are equal by name, so the sizes that are declared for them are compared here.
        return all(
            getattr(self, field.name) == getattr(other, field.name) for field in fields(self)
        ) and {axis.name: axis.declaration for axis in self.axes} == {
            axis.name: axis.declaration for axis in other.axes
        }

    def __hash__(self) -> int:
        # Tables of reasons and choices have no hash; what is computed tells specs apart.
        return hash((self.name, self.inputs, self.equations, self.outputs, self.parameters))

    def __reduce__(self) -> tuple[object, ...]:
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {"announces": dict(self.announces), "choices": dict(self.choices)}
        return _unpickle, ({**parts, **plain},)

    @cached_property
    def heads(self) -> dict[str, Entry]:
        """The declaring entry of every tensor: inputs first, then what equations assign."""
        assigned = {e.name: e.head for s in self.equations for e in equations_of(s)}
        return {**{entry.tensor.name: entry for entry in self.inputs}, **assigned}

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """Every simple axis, in order of first appearance.

        Raises SpecError where one is declared with two sizes.
        """
        found = [index.axis for head in self.heads.values() for index in head.indices]
        summed: list[Axis] = []
        for expr in self.expressions():
            for node in walk(expr):
                if isinstance(node, Entry):
                    found += [index.axis for index in node.indices]
                elif isinstance(node, Scalar):
                    names = (symbol_axis(s) for s in symbols_of(node.value))
                    found += [Axis(name) for name in names if name]
                elif isinstance(node, Total):
                    summed += [index.axis for index in node.over]
        return joined([*found, *summed], self.name)

    def sized(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """The sizes with those that follow from declarations; ShapeError where one is another."""
        return completed(self.axes, sizes, self.name)

    def fitted(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """The sizes with those that follow from declarations put right."""
        return fitted(self.axes, sizes, self.name)

    def expressions(self) -> Iterator[Expr]:
        """Every right-hand side, initial values included."""
        for statement in self.equations:
            for equation in equations_of(statement):
                yield equation.body
            if isinstance(statement, Recurrence):
                for _, value in statement.initial:
                    yield value

    def predicates(self) -> Iterator[Predicate]:
        """Every predicate of every equation."""
        for expr in self.expressions():
            yield from predicates_of(expr)

    def equation(self, name: str) -> Equation:
        """The equation that assigns `name`; SpecError where there is none."""
        for statement in self.equations:
            for equation in equations_of(statement):
                if equation.name == name:
                    return equation
        raise SpecError(
            "no equation assigns this name",
            spec=self.name,
            found=name,
            due=", ".join(e.name for s in self.equations for e in equations_of(s)),
        )

    def graph(self) -> nx.DiGraph[str]:
        """The dependency graph: an arrow from each name to the names computed from it."""
        import networkx as nx  # noqa: PLC0415  it loads for graphs alone

        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self.heads)
        for statement in self.equations:
            outside = reads(statement)
            for equation in equations_of(statement):
                used = {e.tensor.name for e in entries(equation.body)}
                graph.add_edges_from(
                    (name, equation.name) for name in used if name != equation.name
                )
            if isinstance(statement, Recurrence):
                begun = {e.tensor.name for _, v in statement.initial for e in entries(v)}
                graph.add_edges_from(
                    (n, name) for n in begun & set(outside) for name in statement.states
                )
        return graph

    def dead(self) -> tuple[str, ...]:
        """Names that equations assign and no output needs."""
        import networkx as nx  # noqa: PLC0415  it loads for graphs alone

        graph = self.graph()
        needed = set(self.outputs).union(*(nx.ancestors(graph, out) for out in self.outputs))
        return tuple(
            e.name for s in self.equations for e in equations_of(s) if e.name not in needed
        )

    def text(self) -> str:
        """The spec as plain text, one equation a line."""
        params = "".join(f", {p.name}" for p in self.parameters)
        lines = [
            f"{self.name}({', '.join(map(str, self.inputs))}{params}) -> {', '.join(self.outputs)}"
        ]
        fixed = [f"{a.symbol} = {_size_text(a)}" for a in self.axes if a.follows]
        fixed += [
            f"{p.name} is a multiple of {p.multiple_of}" for p in self.parameters if p.multiple_of
        ]
        lines += [f"  where {', '.join(fixed)}"] if fixed else []
        return "\n".join([*lines, *("  " + str(s).replace("\n", "\n  ") for s in self.equations)])

    def printed(self) -> list[dict[str, str]]:
        """Each equation as {"name", "text", "latex"}."""
        rows: list[dict[str, str]] = []
        for statement in self.equations:
            for equation in equations_of(statement):
                latex = f"{entry_latex(equation.head)} = {expression_latex(equation.body)}"
                rows.append({"name": equation.name, "text": str(equation), "latex": latex})
            if isinstance(statement, Recurrence):
                rows.extend(_initial_rows(statement))
        return rows

    def latex(self) -> list[str]:
        """Each equation as LaTeX."""
        return [row["latex"] for row in self.printed()]

    def replace(self, **changes: object) -> Spec:
        """The same spec with some fields changed, checked again."""
        return replace(self, **changes)  # type: ignore[arg-type]  # dataclasses.replace takes any field

    def __str__(self) -> str:
        return self.text()


def _size_text(axis: Axis) -> str:
    """The size that an axis is declared with, in the papers' symbols."""
    parts = " + ".join(part.symbol for part in axis.addends)
    return parts if axis.fixed is None else str(axis.fixed)


def _unpickle(parts: dict[str, Any]) -> Spec:
    return Spec(**parts)


def _initial_rows(statement: Recurrence) -> list[dict[str, str]]:
    """The values before the first step, as printed rows."""
    where = "after the last" if statement.reverse else "before the first"
    rows = []
    for name, value in statement.initial:
        latex = (
            rf"\operatorname{{prev}}\left({entry_latex(statement.head(name))}\right) = "
            rf"{expression_latex(value)}\quad\text{{{where} }} {index_latex(statement.along)}"
        )
        rows.append(
            {
                "name": name,
                "text": f"{name} = {value} {where} {statement.along.name}",
                "latex": latex,
            }
        )
    return rows
