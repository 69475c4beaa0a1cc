"""Attention with a float bias added to the scaled scores (Raffel et al. 2020 and many others).

`broadcast` names the axes that the bias array lacks; `scaled=True` scales the bias with the scores.
"""

from attnverify.notation import Choice, Spec, additive_bias, attention, family


def build(broadcast: str, scaled: bool) -> Spec:
    """Biased attention with one shape of bias, added after or before the scores are scaled."""
    return attention("biased", bias=additive_bias(broadcast.split()), scale_bias=scaled)


spec = family(
    build,
    broadcast=Choice("", "batch", "heads", "batch heads", "queries", "heads queries"),
    scaled=Choice(False, True),
)
