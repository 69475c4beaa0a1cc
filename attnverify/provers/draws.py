"""Draw the cases that statements are tried on: sizes, parameters, styles and entries from a seed.

A draw is a set of input entries of its own. Draws of equal sizes and parameters stand in a group,
so that one run computes all of them; a plan has groups of many sizes, the plainest first.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from math import floor, prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from attnverify.algebra.parameters import inside, whole_values
from attnverify.algebra.predicates import Compare, Predicate, leaves
from attnverify.algebra.rewrite import entries, walk
from attnverify.algebra.sizes import fitted, joined
from attnverify.algebra.terms import (
    Axis,
    Entry,
    Expr,
    Parameter,
    Scalar,
    symbol_axis,
    symbol_index,
    symbols_of,
)
from attnverify.inputs.sizes import FEW
from attnverify.spec import Spec

Array = NDArray[Any]
Rng = np.random.Generator
Value = int | float

# From the plainest to the most unlike: shrinking prefers what stands first.
STYLES = ("small integers", "normal", "with a mean", "peaked", "ties and zeros")
# What meets no kink of relu and no tie of a maximum, where there is no derivative.
SMOOTH = ("normal", "with a mean", "peaked")
TIES = tuple(style for style in STYLES if style not in SMOOTH)
LARGEST = 5
# The largest sizes of axes that only repeat what one position shows.
FEWEST = 3
# Draws of one size: few, so that sizes are many.
TOGETHER = 8
SIZES = 8
SEGMENTS = 3


@dataclass(frozen=True)
class Case:
    """Sizes by axis, parameter values, and what the entries are drawn from."""

    sizes: Mapping[str, int]
    parameters: Mapping[str, Value]
    style: str
    seed: int

    def __str__(self) -> str:
        sizes = ", ".join(f"{axis}={size}" for axis, size in self.sizes.items())
        settings = "".join(f", {name}={value}" for name, value in self.parameters.items())
        return f"{sizes}{settings} ({self.style}, seed {self.seed})"


@dataclass(frozen=True)
class Group:
    """Draws, each a style and a seed, of the same sizes and parameters."""

    sizes: Mapping[str, int]
    parameters: Mapping[Parameter, Value]
    draws: tuple[tuple[str, int], ...]

    def cases(self, spec: Spec) -> list[Case]:
        """The draws as cases of one spec: its own sizes and parameters alone."""
        sizes = {axis.name: self.sizes[axis.name] for axis in spec.axes}
        parameters = {p.name: self.parameters[p] for p in spec.parameters}
        return [Case(sizes, parameters, style, seed) for style, seed in self.draws]

    def only(self, styles: Sequence[str]) -> Group:
        """The draws of some styles."""
        kept = tuple((style, seed) for style, seed in self.draws if style in styles)
        return Group(self.sizes, self.parameters, kept)


Plan = tuple[Group, ...]


def plan(
    specs: Iterable[Spec],
    examples: int,
    seed: int = 0,
    *,
    smooth: bool = False,
    room: Callable[[Mapping[str, int]], bool] = lambda _sizes: True,
    together: int = TOGETHER,
) -> Plan:
    """`examples` draws for specs that share inputs, in groups of different sizes.

    Where specs are not `smooth`, a fifth more are drawn with ties, which no gradient is asked at.
    The first group has all sizes one, the next two have large sizes and the plainest parameters.
    Sizes for which there is no `room` are brought down.
    `together` draws are of one size, fewer where there would be less than eight sizes.

    >>> from attnverify import load
    >>> sum(len(group.draws) for group in plan([load("global")], 50))
    60
    """
    specs = tuple(specs)
    axes = joined(axis for spec in specs for axis in spec.axes)
    parameters = tuple(dict.fromkeys(p for spec in specs for p in spec.parameters))
    rng = np.random.default_rng([seed, 31])
    count = min(examples, max(SIZES, -(-examples // together)))
    groups = []
    for number in range(count):
        sizes = fitting(axes, {axis.name: _size(axis, number, rng) for axis in axes}, room)
        values = {p: _value(p, number, rng) for p in parameters}
        draws = _draws(STYLES if smooth else SMOOTH, range(number, examples, count), rng)
        draws += () if smooth else _draws(TIES, range(number, examples // 5, count), rng)
        groups.append(Group(sizes, values, draws))
    return tuple(groups)


def _draws(styles: Sequence[str], numbers: range, rng: Rng) -> tuple[tuple[str, int], ...]:
    return tuple((styles[n % len(styles)], int(rng.integers(2**16))) for n in numbers)


def whole_sizes(axes: Iterable[Axis], free: Mapping[str, int]) -> dict[str, int]:
    """The sizes of all axes where those of some are chosen: every draw gets its sizes here."""
    axes = tuple(axes)
    return fitted(axes, {axis.name: free.get(axis.name, 1) for axis in axes})


def fitting(
    axes: Iterable[Axis], free: Mapping[str, int], room: Callable[[Mapping[str, int]], bool]
) -> dict[str, int]:
    """Sizes as wished, the largest brought down until there is room."""
    axes, wished = tuple(axes), dict(free)
    sizes = whole_sizes(axes, wished)
    while not room(sizes) and max(wished.values(), default=1) > 1:
        largest = max(wished, key=lambda name: wished[name])
        wished[largest] -= 1
        sizes = whole_sizes(axes, wished)
    return sizes


def _size(axis: Axis, number: int, rng: Rng) -> int:
    """A size for the group of this number: one, then room for structure to show, then any."""
    largest = FEWEST if axis.name in FEW else LARGEST
    drawn = int(rng.integers(1, largest + 1))
    return {0: 1, 1: largest, 2: largest - 1}.get(number, drawn)


def _value(parameter: Parameter, number: int, rng: Rng) -> Value:
    """A parameter's value: plain ones where there is room, so that they leave something to see."""
    found = plain_values(parameter)
    drawn = int(rng.integers(len(found)))
    return found[{1: 0, 2: min(1, len(found) - 1)}.get(number, drawn)]


