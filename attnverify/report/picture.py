"""Pictures of errors and of weights: maps of cells, read from data that may hold anything.

No script and no colour alone: how far an error goes beyond its bound, or how large a weight is, is
told by how dark a cell is, and the figures stand beside it in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from attnverify.report.words import line

MOST = 64
LABEL = 60
# Shades of what fails, from the bound to the largest error, each the same factor apart.
SHADES = 4
# What the shades of weights reach, as shares of the largest.
SHARES = (1 / 16, 1 / 4, 1 / 2, 1)
# Sides in pixels: of a cell, and the least and the most of a picture.
CELL, LEAST, LARGEST = 12, 72, 288


@dataclass(frozen=True)
class Bar:
    """Neighbouring cells of one row that have one level."""

    x: int
    y: int
    width: int
    level: int


@dataclass(frozen=True)
class Picture:
    """A map: bars on a grid, and its words; `kind` says what the shades are of."""

    width: int
    height: int
    sides: tuple[int, int]
    bars: tuple[Bar, ...]
    caption: str
    label: str
    legend: tuple[tuple[int, str], ...]
    kind: str = "errors"


def picture(found: Any) -> Picture | None:
    """The picture of a map in the evidence; None where there is none that can be drawn."""
    if not isinstance(found, dict):
        return None
    cells = _cells(found.get("cells"))
    if not cells:
        return None
    bounds = _bounds(cells)
    levels = [[sum(cell > bound for bound in bounds) for cell in row] for row in cells]
    failing = sum(level > 0 for row in levels for level in row)
    caption = f"Largest error over its bound, {_sides(found, cells)}"
    label = f"{caption}; {failing} of {len(cells) * len(cells[0])} cells fail"
    return _drawn(levels, caption, label, lambda level: _words(level, bounds))


def weights_picture(found: Any) -> Picture | None:
    """The picture of weights, None where a key is not seen; None where there is none to draw."""
    if not isinstance(found, dict):
        return None
    given = found.get("cells")
    seen = [
        [0.0 if cell is None else cell for cell in row] if isinstance(row, list) else row
        for row in (given if isinstance(given, list) else [])
    ]
    cells = _cells(seen)
    if not cells or not isinstance(given, list) or not _finite(cells):
        return None
    most = max(abs(cell) for row in cells for cell in row) or 1.0
    bounds = [share * most for share in SHARES]
    levels = [
        [0 if told is None else 1 + sum(abs(cell) > bound for bound in bounds[:-1])
         for cell, told in zip(row, as_told, strict=True)]
        for row, as_told in zip(cells, given, strict=True)
    ]  # fmt: skip
    hidden = sum(level == 0 for row in levels for level in row)
    caption = f"Weights {line(found.get('name'), LABEL)} of one head, {_sides(found, cells)}"
    label = f"{caption}; {hidden} of {len(cells) * len(cells[0])} keys are not seen"
    drawn = _drawn(levels, caption, label, lambda level: _weight(level, bounds))
    return replace(drawn, kind="weights")


def mask_picture(found: Any) -> Picture | None:
    """The picture of which keys are seen, from weights that are None where one is not."""
    if weights_picture(found) is None:
        return None
    levels = [[int(cell is not None) for cell in row] for row in found["cells"]]
    seen = sum(map(sum, levels))
    caption = f"Mask, {_sides(found, found['cells'])}"
    label = f"{caption}; {seen} of {sum(map(len, levels))} pairs are seen"
    drawn = _drawn(levels, caption, label, lambda level: "seen" if level else "not seen")
    return replace(drawn, kind="mask")


def _weight(level: int, bounds: list[float]) -> str:
    return f"at most {bounds[level - 1]:.2g}" if level else "not seen"


def _finite(cells: list[list[float]]) -> bool:
    return all(math.isfinite(cell) for row in cells for cell in row)


def _drawn(
    levels: list[list[int]], caption: str, label: str, words: Callable[[int], str]
) -> Picture:
    rows, columns = len(levels), len(levels[0])
    present = sorted({level for row in levels for level in row})
    return Picture(
        width=columns,
        height=rows,
        sides=(_side(columns), _side(rows)),
        bars=tuple(bar for y, row in enumerate(levels) for bar in _bars(y, row)),
        caption=caption,
        label=label,
        legend=tuple((level, words(level)) for level in present),
    )


def _cells(found: Any) -> list[list[float]]:
    """Rows of equal length, of numbers that are no NaN; none of anything else."""
    rows = found if isinstance(found, list) else []
    if not 0 < len(rows) <= MOST or not all(isinstance(row, list) for row in rows):
        return []
    if not 0 < len(rows[0]) <= MOST or any(len(row) != len(rows[0]) for row in rows):
        return []
    told = [cell for row in rows for cell in row]
    plain = all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in told)
    return rows if plain and not any(math.isnan(cell) for cell in told) else []


def _bounds(cells: list[list[float]]) -> tuple[float, ...]:
    """What each level is above: the bound itself, then shares of the way to the largest error."""
    most = max((cell for row in cells for cell in row if math.isfinite(cell)), default=1.0)
    top = math.log(max(1.0, most))
    return (*(math.exp(top * n / SHADES) for n in range(SHADES)), max(1.0, most))


def _words(level: int, bounds: tuple[float, ...]) -> str:
    """What a level means."""
    if level == 0:
        return "within its bound"
    if level > SHADES:
        return "not finite, or wrong where no error is allowed"
    return f"up to {bounds[level]:.2g} times its bound"


def _bars(y: int, levels: list[int]) -> list[Bar]:
    bars, x = [], 0
    for level, same in groupby(levels):
        width = len(list(same))
        bars.append(Bar(x, y, width, level))
        x += width
    return bars


def _sides(found: dict[str, Any], cells: list[list[float]]) -> str:
    """What lies along the two sides, and on which case."""
    counts = (len(cells), len(cells[0]))
    axes, sizes = (_pair(found.get(key)) for key in ("axes", "sizes"))
    down, across = (
        f"{line(axis, LABEL) or 'one row'}{_extent(size, count)}"
        for axis, size, count in zip(axes, sizes, counts, strict=True)
    )
    case = line(found.get("case"), 4 * LABEL)
    on = f", on the case {case}" if case else ""
    return f"{down} downwards, {across} across{on}"


def _pair(found: Any) -> list[Any]:
    """Two things, one for each side."""
    given = found if isinstance(found, list) else []
    return [*given, "", ""][:2]


def _side(count: int) -> int:
    """The pixels of a side with so many cells."""
    return min(max(count * CELL, LEAST), LARGEST)


def _extent(size: Any, count: int) -> str:
    """The places of an axis, several to a cell where they are more than the cells."""
    if not isinstance(size, int) or size < 2:
        return ""
    several = f", {math.ceil(size / count)} to a cell" if size > count else ""
    return f" 0 to {size - 1}{several}"
