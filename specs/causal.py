"""Causal attention: query i sees keys j <= i + offset (Vaswani et al. 2017, section 3.2.3).

`align` counts positions from the first (PyTorch's is_causal, JAX) or from the last (FlashAttention
2.1 and later). `offset` is an integer, or one per batch entry as the input `offset` (ONNX). A row
that sees no key gives what `empty_rows` says.
"""

from attnverify.notation import (
    Choice,
    ParameterError,
    Spec,
    attention,
    causal,
    family,
    parameter,
)

offset = parameter("offset", integer=True, doc="keys seen beyond the query's own position")


def build(align: str, offset: object, empty_rows: str) -> Spec:
    """Causal attention with one alignment, one offset and one convention for rows without keys."""
    if empty_rows != "zeros" and (align, offset) == ("top_left", 0):
        raise ParameterError("every row sees a key", found=f"{empty_rows=}", due="'zeros'")
    mask = causal(align=align, offset=offset)
    return attention("causal", mask=mask, empty_rows=empty_rows, parameters=[offset])


spec = family(
    build,
    align=Choice("top_left", "bottom_right"),
    offset=Choice(0, offset, "input"),
    empty_rows=Choice("zeros", "nan", "uniform"),
)
