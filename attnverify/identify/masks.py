"""Which keys a row sees: queries that are zero leave nothing but masks in the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.identify.box import Box, raised
from attnverify.identify.finding import Finding
from attnverify.subjects import SubjectFault

Array = NDArray[np.bool_]

# Queries and keys: square, fewer queries, fewer keys; a window is noticed where it is under 40.
LENGTHS = ((40, 40), (5, 9), (9, 5))
FEWER = LENGTHS[-1]
ALIGNS = ("top_left", "bottom_right")


@dataclass(frozen=True)
class Band:
    """Keys j with lowest <= j - i <= highest, counted from the first or the last positions."""

    align: str
    lowest: int | None = None
    highest: int | None = None

    def seen(self, queries: int, keys: int) -> Array:
        """Which keys (columns) each query (row) sees."""
        j_less_i = distance(queries, keys, self.align)
        seen = np.ones((queries, keys), bool)
        if self.lowest is not None:
            seen &= j_less_i >= self.lowest
        if self.highest is not None:
            seen &= j_less_i <= self.highest
        return seen


def distance(queries: int, keys: int, align: str) -> NDArray[np.int_]:
    """The distance j - i, positions counted from the first or from the last."""
    from_first = np.arange(keys)[None, :] - np.arange(queries)[:, None]
    return from_first - (keys - queries if align == "bottom_right" else 0)


def patterns(box: Box) -> dict[tuple[int, int], Array]:
    """What rows see at each pair of lengths that the function takes: where a weight is not zero."""
    found = {}
    for queries, keys in LENGTHS:
        try:
            weights = box.quiet(queries, keys)[0, 0]
        except SubjectFault:
            continue
        pattern = np.nan_to_num(weights) != 0
        if pattern.any():
            found[queries, keys] = pattern
    return found


def mask(box: Box) -> tuple[Finding, Finding]:
    """The mask and its alignment."""
    seen = patterns(box)
    if not seen:
        return Finding("mask", "", raised(_refusal(box))), Finding("alignment", "", "no mask")
    tried = ", ".join(f"{q}x{k}" for q, k in seen)
    if all(pattern.all() for pattern in seen.values()):
        said = f"with Q = 0 every weight is positive at {tried}"
        none = Finding("alignment", "none", "nothing is masked")
        return Finding("mask", "none: every key is seen", said, len(seen)), none
    bands = [band for align in ALIGNS for band in _bands(seen, align)]
    if not bands:
        return _other(seen, tried)
    lowest, highest = bands[0].lowest, bands[0].highest
    said = f"with Q = 0 the weights are positive there and zero elsewhere at {tried}"
    found = Finding(
        "mask", _words(lowest, highest), said, len(seen), {"lowest": lowest, "highest": highest}
    )
    return found, _alignment([band.align for band in bands], seen)


def _refusal(box: Box) -> SubjectFault:
    try:
        box.quiet(*LENGTHS[0])
    except SubjectFault as fault:
        return fault
    return SubjectFault("no pattern was read")


def _bands(seen: dict[tuple[int, int], Array], align: str) -> Iterator[Band]:
    """The band, counted so, that every pattern is; none where one differs.

    Its edges are read off the first pattern.  A row that sees no key may weigh all of them alike.
    """
    lengths, first = next(iter(seen.items()))
    away = distance(*lengths, align)
    band = Band(align, _edge(away, first, min), _edge(away, first, max))
    if all(_agrees(band.seen(*at), pattern) for at, pattern in seen.items()):
        yield band


def _agrees(due: Array, pattern: Array) -> bool:
    """Whether all rows that are to see a key see what is due."""
    rows = due.any(axis=1)
    return bool((due[rows] == pattern[rows]).all())


def _edge(
    away: NDArray[np.int_], pattern: Array, end: Callable[[Iterable[int]], int]
) -> int | None:
    """The last distance on one side that is seen; None where all of that side is."""
    reached, there = (end(int(n) for n in away[where].ravel()) for where in (pattern, ...))
    return None if reached == there else reached


def empty_row(says: Mapping[str, Any], queries: int, keys: int) -> int | None:
    """A row that sees no key under the band that was found; None where each sees one."""
    if "lowest" not in says:
        return None
    band = Band(says.get("align", "top_left"), says["lowest"], says["highest"])
    rows = np.flatnonzero(~band.seen(queries, keys).any(axis=1))
    return int(rows[0]) if rows.size else None


def _alignment(aligns: list[str], seen: dict[tuple[int, int], Array]) -> Finding:
    """Positions counted from the first or from the last; not told by square shapes."""
    name = "alignment"
    if len(aligns) > 1:
        only = all(queries == keys for queries, keys in seen)
        why = "it takes equal lengths alone" if only else "both fit"
        return Finding(name, "", f"queries and keys of equal number do not tell: {why}")
    words = {"top_left": "from the first position", "bottom_right": "from the last position"}
    return Finding(
        name, words[aligns[0]], "the other alignment sees other keys at unequal lengths",
        len(seen), {"align": aligns[0]},
    )  # fmt: skip


def _words(lowest: int | None, highest: int | None) -> str:
    """A band in words.

    >>> _words(None, 0), _words(-3, 0)
    ('causal: keys up to the own position', 'a window: the last 4 keys up to the own position')
    """
    if lowest is None and highest == 0:
        return "causal: keys up to the own position"
    if lowest is None:
        return f"causal, shifted: keys up to the own position {highest:+d}"
    if highest == 0:
        return f"a window: the last {1 - lowest} keys up to the own position"
    to = "the end" if highest is None else f"the own position {highest:+d}"
    return f"a window: keys from the own position {lowest:+d} to {to}"


def _other(seen: dict[tuple[int, int], Array], tried: str) -> tuple[Finding, Finding]:
    """A pattern that is no band: how many keys its rows see."""
    (queries, keys), pattern = next(iter(seen.items()))
    counts = pattern.sum(axis=1)
    said = (
        f"some keys are hidden at {tried}, and not by their distance: of {keys} keys the"
        f" {queries} rows see {counts.min()} to {counts.max()}"
    )
    return Finding("mask", "", said, len(seen)), Finding("alignment", "", "the mask has no name")
