"""Entries of drawn arrays, by style: signed always, each reaching what others leave out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from attnverify.algebra.predicates import Compare, leaves
from attnverify.algebra.rewrite import entries as entries_of
from attnverify.algebra.rewrite import free
from attnverify.algebra.terms import Entry, Place, Scalar, symbol_axis, symbol_index
from attnverify.dtypes import FloatType, float_type
from attnverify.spec import Spec

Array = NDArray[Any]
Rng = np.random.Generator


@dataclass(frozen=True)
class Site:
    """The array to fill: generator, shape, which of the data inputs it is, what its type can do.

    `reach` is the score whose exponential leaves the range of the subject's type, or loses its
    meaning in it; `depth` how far from zero scores are still told apart; `tiny` a denormal number.
    """

    rng: Rng
    shape: tuple[int, ...]
    number: int = 0
    reach: float = 709.0
    depth: float = 1e6
    tiny: float = 1e-320


def _normal(site: Site) -> Array:
    return site.rng.standard_normal(site.shape)


def _offset(site: Site) -> Array:
    """A mean per channel: what cancels in signed draws adds up here."""
    channel = site.rng.standard_normal(site.shape[-1:])
    side = float(site.rng.choice([-1.0, 1.0]))
    return np.asarray(site.rng.standard_normal(site.shape) + channel + side)


def _zeros(site: Site) -> Array:
    return site.rng.standard_normal(site.shape) * (site.rng.random(site.shape) < 0.7)


def _integers(site: Site) -> Array:
    return site.rng.integers(-2, 3, site.shape).astype(float)


def _spread(site: Site) -> Array:
    """Rows of very different scale."""
    rows = 10.0 ** site.rng.uniform(-2, 0.5, (*site.shape[:-1], 1) if site.shape else ())
    return site.rng.standard_normal(site.shape) * rows


def _giant(site: Site) -> Array:
    """One row of each matrix several times the others: one key takes all."""
    array = site.rng.standard_normal(site.shape)
    if len(site.shape) > 1 and site.shape[-2]:
        array[..., int(site.rng.integers(site.shape[-2])), :] *= 8 / max(
            1.0, site.shape[-1] ** 0.5 / 4
        )
    return array


def _towering(site: Site) -> Array:
    """Scores past the reach of exp, of both signs: a softmax that does not shift overflows."""
    return float(np.sqrt(1.2 * site.reach)) * site.rng.standard_normal(site.shape)


def _sunken(site: Site) -> Array:
    """All scores far below zero: a softmax that does not shift its scores divides by zero."""
    return _below(site, 1.7 * site.reach)


def _deep(site: Site) -> Array:
    """All scores so far below zero that constants meant as minus infinity stand above them."""
    return _below(site, site.depth)


def _below(site: Site, depth: float) -> Array:
    """Entries whose scores lie around minus a depth."""
    # Two opposite means of size a give the product of two rows of d entries, over sqrt(d), a mean
    # of -a^2 sqrt(d).
    mean = np.sqrt(depth / max((1, *site.shape[-1:])) ** 0.5)
    array = site.rng.standard_normal(site.shape)
    return array + mean * (1, -1)[site.number] if site.number < 2 else array


def _equal(site: Site) -> Array:
    """All rows of the second input, the keys, alike: every score of a row is tied."""
    array = site.rng.standard_normal(site.shape)
    return array if site.number != 1 or array.ndim < 2 else array[..., :1, :] + 0 * array


def _tiny(site: Site) -> Array:
    """Zeros of both signs and denormals of both signs among the entries."""
    array = site.rng.standard_normal(site.shape)
    scale = site.rng.choice([1.0, 1.0, 0.0, site.tiny], site.shape)
    return np.asarray(array * scale)


STYLES: dict[str, Callable[[Site], Array]] = {
    "normal": _normal,
    "peaked": lambda site: 2.5 * site.rng.standard_normal(site.shape),
    "flat": lambda site: 0.1 * site.rng.standard_normal(site.shape),
    "offset": _offset,
    "zeros": _zeros,
    "integers": _integers,
    "spread": _spread,
    "giant": _giant,
    "towering": _towering,
    "sunken": _sunken,
}
# What only the corners draw.
CORNER_STYLES: dict[str, Callable[[Site], Array]] = {
    "deep": _deep,
    "equal": _equal,
    "tiny": _tiny,
}
# Scores of bfloat16 mean nothing long before its exp overflows.
REACH = {"float64": 709.0, "float32": 88.0, "float16": 11.0, "bfloat16": 12.0}
# Scores this far from zero keep a hundredth of their distances; narrow types have no such room.
DEPTH = {"float64": 1e6, "float32": 1e5, "float16": 20.0, "bfloat16": 20.0}
COTANGENT_STYLES = ("offset", "zeros", "integers")


def shape_of(entry: Entry, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of an array with the places of an entry, product axes as one."""
    return tuple(_place_size(place, sizes) for place in entry.places)


