"""What the lines of a plan tell: names of new arrays and indices, and what is claimed of them."""

from __future__ import annotations

import json
from typing import Any

from attnverify.algebra.predicates import Predicate
from attnverify.algebra.terms import Entry, Expr, Index, Tensor
from attnverify.certify.errors import Rejected
from attnverify.certify.lines import Tree, exactly, text
from attnverify.equations import Equation
from attnverify.serial.read import Reader
from attnverify.statement import Statement


class Told:
    """The lines of a plan, each taken once; every name that they bring in is a new one."""

    def __init__(self, statement: Statement, rows: list[tuple[str, tuple[Tree, ...]]]) -> None:
        spec = statement.spec
        self.rows = list(rows)
        self.taken = {*spec.heads, *(parameter.name for parameter in spec.parameters)}
        self.reader = Reader(spec.name)
        self.reader.axes = {axis.name: axis for axis in spec.axes}
        self.reader.symbols = {p.name: p.symbol for p in spec.parameters}
        self.reader.kinds = {name: head.tensor.kind for name, head in spec.heads.items()}

    @property
    def left(self) -> str:
        """The lines that were not taken."""
        return ", ".join(f"{head} {parts}" for head, parts in self.rows)

    def all(self, head: str, *first: str, count: int = 2) -> list[tuple[Tree, ...]]:
        """The lines of a kind, of those that begin with certain words."""
        mine = [
            (head_, parts)
            for head_, parts in self.rows
            if head_ == head and parts[: len(first)] == first
        ]
        for row in mine:
            self.rows.remove(row)
        return [exactly(parts, count) for _, parts in mine]

    def one(self, head: str, *first: str, count: int = 2) -> tuple[Tree, ...] | None:
        """The line of a kind, None where there is none."""
        found = self.all(head, *first, count=count)
        if len(found) > 1:
            raise Rejected(f"a plan tells twice: {head} {' '.join(first)}")
        return found[0] if found else None

    def new(self, wanted: str) -> Tensor:
        """A tensor of a name that nothing has; primes of the project are underscores."""
        name = wanted
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return Tensor(name)

    def named(self, tree: Tree) -> Tensor:
        """A new tensor of the name that is told."""
        name = text(tree)
        if name in self.taken or not name.isidentifier():
            raise Rejected(f"{name} is no new name")
        self.taken.add(name)
        return Tensor(name)

    def before(self, head: Entry) -> Entry:
        """The array of a state's values before each step, over the state's own indices."""
        row = self.one("before", head.tensor.name)
        if row is None:
            raise Rejected(f"what stands before the steps of {head.tensor.name} has no name")
        return Entry(self.named(row[1]), head.places)

    def index(self, name: str, like: Index) -> Index:
        """The index of the step before, told for a recurrence by its first step's name."""
        row = self.one("earlier", name)
        if row is None or not text(row[1]).isidentifier() or text(row[1]) == like.name:
            raise Rejected(f"the step before one of {name} has no index of its own")
        return Index(text(row[1]), like.axis)

    # ---- expressions, written as specs write theirs

    def expression(self, tree: Tree) -> Expr:
        """An expression."""
        return self.reader.expression(_json(tree))

    def predicate(self, tree: Tree) -> Predicate:
        """A predicate."""
        return self.reader.predicate(_json(tree))

    def equation(self, tree: Tree) -> Equation:
        """An equation of a new name."""
        parts = _json(tree)
        if not isinstance(parts, list) or len(parts) != 2:
            raise Rejected("an equation was due")
        head = self.reader.expression(parts[0])
        if not isinstance(head, Entry):
            raise Rejected("an equation assigns an entry")
        self.named(head.tensor.name)
        return Equation(head, self.reader.expression(parts[1]))


def _json(tree: Tree) -> Any:
    return json.loads(text(tree))
