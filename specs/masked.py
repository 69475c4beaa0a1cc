"""Attention under a boolean input mask, True = keep (Vaswani et al. 2017, section 3.2.3).

`broadcast` names the axes that the mask array lacks. A row that sees no key gives what `empty_rows`
says: zeros (PyTorch, ONNX), NaN, or the mean of all values (JAX, Keras).
"""

from attnverify.notation import Choice, Spec, attention, family, given


def build(broadcast: str, empty_rows: str) -> Spec:
    """Masked attention with one shape of mask and one convention for rows without keys."""
    return attention("masked", mask=given(broadcast.split()), empty_rows=empty_rows)


spec = family(
    build,
    broadcast=Choice("", "batch", "heads", "batch heads", "queries", "heads queries"),
    empty_rows=Choice("zeros", "nan", "uniform"),
)
