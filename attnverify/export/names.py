"""Names in the text: a result takes over the name of one that nothing reads any more."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable


class Names:
    """Which names are taken, and until which position of the operations.

    `own` are the names of the spec, whose last digits are their own.
    """

    def __init__(self, taken: Iterable[str], own: Iterable[str] = ()) -> None:
        self.own = frozenset(own)
        self._until: dict[str, float] = dict.fromkeys(taken, math.inf)

    def inner(self, position: int) -> Names:
        """The names inside a loop at a position: what is read there or later stays as it is."""
        held = [name for name, until in self._until.items() if until >= position]
        return Names(held, self.own)

    def give(self, value: str, position: int, until: float) -> str:
        """A name for a result that is made at one position and read last at another.

        >>> names = Names(["Q"])
        >>> names.give("S", 0, 1), names.give("S_2", 1, 2), names.give("S_3", 1, 2)
        ('S', 'S', 'S_2')
        """
        stem, number = value if value in self.own else re.sub(r"_\d+$", "", value), 1
        name = stem
        while self._until.get(name, -1) > position:
            number += 1
            name = f"{stem}_{number}"
        self._until[name] = until
        return name
