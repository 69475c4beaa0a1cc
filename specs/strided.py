"""Sparse Transformer attention in its two patterns (Child et al. 2019, section 4.3).

`pattern="strided"`: the last `stride` positions, and every `stride`-th one before. `"fixed"`: the
own block of `stride` positions, and the last `width` positions of every block. `part` takes the
first set, the second, or both in one head; all are causal.
"""

from attnverify.notation import (
    Choice,
    Spec,
    attention,
    block_ends,
    causal,
    every_step,
    family,
    parameter,
    same_block,
    within,
)

stride = parameter("stride", integer=True, ge=1, doc="the stride l")
width = parameter("width", integer=True, ge=1, doc="positions c at the end of each block")


def build(pattern: str, part: str) -> Spec:
    """One pattern, in one head or as one of its parts."""
    if pattern == "strided":
        first, second, parameters = within(left=stride), every_step(stride), [stride]
    else:
        first, second = same_block(stride), block_ends(stride, width)
        parameters = [stride] if part == "first" else [stride, width]
    chosen = {"first": first, "second": second, "both": first | second}[part]
    return attention("strided", mask=causal() & chosen, parameters=parameters)


spec = family(build, pattern=Choice("strided", "fixed"), part=Choice("both", "first", "second"))
