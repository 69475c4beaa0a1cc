"""Right implementations of each kind of attention, one for each library that has it.

A maker takes the kind and gives a function of `(q, k, v)` and, with a bias, `bias`, or None where
the library has no such attention; arrays are (batch, heads, n, d).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from benchmarks.kernels import CAP, MASKED, WINDOW, Kernel

Function: TypeAlias = Callable[..., Any]
Maker: TypeAlias = "Callable[[str], Function | None]"


@dataclass(frozen=True)
class Library:
    """A library by name: its package, its arrays, what makes its functions, the types it has.

    `internal` tells, for a type, which narrower type it computes in; `vjp` makes the backward pass
    where the library derives none; `strict` that in 16 bits it stores no more than a fused kernel.
    """

    package: str
    framework: str
    make: Maker
    dtypes: tuple[str, ...] = ("float64", "float32", "bfloat16", "float16")
    internal: tuple[tuple[str, str], ...] = ()
    layout: str = "b h n d"
    vjp: Maker | None = None
    strict: bool = False

    @property
    def present(self) -> bool:
        """Whether its package is installed."""
        return importlib.util.find_spec(self.package) is not None


def seen(xp: Any, kind: str, rows: int, keys: int) -> Any:
    """Which keys each row sees; None where it sees all."""
    if kind not in MASKED:
        return None
    i, j = xp.arange(rows)[:, None], xp.arange(keys)[None, :]
    return (j <= i) & (j > i - WINDOW) if kind == "window" else j <= i


def torch_sdpa(kind: str) -> Function | None:
    """PyTorch's fused function, whichever kernel it chooses."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    def fn(q: Any, k: Any, v: Any, *, bias: Any = None) -> Any:
        mask = seen(torch, kind, q.shape[-2], k.shape[-2]) if kind == "window" else bias
        return sdpa(q, k, v, attn_mask=mask, is_causal=kind == "causal", enable_gqa=kind == "GQA")

    return None if kind == "softcap" else fn


def torch_math(kind: str) -> Function | None:
    """PyTorch's function by its MATH kernel."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    inner = torch_sdpa(kind)
    if inner is None:
        return None

    def fn(*arrays: Any, **further: Any) -> Any:
        with sdpa_kernel(SDPBackend.MATH):
            return inner(*arrays, **further)

    return fn


def torch_eager(kind: str) -> Function:
    """The formula written out in PyTorch: every intermediate is stored."""
    import torch

    def fn(q: Any, k: Any, v: Any, *, bias: Any = None) -> Any:
        if kind == "GQA":
            k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
        s = q @ k.mT / q.shape[-1] ** 0.5
        s = s + bias if kind == "bias" else CAP * torch.tanh(s / CAP) if kind == "softcap" else s
        mask = seen(torch, kind, *s.shape[-2:])
        s = s if mask is None else s.masked_fill(~mask, float("-inf"))
        return s.softmax(-1) @ v

    return fn


def jax_library(kind: str) -> Function | None:
    """jax.nn.dot_product_attention; arrays are (batch, n, heads, d)."""
    import jax

    window = (WINDOW - 1, 0) if kind == "window" else None

    def fn(q: Any, k: Any, v: Any, *, bias: Any = None) -> Any:
        causal = kind in MASKED
        return jax.nn.dot_product_attention(
            q, k, v, bias=bias, is_causal=causal, local_window_size=window
        )

    return None if kind == "softcap" else fn


def jax_plain(kind: str) -> Function:
    """The formula written out in jax.numpy."""
    import jax
    import jax.numpy as jnp

    def fn(q: Any, k: Any, v: Any, *, bias: Any = None) -> Any:
        if kind == "GQA":
            k, v = (jnp.repeat(x, q.shape[1] // k.shape[1], 1) for x in (k, v))
        s = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
        s = s + bias if kind == "bias" else CAP * jnp.tanh(s / CAP) if kind == "softcap" else s
        mask = seen(jnp, kind, *s.shape[-2:])
        s = s if mask is None else jnp.where(mask, s, -jnp.inf)
        return jax.nn.softmax(s, -1) @ v

    return fn


def mlx_fast(kind: str) -> Function | None:
    """MLX's fused function."""
    import mlx.core as mx

    def fn(q: Any, k: Any, v: Any, *, bias: Any = None) -> Any:
        mask = seen(mx, kind, q.shape[-2], k.shape[-2]) if kind in MASKED else bias
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=mask)

    return None if kind == "softcap" else fn


def numpy_fused(kind: str) -> Function:
    """The fused kernel of this folder."""

    def fn(q: Any, k: Any, v: Any, *, bias: Any = None) -> Any:
        arrays = {"Q": q, "K": k, "V": v, "bias": bias}
        return Kernel(kind, q.dtype)(arrays, np.zeros((*q.shape[:-1], v.shape[-1]), q.dtype))["O"]

    return fn


def numpy_backward(kind: str) -> Function:
    """Its gradients, in the order of the inputs."""

    def vjp(d_out: Any, q: Any, k: Any, v: Any, *, bias: Any = None) -> Any:
        found = Kernel(kind, q.dtype)({"Q": q, "K": k, "V": v, "bias": bias}, d_out)
        return tuple(found[name] for name in ("dQ", "dK", "dV", "dbias") if name in found)

    return vjp


LIBRARIES: dict[str, Library] = {
    "torch SDPA": Library("torch", "torch", torch_sdpa, strict=True),
    "torch SDPA, MATH": Library("torch", "torch", torch_math, strict=True),
    "torch eager": Library("torch", "torch", torch_eager),
    "jax.nn": Library(
        "jax", "jax", jax_library, ("float64", "float32", "bfloat16"),
        (("float64", "float32"),), "b n h d",
    ),
    "jax.numpy": Library("jax", "jax", jax_plain),
    "mlx.fast": Library(
        "mlx", "mlx", mlx_fast, ("float32", "bfloat16", "float16"),
    ),
    "NumPy": Library("numpy", "numpy", numpy_fused, vjp=numpy_backward, strict=True),
}  # fmt: skip
