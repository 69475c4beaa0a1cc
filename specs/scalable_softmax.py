"""Scalable softmax: scores times s log(n), n the number of keys a row sees (Nakanishi 2025, eq. 3).

The input `s` (heads) is learned; the scores are scaled by 1/sqrt(key_dim) as before.
"""

from attnverify.notation import (
    Choice,
    Spec,
    attention,
    causal,
    everything,
    family,
    scalable_weights,
)


def build(ordered: bool) -> Spec:
    """Scalable softmax over all keys, or causal, where n grows along the rows."""
    mask = causal() if ordered else everything()
    return attention("scalable_softmax", normaliser=scalable_weights(), mask=mask)


spec = family(build, ordered=Choice(False, True))
