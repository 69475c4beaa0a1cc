"""Where indices stand, and what a certificate claims of functions, as expressions are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from attnverify.algebra.terms import Index
from attnverify.certify.errors import Rejected
from attnverify.certify.formulas import Var
from attnverify.certify.lines import Tree


class Spot(NamedTuple):
    """The variable that an index stands at, and the maps under which it is read.

    `plain` for most readers, `moved` for tensors that are relabelled.
    """

    var: Var
    plain: str = ""
    moved: str = ""


Env: TypeAlias = "Mapping[Index, Spot]"


@dataclass
class Values:
    """The claims of a certificate about functions' values, in the order in which they are met."""

    rows: list[tuple[Tree, ...]]
    taken: int = 0

    def next(self) -> tuple[Tree, ...]:
        """The next claim."""
        if self.taken == len(self.rows):
            raise Rejected("a function stands where the certificate claims no value")
        self.taken += 1
        return self.rows[self.taken - 1]
