"""All that spec files import: axes, tensors, equations, functions, parameters, families, stages."""

from __future__ import annotations

from fractions import Fraction

from attnverify.algebra.along import axis, concatenate, concatenated, gather, running_total
from attnverify.algebra.functions import (
    absolute,
    alibi_slope,
    maximum,
    sign,
    t5_bucket,
    threshold,
    undefined,
)
from attnverify.algebra.parameters import parameter
from attnverify.algebra.predicates import TRUE, Compare, Predicate, as_predicate
from attnverify.algebra.primitives import call
from attnverify.algebra.terms import (
    Axis,
    Expr,
    Index,
    Softmax,
    Tensor,
    add,
    as_expr,
    floor_div,
    indicator,
    mul,
    position,
    power,
    remainder,
    total,
)
from attnverify.attention import (
    Mask,
    additive_bias,
    alibi_bias,
    attention,
    block_ends,
    bucket_bias,
    causal,
    cosine_score,
    distance_score,
    dot_score,
    entmax_weights,
    every_step,
    everything,
    first_keys,
    first_queries,
    given,
    grouped,
    key_lengths,
    multi_query,
    plus_one_weights,
    qk_norm,
    query_lengths,
    relu_weights,
    rope,
    same_block,
    same_document,
    scalable_weights,
    sigmoid_weights,
    single,
    sink_weights,
    softmax_weights,
    sparsemax_weights,
    standard,
    top_k,
    within,
)
from attnverify.equations import Equation, let, previous, recur, running_product
from attnverify.errors import ParameterError, SpecError
from attnverify.family import Choice, Family, family
from attnverify.spec import Spec


def axes(names: str) -> tuple[Axis, ...]:
    """Axes by name; `axis["i"]` is an index, `axis.size` the number of its positions.

    >>> batch, keys = axes("batch keys")
    """
    return tuple(Axis(name) for name in names.split())


def tensors(names: str) -> tuple[Tensor, ...]:
    """Tensors of real numbers, by name.

    >>> Q, K = tensors("Q K")
    """
    return tuple(Tensor(name) for name in names.split())


def booleans(names: str) -> tuple[Tensor, ...]:
    """Boolean inputs, by name; an entry is a predicate (True = keep)."""
    return tuple(Tensor(name, "bool") for name in names.split())


def integers(names: str) -> tuple[Tensor, ...]:
    """Integer inputs, by name: lengths, segments."""
    return tuple(Tensor(name, "int") for name in names.split())


def softmax(score: Expr, over: Index, where: object = TRUE) -> Softmax:
    """exp(score) over its sum along `over`, both where `where` holds; an empty row gives 0."""
    if not isinstance(over, Index):
        raise SpecError("softmax(..., over=) takes an index", found=repr(over))
    return Softmax(as_expr(score), over, as_predicate(where), over)


def where(predicate: object, value: object = 1, otherwise: object = 0) -> Expr:
    """`value` where the predicate holds, `otherwise` elsewhere."""
    condition = as_predicate(predicate)
    kept = mul(indicator(condition), value)
    if as_expr(otherwise) == as_expr(0):
        return kept
    return add(kept, mul(indicator(~condition), otherwise))


def eq(left: object, right: object) -> Predicate:
    """The predicate `left = right`."""
    return Compare("==", as_expr(left), as_expr(right))


def ne(left: object, right: object) -> Predicate:
    """The predicate `left != right`."""
    return Compare("!=", as_expr(left), as_expr(right))


def sqrt(value: object) -> Expr:
    """The square root of a value that is not negative."""
    return power(value, Fraction(1, 2))


def exp(value: object) -> Expr:
    """E to the value."""
    return call("exp", value)


def log(value: object) -> Expr:
    """The natural logarithm."""
    return call("log", value)


def tanh(value: object) -> Expr:
    """The hyperbolic tangent."""
    return call("tanh", value)


def sin(value: object) -> Expr:
    """The sine."""
    return call("sin", value)


def cos(value: object) -> Expr:
    """The cosine."""
    return call("cos", value)


def logistic(value: object) -> Expr:
    """1 / (1 + exp(-value))."""
    return call("logistic", value)


def erf(value: object) -> Expr:
    """The error function."""
    return call("erf", value)


def relu(value: object) -> Expr:
    """The larger of the value and 0."""
    return call("relu", value)


def larger(left: object, right: object) -> Expr:
    """The larger of two values."""
    return call("larger", left, right)


def smaller(left: object, right: object) -> Expr:
    """The smaller of two values."""
    return call("smaller", left, right)


def clip(value: object, low: object, high: object) -> Expr:
    """The value, held between `low` and `high`."""
    return smaller(larger(value, low), high)


def stop_gradient(value: object) -> Expr:
    """The value, held constant by derivatives."""
    return call("stop_gradient", value)


def elu_plus_one(value: object) -> Expr:
    """elu(x) + 1: x + 1 for x > 0, else exp(x) (Katharopoulos et al. 2020, eq. 7)."""
    return relu(value) + exp(smaller(value, 0))


__all__ = [
    "Axis",
    "Choice",
    "Equation",
    "Family",
    "Index",
    "Mask",
    "ParameterError",
    "Predicate",
    "Spec",
    "Tensor",
    "absolute",
    "additive_bias",
    "alibi_bias",
    "alibi_slope",
    "attention",
    "axes",
    "axis",
    "block_ends",
    "booleans",
    "bucket_bias",
    "causal",
    "clip",
    "concatenate",
    "concatenated",
    "cos",
    "cosine_score",
    "distance_score",
    "dot_score",
    "elu_plus_one",
    "entmax_weights",
    "eq",
    "erf",
    "every_step",
    "everything",
    "exp",
    "family",
    "first_keys",
    "first_queries",
    "floor_div",
    "gather",
    "given",
    "grouped",
    "integers",
    "key_lengths",
    "larger",
    "let",
    "log",
    "logistic",
    "maximum",
    "multi_query",
    "ne",
    "parameter",
    "plus_one_weights",
    "position",
    "previous",
    "qk_norm",
    "query_lengths",
    "recur",
    "relu",
    "relu_weights",
    "remainder",
    "rope",
    "running_product",
    "running_total",
    "same_block",
    "same_document",
    "scalable_weights",
    "sigmoid_weights",
    "sign",
    "sin",
    "single",
    "sink_weights",
    "smaller",
    "softmax",
    "softmax_weights",
    "sparsemax_weights",
    "sqrt",
    "standard",
    "stop_gradient",
    "t5_bucket",
    "tanh",
    "tensors",
    "threshold",
    "top_k",
    "total",
    "undefined",
    "where",
    "within",
]
