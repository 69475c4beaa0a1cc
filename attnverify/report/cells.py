"""Arrays drawn entry by entry: what a row sees, weights by their shade, signed values by size.

A signed value is a square whose area is its size, filled where it is positive and hollow where it
is negative (Hinton's diagrams; Rumelhart and McClelland 1986, chapter 2): no colour is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from attnverify.report.words import line

# Sides in pixels: of a cell, and of the whole, at most.
CELL, LARGEST = 26, 340
LABEL = 60
# A square that is smaller is not seen.
SMALLEST = 0.06
FULL = 0.94
Values = Sequence[Sequence[float | None]]
# Side, shade and kind.
Shape = tuple[float, float, str]


@dataclass(frozen=True)
class Cell:
    """One entry: its place, side and shade, what kind it is, and its words."""

    x: float
    y: float
    side: float
    shade: float
    kind: str
    words: str


@dataclass(frozen=True)
class Cells:
    """An array of two axes: rows downwards, columns across."""

    title: str
    width: int
    height: int
    sides: tuple[int, int]
    cells: tuple[Cell, ...]
    axes: tuple[str, str]
    label: str
    note: str
    numbers: tuple[tuple[str, ...], ...]


def seen(title: str, values: Values, axes: tuple[str, str]) -> Cells:
    """Which entries there are: those that are not None."""
    hidden = sum(value is None for row in values for value in row)
    whole = sum(map(len, values))
    note = f"{whole - hidden} of {whole} pairs are seen"
    return _drawn(title, values, axes, note, lambda _: (FULL, 1.0, "seen"))


def shades(title: str, values: Values, axes: tuple[str, str]) -> Cells:
    """Entries by their shade, from nothing at 0 to the full colour at the largest."""
    most = _most(values)
    note = f"the darkest is {_number(most)}"

    def shape(value: float) -> Shape:
        kind = "shade" if value >= 0 else "shade minus"
        return FULL, round(0.06 + 0.94 * abs(value) / most, 3), kind

    return _drawn(title, values, axes, note, shape)


def blocks(title: str, values: Values, axes: tuple[str, str]) -> Cells:
    """Signed entries as squares: area by size, filled where positive, hollow where negative."""
    most = _most(values)
    note = f"the largest square is {_number(most)}; hollow squares are negative"

    def shape(value: float) -> Shape:
        side = FULL * math.sqrt(abs(value) / most)
        kind = "plus" if value > 0 else "minus"
        return (side if side >= SMALLEST else 0.0), 1.0, kind

    return _drawn(title, values, axes, note, shape)


def _most(values: Values) -> float:
    return max((abs(v) for row in values for v in row if _finite(v)), default=0.0) or 1.0  # type: ignore[arg-type]  # None is not finite


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _drawn(
    title: str,
    values: Values,
    axes: tuple[str, str],
    note: str,
    shape: Callable[[float], Shape],
) -> Cells:
    height, width = len(values), max(map(len, values), default=0)
    down, across = (line(axis, LABEL) or "row" for axis in axes)
    cells = [
        _cell(x, y, value, f"{down} {y}, {across} {x}: {_number(value)}", shape)
        for y, row in enumerate(values)
        for x, value in enumerate(row)
    ]
    side = min(CELL, LARGEST / max(width, height, 1))
    told = line(title, LABEL)
    return Cells(
        title=told,
        width=width,
        height=height,
        sides=(max(round(width * side), 1), max(round(height * side), 1)),
        cells=tuple(cell for cell in cells if cell is not None),
        axes=(down, across),
        label=f"{told}: {down} downwards, {across} across; {note}",
        note=note,
        numbers=tuple(tuple(_number(value) for value in row) for row in values),
    )


def _cell(
    x: int, y: int, value: float | None, words: str, shape: Callable[[float], Shape]
) -> Cell | None:
    if value is None:
        return None
    if not math.isfinite(value):
        return Cell(x + 0.2, y + 0.2, 0.6, 1.0, "broken", words)
    side, shade, kind = shape(value)
    if not side:
        return None
    edge = (1 - side) / 2
    return Cell(round(x + edge, 3), round(y + edge, 3), round(side, 3), shade, kind, words)


def _number(value: float | None) -> str:
    return "not seen" if value is None else f"{value:.3g}"
