"""Subjects that misbehave, each in one way; `right` and its kin do not."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from autograd import numpy as anp
from numpy.lib.stride_tricks import as_strided

Array = npt.NDArray[Any]


def softmax(s: Array) -> Array:
    e = np.exp(s - s.max(-1, keepdims=True))
    result: Array = e / e.sum(-1, keepdims=True)
    return result


def right(q: Array, k: Array, v: Array) -> Array:
    result: Array = softmax(q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5) @ v
    return result


def right_vjp(d_out: Array, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
    a = softmax(q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5)
    d_a = d_out @ v.swapaxes(-1, -2)
    d_s = a * (d_a - (a * d_a).sum(-1, keepdims=True)) / q.dtype.type(q.shape[-1] ** 0.5)
    return d_s @ k, d_s.swapaxes(-1, -2) @ q, a.swapaxes(-1, -2) @ d_out


def wrong_vjp(d_out: Array, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
    d_q, d_k, d_v = right_vjp(d_out, q, k, v)
    return d_q, -d_k, d_v


def crashing_vjp(*_given: Array) -> Array:
    ctypes.string_at(0)
    raise AssertionError


def traced(q: Any, k: Any, v: Any) -> Any:
    s = anp.matmul(q, anp.swapaxes(k, -1, -2)) / q.shape[-1] ** 0.5
    e = anp.exp(s - anp.max(s, axis=-1, keepdims=True))
    return anp.matmul(e / anp.sum(e, axis=-1, keepdims=True), v)


def unscaled(q: Array, k: Array, v: Array) -> Array:
    result: Array = softmax(q @ k.swapaxes(-1, -2)) @ v
    return result


def sleeps(q: Array, k: Array, v: Array) -> Array:
    time.sleep(3600)
    return right(q, k, v)


def sleeps_on_many_keys(q: Array, k: Array, v: Array) -> Array:
    return sleeps(q, k, v) if k.shape[-2] > 60 else right(q, k, v)


def allocates(_q: Array, _k: Array, _v: Array) -> Array:
    kept = []
    while True:
        kept.append(np.ones(2**22))


def exits(_q: Array, _k: Array, _v: Array) -> Array:
    os._exit(0)


def exits_politely(_q: Array, _k: Array, _v: Array) -> Array:
    sys.exit(3)


def reads_nowhere(_q: Array, _k: Array, _v: Array) -> Array:
    ctypes.string_at(0)
    raise AssertionError


def divides_by_zero(_q: Array, _k: Array, _v: Array) -> Array:
    os.kill(os.getpid(), signal.SIGFPE)
    raise AssertionError


def crashes_on_many_keys(q: Array, k: Array, v: Array) -> Array:
    return reads_nowhere(q, k, v) if k.shape[-2] > 3 else right(q, k, v)


def not_a_number(q: Array, k: Array, v: Array) -> Array:
    return np.full_like(right(q, k, v), np.nan)


def wrong_shape(q: Array, k: Array, v: Array) -> Array:
    return right(q, k, v)[..., None]


def wrong_dtype(q: Array, k: Array, v: Array) -> Array:
    return right(q, k, v).astype(np.float64)


def objects(q: Array, k: Array, v: Array) -> Array:
    return right(q, k, v).astype(object)


def words(q: Array, k: Array, v: Array) -> Array:
    return right(q, k, v).astype(str)


def nothing(_q: Array, _k: Array, _v: Array) -> None:
    return None


def values_themselves(_q: Array, _k: Array, v: Array) -> Array:
    return v


def values_where_there_is_one_key(q: Array, k: Array, v: Array) -> Array:
    return v if k.shape[-2] == q.shape[-2] == 1 else right(q, k, v)


def changes_its_input(q: Array, k: Array, v: Array) -> Array:
    answer = right(q, k, v)
    k *= 2
    return answer


_BY_SHAPE: dict[tuple[int, ...], Array] = {}
_BUFFERS: dict[tuple[int, ...], Array] = {}


def answers_by_shape(q: Array, k: Array, v: Array) -> Array:
    return _BY_SHAPE.setdefault((*q.shape, *k.shape, *v.shape), right(q, k, v))


def keeps_its_buffer(q: Array, k: Array, v: Array) -> Array:
    answer = right(q, k, v)
    buffer = _BUFFERS.setdefault(answer.shape, np.empty(answer.shape, q.dtype))
    buffer[...] = answer
    return buffer


_INPUTS: list[Array] = []


def writes_to_earlier_inputs(q: Array, k: Array, v: Array) -> Array:
    for place in range(len(_INPUTS)):
        _INPUTS[place] *= 2
    _INPUTS[:] = [k]
    return right(q, k, v)


def forget() -> None:
    """Empty what the three above keep."""
    _BY_SHAPE.clear()
    _BUFFERS.clear()
    _INPUTS.clear()


_SEEDS: list[Array] = []


def vjp_by_the_first_cotangent(d_out: Array, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
    """Keeps the cotangent of its first call and answers by it for ever."""
    if not _SEEDS or _SEEDS[0].shape != d_out.shape:
        _SEEDS[:] = [d_out]
    return right_vjp(_SEEDS[0], q, k, v)


def sleeping_vjp(*_given: Array) -> Array:
    time.sleep(3600)
    raise AssertionError


def leaving_vjp(*_given: Array) -> Array:
    os._exit(0)


class Shapely(np.ndarray[Any, Any]):
    """An array that tells another shape, another type and other values than it has."""

    @property  # type: ignore[misc]  # it is what this array does wrong
    def shape(self) -> Any:
        return (1,) * self.ndim

    @property
    def dtype(self) -> Any:
        return np.dtype(np.float64)

    def __array__(self, *_given: Any, **_named: Any) -> Any:
        return np.zeros(3)


def tells_another_shape(q: Array, k: Array, v: Array) -> Array:
    return unscaled(q, k, v).view(Shapely)


def masked_array(q: Array, k: Array, v: Array) -> Array:
    """Hides what it got wrong behind a mask."""
    out = unscaled(q, k, v)
    hidden: Array = np.ma.masked_array(out, np.ones(out.shape, bool))
    return hidden


def one_entry_for_all(q: Array, k: Array, v: Array) -> Array:
    """Would fit by broadcasting."""
    shared: Array = right(q, k, v).mean(-1, keepdims=True)
    return shared


def prints(q: Array, k: Array, v: Array) -> Array:
    print("hello from the subject")  # noqa: T201  it is what this subject does wrong
    os.write(1, b"\0\0\0\0\0\0\0\2{}")
    sys.stdout.flush()
    return right(q, k, v)


def writes_to_every_pipe(q: Array, k: Array, v: Array) -> Array:
    for number in range(3, 20):
        with contextlib.suppress(OSError):
            os.write(number, b"\0\0\0\0\0\0\0\2{}")
    return right(q, k, v)


def tampers(q: Array, k: Array, v: Array) -> Array:
    np.allclose = np.array_equal = lambda *_given, **_named: True  # type: ignore[assignment]
    np.random.seed(0)  # noqa: NPY002  it is what this subject does wrong
    np.random.default_rng = lambda *_given: None  # type: ignore[assignment]
    np.abs = lambda x: x * 0  # type: ignore[assignment]
    return unscaled(q, k, v)


class Liar(np.ndarray[Any, Any]):
    """An array that equals everything."""

    def __eq__(self, other: object) -> Any:
        return np.ones(self.shape, bool)

    def __ne__(self, other: object) -> Any:
        return np.zeros(self.shape, bool)

    __hash__ = None

    def __sub__(self, other: Any) -> Any:
        return np.zeros(self.shape)


def lies(q: Array, k: Array, v: Array) -> Array:
    return unscaled(q, k, v).view(Liar)


def multiples_of_16(q: Array, k: Array, v: Array) -> Array:
    n = k.shape[-2]
    cut = n if n % 16 == 0 or n < 16 else n - n % 16
    return right(q, k[..., :cut, :], v[..., :cut, :])


def contiguous_alone(q: Array, k: Array, v: Array) -> Array:
    """Reads memory as if its rows followed each other."""
    return right(*(_as_if_contiguous(x) for x in (q, k, v)))


def ends_on_nothing(q: Array, k: Array, v: Array) -> Array:
    """As a compiled kernel that divides by the number of tiles."""
    if not k.size:
        os.kill(os.getpid(), signal.SIGFPE)
    return right(q, k, v)


def one_row_for_nothing(q: Array, k: Array, v: Array) -> Array:
    return right(q, k, v) if q.size else np.zeros((1, 1, 1, 1), q.dtype)


def doubles_for_nothing(q: Array, k: Array, v: Array) -> Array:
    return right(q, k, v) if q.size else np.zeros((*q.shape[:-1], v.shape[-1]))


def _as_if_contiguous(array: Array) -> Array:
    steps, step = [], array.itemsize
    for size in array.shape[::-1]:
        steps.append(step)
        step *= size
    return as_strided(array, array.shape, steps[::-1])


def refuses_strides(q: Array, k: Array, v: Array) -> Array:
    if not q.flags.c_contiguous:
        raise ValueError("contiguous arrays only")
    return right(q, k, v)


def with_cap(q: Array, k: Array, v: Array, *, cap: Any) -> Array:
    # NumPy adds products of sixteen bits in sixteen bits.
    wide: Any = np.float64 if q.dtype == np.float64 else np.float32
    s = q.astype(wide) @ k.astype(wide).swapaxes(-1, -2) / wide(q.shape[-1] ** 0.5)
    result: Array = softmax(wide(cap.limit) * np.tanh(s / wide(cap.limit))) @ v.astype(wide)
    return result.astype(q.dtype)


def with_cap_heads_first(q: Array, k: Array, v: Array, *, cap: Any) -> Array:
    return with_cap(q.swapaxes(0, 1), k, v, cap=cap)


class Cap:
    """An argument that has no form in JSON."""

    limit = 2.0**60


def inner() -> Any:
    def closure(q: Array, k: Array, v: Array) -> Array:
        return right(q, k, v)

    return closure


unnamed = [lambda q, k, v: right(q, k, v) + 0]
