"""From a figure to places on paper: ticks, paths and bands, in units that the template scales."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from attnverify.report.words import line
from attnverify.verdict.figure import Curve, Figure, Scale, finite

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 10, 44
MOST_TICKS, MOST_CURVES, MOST_POINTS, MARKS, LABEL = 7, 12, 2000, 12, 80
# Points of a curve that is no line.
SCATTERED = 300


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    at: float
    label: str


@dataclass(frozen=True)
class Drawn:
    """One curve: its line and band as SVG path data, its marks, and which style it has."""

    name: str
    style: int
    path: str
    band: str
    marks: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Plot:
    """A figure laid out on WIDTH by HEIGHT units."""

    title: str
    note: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    curves: tuple[Drawn, ...]
    lines: tuple[tuple[str, float], ...]
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True)
class Span:
    """The range of an axis, mapped to a range of the paper."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def at(self, value: float) -> float | None:
        """The place of a value; None where the axis has none for it."""
        if not isfinite(value) or (self.log and value <= 0):
            return None
        low, high = (log10(v) if self.log else v for v in (self.low, self.high))
        part = ((log10(value) if self.log else value) - low) / (high - low)
        return round(self.start + min(max(part, 0.0), 1.0) * (self.end - self.start), 2)


def plot(value: object) -> Plot | None:
    """The layout of a figure that evidence holds; None where there is nothing to draw.

    >>> plot({"title": "nothing", "x": {"label": "x"}, "y": {"label": "y"}, "curves": []}) is None
    True
    """
    figure = Figure.read(value)
    if figure is None:
        return None
    curves = [curve for curve in figure.curves if curve.x][:MOST_CURVES]
    across = _span([v for c in curves for v in c.x], figure.x, LEFT, WIDTH - RIGHT)
    tall = [v for c in curves for v in (*c.y, *c.low, *c.high)]
    up = _span([*tall, *figure.lines.values()], figure.y, HEIGHT - BOTTOM, TOP)
    if across is None or up is None:
        return None
    drawn = tuple(_drawn(curve, n, across, up) for n, curve in enumerate(curves))
    if not any(curve.marks for curve in drawn):
        return None
    return Plot(
        title=line(figure.title, LABEL),
        note=line(figure.note),
        x_label=_label(figure.x),
        y_label=_label(figure.y),
        x_ticks=_ticks(across),
        y_ticks=_ticks(up),
        curves=drawn,
        lines=tuple(
            (line(name, LABEL), at)
            for name, v in list(figure.lines.items())[:MOST_CURVES]
            if (at := up.at(v)) is not None
        ),
    )


def _label(scale: Scale) -> str:
    return line(scale.label, LABEL) + (" (log scale)" if scale.log else "")


def _span(values: Iterable[float], scale: Scale, start: float, end: float) -> Span | None:
    shown = [v for v in finite(values) if v > 0 or not scale.log]
    if not shown:
        return None
    low, high = min(shown), max(shown)
    if scale.log:
        # A span of some powers of ten, so that a curve that is level looks level.
        low, high = 10.0 ** max(floor(log10(low)), -307), 10.0 ** min(ceil(log10(high)), 308)
        return Span(low, high if high > low else 10 * low, start, end, log=True)
    if high == low:
        low, high = low - abs(low or 1) / 2, high + abs(high or 1) / 2
    return Span(low, high, start, end, log=False) if isfinite(high - low) else None


def _ticks(span: Span) -> tuple[Tick, ...]:
    values = _powers(span) if span.log else _round_numbers(span)
    found = ((span.at(value), value) for value in values)
    return tuple(Tick(at, _number(v, log=span.log)) for at, v in found if at is not None)


def _powers(span: Span) -> list[float]:
    first, last = round(log10(span.low)), round(log10(span.high))
    step = max(1, ceil((last - first) / (MOST_TICKS - 1)))
    return [10.0**power for power in range(first, last + 1, step)]


def _round_numbers(span: Span) -> list[float]:
    rough = (span.high - span.low) / (MOST_TICKS - 1)
    power = 10.0 ** floor(log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first = ceil(span.low / step - 1e-9)
    count = floor(span.high / step + 1e-9) - first + 1
    return [(first + n) * step for n in range(max(0, min(count, 2 * MOST_TICKS)))]


def _number(value: float, *, log: bool) -> str:
    if log and not 1e-3 < value < 1e4:
        return f"1e{round(log10(value))}"
    return f"{value:.6g}" if abs(value) > 1e-12 else "0"


def _drawn(curve: Curve, number: int, across: Span, up: Span) -> Drawn:
    every = max(1, -(-len(curve.x) // MOST_POINTS))
    places = [across.at(x) for x in curve.x[::every]]
    points = list(zip(places, (up.at(y) for y in curve.y[::every]), strict=True))
    seen = [(x, y) for x, y in points if x is not None and y is not None]
    band = _band(places, curve.low[::every], curve.high[::every], up)
    most = SCATTERED if curve.scattered else MARKS
    marks = tuple(seen[:: max(1, -(-len(seen) // most) if curve.scattered else len(seen) // most)])
    path = "" if curve.scattered else _path(points)
    return Drawn(line(curve.name, LABEL), number, path, band, marks)


def _path(points: Sequence[tuple[float | None, float | None]]) -> str:
    """Lines between neighbours that the axes have a place for; a gap where they have none."""
    parts, pen = [], "M"
    for x, y in points:
        if x is None or y is None:
            pen = "M"
            continue
        parts.append(f"{pen}{x} {y}")
        pen = "L"
    return "".join(parts)


def _band(
    places: Sequence[float | None], low: Sequence[float], high: Sequence[float], up: Span
) -> str:
    """The area between two curves; what lies below the axis is cut off at its foot."""
    there, back = [], []
    for x, bottom, top in zip(places, low, high, strict=False):
        at = up.at(top)
        if x is not None and at is not None:
            foot = up.at(bottom)
            there.append(f"{x} {at}")
            back.append(f"{x} {up.start if foot is None else foot}")
    return f"M{'L'.join(there)}L{'L'.join(reversed(back))}Z" if there else ""
