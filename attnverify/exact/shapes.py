"""From arrays to axis sizes: product axes are solved, and every disagreement is told in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from attnverify.algebra.sizes import completed
from attnverify.algebra.terms import Axis, Entry, Place
from attnverify.errors import ShapeError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _Found:
    """One axis of one array: the factors that it is made of and how many positions it has."""

    tensor: str
    place: int
    parts: tuple[Axis, ...]
    length: int

    def text(self) -> str:
        """The axis in words."""
        return "*".join(axis.name for axis in self.parts)


def as_array(name: str, values: object, spec: str = "") -> Array:
    """Nested lists or an array of any kind as a NumPy array of Python numbers, exactly."""
    try:
        found = values if isinstance(values, np.ndarray) else np.array(values, dtype=object)
    except ValueError as error:
        raise ShapeError("nested lists of unequal lengths", spec=spec, array=name) from error
    if found.dtype == object:
        return found
    if found.dtype.kind in "biuUScmM" or found.dtype == np.longdouble:
        return found.astype(object)
    # Narrower floats, those that NumPy does not know itself among them, are float64 numbers too.
    return found.astype(np.float64).astype(object)


# What most numbers are: asking of what kind a type is takes a while.
_KINDS: dict[type, str] = {bool: "bool", int: "int", float: "real", Fraction: "real"}


def kind_of(value: object) -> str:
    """The kind of one number: bool, int or real; the type's name for anything else.

    >>> kind_of(True), kind_of(3), kind_of(0.5), kind_of("1")
    ('bool', 'int', 'real', 'str')
    """
    if (known := _KINDS.get(type(value))) is not None:
        return known
    if isinstance(value, bool | np.bool_):
        return "bool"
    if isinstance(value, Integral):
        return "int"
    return "real" if isinstance(value, Real) or hasattr(value, "_mpf_") else type(value).__name__


def axes_of(place: Place) -> tuple[Axis, ...]:
    """The axes that a place runs along: several on a product axis."""
    return tuple(i.axis for i in place) if isinstance(place, tuple) else (place.axis,)


def solve(
    spec: str,
    heads: tuple[Entry, ...],
    arrays: Mapping[str, Array],
    known: Mapping[str, int],
    axes: tuple[Axis, ...] = (),
) -> dict[str, int]:
    """The size of every axis, from all arrays.

    A factor of a product axis is that axis's size divided by the factors that are known; `axes`
    declare what sizes are fixed or sums of others.
    Raises ShapeError that names the axis, the array, what was found and what was due.
    """
    found = [row for head in heads for row in _rows(spec, head, arrays[head.tensor.name])]
    sizes = dict(known)
    settled = -1
    while settled != len(sizes):
        settled = len(sizes)
        sizes = completed(axes, sizes, spec)
        for row in found:
            _settle(spec, row, sizes)
    for row in found:
        loose = [axis.name for axis in row.parts if axis.name not in sizes]
        if loose:
            raise ShapeError(
                "the size of an axis does not follow from the arrays",
                spec=spec,
                array=row.tensor,
                axis=row.text(),
                found=f"{row.length} positions for {' and '.join(loose)}",
                hint="give it in sizes={...}",
            )
    return sizes


def _rows(spec: str, head: Entry, array: Array) -> list[_Found]:
    name = head.tensor.name
    if array.ndim != len(head.places):
        raise ShapeError(
            "an array has the wrong number of axes",
            spec=spec,
            array=name,
            found=f"{array.ndim} in shape {array.shape}",
            due=f"{len(head.places)} as in {head}",
        )
    return [
        _Found(name, spot, axes_of(place), length)
        for spot, (place, length) in enumerate(zip(head.places, array.shape, strict=True))
    ]


def _settle(spec: str, row: _Found, sizes: dict[str, int]) -> None:
    """Fix the one unknown factor of an axis, or compare where all are known."""
    unknown = [axis.name for axis in row.parts if axis.name not in sizes]
    known = math.prod(sizes[axis.name] for axis in row.parts if axis.name in sizes)
    if len(set(unknown)) > 1:
        return
    fits = row.length == known if not unknown else known > 0 and row.length % known == 0
    if not fits:
        due = str(known) if not unknown else f"a multiple of {known}"
        raise ShapeError(
            "an axis has another size than elsewhere",
            spec=spec,
            array=row.tensor,
            axis=f"{row.text()} (axis {row.place})",
            found=str(row.length),
            due=due,
        )
    if unknown:
        sizes[unknown[0]] = row.length // known
