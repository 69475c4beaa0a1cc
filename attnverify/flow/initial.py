"""Inputs as a network has them before training: data of one scale, weights of one gain."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.rewrite import entries
from attnverify.algebra.terms import Entry
from attnverify.equations import equations_of
from attnverify.errors import ParameterError
from attnverify.inputs.entries import shape_of, structure_entries
from attnverify.invariants.roles import SEQUENCES
from attnverify.spec import Spec

Array = NDArray[Any]
Values = Mapping[str, float]

# Axes that there are few of; what is neither of these nor a sequence is a width.
FEW = {"batch": 1, "heads": 2, "group": 2, "repeat": 2, "taps": 3, "side": 2}
# What is added or multiplied entry by entry begins as if it were not there.
CONSTANT = ((r"bias|b_\w+|c_n|s_\d", 0.0), (r"g|g_\d|s", 1.0), (r"log_scale|sinks", 0.0))
# Gates that come as data lie between 0 and 1; `g` is such a gate's logarithm.
GATES: Mapping[str, Callable[[Array], Array]] = {
    "beta": lambda x: 1 / (1 + np.exp(-x)),
    "g": lambda x: -np.logaddexp(0, -x),
}


@dataclass(frozen=True)
class Start:
    """How inputs are drawn.

    Data are normal with standard deviation `scale`; weights have variance `gain`^2 over the number
    of products that are summed with them (Glorot, Bengio 2010, section 4.2.1, without the backward
    half). `kind` "orthogonal" draws square weights as `gain` times an orthogonal matrix (Saxe et
    al. 2014). States begin at 0, biases are 0, gains of norms 1; `values` gives inputs a constant.

    >>> Start(gain=2.0).gain
    2.0
    """

    gain: float = 1.0
    scale: float = 1.0
    kind: Literal["normal", "orthogonal"] = "normal"
    values: Values = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in ("normal", "orthogonal"):
            raise ParameterError(
                "an unknown initialisation", found=repr(self.kind), due="'normal' or 'orthogonal'"
            )


def sizes_of(
    spec: Spec, length: int, width: int, sizes: Mapping[str, int] | None = None
) -> dict[str, int]:
    """A size for every axis: `length` for sequences, `width` for channels, few for the rest.

    >>> from attnverify import load
    >>> sizes_of(load("causal"), 8, 4)["queries"], sizes_of(load("causal"), 8, 4)["key_dim"]
    (8, 4)
    """
    known = {axis.name for axis in spec.axes}
    for axis in sizes or {}:
        if axis not in known:
            raise ParameterError(
                "a size is given for an axis that the spec lacks",
                spec=spec.name, found=axis, due=", ".join(sorted(known)),
            )  # fmt: skip
    usual = {
        axis.name: FEW.get(axis.name, length if axis.name in SEQUENCES else width)
        for axis in spec.axes
    }
    return spec.fitted({**usual, **(sizes or {})})


def drawn(
    spec: Spec, sizes: Mapping[str, int], rng: np.random.Generator, start: Start | None = None
) -> dict[str, Array]:
    """Arrays for every input of a spec, in its axis order and float64.

    Boolean inputs are true and lengths full, so that a structural mask alone hides keys. Raises
    ParameterError for a value of an input that the spec lacks.
    """
    begin = start or Start()
    names = [entry.tensor.name for entry in spec.inputs]
    for name in begin.values:
        if name not in names:
            raise ParameterError(
                "a value is given for an input that the spec lacks",
                spec=spec.name, found=name, due=", ".join(names),
            )  # fmt: skip
    # A share above one keeps every place.
    found = structure_entries(spec, sizes, rng, 2.0, empty=False)
    for entry in spec.inputs:
        if entry.tensor.kind == "real":
            found[entry.tensor.name] = _real(spec, entry, sizes, rng, begin)
    return {name: found[name] for name in names}


def _real(
    spec: Spec, entry: Entry, sizes: Mapping[str, int], rng: np.random.Generator, start: Start
) -> Array:
    name, shape = entry.tensor.name, shape_of(entry, sizes)
    if name in start.values:
        return np.full(shape, float(start.values[name]))
    axes = {index.axis.name for index in entry.indices}
    if "batch" in axes:
        if not axes & {*SEQUENCES} and any(s in _axes(spec) for s in SEQUENCES) and _state(name):
            return np.zeros(shape)
        values = start.scale * rng.standard_normal(shape)
        return GATES[name](values) if name in GATES else values
    constant = _constant(name)
    if constant is not None:
        return np.full(shape, constant)
    return _weights(shape, fan_in(spec, entry, sizes), rng, start)


def _axes(spec: Spec) -> set[str]:
    return {axis.name for axis in spec.axes}


def _state(name: str) -> bool:
    """Whether an input is what a recurrence begins with."""
    return re.fullmatch(r"[A-Z]\w*0(_\d+)?", name) is not None


def _constant(name: str) -> float | None:
    """What an input of this name begins as, whatever layer of a stack it belongs to."""
    for pattern, value in CONSTANT:
        if re.fullmatch(rf"({pattern})(_layer\d+)?", name):
            return value
    return None


def _weights(shape: tuple[int, ...], fan: int, rng: np.random.Generator, start: Start) -> Array:
    if start.kind == "orthogonal" and len(shape) == 2 and shape[0] == shape[1]:
        q, r = np.linalg.qr(rng.standard_normal(shape))
        # The signs of R's diagonal make the draw uniform over rotations (Mezzadri 2007).
        return np.asarray(start.gain * q * np.sign(np.diag(r)))
    return np.asarray(start.gain / np.sqrt(fan) * rng.standard_normal(shape))


def fan_in(spec: Spec, weights: Entry, sizes: Mapping[str, int]) -> int:
    """How many products with this input are summed for one entry where it is first read.

    >>> from attnverify import load
    >>> spec = load("elman")
    >>> fan_in(spec, next(e for e in spec.inputs if e.tensor.name == "W"), {"model": 5})
    5
    """
    for statement in spec.equations:
        for equation in equations_of(statement):
            for read in entries(equation.body):
                if read.tensor.name == weights.tensor.name:
                    over = set(read.indices) - set(equation.head.indices)
                    return prod(sizes[index.axis.name] for index in over)
    return 1
