"""ALiBi: scores fall with the distance of query and key, head by head (Press et al. 2022, 3).

`ordered=True` adds slope_h (j - i) to the scores of the keys up to the query, `False` adds
-slope_h |j - i| to all. `slopes="standard"` computes them for any number of heads, `"input"` reads
them. `align` counts positions from the first or from the last.
"""

from attnverify.notation import (
    Choice,
    Spec,
    alibi_bias,
    attention,
    causal,
    everything,
    family,
)


def build(ordered: bool, align: str, slopes: str) -> Spec:
    """ALiBi, causal or two-sided."""
    return attention(
        "alibi",
        bias=alibi_bias(two_sided=not ordered, slopes=slopes, align=align),
        mask=causal(align) if ordered else everything(),
    )


spec = family(
    build,
    ordered=Choice(True, False),
    align=Choice("top_left", "bottom_right"),
    slopes=Choice("standard", "input"),
)
