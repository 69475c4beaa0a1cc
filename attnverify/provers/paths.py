"""The gradient of a spec by each route, compiled once and run over many draws at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.rewrite import predicate_entries, walk
from attnverify.algebra.terms import (
    Add,
    Apply,
    Entry,
    Expr,
    Indicator,
    Mul,
    Power,
    Previous,
    Scalar,
    Softmax,
    Total,
)
from attnverify.compile.oracle import Stack, stack
from attnverify.provers.disturbed import DTYPE, disturbed
from attnverify.provers.draws import SMOOTH, STYLES, Case, Drawer
from attnverify.spec import Spec
from attnverify.transforms.gradient import gradient
from attnverify.transforms.tangent import tangent

Array = NDArray[Any]

# Primitives with a derivative everywhere: ties and zeros are draws like others.
SMOOTH_PRIMITIVES = {
    *("exp", "tanh", "sin", "cos", "logistic", "erf", "stop_gradient"),
    *("alibi_slope", "t5_bucket", "undefined"),
}
SMOOTH_NODES = (Add, Apply, Entry, Indicator, Mul, Power, Previous, Scalar, Softmax, Total)


@dataclass(frozen=True)
class Routes:
    """A spec with its derived gradient and tangent, compiled once, over many draws at a time."""

    spec: Spec

    @cached_property
    def wrt(self) -> tuple[str, ...]:
        """The real inputs."""
        return tuple(e.tensor.name for e in self.spec.inputs if e.tensor.kind == "real")

    @cached_property
    def gradient(self) -> Spec:
        """The derived gradient by every real input."""
        return gradient(self.spec)

    @cached_property
    def derived(self) -> Stack:
        """The derived gradient, compiled."""
        return stack(self.gradient, dtype=DTYPE)

    @cached_property
    def forward(self) -> Stack:
        """The forward computation on autograd's arrays."""
        return stack(self.spec, backend="autograd", dtype=DTYPE)

    @cached_property
    def forward_double(self) -> Stack:
        """The same in double precision, which shows how far its roundoff goes."""
        return stack(self.spec, backend="autograd", dtype="float64")

    @cached_property
    def tangent_spec(self) -> Spec:
        """The derived tangent along every real input."""
        return tangent(self.spec)

    @cached_property
    def tangent(self) -> Stack:
        """The derived tangent, compiled."""
        return stack(self.tangent_spec, dtype=DTYPE)

    @cached_property
    def smooth(self) -> bool:
        """Whether the spec has a derivative everywhere by its form."""
        return smooth(self.spec)

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles of draws at which the spec has a derivative for sure."""
        return STYLES if self.smooth else SMOOTH

    @property
    def cotangents(self) -> tuple[str, ...]:
        """The names of the gradient's inputs that the spec lacks, one for each output."""
        known = {e.tensor.name for e in self.spec.inputs}
        return tuple(e.tensor.name for e in self.gradient.inputs if e.tensor.name not in known)

    def given(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The arrays of the spec's own inputs."""
        return {e.tensor.name: arrays[e.tensor.name] for e in self.spec.inputs}

    def autograd(
        self, arrays: Mapping[str, Array], case: Case, *, double: bool = False
    ) -> dict[str, Array]:
        """The gradient by autograd through the compiled forward; draws do not mix."""
        forward = self.forward_double if double else self.forward
        if double:
            arrays = {
                n: a.astype(np.float64) if a.dtype.kind == "f" else a for n, a in arrays.items()
            }
        weights = dict(zip(self.spec.outputs, self.cotangents, strict=True))

        def pairing(real: dict[str, Any]) -> Any:
            inputs = {**self.given(arrays), **real}
            outputs = forward(inputs, case.sizes, case.parameters)
            return sum(anp.sum(outputs[out] * arrays[dual]) for out, dual in weights.items())

        # The pairing itself is not read: scores that are hidden may make it infinity less infinity.
        with np.errstate(invalid="ignore"):
            found = autograd.grad(pairing)({name: arrays[name] for name in self.wrt})
        return dict(zip(self.gradient.outputs, (found[name] for name in self.wrt), strict=True))


def smooth(spec: Spec) -> bool:
    """Whether every expression has a derivative everywhere by its form.

    Roots, inverses and logarithms have none at 0; comparisons of real entries jump.
    """
    kinds = {entry.tensor.name: entry.tensor.kind for entry in spec.heads.values()}
    for predicate in spec.predicates():
        if any(kinds[e.tensor.name] == "real" for e in predicate_entries(predicate)):
            return False
    return all(_smooth_node(node) for expr in spec.expressions() for node in walk(expr))


def _smooth_node(node: Expr) -> bool:
    match node:
        case Apply(primitive, _):
            return primitive in SMOOTH_PRIMITIVES
        case Power(base, exponent):
            whole = exponent.denominator == 1 and exponent > 0
            return whole or isinstance(base, Scalar)
    return isinstance(node, SMOOTH_NODES)


@dataclass(frozen=True)
class Batch:
    """Draws of one size: their arrays, the derived gradient, and how far roundoff moves it."""

    cases: list[Case]
    arrays: Mapping[str, Array]
    exact: Mapping[str, Array]
    bounds: Mapping[str, Array]

    @classmethod
    def of(cls, paths: Routes, cases: list[Case]) -> Batch:
        """The derived gradient on cases of one size, by its printed source, and its bounds."""
        drawer = Drawer(paths.gradient)
        arrays = {
            entry.tensor.name: real(np.stack([drawer.array(entry, case) for case in cases]))
            for entry in paths.gradient.inputs
        }
        exact = paths.derived(arrays, cases[0].sizes, cases[0].parameters)
        runs = disturbed(paths.derived.recipe, arrays, cases)
        bounds = {n: np.max(np.abs(v[1:] - v[0]), axis=0).astype(float) for n, v in runs.items()}
        return cls(cases, arrays, exact, bounds)


def real(array: Array) -> Array:
    """An array of real numbers in the working precision, others as they are."""
    return array.astype(DTYPE) if array.dtype.kind == "f" else array
