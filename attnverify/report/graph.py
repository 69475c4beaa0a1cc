"""Which spec becomes which other, as a graph: laid out in columns, the more general to the left.

Each node stands beside the middle of what becomes it, so that the lines of a tree never cross.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean

# Units of the picture: of a row, of a letter, between columns, and around a label.
ROW, LETTER, GAP, PAD = 27, 7.1, 54, 9
LEAST = 2
DEEPEST = 40


@dataclass(frozen=True)
class Step:
    """One spec becoming another, in words; `kind` is that of its verdict, if it has one here."""

    source: str
    target: str
    words: str
    href: str
    kind: str = ""


@dataclass(frozen=True)
class Node:
    """One spec: its place, and where its page is, if there is one."""

    name: str
    href: str
    x: float
    y: float
    width: float


@dataclass(frozen=True)
class Line:
    """The way from one node to another, and what stands at it."""

    path: str
    step: Step
    label: str


@dataclass(frozen=True)
class Graph:
    """The whole picture; `steps` are all of them in words, also where two share a line."""

    width: int
    height: int
    nodes: tuple[Node, ...]
    lines: tuple[Line, ...]
    steps: tuple[Step, ...]


@dataclass
class _Tree:
    """Each node under one of those that it becomes; rows are handed out leaf by leaf."""

    below: Mapping[str, list[str]]
    rows: dict[str, float] = field(default_factory=dict)
    used: int = 0

    def place(self, name: str) -> float:
        """The row of a node, those of what becomes it handed out first."""
        rows = [self.place(child) for child in self.below.get(name, ())]
        if not rows:
            self.used += 1
        self.rows[name] = fmean(rows) if rows else self.used - 1
        return self.rows[name]


def graph(steps: Iterable[Step], hrefs: Mapping[str, str]) -> Graph | None:
    """The picture of these steps; None where they are too few or run in a circle.

    `hrefs` has the page of each spec that has one.

    >>> found = graph([Step("a", "b", "b at 0", ""), Step("b", "c", "c at 1", "")], {})
    >>> [node.name for node in sorted(found.nodes, key=lambda node: node.x)]
    ['a', 'b', 'c']
    """
    told = tuple(step for step in steps if step.source != step.target)
    pairs = list(dict.fromkeys((step.source, step.target) for step in told))
    depths = _depths(pairs)
    if len(pairs) < LEAST or depths is None:
        return None
    rows = _rows(pairs, depths)
    nodes = _nodes(depths, rows, hrefs)
    lines = tuple(_line(nodes[one], nodes[two], told) for one, two in pairs)
    return Graph(
        width=round(max(node.x + node.width for node in nodes.values())),
        height=round(ROW * (1 + max(rows.values()))),
        nodes=tuple(nodes.values()),
        lines=lines,
        steps=told,
    )


def _depths(pairs: list[tuple[str, str]]) -> dict[str, int] | None:
    """How many steps lie at most between a node and an end; None where they run in a circle."""
    depths = dict.fromkeys((name for pair in pairs for name in pair), 0)
    for _ in range(DEEPEST):
        before = dict(depths)
        for source, target in pairs:
            depths[source] = max(depths[source], depths[target] + 1)
        if depths == before:
            return depths
    return None


def _rows(pairs: list[tuple[str, str]], depths: Mapping[str, int]) -> dict[str, float]:
    under: dict[str, str] = {}
    for source, target in pairs:
        # The nearest of the ends: a line then spans as few columns as it can.
        if source not in under or depths[target] > depths[under[source]]:
            under[source] = target
    below: dict[str, list[str]] = {}
    for source, target in sorted(under.items()):
        below.setdefault(target, []).append(source)
    tree = _Tree(below)
    ends = [name for name in depths if name not in under]
    for name in sorted(ends, key=lambda name: (-_size(below, name), name)):
        tree.place(name)
    return tree.rows


def _size(below: Mapping[str, list[str]], name: str) -> int:
    return 1 + sum(_size(below, child) for child in below.get(name, ()))


def _nodes(
    depths: Mapping[str, int], rows: Mapping[str, float], hrefs: Mapping[str, str]
) -> dict[str, Node]:
    deepest = max(depths.values())
    widths = {name: round(LETTER * len(name) + 2 * PAD, 1) for name in depths}
    starts, at = {}, 0.0
    for depth in range(deepest, -1, -1):
        starts[depth] = at
        at += max(widths[name] for name in depths if depths[name] == depth) + GAP
    return {
        name: Node(
            name, hrefs.get(name, ""), round(starts[depth], 1),
            round(ROW * (rows[name] + 0.5), 1), widths[name],
        )
        for name, depth in depths.items()
    }  # fmt: skip


def _line(one: Node, two: Node, steps: tuple[Step, ...]) -> Line:
    own = [step for step in steps if (step.source, step.target) == (one.name, two.name)]
    x, end = round(one.x + one.width, 1), two.x
    # Straight across the column of a short label, so that curves begin where the column ends.
    bend = round(max(end - GAP, x), 1)
    middle = round((bend + end) / 2, 1)
    path = f"M{x} {one.y}H{bend}C{middle} {one.y} {middle} {two.y} {end} {two.y}"
    label = f"{one.name} is " + ", and ".join(step.words for step in own)
    return Line(path, own[0], label)
