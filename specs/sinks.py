"""Attention sinks: a learned logit per head joins the denominator (gpt-oss 2025; Xiao et al. 2023).

The input `sinks` (heads) is the logit; the log-sum-exp L counts it.
"""

from attnverify.notation import Choice, Spec, attention, causal, everything, family, sink_weights


def build(ordered: bool) -> Spec:
    """Attention with sinks over all keys, or causal."""
    mask = causal() if ordered else everything()
    return attention("sinks", normaliser=sink_weights(), mask=mask)


spec = family(build, ordered=Choice(False, True))
