"""What a page may draw beside a verdict: curves with their spread, as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any


@dataclass(frozen=True)
class Curve:
    """Points (x, y) in order, with a band from `low` to `high` where there is a spread.

    They are joined by lines unless they are `scattered`.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    scattered: bool = False

    @classmethod
    def of(
        cls, name: str, x: Any, y: Any, low: Any = (), high: Any = (), *, scattered: bool = False
    ) -> Curve:
        """The curve through any sequences of numbers, arrays included.

        >>> Curve.of("elman", [1, 2], [0.5, 0.25]).y
        (0.5, 0.25)
        """
        x, y, low, high = (tuple(float(v) for v in values) for values in (x, y, low, high))
        return cls(name, x, y, low, high, scattered)

    def plain(self) -> dict[str, Any]:
        """The curve as a figure holds it."""
        told = {"name": self.name, "x": self.x, "y": self.y, "low": self.low, "high": self.high}
        return told | ({"scattered": True} if self.scattered else {})


@dataclass(frozen=True)
class Scale:
    """An axis of a figure: what it counts, in which unit, and whether it is logarithmic."""

    label: str
    log: bool = False


@dataclass(frozen=True)
class Figure:
    """Curves over one pair of axes; `note` says what was drawn, and how often.

    >>> figure = Figure("decay", Scale("distance"), Scale("norm", log=True), ())
    >>> Figure.read(figure.plain()) == figure
    True
    """

    title: str
    x: Scale
    y: Scale
    curves: tuple[Curve, ...]
    note: str = ""
    lines: Mapping[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """The figure as a verdict's evidence holds it."""
        return {
            "title": self.title,
            "x": {"label": self.x.label, "log": self.x.log},
            "y": {"label": self.y.label, "log": self.y.log},
            "curves": [curve.plain() for curve in self.curves],
            "note": self.note,
            "lines": dict(self.lines),
        }

    @classmethod
    def read(cls, value: Any) -> Figure | None:
        """The figure that plain data tell; None where they tell none, for data come from anywhere.

        >>> Figure.read({"title": 3}) is None
        True
        """
        try:
            return cls(
                str(value["title"]),
                _scale(value["x"]),
                _scale(value["y"]),
                tuple(_curve(curve) for curve in value["curves"]),
                str(value.get("note", "")),
                {str(name): float(at) for name, at in value.get("lines", {}).items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return None


def _scale(value: Any) -> Scale:
    return Scale(str(value["label"]), bool(value.get("log", False)))


def _curve(value: Any) -> Curve:
    curve = Curve.of(
        str(value["name"]), value["x"], value["y"], value.get("low", ()), value.get("high", ()),
        scattered=bool(value.get("scattered", False)),
    )  # fmt: skip
    if len(curve.x) != len(curve.y) or any(
        band and len(band) != len(curve.x) for band in (curve.low, curve.high)
    ):
        raise ValueError("a curve has as many values as places")
    return curve


@dataclass(frozen=True)
class Table:
    """Rows of words under headings, such as a paper's cells beside those derived.

    >>> Table.read(Table(("a", "b"), (("1", "2"),)).plain()).rows
    (('1', '2'),)
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    def plain(self) -> dict[str, Any]:
        """The table as a verdict's evidence holds it."""
        rows = [list(row) for row in self.rows]
        return {"columns": list(self.columns), "rows": rows, "caption": self.caption}

    @classmethod
    def read(cls, value: Any) -> Table | None:
        """The table that plain data tell; None where they tell none."""
        try:
            columns = _words(value["columns"])
            rows = tuple(_words(row) for row in value["rows"])
            caption = str(value.get("caption", ""))
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        return cls(columns, rows, caption) if all(len(r) == len(columns) for r in rows) else None


def _words(values: Iterable[Any]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise TypeError("a row is a list of cells")
    return tuple(str(value) for value in values)


def finite(values: Iterable[float]) -> list[float]:
    """Those of the values that a figure can show."""
    return [value for value in values if isfinite(value)]
