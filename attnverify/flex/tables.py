"""Look-ups into closed-over tables: each table is an input of the spec, each of its axes one of it.

An axis that is read at `b`, `h`, `q_idx` or `kv_idx` itself is that axis of the attention; one that
is read anywhere else is an axis of its own, of the table's size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.masks import never
from attnverify.algebra.predicates import FALSE, Compare, Holds, Predicate, conjunction, disjunction
from attnverify.algebra.terms import (
    ZERO,
    Axis,
    Entry,
    Expr,
    Index,
    Parameter,
    Place,
    Tensor,
    Total,
    add,
    as_expr,
    indicator,
    mul,
    total,
)
from attnverify.attention import Site
from attnverify.errors import TraceError
from attnverify.flex.cases import compared
from attnverify.flex.signs import is_whole
from attnverify.flex.traced import Number, Traced, Truth
from attnverify.flex.values import finite, plain

# Names that the equations and a compiled oracle take for themselves.
RESERVED = ("Q", "K", "V", "S", "A", "O", "L", "R", "sizes")
KINDS = {"b": "bool", "i": "int", "u": "int", "f": "real"}
# Where an axis of a table is read: one of these, or at a place of its own.
BATCH, HEAD, QUERY, KEY, OWN = "batch", "head", "query", "key", "own"


@dataclass
class Table:
    """One closed-over array: its name, its values, and where each of its axes is read."""

    name: str
    values: NDArray[Any]
    read: list[set[str]]

    @property
    def kind(self) -> str:
        """Whether its entries are real, bool or int."""
        return KINDS[self.values.dtype.kind]

    def read_at(self, axis: int) -> str:
        """Which axis of the attention an axis is; a key's where it is a query's too."""
        known = self.read[axis] - {OWN}
        return KEY if known == {QUERY, KEY} else known.pop() if len(known) == 1 else OWN


@dataclass
class Tables:
    """The tables that a trace has met, at a site; `layout` says which axis each axis is."""

    site: Site
    names: dict[tuple[Any, ...], str] = field(default_factory=dict)
    layout: Mapping[tuple[str, int], str] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    found: dict[tuple[Any, ...], Table] = field(default_factory=dict)
    alive: list[Any] = field(default_factory=list)
    bound: int = 0
    memo: dict[Any, Expr | Predicate] = field(default_factory=dict)

    def entry(self, array: Any, index: Any) -> Traced:
        """The entry of an array at traced positions, or a row of it where some are missing."""
        positions = tuple(
            _position(part) for part in (index if isinstance(index, tuple) else (index,))
        )
        table = self._table(array)
        if len(positions) > table.values.ndim:
            raise TraceError(
                f"takes {len(positions)} positions of a table of {table.values.ndim} axes"
            )
        if len(positions) < table.values.ndim:
            return Row(self, array, positions)
        key = (table.name, positions)
        if key not in self.memo:
            self.memo[key] = self._read(table, positions)
        found = self.memo[key]
        return Truth(found) if isinstance(found, Predicate) else Number(found)

    def _table(self, array: Any) -> Table:
        """The table of an array; a view that is taken anew each time is one table."""
        key = placed(array)
        if key not in self.found:
            self.alive.append(array)
            values = as_array(array)
            if values.dtype.kind not in KINDS:
                raise TraceError(f"reads a table of {values.dtype}, which is no number")
            self.found[key] = Table(self._name(key, array), values, [set() for _ in values.shape])
        return self.found[key]

    def _name(self, key: tuple[Any, ...], array: Any) -> str:
        base = (
            getattr(array, "_base", None)
            if hasattr(array, "_base")
            else getattr(array, "base", None)
        )
        name = self.names.get(key) or (self.names.get(placed(base)) if base is not None else None)
        name = (name or "").strip("_")
        name = name if name.isidentifier() else "table"
        taken = {
            *RESERVED,
            *(p.name for p in self.parameters),
            *(t.name for t in self.found.values()),
        }
        wanted = [name, *(f"{name}_{number}" for number in range(1, len(taken) + 2))]
        return next(each for each in wanted if each not in taken)

    def _read(self, table: Table, positions: tuple[Expr, ...]) -> Expr | Predicate:
        """The entry where all positions are indices; else the sum over those that are not."""
        places: list[Place] = []
        over: list[Index] = []
        where: list[Predicate] = []
        for axis, position in enumerate(positions):
            bare = self._bare(position)
            table.read[axis].add(bare)
            due = self.layout.get((table.name, axis), OWN)
            if bare in (QUERY, KEY) and due in (QUERY, KEY):
                due = bare if self.site.i.axis == self.site.j.axis else due
            if bare == due != OWN:
                places.append(self._place(bare))
                continue
            place = self._fresh(table, axis, due)
            places.append(place)
            over += place if isinstance(place, tuple) else (place,)
            where.append(_at(place, position, self.parameters))
        entry = Tensor(table.name, table.kind)[tuple(places)]
        return _summed(entry, over, where)

    def _bare(self, position: Expr) -> str:
        for name in (BATCH, HEAD, QUERY, KEY):
            if position == as_expr(self._place(name)):
                return name
        return OWN

    def _place(self, name: str) -> Place:
        site = self.site
        return {BATCH: site.b, HEAD: site.query_head[0], QUERY: site.i, KEY: site.j}[name]

    def _fresh(self, table: Table, axis: int, due: str) -> Place:
        """A place to sum over: on an axis of the attention, or on one of the table's own."""
        if due == OWN:
            self.bound += 1
            own = Axis(f"{table.name}_{axis}", fixed=table.values.shape[axis])
            return Index(f"n{self.bound}", own)
        place = self._place(due)
        parts = place if isinstance(place, tuple) else (place,)
        self.bound += 1
        fresh = tuple(Index(f"{part.name}{self.bound}", part.axis) for part in parts)
        return fresh if isinstance(place, tuple) else fresh[0]

    def inputs(self) -> tuple[Entry, ...]:
        """What declares the tables, in the order in which they were met."""
        return tuple(self._declared(table) for table in self.found.values() if all(table.read))

    def _declared(self, table: Table) -> Entry:
        places: list[Place] = []
        for axis in range(table.values.ndim):
            due = self.layout.get((table.name, axis), OWN)
            own = Axis(f"{table.name}_{axis}", fixed=table.values.shape[axis])
            place = Index(f"n{axis}", own) if due == OWN else self._place(due)
            while place in places:
                place = _primed(place)
            places.append(place)
        return Tensor(table.name, table.kind)[tuple(places)]

    def decided(self) -> dict[tuple[str, int], str]:
        """Which axis each axis of each table is, from where it was read."""
        return {
            (table.name, axis): table.read_at(axis)
            for table in self.found.values()
            for axis in range(table.values.ndim)
        }

    @property
    def one_sequence(self) -> bool:
        """Whether some axis is read at the query and at the key, so that these are one axis."""
        return any({QUERY, KEY} <= read for table in self.found.values() for read in table.read)


