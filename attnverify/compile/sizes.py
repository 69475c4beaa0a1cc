"""Solve the sizes of a spec's axes from the shapes of its input arrays."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from attnverify.algebra.terms import Place
from attnverify.errors import ShapeError
from attnverify.spec import Spec

Shape = tuple[int, ...]


def bind(
    spec: Spec, shapes: Mapping[str, Shape], known: Mapping[str, int] | None = None
) -> dict[str, int]:
    """The size of every axis; a factor of a product axis follows from the others.

    So does what a declaration says: a fixed size, or the sum of two. `known` gives sizes that the
    arrays leave open; those of axes that the spec lacks are not looked at.

    Raises ShapeError that names the array, the axis, what was found and what was due.
    """
    names = {axis.name for axis in spec.axes}
    sizes = {axis: int(size) for axis, size in (known or {}).items() if axis in names}
    products: list[tuple[str, Place, int]] = []
    for entry in spec.inputs:
        name, shape = entry.tensor.name, shapes[entry.tensor.name]
        if len(shape) != len(entry.places):
            raise ShapeError(
                "an array has the wrong number of axes",
                spec=spec.name,
                found=f"{name} of shape {shape}",
                due=f"{len(entry.places)} axes: {_axes(entry.places)}",
            )
        for place, size in zip(entry.places, shape, strict=True):
            if isinstance(place, tuple):
                products.append((name, place, size))
            else:
                _set(spec, sizes, place.axis.name, size, name)
    settled = -1
    while settled != len(sizes):
        settled = len(sizes)
        sizes = spec.sized(sizes)
        for name, place, size in products:
            _split(spec, sizes, place, size, name)
    for name, place, size in products:
        _told(spec, sizes, place, size, name)
    for axis in spec.axes:
        if axis.name not in sizes:
            raise ShapeError(
                "an axis has no size",
                spec=spec.name,
                found=axis.name,
                hint="no input array runs along it alone",
            )
    return sizes


def _set(spec: Spec, sizes: dict[str, int], axis: str, size: int, name: str) -> None:
    known = sizes.setdefault(axis, size)
    if known != size:
        raise ShapeError(
            "two arrays disagree on an axis",
            spec=spec.name,
            found=f"{axis} = {size} in {name}",
            due=f"{axis} = {known}, as in sizes or the arrays before",
        )


def _split(spec: Spec, sizes: dict[str, int], place: Place, size: int, name: str) -> None:
    parts = place if isinstance(place, tuple) else (place,)
    unknown = [index.axis.name for index in parts if index.axis.name not in sizes]
    known = prod(sizes[index.axis.name] for index in parts if index.axis.name in sizes)
    axes = " x ".join(index.axis.name for index in parts)
    if len(unknown) > 1:
        return
    if unknown:
        if known == 0 or size % known:
            raise ShapeError(
                "an axis does not split",
                spec=spec.name,
                found=f"{axes} = {size} in {name}",
                due=f"a multiple of {known}",
            )
        sizes[unknown[0]] = size // known
    elif known != size:
        raise ShapeError(
            "an axis has the wrong size",
            spec=spec.name,
            found=f"{axes} = {size} in {name}",
            due=f"{known}",
        )


def _told(spec: Spec, sizes: Mapping[str, int], place: Place, size: int, name: str) -> None:
    """Every factor has a size by now."""
    parts = place if isinstance(place, tuple) else (place,)
    if any(index.axis.name not in sizes for index in parts):
        raise ShapeError(
            "the factors of an axis cannot be told",
            spec=spec.name,
            found=f"{' x '.join(index.axis.name for index in parts)} = {size} in {name}",
            hint="give one of them in sizes={...}",
        )


def _axes(places: tuple[Place, ...]) -> str:
    return ", ".join(
        "x".join(i.axis.name for i in p) if isinstance(p, tuple) else p.axis.name for p in places
    )
