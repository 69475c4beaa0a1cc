"""Which rows of a long output to judge: those where kernels go wrong, and some by chance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.compile.parts import Sight

Places = NDArray[np.integer[Any]]
# Rows, unless more or fewer are asked for; at least so many, if only they can be afforded.
ROWS, FEWEST = 64, 8
# Tiles of kernels: a row is wrong where one ends or begins.
TILES = (16, 32, 64, 128, 256)
EDGE = 128
# Rows by chance come in fours: two on either side of a tile's edge, two in the tile.
TOGETHER = 4


@dataclass(frozen=True)
class Chosen:
    """The rows, in order, and why each kind of them is there."""

    rows: Places
    told: str

    @property
    def count(self) -> int:
        """How many."""
        return len(self.rows)


def chosen(total: int, count: int, rng: np.random.Generator, marks: Iterable[int] = ()) -> Chosen:
    """So many of `total` rows: the ends, edges of tiles, places around `marks`, others by chance.

    At most two thirds are chosen by place.  `marks` are numbers that a mask may turn at.

    >>> chosen(10, 64, np.random.default_rng(0)).told
    'every row'
    """
    if count >= total:
        return Chosen(np.arange(total), "every row")
    inner = sorted({m for m in marks if 0 < m < total})
    final = (total - 1) // EDGE * EDGE
    ahead = [0, total - 1, *_sides(inner), *_sides([EDGE, final]), *_sides(TILES)]
    # What a mask turns at counts from the last row too.
    ahead += _sides([total - m for m in inner])
    placed = list(dict.fromkeys(row for row in ahead if 0 <= row < total))
    kept = dict.fromkeys(placed[: max(min(2, count), count * 2 // 3)])
    fixed = len(kept)
    while len(kept) < count:
        edge = int(rng.integers(0, total // EDGE + 1)) * EDGE
        near = [edge - 1, edge, *(edge + rng.integers(0, EDGE, TOGETHER - 2)).tolist()]
        for row in near:
            if 0 <= row < total and len(kept) < count:
                kept[int(row)] = None
    edges = [n for n in TILES if n in kept]
    words = ["first and last"]
    words += [f"tile edges at {', '.join(map(str, edges))}"] if edges else []
    words += [f"around {', '.join(map(str, inner))}"] if inner else []
    words.append(f"{count - fixed} by chance")
    return Chosen(np.array(sorted(kept)), ", ".join(words))


def _sides(edges: Sequence[int]) -> list[int]:
    """The rows on either side of edges."""
    return [row for edge in edges for row in (edge - 1, edge)]


@dataclass(frozen=True)
class Group:
    """Rows whose keys overlap, and all keys that they may see."""

    rows: Places
    keys: Places


def grouped(sight: Sight, rows: Places) -> list[Group]:
    """The rows in groups that share no key, so that each is due by itself."""
    found: list[tuple[list[int], Any]] = []
    for row in rows.tolist():
        seen = sight.chunks(row, row)
        # A row that sees no key needs some to say so, and they may be another's.
        seen[:1] |= not seen.any()
        mine = [row]
        apart = []
        for others, keys in found:
            if (keys & seen).any():
                mine, seen = others + mine, keys | seen
            else:
                apart.append((others, keys))
        found = [*apart, (mine, seen)]
    return [Group(np.array(sorted(mine)), sight.keys(seen)) for mine, seen in found]