def plain_values(parameter: Parameter, largest: int = LARGEST) -> list[Value]:
    """Values inside a parameter's domain, the plainest first.

    Whole numbers from the lower bound up, or eighths of the way through the domain.
    """
    step = parameter.multiple_of or 1
    low = parameter.ge if parameter.ge is not None else parameter.gt
    high = parameter.le if parameter.le is not None else parameter.lt
    if low is None:
        low = Fraction(-2) if high is None else high - 4 * step
    end = low + (largest + 2) * step if high is None else min(high, low + 2 * largest * step)
    if parameter.integer:
        return list(whole_values(parameter, floor(low), floor(end)))
    end = end if high is None else high
    steps = [low + (end - low) * Fraction(n, 8) for n in range(9)]
    return [float(step) for step in steps if inside(parameter, step)]


def cases(
    spec: Spec, styles: tuple[str, ...] = STYLES, largest: int = LARGEST
) -> st.SearchStrategy[Case]:
    """Cases of a spec as Hypothesis draws them: sizes from 1, parameters inside their domains."""
    return st.builds(
        Case,
        sizes=st.fixed_dictionaries({axis.name: st.integers(1, largest) for axis in spec.axes}).map(
            spec.fitted
        ),
        parameters=st.fixed_dictionaries({p.name: values(p, largest) for p in spec.parameters}),
        style=st.sampled_from(styles),
        seed=st.integers(0, 2**16),
    )


def values(parameter: Parameter, largest: int) -> st.SearchStrategy[Value]:
    """Values of a parameter as Hypothesis draws them."""
    return st.sampled_from(plain_values(parameter, largest))


