"""What one proof did, as it happened: values of functions, and laws with their cofactors.

Nothing here is checked or relied on: a certificate is written from it, and checked apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from attnverify.algebra.normal.forms import Var


@dataclass(eq=False)
class Record:
    """The steps of one proof.

    `walk` holds the variables made for indices in the order in which expressions are read, `values`
    what functions of their arguments are, in the same order; `collapses` what classes are where two
    of their arguments are one; `steps` the laws by which left - right goes away. `split` says
    what the value was made of that was made last: of an inverse the product that was inverted and
    the inverse of what else there was; of a logarithm (or an absolute value) the positive factors,
    that of what is left, and those of the factors; of an exponential the exps, and what was undone.
    """

    walk: list[Var] = field(default_factory=list)
    values: list[tuple[Any, ...]] = field(default_factory=list)
    collapses: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    steps: list[tuple[Any, ...]] = field(default_factory=list)
    split: tuple[Any, ...] = ()

    def meet(self, var: Var) -> Var:
        """Note a variable made for an index."""
        self.walk.append(var)
        return var

    def step(self, *parts: Any) -> None:
        """Note a law."""
        self.steps.append(parts)
