"""Where entries fail, in words that are exactly true, and as a small map of the error."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.inputs.sizes import CHANNELS, FEW

Array = NDArray[Any]

# A map has at most this many rows and columns; more would be no picture but a table.
CELLS = 32
TILES = (16, 32, 64, 128)
# A list of more places than this, or a place on more axes, says less than the map does.
LISTED = 3
_PLAIN = {*FEW, *CHANNELS}


def where(
    wrong: Array, axes: tuple[str, ...], numbers: Mapping[str, Any] | None = None
) -> tuple[str, ...]:
    """What the failing entries have in common, the shortest statement first; empty where nothing.

    `wrong` is true at the entries that fail; `numbers` are the parameters, by which bounds are
    told.  "all of" and "exactly where" name the whole set of failures; "every row" and "only" say
    less, and what they say is true to the entry.

    >>> failing = np.zeros((2, 3, 4), bool)
    >>> failing[:, 1] = True
    >>> where(failing, ("batch", "heads", "queries"))
    ('all of heads=1',)
    >>> where(np.eye(4, dtype=bool), ("queries", "keys"))
    ('exactly where queries = keys',)
    """
    if wrong.size < 2 or not wrong.any():
        return ()
    if wrong.all():
        return ("every entry",)
    if wrong.sum() == 1:
        return ("one entry alone",)
    known = _whole(numbers or {})
    return _exactly(wrong, axes, known) or _about(wrong, axes, known)


def error_map(excess: Array, axes: tuple[str, ...]) -> dict[str, Any]:
    """The largest error over its bound by row and column, over the last two axes of an output.

    The other axes, and the places that share a cell, are reduced by the maximum.  Empty where
    there is no entry.

    >>> error_map(np.ones((2, 64, 3)), ("heads", "queries", "value_dim"))["steps"]
    [2, 1]
    """
    if excess.ndim == 0 or not excess.size:
        return {}
    flat = excess[None] if excess.ndim == 1 else excess
    table = flat.max(axis=tuple(range(flat.ndim - 2)))
    steps = [ceil(size / CELLS) for size in table.shape]
    for axis, step in enumerate(steps):
        starts = np.arange(0, table.shape[axis], step)
        table = np.maximum.reduceat(table, starts, axis=axis)
    return {
        "axes": ["", *axes][-2:],
        "sizes": list(flat.shape[-2:]),
        "steps": steps,
        "cells": [[float(f"{cell:.3g}") for cell in row] for row in table],
    }


def _whole(numbers: Mapping[str, Any]) -> dict[int, str]:
    """The names of whole numbers that a bound may be told by; of two equal ones neither."""
    found: dict[int, list[str]] = {}
    for name, value in numbers.items():
        if isinstance(value, int | float) and value == int(value):
            found.setdefault(int(value), []).append(name)
    return {value: names[0] for value, names in found.items() if len(names) == 1}


def _exactly(wrong: Array, axes: tuple[str, ...], known: dict[int, str]) -> tuple[str, ...]:
    """Statements that name the set of failures: a box of places, or a relation of two axes."""
    found = []
    places = _box(wrong, axes, known)
    if places is not None and bool((_outer(wrong) == wrong).all()):
        found.append(f"all of {places}")
    for pair in _pairs(axes):
        told = _relation(wrong, pair, axes, known)
        found += [f"exactly where {told}"] if told else []
    return tuple(sorted(found, key=len))


def _about(wrong: Array, axes: tuple[str, ...], known: dict[int, str]) -> tuple[str, ...]:
    """Places outside of which nothing fails, and on each of which something does."""
    rows = _rows(wrong, axes, known)
    found = [f"every row of {rows} somewhere, and no other row"] if rows else []
    for axis, name in enumerate(axes):
        told = _subset(_seen(wrong, axis), name, known)
        found += [f"only {told}"] if told and told != rows else []
    for pair in _pairs(axes):
        at = _differences(wrong, pair)
        told = "" if at is None else _difference(*at, axes[pair[0]], axes[pair[1]], known)
        found += [f"only where {told}"] if told else []
    return tuple(sorted(found, key=len)[:LISTED])


def _rows(wrong: Array, axes: tuple[str, ...], known: dict[int, str]) -> str:
    """The places whose rows are all hit, each somewhere, and no other row; empty where not so."""
    rows = _any(wrong, (-1,))
    if not rows.ndim or not bool((_outer(rows) == rows).all()):
        return ""
    return _box(rows, axes[:-1], known) or ""


def _pairs(axes: tuple[str, ...]) -> list[tuple[int, int]]:
    """Two axes each whose places can be told by their difference: no batch, head or channel."""
    lengths = [n for n, name in enumerate(axes) if not set(name.split("*")) & _PLAIN]
    return list(combinations(lengths, 2))


def _any(wrong: Array, axes: tuple[int, ...]) -> Array:
    return np.asarray(wrong.any(axis=axes))


def _seen(wrong: Array, axis: int) -> Array:
    """Which places of an axis have a failure."""
    return _any(wrong, tuple(n for n in range(wrong.ndim) if n != axis))


def _outer(wrong: Array) -> Array:
    """The smallest box of places that holds every failure."""
    box = np.ones(wrong.shape, bool)
    for axis in range(wrong.ndim):
        shape = [-1 if n == axis else 1 for n in range(wrong.ndim)]
        box &= _seen(wrong, axis).reshape(shape)
    return box


def _box(wrong: Array, axes: tuple[str, ...], known: dict[int, str]) -> str | None:
    """The places of each axis that has other places too; None where some have no short name."""
    told = []
    for axis, name in enumerate(axes):
        seen = _seen(wrong, axis)
        if not seen.all():
            told.append(_subset(seen, name, known))
    return ", ".join(told) if told and all(told) and len(told) <= LISTED else None


def _subset(seen: Array, name: str, known: dict[int, str]) -> str:
    """Some places of an axis, in words; empty for all of them or none, or without short words."""
    at, size = np.flatnonzero(seen), len(seen)
    if not len(at) or len(at) == size:
        return ""
    first, last = int(at[0]), int(at[-1])
    if len(at) == 1:
        return f"{name}={first}"
    if len(at) == size - 1:
        return _all_but(int(np.flatnonzero(~seen)[0]), size, name, known)
    if len(at) == last - first + 1:
        return _interval(first, last, size, name, known)
    for step in range(2, size // 2 + 1):
        if first < step and at.tolist() == list(range(first, size, step)) and len(at) > 2:
            return _progression(first, step, name)
    listed = [str(int(place)) for place in at]
    return f"{name} {', '.join(listed[:-1])} and {listed[-1]}" if len(at) <= LISTED else ""


def _all_but(missing: int, size: int, name: str, known: dict[int, str]) -> str:
    """All places but one; where the one is an end, a parameter's name says more."""
    if missing == 0 and {0, 1} & known.keys():
        return _beyond(name, ">=", 1, known)
    if missing == size - 1 and {missing, missing - 1} & known.keys():
        return _beyond(name, "<", missing, known)
    ends = {0: "the first", size - 1: f"the last ({missing})"}
    return f"{name} other than {ends.get(missing, missing)}"