def shape(entry: Entry, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of an array in the spec's own axis order, a product axis as one."""
    return tuple(
        [
            prod([sizes[i.axis.name] for i in place])
            if isinstance(place, tuple)
            else sizes[place.axis.name]
            for place in entry.places
        ]
    )


def draw(spec: Spec, case: Case) -> dict[str, Array]:
    """The input arrays of a case, the same for the same case."""
    return Drawer(spec).arrays(case)


@dataclass(frozen=True)
class Meaning:
    """What the integers of an input stand for: places or a number of places of an axis, or ids."""

    axis: str | None = None
    position: bool = False


@dataclass(frozen=True)
class Drawer:
    """Draws the inputs of one spec.

    What integers stand for is read from its predicates first, then from `further` ones.
    """

    spec: Spec
    further: tuple[Predicate, ...] = ()

    def arrays(self, case: Case) -> dict[str, Array]:
        """The arrays of all inputs."""
        return {entry.tensor.name: self.array(entry, case) for entry in self.spec.inputs}

    def meaning(self, name: str) -> Meaning:
        """What the integers of an input stand for."""
        return self._meanings.get(name, Meaning())

    def array(self, entry: Entry, case: Case) -> Array:
        """The array of an input, which follows from its name, its shape and the case alone."""
        kind, meaning = entry.tensor.kind, Meaning()
        if kind == "int":
            meaning = self.meaning(entry.tensor.name)
        length = None if meaning.axis is None else case.sizes[meaning.axis]
        places = None if length is None else (length, meaning.position)
        style = case.style if kind == "real" else ""
        size = shape(entry, case.sizes)
        seeds = (case.seed, zlib.crc32(entry.tensor.name.encode()))
        return _drawn(seeds, kind, size, style, places).copy()

    @cached_property
    def _meanings(self) -> dict[str, Meaning]:
        found: dict[str, Meaning] = {}
        for predicate in (*self.spec.predicates(), *self.further):
            for leaf in leaves(predicate):
                if not isinstance(leaf, Compare):
                    continue
                sides = (leaf.left, leaf.right)
                axis = next((axis for side in sides for axis in _axes(side)), None)
                for name in (e.tensor.name for side in sides for e in entries(side)):
                    if found.get(name, Meaning()).axis is None:
                        found[name] = Meaning(axis, leaf.op in ("==", "!="))
        return found


@lru_cache(maxsize=4096)
def _drawn(
    seeds: tuple[int, int],
    kind: str,
    size: tuple[int, ...],
    style: str,
    places: tuple[int, bool] | None,
) -> Array:
    """The entries that a case gives an input; many specs and checks read the same ones."""
    rng = np.random.default_rng(seeds)
    if kind == "bool":
        # Some rows see nothing and some see everything.
        return np.asarray(rng.random(size) < rng.choice([0.15, 0.6, 0.95]))
    return _integers(rng, size, places) if kind == "int" else np.asarray(_real(rng, size, style))


def _integers(rng: Rng, size: tuple[int, ...], places: tuple[int, bool] | None) -> Array:
    """Ids, or places or numbers of places of an axis, `places` its length and whether places."""
    if places is None:
        ids = rng.integers(0, SEGMENTS, size)
        return np.sort(ids, axis=-1) if size else np.asarray(ids)
    length, position = places
    # A position is from 0 to the size less one, a length up to the size; a few lie outside.
    inside = rng.integers(0, length if position else length + 1, size)
    outside = rng.choice([-1, length] if position else [length, length + 1], size)
    return np.where(rng.random(size) < 0.1, outside, inside)


def _axes(side: Expr) -> list[str]:
    """The axes whose positions or sizes a side of a comparison mentions."""
    found = []
    for node in walk(side):
        if isinstance(node, Scalar):
            for symbol in symbols_of(node.value):
                index = symbol_index(symbol)
                axis = index.axis.name if index is not None else symbol_axis(symbol)
                found += [axis] if axis is not None else []
    return found


def _real(rng: Rng, size: tuple[int, ...], style: str) -> Array:
    if style == "small integers":
        return rng.integers(-2, 3, size).astype(float)
    if style == "ties and zeros":
        return rng.choice([-1.0, 0.0, 0.0, 0.5, 1.0], size)
    drawn = rng.standard_normal(size)
    if style == "with a mean":
        return drawn + 2
    return drawn * 6 if style == "peaked" else drawn
