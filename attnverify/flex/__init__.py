"""FlexAttention's modifications traced into specs.

A `score_mod` or `mask_mod` is run with symbols in the place of numbers, and what it computes
becomes a stage of the pipeline: proofs, gradients, code and a checker follow for code that is
written already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

from numpy.typing import NDArray

from attnverify.algebra.predicates import TRUE
from attnverify.algebra.rewrite import entries, predicate_entries, substitute
from attnverify.algebra.terms import Entry, Parameter, as_expr, mul, power, total
from attnverify.attention import Mask, Part, Score, Site, attention, grouped, standard
from attnverify.equations import let
from attnverify.flex.modify import Modifications, Modified, raw_score
from attnverify.spec import Spec

Mod = Callable[..., Any]

__all__ = ["from_flex", "tables"]


def from_flex(
    *,
    score_mod: Mod | None = None,
    mask_mod: Mod | None = None,
    scale: float | Parameter | None = None,
    enable_gqa: bool = False,
    parameters: Iterable[Parameter] = (),
    name: str = "",
) -> Spec:
    """The Spec of PyTorch's flex_attention under a score_mod and a mask_mod, which are traced.

    Inputs Q, K and V as of `attention`, and each closed-over tensor or NumPy array that is looked
    up, under the name that it has there; `tables` has its values. An axis of one that is read at
    `q_idx` and at `kv_idx` makes queries and keys one axis, time. Closed-over numbers are
    constants, but for those that bear the name of one of `parameters`, which stay open. Scores are
    Q K^T times `scale`, 1/sqrt(key_dim) unless given; `h` is a query head, also where `enable_gqa`
    groups them. A row that sees no key gives 0.

    Raises TraceError, with the line, for what cannot be traced; ParameterError for a parameter that
    names nothing.
    Source: Dong et al. 2024, FlexAttention; torch.nn.attention.flex_attention.

    >>> spec = from_flex(mask_mod=lambda b, h, q_idx, kv_idx: q_idx >= kv_idx)
    >>> print(spec.equation("A"))
    A[b,h,i,j] = softmax_j(S[b,h,i,j] | i >= j)
    """
    parameters = tuple(parameters)
    found = _traced(score_mod, mask_mod, enable_gqa=enable_gqa, parameters=parameters)
    site = found.site
    ordered = found.counts(site.i, site.j)
    return attention(
        name or _named(score_mod, mask_mod),
        heads=grouped() if enable_gqa else standard(),
        score=Score(lambda site, q, k: _modified(found, site, q, k, scale), scaled=False),
        mask=Mask(lambda _: found.keep, ordered=ordered and found.keep != TRUE),
        one_sequence=site.i.axis == site.j.axis,
        parameters=parameters,
        description=_described(score_mod, mask_mod),
        announces=_announced(found),
    )


def tables(
    *,
    score_mod: Mod | None = None,
    mask_mod: Mod | None = None,
    enable_gqa: bool = False,
    parameters: Iterable[Parameter] = (),
) -> dict[str, NDArray[Any]]:
    """The values of the closed-over tables, by the names that `from_flex` gives their inputs.

    Raises TraceError as `from_flex` does.

    >>> import numpy as np
    >>> slopes = np.array([0.5, 0.25])
    >>> tables(score_mod=lambda score, b, h, q, kv: score + slopes[h] * (kv - q))
    {'slopes': array([0.5 , 0.25])}
    """
    found = _traced(score_mod, mask_mod, enable_gqa=enable_gqa, parameters=parameters)
    return {table.name: table.values for table in found.tables.found.values()}


def _traced(
    score_mod: Mod | None,
    mask_mod: Mod | None,
    *,
    enable_gqa: bool,
    parameters: Iterable[Parameter],
) -> Modified:
    heads = grouped() if enable_gqa else standard()
    open_ones = {parameter.name: parameter for parameter in parameters}
    return Modifications(score_mod, mask_mod, heads, open_ones).traced()


def _modified(
    found: Modified, site: Site, q: Entry, k: Entry, scale: float | Parameter | None
) -> Part:
    """The modified score; the raw one has an equation where it is read more than once."""
    raw = raw_score(site)
    factor = power(k.indices[-1].axis.size, Fraction(-1, 2)) if scale is None else as_expr(scale)
    value = mul(total(mul(q, k), over=site.channels), factor)
    inputs = found.tables.inputs()
    read = [*entries(found.score), *predicate_entries(found.keep)]
    if read.count(raw) > 1 or raw in predicate_entries(found.keep):
        return Part(found.score, (let(raw, value),), inputs)
    return Part(substitute(found.score, {"R": (raw, value)}), inputs=inputs)


def _announced(found: Modified) -> dict[str, str]:
    """The invariants that fail as a property of what was traced."""
    site, reasons = found.site, dict[str, str]()
    if found.counts(site.i, site.j):
        reasons["permutation equivariance"] = "the modification counts positions"
    if found.counts(site.b):
        reasons["batch independence"] = "the modification counts batch entries"
    if raw_score(site) in predicate_entries(found.keep):
        reasons["key shift"] = "which keys are seen depends on the scores"
    return reasons


def _named(*mods: Mod | None) -> str:
    """The names of the functions, joined; flex where none has one."""
    names = [getattr(mod, "__name__", "") for mod in mods]
    return "_".join(n for n in names if n.isidentifier()) or "flex"


def _described(*mods: Mod | None) -> str:
    texts = [(getattr(mod, "__doc__", None) or "").strip() for mod in mods if mod is not None]
    return "\n\n".join(filter(None, texts)) or "Traced from modifications of FlexAttention."