def _place_size(place: Place, sizes: Mapping[str, int]) -> int:
    parts = place if isinstance(place, tuple) else (place,)
    return int(np.prod([sizes[index.axis.name] for index in parts]))


def real_entries(
    spec: Spec,
    sizes: Mapping[str, int],
    style: str,
    dtype: str,
    rng: Rng,
    *,
    types: Mapping[str, FloatType] | None = None,
) -> dict[str, Array]:
    """The real inputs of a spec, rounded to `dtype`; weights keep the size of what they act on.

    `types` has the inputs of another type; what is past the end of 8 bits is brought to it.
    """
    first = spec.inputs[0].indices[0] if spec.inputs[0].indices else None
    own = float_type(dtype)
    fill = (STYLES | CORNER_STYLES)[style]
    found: dict[str, Array] = {}
    for entry in spec.inputs:
        if entry.tensor.kind != "real":
            continue
        shape = shape_of(entry, sizes)
        weights = first not in entry.indices
        kind = (types or {}).get(entry.tensor.name, own)
        site = Site(rng, shape, len(found), REACH[dtype], DEPTH[dtype], 3 * kind.quantum)
        values = _normal(site) if weights else fill(site)
        if weights and shape:
            values = values / np.sqrt(max(shape))
        if kind.largest < own.largest:
            values = np.clip(values, -kind.largest, kind.largest)
        found[entry.tensor.name] = np.asarray(values).astype(kind.numpy)
    return found


def structure_entries(
    spec: Spec,
    sizes: Mapping[str, int],
    rng: Rng,
    keep: float,
    *,
    empty: bool,
    form: str = "scattered",
) -> dict[str, Array]:
    """The boolean and integer inputs: masks that keep a share, lengths up to the full one."""
    found: dict[str, Array] = {}
    for entry in spec.inputs:
        shape, name = shape_of(entry, sizes), entry.tensor.name
        if entry.tensor.kind == "bool":
            mask = _mask(rng, shape, keep, form)
            if empty and shape and shape[-1]:
                # Whole rows without keys hardly come about by single draws.
                mask &= rng.random((*shape[:-1], 1)) < 0.8
            found[name] = mask
        elif entry.tensor.kind == "int":
            low, high = integer_range(spec, name, sizes)
            full = rng.random(shape) < keep - 0.2
            spread = rng.integers(0 if empty else low, high + 1, shape)
            # A length is often the full one; a position is as likely as any other.
            found[name] = np.where(full, high, spread) if low else spread
    return found


def _mask(rng: Rng, shape: tuple[int, ...], keep: float, form: str) -> Array:
    """A mask that keeps a share of its places, or all after, before or but one along the rows."""
    if form == "scattered" or not shape or not shape[-1]:
        return np.asarray(rng.random(shape) < keep)
    place = np.arange(shape[-1])
    bound = rng.integers(0, shape[-1], (*shape[:-1], 1))
    if form == "one":
        return np.asarray(place == bound)
    return np.asarray(place >= bound if form == "left" else place <= bound)


def integer_range(spec: Spec, name: str, sizes: Mapping[str, int]) -> tuple[int, int]:
    """The least and the largest value of an integer input.

    A length reaches the size of the axis that it is compared with, and is at least 1 where it can
    be; what is compared for equality with positions is itself a position.
    """
    found = [leaf for leaf in _comparisons(spec, name) if leaf.op not in ("==", "!=")]
    for leaf in found:
        for symbol in _symbols(leaf):
            index, axis = symbol_index(symbol), symbol_axis(symbol)
            named = index.axis.name if index is not None else axis
            if named is not None and named in sizes:
                return min(1, sizes[named]), sizes[named]
    for leaf in _comparisons(spec, name):
        for side in (leaf.left, leaf.right):
            if isinstance(side, Scalar) and free(side):
                return 0, _largest(side.value, sizes)
    largest = max(sizes.values(), default=1)
    return min(1, largest), largest


def _comparisons(spec: Spec, name: str) -> Iterator[Compare]:
    """The comparisons that read an input."""
    for predicate in spec.predicates():
        for leaf in leaves(predicate):
            if isinstance(leaf, Compare) and any(
                entry.tensor.name == name
                for side in (leaf.left, leaf.right)
                for entry in entries_of(side)
            ):
                yield leaf


def _symbols(leaf: Compare) -> list[sympy.Symbol]:
    sides = [side.value for side in (leaf.left, leaf.right) if isinstance(side, Scalar)]
    return sorted({symbol for side in sides for symbol in side.free_symbols}, key=str)


def _largest(value: sympy.Expr, sizes: Mapping[str, int]) -> int:
    """A scalar with every index at its last position; names that are no sizes count as 1."""
    table: dict[sympy.Symbol, int] = {}
    for symbol in value.free_symbols:
        index, axis = symbol_index(symbol), symbol_axis(symbol)
        last = sizes.get(index.axis.name, 1) - 1 if index is not None else 1
        table[symbol] = last if axis is None else sizes.get(axis, 1)
    return max(0, int(value.xreplace(table)))
