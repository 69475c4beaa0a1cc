"""How query heads and key heads share axes."""

from __future__ import annotations

from dataclasses import dataclass

from attnverify.algebra.terms import Axis, Place
from attnverify.errors import ParameterError


@dataclass(frozen=True)
class Heads:
    """The places of heads in Q and O, and in K and V; none where the arrays have no such axis."""

    query: tuple[Place, ...]
    key: tuple[Place, ...]


def standard() -> Heads:
    """One key head per query head."""
    h = Axis("heads")["h"]
    return Heads((h,), (h,))


def grouped(head_map: str = "interleave") -> Heads:
    """Query heads share key heads in groups: `interleave` repeats each one in place, `tile` cycles.

    Raises ParameterError for another `head_map`.
    Source: Ainslie et al. 2023, section 2.2.
    """
    g, r = Axis("group")["g"], Axis("repeat")["r"]
    if head_map not in ("interleave", "tile"):
        raise ParameterError(
            "an unknown head map", found=repr(head_map), due="'interleave' or 'tile'"
        )
    return Heads(((g, r) if head_map == "interleave" else (r, g),), (g,))


def multi_query() -> Heads:
    """All query heads share the one key head; K and V have no axis of heads.

    Source: Shazeer 2019, section 3.
    """
    return Heads((Axis("heads")["h"],), ())


def single() -> Heads:
    """One head, and no axis of heads in any array."""
    return Heads((), ())
