"""Soft-capped scores: c tanh(s / c), before the mask (Gemma 2, 2024, section 2).

`cap_before_mask=False` caps after the mask as older ONNX texts did: a hidden key has the score -c.
"""

from attnverify.notation import (
    Choice,
    Spec,
    attention,
    causal,
    everything,
    family,
    parameter,
)

cap = parameter("cap", gt=0, doc="what no score's size exceeds")


def build(ordered: bool, cap_before_mask: bool) -> Spec:
    """Soft-capped attention over all keys, or causal."""
    mask = causal() if ordered else everything()
    return attention(
        "softcap", cap=cap, cap_before_mask=cap_before_mask, mask=mask, parameters=[cap]
    )


spec = family(build, ordered=Choice(False, True), cap_before_mask=Choice(True, False))