class Row(Traced):
    """A table with some of its positions given; it is no number before all of them are."""

    __slots__ = ("array", "given", "tables")

    def __init__(self, tables: Tables, array: Any, given: tuple[Expr, ...]) -> None:
        self.tables, self.array, self.given = tables, array, given

    def __getitem__(self, index: Any) -> Traced:
        more = index if isinstance(index, tuple) else (index,)
        return self.tables.entry(self.array, (*map(Number, self.given), *more))


def _position(part: Any) -> Expr:
    """One position of a look-up: a whole number."""
    part = plain(part)
    if isinstance(part, slice) or part is None or part is Ellipsis:
        raise TraceError("looks up a slice of a table", hint="give a position on every axis")
    if isinstance(part, Truth | bool):
        raise TraceError("looks a table up at a truth value", hint="use torch.where(...)")
    found = finite(part)
    if not is_whole(found):
        raise TraceError("looks a table up at what is not a whole number", hint="use // not /")
    return found


def _at(place: Place, position: Expr, parameters: Iterable[Parameter]) -> Predicate:
    """The predicate that a place stands at a position; one below 0 counts from the end."""
    here = as_expr(place)
    found = compared("==", here, position)
    # Entries of tables of whole numbers are taken to be positions counted from the start.
    if isinstance(position, Entry | Total) or _never_negative(position, parameters):
        return found
    parts = place if isinstance(place, tuple) else (place,)
    size = mul(*(part.axis.fixed or part.axis.size for part in parts))
    return disjunction(found, compared("==", here, add(position, size)))


def _never_negative(position: Expr, parameters: Iterable[Parameter]) -> bool:
    below = compared("<", position, ZERO)
    return below == FALSE or never(below, parameters).holds is True


def _summed(entry: Entry, over: list[Index], where: list[Predicate]) -> Expr | Predicate:
    boolean = entry.tensor.kind == "bool"
    if not over:
        return Holds(entry) if boolean else entry
    if boolean:
        held = total(indicator(conjunction(*where, Holds(entry))), over=over)
        return Compare(">", held, ZERO)
    return total(mul(*map(indicator, where), entry), over=over)


def _primed(place: Place) -> Place:
    if isinstance(place, tuple):
        return tuple(Index(part.name + "'", part.axis) for part in place)
    return Index(place.name + "'", place.axis)


def as_array(array: Any) -> NDArray[Any]:
    """The values of a torch tensor or an array, as NumPy's; bfloat16 is widened."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        if "bfloat16" in str(array.dtype):
            array = array.float()
        return np.asarray(array.numpy())
    return np.asarray(array)


def placed(array: Any) -> tuple[Any, ...]:
    """What tells an array from others: where it lies and how it is laid out."""
    if hasattr(array, "data_ptr"):
        return ("torch", array.data_ptr(), tuple(array.shape), tuple(array.stride()))
    found = np.asarray(array)
    return ("numpy", found.__array_interface__["data"][0], found.shape, found.strides)
