"""Sizes that follow: of an axis of fixed size, and of one made of two others in a row."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from attnverify.algebra.terms import Axis
from attnverify.errors import ShapeError, SpecError


def joined(axes: Iterable[Axis], spec: str = "") -> tuple[Axis, ...]:
    """Each axis once, in order of first appearance, with the size that one of them declares.

    The parts of an axis that is made of two come after it. An axis that is made from a name alone,
    as that of a symbol, declares nothing. Raises SpecError where two declarations differ.
    """
    found: dict[str, Axis] = {}
    waiting = deque(axes)
    while waiting:
        axis = waiting.popleft()
        known = found.get(axis.name, axis)
        if known.follows and axis.follows and known.declaration != axis.declaration:
            raise SpecError(
                "an axis is declared with two sizes",
                spec=spec,
                axis=axis.name,
                found=f"{axis.declaration} and {known.declaration}",
            )
        if axis.follows and (axis.name not in found or not known.follows):
            waiting.extend(axis.addends)
        found[axis.name] = known if known.follows else axis
    return tuple(found.values())


def completed(axes: Iterable[Axis], sizes: Mapping[str, int], spec: str = "") -> dict[str, int]:
    """The sizes with those that follow from them: fixed ones, sums, and the rest of a sum.

    Raises ShapeError where a size is not what follows.

    >>> past, new = Axis("past"), Axis("new")
    >>> completed([Axis("keys", addends=(past, new))], {"keys": 5, "past": 3})
    {'keys': 5, 'past': 3, 'new': 2}
    """
    found = dict(sizes)
    declared = [axis for axis in axes if axis.follows]
    settled = -1
    while settled != len(found):
        settled = len(found)
        for axis in declared:
            _settle(axis, found, spec)
    return found


def fitted(axes: Iterable[Axis], sizes: Mapping[str, int], spec: str = "") -> dict[str, int]:
    """The sizes with those that follow replaced by what follows from the others.

    >>> fitted([Axis("side", fixed=2)], {"side": 5, "pair": 3})
    {'side': 2, 'pair': 3}
    """
    axes = tuple(axes)
    following = {axis.name for axis in axes if axis.follows}
    free = {name: size for name, size in sizes.items() if name not in following}
    return {**sizes, **completed(axes, free, spec)}


def _settle(axis: Axis, sizes: dict[str, int], spec: str) -> None:
    """Set the one size that a declaration leaves open, or compare where none is."""
    if axis.fixed is not None:
        _put(axis, axis.name, axis.fixed, sizes, spec)
        return
    parts = [part.name for part in axis.addends]
    unknown = [part for part in parts if part not in sizes]
    known = sum(sizes[part] for part in parts if part in sizes)
    if not unknown:
        _put(axis, axis.name, known, sizes, spec)
    elif len(unknown) == 1 and axis.name in sizes:
        _put(axis, unknown[0], sizes[axis.name] - known, sizes, spec)


def _put(axis: Axis, name: str, size: int, sizes: dict[str, int], spec: str) -> None:
    if size < 0 or sizes.setdefault(name, size) != size:
        raise ShapeError(
            "an axis has another size than it is declared with",
            spec=spec,
            axis=axis.name,
            found=", ".join(
                f"{part} = {sizes[part]}"
                for part in (axis.name, *(a.name for a in axis.addends))
                if part in sizes
            ),
            due=f"{axis.name} = {axis.declaration}",
        )


__all__ = ["completed", "fitted", "joined"]
