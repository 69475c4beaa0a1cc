"""Sliding window: i sees the last `window` keys up to itself (Jiang et al. 2023, Mistral 7B).

`counts="keys"` counts the query's own position in the window (Hugging Face), `counts="left"` does
not: the window is the extent to the left (FlashAttention).
"""

from attnverify.notation import Choice, Spec, attention, causal, family, parameter, within

window = parameter("window", integer=True, ge=1, doc="keys seen, or keys seen to the left")


def build(align: str, counts: str) -> Spec:
    """A sliding window with one alignment and one way to count."""
    left = window - 1 if counts == "keys" else window
    mask = causal(align=align) & within(left=left, align=align)
    return attention("sliding_window", mask=mask, parameters=[window])


spec = family(build, align=Choice("top_left", "bottom_right"), counts=Choice("keys", "left"))
