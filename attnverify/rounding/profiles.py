"""What an arithmetic does at each stage, as data: the profile that a tolerance is derived under."""

from __future__ import annotations

from dataclasses import dataclass

from attnverify.dtypes import (
    TENSOR_CORES,
    FloatType,
    eight_bit_type,
    float_type,
    tensor_core_type,
)
from attnverify.errors import ParameterError


@dataclass(frozen=True)
class Profile:
    """Unit roundoffs of the stages of a program.

    `stage` is what every intermediate is rounded with, `accumulator` what sums are carried with,
    `exponential` the error of exp and its like in units of `stage`, `row_term` that of the row term
    D.  `quantum` is the absolute error near zero, `largest` the end of the range.  `stored` is what
    outputs are stored as, `operand` what enters a product of matrices; both are `stage` where every
    intermediate is stored.  `inputs` says whether inputs are rounded on the way in, as operands
    are, with a scale per tensor where `scaled`.  `cut` is how far operands go one way together
    where what does not fit is dropped, not rounded.  Noise is drawn `enlarged` times too large and
    the result divided, so that it stands clear of the roundings of the reference itself.
    """

    name: str
    dtype: str
    stage: float
    accumulator: float
    quantum: float
    largest: float
    stored: FloatType
    operand: FloatType
    exponential: float = 4.0
    row_term: float = 4.0
    enlarged: float = 1.0
    inputs: bool = False
    scaled: bool = False
    cut: float = 0.0

    @property
    def selective(self) -> bool:
        """Whether only outputs and operands are stored, and all else is wider."""
        return self.stage < max(self.stored.roundoff, self.operand.roundoff)


# What fused kernels of 16 bits compute exp by is good to about 2^-13: a cubic polynomial, 1.1e-4 in
# PyTorch (fexp_u20, after Malossi et al. 2015), 8.8e-5 in FlashAttention-4.
CUBIC = 2.0**-13
# Factors that lift the noise of wide types above the roundings of the reference.
ENLARGED = {"float64": 2.0**26, "float32": 2.0**6, "float16": 1.0, "bfloat16": 1.0}
# Profiles of operands in 8 bits.
EIGHT_BITS = {"fp8_e4m3": "float8_e4m3fn", "fp8_e5m2": "float8_e5m2"}
PROFILES = ("loose", "strict", *EIGHT_BITS, *TENSOR_CORES)


def profile(name: str, dtype: str, internal: str | None = None) -> Profile:
    """The profile of a name; ParameterError for another, or where it does not fit the type.

    >>> profile("strict", "bfloat16").stage == profile("loose", "float32").stage
    True
    """
    if name == "loose":
        return loose(dtype, internal)
    if name not in PROFILES:
        raise ParameterError("an unknown profile", found=repr(name), due=", ".join(PROFILES))
    if internal is not None:
        raise ParameterError(
            "a profile and an internal type say two things of one arithmetic",
            found=f"profile={name!r}, internal={internal!r}",
            due="one of them",
        )
    if name in TENSOR_CORES:
        return tensor_cores(name, dtype)
    return strict(dtype) if name == "strict" else eight_bits(name, dtype)


def loose(dtype: str, internal: str | None = None) -> Profile:
    """The profile that correct libraries fit: stages rounded to storage, sums in float32 or wider.

    `internal` declares that a wider type is computed in a narrower one inside (float32 inside
    float64).

    >>> loose("bfloat16").stage
    0.00390625
    """
    stored = float_type(dtype)
    inside = float_type(internal or dtype)
    if inside.roundoff < stored.roundoff:
        raise ParameterError(
            "the internal type is wider than the subject's own",
            found=f"{internal} inside {dtype}",
            due="a narrower one, such as float32 inside float64",
        )
    narrow = inside is not stored
    return Profile(
        f"loose, {inside.name} inside" if narrow else "loose",
        dtype,
        inside.roundoff,
        inside.accumulator,
        near_zero(inside),
        inside.largest,
        stored=inside,
        operand=inside,
        enlarged=ENLARGED[inside.name],
        inputs=narrow,
    )


def strict(dtype: str) -> Profile:
    """The profile of a fused kernel: what enters a product, and outputs, rounded, all else not.

    Those are the weights, the slopes of the scores, and the outputs; what is not stored is float32
    or wider, so that in these types `strict` is `loose`.  Exp may be as cheap as 16 bits hide.

    >>> strict("bfloat16").selective, strict("float32").selective
    (True, False)
    """
    stored = float_type(dtype)
    inside = float_type("float32") if stored.roundoff > float_type("float32").roundoff else stored
    return Profile(
        "strict",
        dtype,
        inside.roundoff,
        inside.accumulator,
        near_zero(inside),
        inside.largest,
        stored=stored,
        operand=stored,
        exponential=CUBIC / inside.roundoff if inside is not stored else 4.0,
        enlarged=ENLARGED[stored.name],
    )


def eight_bits(name: str, dtype: str) -> Profile:
    """The profile of 8-bit operands: inputs rounded with a scale per tensor, weights without.

    The function takes and gives arrays of `dtype`; each input is divided by a scale that takes its
    largest entry to the end of the range and rounded, weights are rounded as they are; sums, and
    all that is not multiplied, are float32.

    >>> eight_bits("fp8_e4m3", "bfloat16").operand.roundoff
    0.0625
    """
    stored, wide = float_type(dtype), float_type("float32")
    if stored.name == "float64":
        raise ParameterError(
            "8-bit operands have sums in float32", found=dtype, due="float32 or narrower"
        )
    return Profile(
        name,
        dtype,
        wide.roundoff,
        wide.accumulator,
        near_zero(wide),
        wide.largest,
        stored=stored,
        operand=eight_bit_type(EIGHT_BITS[name]),
        exponential=CUBIC / wide.roundoff,
        inputs=True,
        scaled=True,
    )


def tensor_cores(name: str, dtype: str) -> Profile:
    """The profile of float32 on tensor cores: only what enters a product is cut.

    `tf32` is one product of what TF32 keeps, `tf32x3` three of them, as PyTorch's memory-efficient
    kernel multiplies float32 (CUTLASS's OpMultiplyAddFastF32).

    >>> tensor_cores("tf32", "float32").selective
    True
    """
    stored, operand = float_type(dtype), tensor_core_type(name)
    if dtype != "float32":
        raise ParameterError(
            f"{name} is a way to multiply float32", found=dtype, due="dtypes=('float32',)"
        )
    return Profile(
        name,
        dtype,
        stored.roundoff,
        operand.accumulator,
        near_zero(stored),
        stored.largest,
        stored=stored,
        operand=operand,
        inputs=True,
        # what is dropped is half of the most that can be, in the mean
        cut=operand.roundoff / 2,
    )


def near_zero(kind: FloatType) -> float:
    """The absolute error of a stored number near zero.

    Float16 and narrower types underflow gradually everywhere; others may flush to zero what is not
    normal.
    """
    return kind.quantum if kind.name.startswith(("float16", "float8")) else kind.smallest_normal
