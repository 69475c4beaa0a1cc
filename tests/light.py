"""The text of a spec that is quick to verify, and of a family of four of its kind."""

from __future__ import annotations

SPEC = '''"""Sums of the last values, which are quick to verify."""
from attnverify.notation import Spec, axes, let, parameter, tensors, total, where
keys, value_dim = axes("keys value_dim")
j, l, c = keys["j"], keys["l"], value_dim["c"]
V, O = tensors("V O")
window = parameter("window", integer=True, ge=1)
spec = Spec(
    "kept",
    inputs=[V[j, c]],
    equations=[let(O[l, c], total(where(j >= l - window + 1) * V[j, c], over=j))],
    outputs=[O],
    parameters=[window],
    announces={"permutation equivariance": "a window"},
)
'''
FAMILY = '''"""Sums of the last values, times one of four numbers."""
from attnverify.notation import Choice, Spec, axes, family, let, tensors, total, where
keys, value_dim = axes("keys value_dim")
j, l, c = keys["j"], keys["l"], value_dim["c"]
V, O = tensors("V O")


def build(times):
    term = where(j <= l) * V[j, c]
    return Spec(
        "four",
        inputs=[V[j, c]],
        equations=[let(O[l, c], total(term, over=j) * times)],
        outputs=[O],
        announces={"permutation equivariance": "a window"},
    )


spec = family(build, times=Choice(2, 3, 4, 5))
'''
