"""Top-k attention: a row keeps its `count` largest scores (Gupta et al. 2021, section 3).

Of equal scores the one with the smaller position comes first, so that exactly `count` keys are
kept, or all where there are fewer. `ordered=True` ranks the keys up to the query's own position.
"""

from attnverify.notation import Choice, Spec, attention, causal, family, parameter, top_k

count = parameter("k", integer=True, ge=1, doc="keys that a row keeps")


def build(ordered: bool) -> Spec:
    """The largest of all scores, or of those that a causal mask shows."""
    mask = top_k(count, among=causal() if ordered else None)
    return attention("top_k", mask=mask, parameters=[count])


spec = family(build, ordered=Choice(False, True))
