"""Tensors without axes that are made beside a traced value: zeros, ones and one number."""

from __future__ import annotations

from typing import Any

from attnverify.errors import TraceError
from attnverify.flex.traced import Number, Truth, rule
from attnverify.flex.values import number, truth


def _made(value: Any, size: Any, dtype: Any, like: Any) -> Number | Truth:
    """A value of a type, or of the type of what it is made like."""
    if tuple(size) != ():
        raise TraceError("makes a tensor of several entries from a traced value")
    boolean = isinstance(like, Truth) if dtype is None else "bool" in str(dtype)
    return Truth(truth(value, counted=True)) if boolean else number(value)


@rule("new_zeros")
def _new_zeros(like: Any, size: Any = (), *, dtype: Any = None, **_: Any) -> Number | Truth:
    return _made(0, size, dtype, like)


@rule("new_ones")
def _new_ones(like: Any, size: Any = (), *, dtype: Any = None, **_: Any) -> Number | Truth:
    return _made(1, size, dtype, like)


@rule("new_full")
def _new_full(
    like: Any, size: Any, fill_value: Any, *, dtype: Any = None, **_: Any
) -> Number | Truth:
    return _made(fill_value, size, dtype, like)


@rule("new_tensor")
def _new_tensor(like: Any, data: Any, *, dtype: Any = None, **_: Any) -> Number | Truth:
    return _made(data, (), dtype, like)


@rule("zeros_like")
def _zeros_like(like: Any, *, dtype: Any = None, **_: Any) -> Number | Truth:
    return _made(0, (), dtype, like)


@rule("ones_like")
def _ones_like(like: Any, *, dtype: Any = None, **_: Any) -> Number | Truth:
    return _made(1, (), dtype, like)


@rule("full_like")
def _full_like(like: Any, fill_value: Any, *, dtype: Any = None, **_: Any) -> Number | Truth:
    return _made(fill_value, (), dtype, like)
