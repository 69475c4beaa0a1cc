"""What rounding does in each float type: unit roundoff, range, quantum, accumulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

from attnverify.errors import ParameterError

# Sums of 16-bit products are carried in float32 by every library that was tried.
ACCUMULATOR = 2.0**-24


@dataclass(frozen=True)
class FloatType:
    """One float type by name.

    `roundoff` is the largest relative error of rounding to nearest; `quantum` the distance between
    numbers around zero; `accumulator` the unit roundoff that sums are carried with.
    """

    name: str
    roundoff: float
    largest: float
    smallest_normal: float
    quantum: float
    accumulator: float

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy type, from ml_dtypes where NumPy has none."""
        return _numpy(self.name)


NAMES = ("float64", "float32", "float16", "bfloat16")
# What arithmetic may round to inside, and what single inputs may be given in; no output is.
EIGHT_BITS = ("float8_e4m3fn", "float8_e5m2")
# How far what tensor cores keep of a float32 operand may be from it.  TF32 keeps ten bits behind
# the point and may drop the rest unrounded; three products of TF32 (big times big, big times small,
# small times big: CUTLASS's OpMultiplyAddFastF32) leave out the product of two remainders.
TENSOR_CORES = {"tf32": 2.0**-10, "tf32x3": 2.0**-21}


def _numpy(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))


@cache
def float_type(name: str) -> FloatType:
    """The float type of a name; ParameterError for a name that is not one of `NAMES`.

    >>> float_type("bfloat16").roundoff
    0.00390625
    """
    if name not in NAMES:
        raise ParameterError("an unknown float type", found=repr(name), due=", ".join(NAMES))
    return _facts(name)


@cache
def eight_bit_type(name: str) -> FloatType:
    """The float type of 8 bits of a name; ParameterError for one that is not in `EIGHT_BITS`.

    >>> eight_bit_type("float8_e4m3fn").largest
    448.0
    """
    if name not in EIGHT_BITS:
        raise ParameterError(
            "an unknown type of 8 bits", found=repr(name), due=", ".join(EIGHT_BITS)
        )
    return _facts(name)


def input_types(types: Mapping[str, str], dtype: str) -> dict[str, FloatType]:
    """The float type of each input that has another than `dtype`.

    That is 8 bits, or one that holds all of `dtype`: a bias of float32 beside bfloat16.  Raises
    ParameterError for any other, whose gradient would have a rounding of its own.

    >>> [kind.name for kind in input_types({"bias": "float32"}, "bfloat16").values()]
    ['float32']
    """
    own = float_type(dtype)
    found = {}
    for name, of in types.items():
        kind = _facts(of) if of in EIGHT_BITS else float_type(of)
        holds = kind.roundoff < own.roundoff and kind.largest >= own.largest
        if of not in EIGHT_BITS and kind != own and not holds:
            raise ParameterError(
                f"an input of a type that does not hold all of {dtype}",
                found=f"{name}: {of}",
                due=f"8 bits ({', '.join(EIGHT_BITS)}), {dtype} or wider",
            )
        if kind != own:
            found[name] = kind
    return found


def tensor_core_type(name: str) -> FloatType:
    """What products of float32 on tensor cores are good to; ParameterError for another name.

    They drop what does not fit from sums as well, so that these are good to 2^-23.

    >>> tensor_core_type("tf32").roundoff
    0.0009765625
    """
    if name not in TENSOR_CORES:
        raise ParameterError(
            "an unknown arithmetic of tensor cores", found=repr(name), due=", ".join(TENSOR_CORES)
        )
    wide = float_type("float32")
    return replace(wide, name=name, roundoff=TENSOR_CORES[name], accumulator=2 * ACCUMULATOR)


def _facts(name: str) -> FloatType:
    """What a type's own description says."""
    # ml_dtypes' own annotations stop at the class.
    info: Any = ml_dtypes.finfo(_numpy(name))  # type: ignore[no-untyped-call]
    roundoff = 2.0 ** -(int(info.nmant) + 1)
    return FloatType(
        name,
        roundoff,
        float(info.max),
        float(info.smallest_normal),
        float(info.smallest_subnormal),
        min(roundoff, ACCUMULATOR),
    )


def reference_type(name: str) -> np.dtype[Any]:
    """The type of a reference for `name`: wider than `name` where the platform has one.

    >>> reference_type("float32")
    dtype('float64')
    """
    return np.dtype(np.longdouble) if float_type(name).name == "float64" else np.dtype(np.float64)


def reference_is_wider(name: str) -> bool:
    """Whether the reference carries at least eight more bits than the type itself."""
    return bool(np.finfo(reference_type(name)).eps < float_type(name).roundoff / 128)


def type_name(dtype: object) -> str:
    """The plain name of a dtype of NumPy, PyTorch or JAX.

    >>> type_name(np.dtype("float32"))
    'float32'
    """
    return str(dtype).removeprefix("torch.").removeprefix("jax.numpy.")