def _interval(first: int, last: int, size: int, name: str, known: dict[int, str]) -> str:
    """Consecutive places, told from the end that they reach."""
    if last < size - 1:
        return f"{name} {first} to {last}" if first else _beyond(name, "<", last + 1, known)
    tiles = [tile for tile in TILES if first % tile == 0 and tile < size <= first + tile]
    if tiles:
        which = " or ".join(map(str, tiles))
        return f"{name} in the last tile of {which} ({name} >= {first})"
    return _beyond(name, ">=", first, known)


def _beyond(what: str, sign: str, bound: int, known: dict[int, str]) -> str:
    """An inequality, its bound named where it, or the number before it, is a parameter."""
    strict = {">=": ">", "<": "<="}[sign]
    if bound in known:
        return f"{what} {sign} {known[bound]} ({bound})"
    if bound - 1 in known:
        return f"{what} {strict} {known[bound - 1]} ({bound - 1})"
    return f"{what} {sign} {bound}"


def _progression(first: int, step: int, name: str) -> str:
    if step == 2:
        return f"{'odd' if first else 'even'} {name}"
    return f"{name} = {first} modulo {step}"


def _relation(
    wrong: Array, pair: tuple[int, int], axes: tuple[str, ...], known: dict[int, str]
) -> str:
    """The relation of two axes, and the places of the others, that failures are the set of."""
    others = tuple(n for n in range(wrong.ndim) if n not in pair)
    plane = _any(wrong, others)
    at = _differences(wrong, pair)
    if at is None or not bool((at[0][_offsets(plane)] == plane).all()):
        return ""
    rest = _any(wrong, pair)
    if not bool((np.expand_dims(plane, others) & np.expand_dims(rest, pair) == wrong).all()):
        return ""
    told = _difference(*at, axes[pair[0]], axes[pair[1]], known)
    if not told or rest.all():
        return told
    places = _box(rest, tuple(axes[n] for n in others), known)
    return f"{told}, {places}" if places and bool((_outer(rest) == rest).all()) else ""


def _differences(wrong: Array, pair: tuple[int, int]) -> tuple[Array, int] | None:
    """Which differences of two places have a failure, and the least difference; None of few."""
    plane = _any(wrong, tuple(n for n in range(wrong.ndim) if n not in pair))
    if min(plane.shape) < 2:
        return None
    offsets = _offsets(plane)
    hit = np.zeros(sum(plane.shape) - 1, bool)
    hit[offsets[plane]] = True
    return hit, 1 - plane.shape[1]


def _offsets(plane: Array) -> Array:
    """The difference of the two places of each entry, counted from the least one."""
    i, j = np.indices(plane.shape)
    return np.asarray(i - j + plane.shape[1] - 1)


def _difference(hit: Array, least: int, one: str, two: str, known: dict[int, str]) -> str:
    """A set of differences of two places, in words; empty for all of them, or without words."""
    at = np.flatnonzero(hit) + least
    most = least + len(hit) - 1
    if not len(at) or len(at) == len(hit):
        return ""
    first, last = int(at[0]), int(at[-1])
    if len(at) != last - first + 1:
        return _apart(at, least, most, f"|{one} - {two}|", known)
    if first == last:
        return f"{one} = {two}" if first == 0 else f"{one} - {two} = {first}"
    if last == most:
        named = {0: f"{one} >= {two}", 1: f"{one} > {two}"}
        return named.get(first) or _beyond(f"{one} - {two}", ">=", first, known)
    if first == least:
        named = {0: f"{two} >= {one}", -1: f"{two} > {one}"}
        return named.get(last) or _beyond(f"{two} - {one}", ">=", -last, known)
    if first == -last:
        return _beyond(f"|{one} - {two}|", "<", last + 1, known)
    return f"{first} <= {one} - {two} <= {last}"


def _apart(at: Array, least: int, most: int, what: str, known: dict[int, str]) -> str:
    """Differences of at least some size, of either sign."""
    size = int(np.abs(at).min())
    far = [n for n in range(least, most + 1) if abs(n) >= size]
    return _beyond(what, ">=", size, known) if size and at.tolist() == far else ""
