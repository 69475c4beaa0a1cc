"""Tables kept from one evaluation to the next, where the same equation reads the same numbers.

The statements of a spec repeat its equations, and their exact cases draw the same arrays.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from fractions import Fraction

from attnverify.equations import Equation, Statement, equations_of, reads
from attnverify.exact.closures import Table
from attnverify.exact.shapes import Array
from attnverify.exact.valuation import Valuation


class Kept:
    """Tables by what they follow from: an equation, the tables that it reads, and the setting."""

    def __init__(self) -> None:
        self._marks: dict[Hashable, int] = {}
        self._tables: dict[int, tuple[Table, ...]] = {}

    def mark(self, content: Hashable) -> int:
        """A number for a content, the same for an equal one."""
        return self._marks.setdefault(content, len(self._marks))

    def find(self, mark: int) -> tuple[Table, ...] | None:
        """The tables that were computed for a mark."""
        return self._tables.get(mark)

    def keep(self, mark: int, tables: tuple[Table, ...]) -> None:
        """Keep the tables of a mark."""
        self._tables[mark] = tables


class Filling:
    """One evaluation, which computes what is not kept.

    `setting`: whatever values depend on besides equations and arrays: sizes, parameters, digits.
    """

    def __init__(
        self, valuation: Valuation, tables: Mapping[str, Array], setting: Hashable, kept: Kept
    ) -> None:
        self._valuation, self._setting, self._kept = valuation, kept.mark(setting), kept
        self._marks = {name: kept.mark(_content(array)) for name, array in tables.items()}

    def fill(self, statement: Statement) -> None:
        """Set the tables of a statement's heads."""
        read = tuple((name, self._marks[name]) for name in reads(statement))
        mark = self._kept.mark((self._setting, statement, read))
        names = [equation.name for equation in equations_of(statement)]
        found = self._kept.find(mark)
        if found is None:
            run(self._valuation, statement)
            found = tuple(self._valuation.table(name) for name in names)
            self._kept.keep(mark, found)
        else:
            for name, table in zip(names, found, strict=True):
                self._valuation.restore(name, table)
        self._marks |= {name: self._kept.mark((mark, name)) for name in names}


def run(valuation: Valuation, statement: Statement) -> None:
    """Set the tables of an equation's head, or of a recurrence's heads step by step."""
    if isinstance(statement, Equation):
        valuation.assign(statement.head, statement.body)
        return
    steps = {step.head: step.body for step in statement.steps}
    valuation.iterate(statement.along, steps, statement.states, reverse=statement.reverse)


def _content(array: Array) -> Hashable:
    """What an array holds, bit for bit; one of other numbers than these is like no other."""
    values = array.ravel().tolist()
    if not {type(value) for value in values} <= {bool, int, float, Fraction}:
        return object()
    return array.shape, tuple([(type(value), repr(value)) for value in values])
