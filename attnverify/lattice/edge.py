"""An edge of the lattice as data: how one spec is specialised, and which other it then is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from attnverify.algebra.predicates import Predicate
from attnverify.algebra.terms import (
    Entry,
    Expr,
    Index,
    Parameter,
    Scalar,
    Tensor,
    as_expr,
    size_symbol,
)
from attnverify.spec import Spec

# The value of an input or name, from the entry that declares it.
Value = Callable[[Entry], "Expr | Predicate | int"]
Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Side:
    """One end of an edge: the member of a spec, and what is done to it.

    `choose` are keywords of `load`. `axes` are renamed first; `values` then give inputs, or names
    that equations assign, by expressions over the indices of their declaring entry. The values of
    the general side are over inputs; those of the special side may also read what the general side
    assigns. `nodes` replaces expressions wherever they stand. `parameters` are those that values
    bring.
    """

    spec: str
    choose: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Value] = field(default_factory=dict)
    nodes: Callable[[Spec], Mapping[Expr, Expr]] | None = None
    parameters: Callable[[], tuple[Parameter, ...]] = tuple


@dataclass(frozen=True)
class Scene:
    """What hypotheses may speak of: sizes, parameters, and the free indices of the claim."""

    left: Entry
    joint: Spec

    def size(self, axis: str) -> Scalar:
        """The size of an axis."""
        return Scalar(size_symbol(axis))

    def index(self, axis: str) -> Expr:
        """The position of the claim's index on an axis."""
        return as_expr(next(index for index in self.left.indices if index.axis.name == axis))

    def parameter(self, name: str) -> Expr:
        """A parameter that is left open."""
        return as_expr(next(p for p in self.joint.parameters if p.name == name))


@dataclass(frozen=True)
class Edge:
    """`general` becomes `special` under `at`; each end is a spec with what is done to it.

    `given` are the hypotheses, in sizes, parameters and the output's indices. `sizes` and
    `parameters` say how cases are drawn that meet them: an axis's size, or a parameter's value,
    from the sizes of the other axes. `claim` is "equal", or "bound" with the two sides that `sides`
    makes. `output` is the general side's name that is compared with the other's output. `fails` is
    the reason where the edge does not hold.
    """

    general: Side
    special: Side
    at: str
    given: Callable[[Scene], tuple[Predicate, ...]] = lambda _: ()
    sizes: Mapping[str, Callable[[Sizes], int]] = field(default_factory=dict)
    parameters: Mapping[str, Callable[[Sizes], int]] = field(default_factory=dict)
    claim: str = "equal"
    sides: Callable[[Spec, Mapping[str, str]], tuple[Expr, Expr]] | None = None
    output: str = "O"
    fails: str = ""

    @property
    def source(self) -> str:
        """The name of the general spec."""
        return self.general.spec

    @property
    def target(self) -> str:
        """The name of the special spec."""
        return self.special.spec

    @property
    def words(self) -> str:
        """The edge in words, such as "global at slope 0"."""
        return f"{self.target} {self.at}"


def edge(source: str | Side, target: str | Side, at: str, **more: object) -> Edge:
    """An edge between two ends, each by name where nothing is done to it."""
    general = Side(source) if isinstance(source, str) else source
    special = Side(target) if isinstance(target, str) else target
    return Edge(general, special, at, **more)  # type: ignore[arg-type]  # the fields of Edge


def of(name: str, *indices: Index | tuple[Index, ...]) -> Entry:
    """The entry of a real tensor by name."""
    return Tensor(name)[indices]
