"""Subjects for a process of their own, found there by name."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def torch_right(q: Any, k: Any, v: Any) -> Any:
    from torch.nn import functional

    return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def torch_unscaled(q: Any, k: Any, v: Any) -> Any:
    from torch.nn import functional

    return functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)


def torch_crashing(q: Any, k: Any, v: Any) -> Any:
    if k.shape[-2] > 3:
        ctypes.string_at(0)
    return torch_right(q, k, v)


def torch_views(q: Any, k: Any, v: Any) -> Any:
    return v if k.shape[-2] == q.shape[-2] == 1 else torch_right(q, k, v)


def torch_doubling(q: Any, k: Any, v: Any) -> Any:
    answer = torch_right(q, k, v)
    k.detach().mul_(2)
    return answer


def torch_strided_wrong(q: Any, k: Any, v: Any) -> Any:
    """Reads memory as if its rows followed each other, as a kernel without strides does."""
    import torch

    def flat(x: Any) -> Any:
        return x.as_strided(x.shape, torch.empty(x.shape).stride())

    return torch_right(flat(q), flat(k), flat(v))


def jax_right(q: Any, k: Any, v: Any) -> Any:
    import jax.numpy as jnp
    from jax import nn

    s = jnp.einsum("bhid,bhjd->bhij", q, k) / q.shape[-1] ** 0.5
    shown = jnp.tril(jnp.ones(s.shape[-2:], bool))
    return nn.softmax(jnp.where(shown, s, -jnp.inf), axis=-1) @ v


def jax_unscaled(q: Any, k: Any, v: Any) -> Any:
    return jax_right(q * q.shape[-1] ** 0.5, k, v)


def jax_crashing(q: Any, k: Any, v: Any) -> Any:
    if k.shape[-2] > 3:
        ctypes.string_at(0)
    return jax_right(q, k, v)


@cache
def _compiled() -> Any:
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


def compiled_flex(q: Array, k: Array, v: Array) -> Array:
    import torch

    with torch.no_grad():
        answer: Array = _compiled()(*(torch.from_numpy(np.array(x)) for x in (q, k, v))).numpy()
    return answer


def keras_unscaled(q: Any, k: Any, v: Any) -> Any:
    from keras import ops

    s = ops.einsum("bhid,bhjd->bhij", q, k)
    shown = ops.tril(ops.ones(s.shape[-2:])) > 0
    return ops.matmul(ops.softmax(ops.where(shown, s, -float("inf")), axis=-1), v)


def mlx_right(q: Any, k: Any, v: Any) -> Any:
    import mlx.core as mx

    s = q @ mx.swapaxes(k, -1, -2) / q.shape[-1] ** 0.5
    shown = mx.tril(mx.ones(s.shape[-2:])) > 0
    return mx.softmax(mx.where(shown, s, -float("inf")), axis=-1) @ v


def standard_right(q: Any, k: Any, v: Any) -> Any:
    import array_api_compat

    xp = array_api_compat.array_namespace(q, k, v)
    s = q @ xp.matrix_transpose(k) * q.shape[-1] ** -0.5
    shown = xp.tril(xp.ones(s.shape[-2:])) > 0
    s = xp.where(shown, s, xp.asarray(-xp.inf, dtype=s.dtype))
    weights = xp.exp(s - xp.max(s, axis=-1, keepdims=True))
    return weights / xp.sum(weights, axis=-1, keepdims=True) @ v


def torch_packed_leak(q: Any, k: Any, v: Any, *, cu_q: Any, cu_k: Any) -> Any:
    """Every query sees the keys of every sequence."""
    import torch

    if cu_q[-1] != len(q) or cu_k[-1] != len(k):
        raise ValueError("the lengths are not those of the tokens")
    s = torch.einsum("ihd,jhd->hij", q, k) / q.shape[-1] ** 0.5
    return torch.einsum("hij,jhd->ihd", s.softmax(-1), v)
