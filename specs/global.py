"""Scaled dot-product attention over all keys (Vaswani et al. 2017, eq. 1).

`dropout=True` drops the weights that the boolean input `drop` (True = keep) says and divides the
others by 1 - p. `lse_base` is the base of the log-sum-exp L, an output where it is asked for.
"""

from attnverify.notation import Choice, ParameterError, Spec, attention, family, parameter

p = parameter("p", ge=0, lt=1, doc="probability of dropping a weight")


def build(dropout: bool, lse_base: object) -> Spec:
    """Global attention, with or without dropout."""
    if dropout and lse_base != "e":
        raise ParameterError("dropout leaves the log-sum-exp as it is", found=f"{lse_base=}")
    if dropout:
        return attention("global", dropout=p, parameters=[p])
    return attention("global", lse_base=lse_base)


spec = family(build, dropout=Choice(False, True), lse_base=Choice("e", 2))
