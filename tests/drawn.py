"""Arrays for specs, and how exact numbers are held against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt

from attnverify.algebra.parameters import inside
from attnverify.algebra.terms import Entry, Parameter
from attnverify.provers.draws import plain_values
from attnverify.spec import Spec

Array = npt.NDArray[Any]

# Small and unequal, so that no two axes are taken for each other.
SIZES = {
    "batch": 2, "heads": 2, "group": 2, "repeat": 3, "queries": 3, "keys": 4, "time": 3,
    "key_dim": 2, "value_dim": 1, "model": 3, "hidden": 2, "align": 2, "taps": 2, "features": 3,
    "embedding": 2, "chunk": 2, "place": 2,
}  # fmt: skip
TINY = {**SIZES, "batch": 1, "heads": 1, "repeat": 2, "queries": 2, "keys": 3, "model": 2}
PARAMETERS: dict[str, float] = {"window": 2, "left": 1, "right": 1}


def plain(parameter: Parameter) -> float:
    """A plain value inside a parameter's domain: 2 where it can be."""
    values = (2, 1, 0) if parameter.integer else (2, 0.75, 0.25, 0)
    found = [value for value in values if inside(parameter, value)]
    return found[0] if found else plain_values(parameter)[0]


def parameters(spec: Spec) -> dict[str, float]:
    """A value for each parameter that a spec leaves open."""
    return {p.name: PARAMETERS.get(p.name, plain(p)) for p in spec.parameters}


def extent(spec: Spec, sizes: Mapping[str, int] = SIZES) -> dict[str, int]:
    """A size for every axis of a spec: of those that are not told two, or what follows."""
    return spec.fitted({axis.name: sizes.get(axis.name, 2) for axis in spec.axes})


def shape(head: Entry, sizes: Mapping[str, int] = SIZES) -> tuple[int, ...]:
    """The shape of a tensor's array."""
    places = [place if isinstance(place, tuple) else (place,) for place in head.places]
    return tuple(int(np.prod([sizes[i.axis.name] for i in place])) for place in places)


def arrays(
    spec: Spec, rng: np.random.Generator, sizes: Mapping[str, int] = SIZES
) -> dict[str, Array]:
    """An array for each input of a spec."""
    draw: dict[str, Callable[[tuple[int, ...]], Array]] = {
        "real": lambda due: rng.normal(size=due),
        "bool": lambda due: rng.random(due) < 0.6,
        "int": lambda due: rng.integers(0, 5, due),
    }
    whole = extent(spec, sizes)
    return {e.tensor.name: draw[e.tensor.kind](shape(e, whole)) for e in spec.inputs}


def real_inputs(spec: Spec) -> list[str]:
    """The names of the real inputs."""
    return [entry.tensor.name for entry in spec.inputs if entry.tensor.kind == "real"]


def moves(
    spec: Spec, rng: np.random.Generator, sizes: Mapping[str, int] = SIZES
) -> dict[str, Array]:
    """A direction for each real input."""
    whole = extent(spec, sizes)
    due = {entry.tensor.name: shape(entry, whole) for entry in spec.inputs}
    return {name: rng.normal(size=due[name]) for name in real_inputs(spec)}


def check_close(found: Any, due: Any, digits: int = 20) -> None:
    """Fail where two numbers differ by more than one part in 10^digits of the larger, or of 1."""
    gap = abs(found - due)
    assert gap <= mpmath.mpf(10) ** -digits * max(1, abs(found), abs(due)), f"{found} is not {due}"


def check_arrays_close(found: Array, due: Array, digits: int = 20) -> None:
    """Fail where two arrays differ in shape or in an entry."""
    assert found.shape == due.shape
    for place in np.ndindex(*due.shape):
        check_close(found[place], due[place], digits)


def inner(left: Array, right: Array) -> Any:
    """The sum of products of the entries of two arrays of one shape."""
    assert left.shape == right.shape
    return np.sum(left * right)
