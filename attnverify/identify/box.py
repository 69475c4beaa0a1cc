"""A function of which nothing is known but how it is called, asked with numbers of our choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.compare import misfit
from attnverify.dtypes import float_type, type_name
from attnverify.inputs.entries import shape_of
from attnverify.library import load
from attnverify.spec import Spec
from attnverify.subjects import Subject, SubjectFault, WrongForm, subject

Array = NDArray[Any]

# Channels that fused kernels take as well.
CHANNELS = 16
HEADS = 2
# What a rough reading may be off by, in unit roundoffs, those of float32 where float64 may be that
# inside: what is read is named only after the judge has agreed.
ROUGH = 2.0**9


@dataclass(frozen=True)
class Box:
    """One function in one type.  `call` is how it is called, as `subject` takes it.

    Arrays go in and come out in the axis order batch, heads, sequence, channels, as float64.
    `spec` lends the names and the axes of what goes in and out, and nothing else.
    """

    fn: Any
    call: Mapping[str, Any]
    dtype: str
    spec: Spec = field(default_factory=lambda: load("global"))

    def taking(self, spec: Spec, **call: Any) -> Box:
        """The same function called with other arrays."""
        return replace(self, spec=spec, call={**self.call, **call})

    def in_type(self, dtype: str) -> Box:
        """The same function on arrays of another type."""
        return replace(self, dtype=dtype)

    @cached_property
    def _subject(self) -> Subject:
        return subject(self.fn, self.spec, dtype=self.dtype, **self.call)

    @property
    def rough(self) -> float:
        """What a rough reading may be off by."""
        narrow = max(float_type(name).roundoff for name in (self.dtype, "float32"))
        return ROUGH * narrow

    def fits(self, got: Array | float, due: Array | float) -> bool:
        """Whether a reading is as due, roughly."""
        return misfit(got, due) < self.rough

    def ask(self, sizes: Mapping[str, int], **arrays: Array) -> dict[str, Array]:
        """Every output; SubjectFault where the function raises or gives another form."""
        kind = float_type(self.dtype).numpy
        cast = {n: np.asarray(a, kind if a.dtype.kind == "f" else None) for n, a in arrays.items()}
        found = self._subject.forward(cast, {})
        return {name: self._inward(name, array, sizes) for name, array in found.items()}

    def _inward(self, name: str, array: Array, sizes: Mapping[str, int]) -> Array:
        layout = self._subject.plan.layout
        due = layout.shape(name, sizes)
        if np.shape(array) != due:
            raise WrongForm(f"{name} has shape {np.shape(array)}, due {due}")
        if type_name(array.dtype) != self.dtype:
            raise WrongForm(f"{name} comes back as {type_name(array.dtype)}")
        return layout.inward(name, array, sizes).astype(float)

    def shapes(self, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """The shape of each input at some sizes."""
        return {entry.tensor.name: shape_of(entry, sizes) for entry in self.spec.inputs}

    def weights(self, q: Array, k: Array, **further: Array) -> Array:
        """What V = I gives, a chunk of keys at a time: axes batch, heads, queries, keys."""
        (batch, heads, queries, channels), keys = q.shape, k.shape[2]
        sizes = {
            "batch": batch, "heads": heads, "queries": queries, "keys": keys,
            "key_dim": channels, "value_dim": channels,
        }  # fmt: skip
        parts = []
        for start in range(0, keys, channels):
            held = min(channels, keys - start)
            v = np.zeros((*k.shape[:3], channels))
            v[:, :, start : start + held, :held] = np.eye(held)
            out = self.ask(sizes, Q=q, K=k, V=v, **further)[self.spec.outputs[0]]
            parts.append(out[..., :held])
        return np.concatenate(parts, axis=-1)

    def quiet(self, queries: int, keys: int) -> Array:
        """The weights of queries that are zero: what masks and positions alone make of them."""
        q = np.zeros((1, HEADS, queries, CHANNELS))
        k = np.random.default_rng(0).standard_normal((1, HEADS, keys, CHANNELS))
        return self.weights(q, k)


def raised(fault: SubjectFault) -> str:
    """A fault in a few words."""
    return fault.message.partition("\n")[0][:160]
