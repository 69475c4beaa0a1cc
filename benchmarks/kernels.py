"""A fused kernel in NumPy, forward and backward, right or with one named fault.

It computes in float32 (float64 for float64) and rounds what a fused kernel stores: weights, slopes
of the scores, outputs.  It shares no code with the judge, so that a fault is a fault of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = Mapping[str, Array]

WINDOW, CAP = 9, 5.0
# What each kind of attention is called in the catalogue, and the parameters it is given.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "full": ("global", {}),
    "causal": ("causal", {}),
    "window": ("sliding_window", {"window": WINDOW}),
    "GQA": ("grouped_query", {}),
    "bias": ("biased", {}),
    "softcap": ("softcap", {"cap": CAP}),
}
MASKED = ("causal", "window")


@dataclass(frozen=True)
class Kernel:
    """One kernel: the kind of attention, the type that it stores, and its fault, if any."""

    kind: str
    dtype: Any
    fault: str = ""

    @property
    def wide(self) -> Any:
        """What is computed in where nothing is stored."""
        narrow = self.fault == "float32 inside float64" or np.dtype(self.dtype).itemsize < 8
        return np.float32 if narrow else np.float64

    def stored(self, array: Array, *, truncated: bool = False) -> Array:
        """An array as it is after a round trip through storage."""
        kept = array.astype(self.dtype)
        return (toward_zero(kept, array) if truncated else kept).astype(self.wide)

    def __call__(self, arrays: Arrays, cotangent: Array) -> dict[str, Array]:
        """O, dQ, dK, dV and, with a bias, dbias, in the stored type; (batch, heads, n, d) each."""
        q, k, v, d_out = (a.astype(self.wide) for a in (*(arrays[n] for n in "QKV"), cotangent))
        repeat = q.shape[1] // k.shape[1]
        k, v = (np.repeat(a, repeat, 1) for a in (k, v))
        scale = self._scale(q.shape[-1])
        raw = q @ k.swapaxes(-1, -2) * scale
        s, slope = self._scores(raw, arrays)
        s = np.where(self._seen(*s.shape[-2:]), s, -np.inf)
        e = np.exp(s - s.max(-1, keepdims=True))
        p = e / e.sum(-1, keepdims=True)
        used = self.stored(p, truncated=self.fault == "P truncated")
        out = self.stored(self._weighted(used, v), truncated=self.fault == "O truncated")
        d_p = d_out @ v.swapaxes(-1, -2)
        d_z = p * (d_p - (d_out * out).sum(-1, keepdims=True))
        d_s = self.stored(d_z * slope)
        lacking = d_s.copy()
        if self.fault == "dK lacks a row":
            lacking[..., d_s.shape[-2] // 2, :] = 0
        found = {
            "O": out,
            "dQ": d_s @ k * scale,
            "dK": _shared(lacking.swapaxes(-1, -2) @ q * scale, repeat),
            "dV": _shared(used.swapaxes(-1, -2) @ d_out, repeat),
            **({"dbias": d_z} if self.kind == "bias" else {}),
        }
        return {name: array.astype(self.dtype) for name, array in found.items()}

    def _scale(self, channels: int) -> Any:
        """One over the root of the number of channels, or a little more."""
        off = {"scale 1 %": 0.01, "scale 0.3 %": 0.003, "scale 0.1 %": 0.001}
        return self.wide((1 + off.get(self.fault, 0.0)) / channels**0.5)

    def _scores(self, raw: Array, arrays: Arrays) -> tuple[Array, Array | float]:
        """The scores after bias or cap, and their slope by the scaled products."""
        if self.kind == "bias":
            return raw + arrays["bias"].astype(self.wide), 1.0
        if self.kind == "softcap":
            capped = np.tanh(raw / self.wide(CAP))
            return self.wide(CAP) * capped, 1 - capped**2
        return raw, 1.0

    def _seen(self, rows: int, keys: int) -> Array:
        """Which keys each row sees."""
        i, j = np.ogrid[:rows, :keys]
        seen = np.ones((rows, keys), bool)
        if self.kind in MASKED:
            seen &= j <= i
        if self.kind == "window":
            seen &= j > i - WINDOW
        if self.fault == "last key dropped":
            seen &= j < keys - 1
        if self.fault == "future key in half the rows":
            seen |= (j == i + 1) & (i % 2 == 0)
        if self.fault == "future key in one row":
            seen |= (j == i + 1) & (i == rows // 2)
        return seen

    def _weighted(self, weights: Array, values: Array) -> Array:
        """The sum of values by weights, carried in float32 or wider unless that is the fault."""
        if self.fault != "sums in 16 bits":
            return weights @ values
        total = np.zeros((*weights.shape[:-1], values.shape[-1]), self.wide)
        for j in range(weights.shape[-1]):
            total = self.stored(total + weights[..., j, None] * values[..., j : j + 1, :])
        return total


FAULTS = (
    "scale 1 %", "scale 0.3 %", "scale 0.1 %", "future key in half the rows",
    "future key in one row", "last key dropped", "dK lacks a row", "sums in 16 bits",
    "P truncated", "O truncated", "float32 inside float64",
)  # fmt: skip


def applies(fault: str, kind: str, dtype: str) -> bool:
    """Whether a kind of attention in a type can have a fault."""
    if fault.startswith("future key"):
        return kind in MASKED
    if fault == "float32 inside float64":
        return dtype == "float64"
    if fault == "sums in 16 bits" or fault.endswith("truncated"):
        return dtype in ("float16", "bfloat16")
    return True


def toward_zero(rounded: Array, exact: Array) -> Array:
    """What truncating gives, from what rounding to nearest gave: one step back where it went up.

    >>> toward_zero(np.float16([1.001]), np.array([1.0009])).astype(float).tolist()
    [1.0]
    """
    bits = rounded.view(np.uint16)
    above = np.abs(rounded.astype(exact.dtype)) > np.abs(exact)
    return np.asarray((bits - above.astype(np.uint16)).view(rounded.dtype))


def _shared(gradient: Array, repeat: int) -> Array:
    """The gradient by a head that several heads of queries share: the sum of theirs."""
    batch, heads, *rest = gradient.shape
    return np.asarray(gradient.reshape(batch, heads // repeat, repeat, *rest).sum(2))
