"""The data: axes, indices, tensors, parameters and the nodes of expressions.

Nodes are frozen data; the operators only build them. What does not depend on any array (numbers,
axis sizes, parameters, positions of indices) is one `Scalar`, whose arithmetic is SymPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NoReturn, TypeAlias, TypeVar

import sympy

from attnverify.algebra.predicates import Compare, Holds, Predicate, as_predicate
from attnverify.errors import SpecError

# The symbols papers use for the usual axes; any other axis prints as n_<name>.
AXIS_SYMBOLS = {
    "batch": "n_b",
    "heads": "n_h",
    "group": "n_g",
    "repeat": "n_r",
    "queries": "n_q",
    "keys": "n_k",
    "key_dim": "d_k",
    "value_dim": "d_v",
    "model": "d_m",
    "time": "n_t",
    "hidden": "d_h",
}


def _built(builder: str, *values: object) -> Expr:
    """What a builder makes: Python's operators are short for the builders."""
    from attnverify.algebra.terms import builders  # noqa: PLC0415  builders stand above the nodes

    made: Expr = getattr(builders, builder)(*values)
    return made


def _compared(op: str, left: object, right: object) -> Predicate:
    return Compare(op, _built("as_expr", left), _built("as_expr", right))


class Operators:
    """Arithmetic and comparison, shared by expressions and indices; every result is data."""

    __slots__ = ()

    def __add__(self, other: object) -> Expr:
        return _built("add", self, other)

    def __radd__(self, other: object) -> Expr:
        return _built("add", other, self)

    def __sub__(self, other: object) -> Expr:
        return _built("add", self, _built("negative", other))

    def __rsub__(self, other: object) -> Expr:
        return _built("add", other, _built("negative", self))

    def __mul__(self, other: object) -> Expr:
        return _built("mul", self, other)

    def __rmul__(self, other: object) -> Expr:
        return _built("mul", other, self)

    def __truediv__(self, other: object) -> Expr:
        return _built("mul", self, _built("inverse", other))

    def __rtruediv__(self, other: object) -> Expr:
        return _built("mul", other, _built("inverse", self))

    def __pow__(self, exponent: object) -> Expr:
        return _built("power", self, exponent)

    def __neg__(self) -> Expr:
        return _built("negative", self)

    def __lt__(self, other: object) -> Predicate:
        return _compared("<", self, other)

    def __le__(self, other: object) -> Predicate:
        return _compared("<=", self, other)

    def __gt__(self, other: object) -> Predicate:
        return _compared(">", self, other)

    def __ge__(self, other: object) -> Predicate:
        return _compared(">=", self, other)

    def __bool__(self) -> NoReturn:
        raise SpecError(
            "an expression has no truth value in Python",
            found=str(self),
            hint="write where(predicate, a, b) instead of if",
        )


@dataclass(frozen=True, slots=True)
class Axis:
    """A named axis of symbolic size; a product axis is one axis of the array with several factors.

    The size may be `fixed`, or the sum of those of two `addends` that stand one after the other.
    What an axis is made of tells no two axes apart: axes of one name are one axis.

    >>> Axis("keys").size
    Scalar(value=n:keys)
    """

    name: str
    factors: tuple[Axis, ...] = ()
    fixed: int | None = field(default=None, compare=False)
    addends: tuple[Axis, ...] = field(default=(), compare=False)

    def __getitem__(self, name: str) -> Index:
        if not isinstance(name, str):  # without this, iterating over an axis would never end
            raise SpecError(
                "an index is named by text",
                found=f"{self.name}[{name!r}]",
                due=f'{self.name}["i"]',
            )
        if self.factors:
            raise SpecError(
                "a product axis has one index per factor",
                found=f'{self.name}["{name}"]',
                hint="index each factor and write the tuple: "
                + ", ".join(f.name for f in self.factors),
            )
        return Index(name, self)

    @property
    def size(self) -> Scalar:
        """The number of positions on this axis, at least one."""
        return Scalar(sympy.prod([size_symbol(axis.name) for axis in self.parts]))

    @property
    def parts(self) -> tuple[Axis, ...]:
        """The factors of a product axis, or the axis itself."""
        return self.factors or (self,)

    @property
    def follows(self) -> bool:
        """Whether the size follows from the declaration."""
        return self.fixed is not None or bool(self.addends)

    @property
    def declaration(self) -> str:
        """The size that is declared, in words; empty where it is free."""
        parts = " + ".join(axis.name for axis in self.addends)
        return parts if self.fixed is None else str(self.fixed)

    @property
    def symbol(self) -> str:
        """The size's name in print."""
        return AXIS_SYMBOLS.get(self.name, f"n_{self.name}")


@dataclass(frozen=True, slots=True)
class Index(Operators):
    """One index of an axis; self-attention has two indices of one axis."""

    name: str
    axis: Axis

    def __str__(self) -> str:
        return self.name


