"""A spec as the function that a test calls: arrays of a library in, arrays of it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.compile import Oracle
from attnverify.compile import compile as compile_spec
from attnverify.compile.sizes import bind
from attnverify.errors import MissingExtraError, ParameterError
from attnverify.inputs.entries import shape_of
from attnverify.spec import Spec
from attnverify.transforms.gradient import gradient

Array = NDArray[Any]
LIBRARIES = ("numpy", "torch", "jax")


@dataclass
class Substitute:
    """A spec's forward and derived backward pass on NumPy arrays, in the type that comes in.

    `faults` are what it raised itself: a test that fails by one of these has noticed nothing.
    """

    spec: Spec
    faults: list[Exception] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The inputs in order."""
        return [entry.tensor.name for entry in self.spec.inputs]

    @property
    def real(self) -> list[str]:
        """The inputs that have a gradient."""
        return [entry.tensor.name for entry in self.spec.inputs if entry.tensor.kind == "real"]

    @cached_property
    def _forward(self) -> Oracle:
        return compile_spec(self.spec)

    @cached_property
    def _backward(self) -> tuple[Oracle, list[str]]:
        derived = gradient(self.spec)
        known = set(self.names)
        seeds = [e.tensor.name for e in derived.inputs if e.tensor.name not in known]
        return compile_spec(derived), seeds

    def forward(self, arrays: Mapping[str, Array], settings: Mapping[str, Any]) -> list[Array]:
        """The outputs in order."""
        found = self._watched(self._forward, arrays, settings)
        return [self._typed(found[name], arrays) for name in self.spec.outputs]

    def backward(
        self, arrays: Mapping[str, Array], seeds: Sequence[Array], settings: Mapping[str, Any]
    ) -> list[Array]:
        """The gradients of the real inputs, in order, from a cotangent of each output."""
        oracle, names = self._backward
        given = {**arrays, **dict(zip(names, seeds, strict=True))}
        found = self._watched(oracle, given, settings)
        return [self._typed(found[name], arrays) for name in oracle.spec.outputs]

    def shapes(self, arrays: Mapping[str, Any]) -> list[tuple[int, ...]]:
        """The shapes of the outputs."""
        sizes = bind(self.spec, {name: np.shape(a) for name, a in arrays.items()}, None)
        return [shape_of(self.spec.heads[name], sizes) for name in self.spec.outputs]

    def _watched(
        self, oracle: Oracle, arrays: Mapping[str, Array], settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        try:
            return oracle(**arrays, **settings)
        except Exception as fault:
            self.faults.append(fault)
            raise

    def _typed(self, found: Array, arrays: Mapping[str, Array]) -> Array:
        return np.asarray(found).astype(np.asarray(arrays[self.real[0]]).dtype)

    def told(
        self, given: Sequence[Any], named: Mapping[str, Any], inputs: Mapping[str, str]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arrays by the spec's names, and its open parameters; anything else is left alone."""
        arrays = dict(zip(self.names, given, strict=False))
        back = {outside: name for name, outside in inputs.items()}
        by_name = {back.get(key, key): value for key, value in named.items()}
        arrays |= {name: by_name[name] for name in self.names if name in by_name}
        parameters = {parameter.name for parameter in self.spec.parameters}
        return arrays, {name: by_name[name] for name in by_name if name in parameters}


def substituted(whole: Substitute, library: str, inputs: Mapping[str, str]) -> Callable[..., Any]:
    """The function that stands in for a library's; it takes what the spec takes, in its order.

    Raises ParameterError for a library that there is none for, MissingExtraError for one that is
    not installed.
    """
    makers = {"numpy": _numpy, "torch": _torch, "jax": _jax}
    if library not in makers:
        raise ParameterError(
            "no mutant can be put in for functions of this library",
            found=library,
            due=", ".join(LIBRARIES),
        )
    call = makers[library](whole)

    def attention(*given: Any, **named: Any) -> Any:
        arrays, settings = whole.told(given, named, inputs)
        found = call(arrays, settings)
        return found[0] if len(found) == 1 else tuple(found)

    return attention


Call = Callable[[dict[str, Any], dict[str, Any]], Sequence[Any]]


def _numpy(whole: Substitute) -> Call:
    return whole.forward


def _torch(whole: Substitute) -> Call:
    try:
        import torch  # noqa: PLC0415  it loads where tests of it are audited
    except ImportError as error:
        raise MissingExtraError("auditing a test of PyTorch functions", extra="torch") from error

    def lowered(arrays: Mapping[str, Any]) -> dict[str, Array]:
        return {n: a.detach().cpu().numpy() if torch.is_tensor(a) else a for n, a in arrays.items()}

    def call(arrays: dict[str, Any], settings: dict[str, Any]) -> Sequence[Any]:
        real = whole.real

        class Attention(torch.autograd.Function):  # type: ignore[misc]  # torch leaves it untyped
            @staticmethod
            def forward(ctx: Any, *tensors: Any) -> Any:
                given = lowered({**arrays, **dict(zip(real, tensors, strict=True))})
                ctx.given = given
                return tuple(torch.from_numpy(a) for a in whole.forward(given, settings))

            @staticmethod
            def backward(ctx: Any, *seeds: Any) -> Any:
                slopes = whole.backward(ctx.given, [s.numpy() for s in seeds], settings)
                return tuple(torch.from_numpy(slope) for slope in slopes)

        found: Sequence[Any] = Attention.apply(*(arrays[name] for name in real))
        return found

    return call


def _jax(whole: Substitute) -> Call:
    try:
        import jax  # noqa: PLC0415  it loads where tests of it are audited
    except ImportError as error:
        raise MissingExtraError("auditing a test of JAX functions", extra="jax") from error

    def hosted(run: Callable[..., list[Array]], shapes: Any, *given: Any) -> Any:
        def outside(*values: Any) -> list[Array]:
            return run(*(np.asarray(value) for value in values))

        return jax.pure_callback(outside, shapes, *given, vmap_method="sequential")

    def call(arrays: dict[str, Any], settings: dict[str, Any]) -> Sequence[Any]:
        rest = {name: a for name, a in arrays.items() if name not in whole.real}

        def whole_of(real: Sequence[Any]) -> dict[str, Any]:
            return {**rest, **dict(zip(whole.real, real, strict=True))}

        @jax.custom_vjp  # type: ignore[untyped-decorator]  # JAX leaves it untyped
        def attention(*real: Any) -> Any:
            shapes = [
                jax.ShapeDtypeStruct(shape, real[0].dtype) for shape in whole.shapes(whole_of(real))
            ]
            return hosted(lambda *a: whole.forward(whole_of(a), settings), shapes, *real)

        def forward(*real: Any) -> Any:
            return attention(*real), real

        def backward(real: Any, seeds: Any) -> Any:
            shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in real]
            n = len(real)
            run = hosted(
                lambda *a: whole.backward(whole_of(a[:n]), a[n:], settings), shapes, *real, *seeds
            )
            return tuple(run)

        attention.defvjp(forward, backward)
        found: Sequence[Any] = attention(*(arrays[name] for name in whole.real))
        return found

    return call