Place: TypeAlias = "Index | tuple[Index, ...]"


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array: an input, or what an equation defines.  `kind` is real, bool or int."""

    name: str
    kind: str = "real"

    def __getitem__(self, places: Place | tuple[Place, ...]) -> Entry:
        places = places if isinstance(places, tuple) else (places,)
        for place in places:
            parts = place if isinstance(place, tuple) else (place,)
            if not all(isinstance(part, Index) for part in parts):
                raise SpecError(
                    "an entry takes indices of axes",
                    equation=self.name,
                    found=repr(place),
                    due="an index such as keys['j'], or a tuple of indices on a product axis",
                    hint="express a shift, a slice or a constant position as a predicate "
                    "inside total(...)",
                )
        return Entry(self, places)


class Expr(Operators):
    """An expression over array entries; what is often asked of one is kept with it."""

    __slots__ = ("_free", "_hash", "_indices")

    _free: dict[Index, None]
    _hash: int
    _indices: tuple[Index, ...]

    def __str__(self) -> str:
        from attnverify.algebra.text import expression_text  # noqa: PLC0415  printing stands above

        return expression_text(self)


Node = TypeVar("Node", bound=type[Expr])


def _hashed_once(cls: Node) -> Node:
    """A class of nodes whose hash, which asks all nodes below, is computed once for each node."""
    compute: Callable[[Expr], int] = cls.__hash__

    def remembered(self: Expr) -> int:
        try:
            return self._hash
        except AttributeError:
            found = compute(self)
            object.__setattr__(self, "_hash", found)
            return found

    cls.__hash__ = remembered  # type: ignore[assignment]  # the same for every class of nodes
    return cls


@_hashed_once
@dataclass(frozen=True, slots=True)
class Scalar(Expr):
    """A SymPy expression of numbers, sizes, parameters and positions: it depends on no array."""

    value: sympy.Expr


@_hashed_once
@dataclass(frozen=True, slots=True)
class Entry(Expr):
    """`T[b, h, i, j]`; a place on a product axis is a tuple of indices."""

    tensor: Tensor
    places: tuple[Place, ...]

    @property
    def indices(self) -> tuple[Index, ...]:
        """All indices in order, product places flattened."""
        try:
            return self._indices
        except AttributeError:
            parts = (p if isinstance(p, tuple) else (p,) for p in self.places)
            object.__setattr__(self, "_indices", tuple(index for part in parts for index in part))
            return self._indices

    def __predicate__(self) -> Predicate:
        if self.tensor.kind != "bool":
            raise SpecError(
                "only a boolean input is a predicate",
                found=str(self),
                hint='declare it with booleans("...")',
            )
        return Holds(self)

    def __and__(self, other: object) -> Predicate:
        return as_predicate(self) & other

    def __or__(self, other: object) -> Predicate:
        return as_predicate(self) | other

    def __invert__(self) -> Predicate:
        return ~as_predicate(self)


@_hashed_once
@dataclass(frozen=True, slots=True)
class Previous(Expr):
    """A state's value one step earlier in a recurrence; at the first step, its initial value."""

    entry: Entry


@_hashed_once
@dataclass(frozen=True, slots=True)
class Add(Expr):
    """A sum of at least two terms."""

    terms: tuple[Expr, ...]


@_hashed_once
@dataclass(frozen=True, slots=True)
class Mul(Expr):
    """A product of at least two factors; at most the first is a Scalar."""

    factors: tuple[Expr, ...]


@_hashed_once
@dataclass(frozen=True, slots=True)
class Power(Expr):
    """`base ** exponent`; a negative exponent is the total inverse: 0 where the base is 0."""

    base: Expr
    exponent: Fraction


@_hashed_once
@dataclass(frozen=True, slots=True)
class Apply(Expr):
    """A primitive of the written list applied to its arguments."""

    primitive: str
    arguments: tuple[Expr, ...]


@_hashed_once
@dataclass(frozen=True, slots=True)
class Total(Expr):
    """The sum of `body` over the full range of each index in `over`."""

    body: Expr
    over: tuple[Index, ...]


@_hashed_once
@dataclass(frozen=True, slots=True)
class Softmax(Expr):
    """Softmax over places where `where` holds, read at `at`; a row without one gives 0."""

    score: Expr
    over: Index
    where: Predicate
    at: Index


@_hashed_once
@dataclass(frozen=True, slots=True)
class Maximum(Expr):
    """The largest `score` over places where `where` holds; a row without one gives 0."""

    score: Expr
    over: Index
    where: Predicate


@_hashed_once
@dataclass(frozen=True, slots=True)
class Threshold(Expr):
    """The tau with `sum_over [where] max(score - tau, 0) ** exponent = 1`; 0 for an empty row."""

    score: Expr
    over: Index
    where: Predicate
    exponent: Fraction


@_hashed_once
@dataclass(frozen=True, slots=True)
class Indicator(Expr):
    """1 where the predicate holds, 0 elsewhere."""

    where: Predicate


@dataclass(frozen=True, slots=True)
class Parameter(Operators):
    """A named number that a spec leaves open, with its domain."""

    name: str
    integer: bool = False
    ge: Fraction | None = None
    gt: Fraction | None = None
    le: Fraction | None = None
    lt: Fraction | None = None
    default: Fraction | None = None
    doc: str = field(default="", compare=False)
    multiple_of: int | None = None

    @property
    def positive(self) -> bool:
        """Whether the domain leaves out zero and below."""
        return (self.gt is not None and self.gt >= 0) or (self.ge is not None and self.ge > 0)

    @property
    def symbol(self) -> sympy.Symbol:
        """The SymPy symbol that stands for it."""
        sign = {"positive": True} if self.positive else {"nonnegative": self._not_negative or None}
        return sympy.Symbol(self.name, integer=self.integer or None, real=True, **sign)

    @property
    def _not_negative(self) -> bool:
        return self.ge is not None and self.ge >= 0


def size_symbol(axis: str) -> sympy.Symbol:
    """The positive integer symbol of an axis's size."""
    return sympy.Symbol(f"n:{axis}", integer=True, positive=True)
