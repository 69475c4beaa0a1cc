"""Prefix attention: the first `prefix` keys are seen by all, the others causally.

Raffel et al. 2020, section 3.2.1, figure 4 (causal with prefix); `source="input"` reads one prefix
per sequence from the integer input `lengths`.
"""

from attnverify.notation import (
    Choice,
    Spec,
    attention,
    causal,
    family,
    first_keys,
    key_lengths,
    parameter,
)

prefix = parameter("prefix", integer=True, ge=0, doc="keys that every query sees")


def build(source: str) -> Spec:
    """One prefix for all sequences, or one for each."""
    if source == "input":
        return attention("prefix", mask=causal() | key_lengths())
    return attention("prefix", mask=causal() | first_keys(prefix), parameters=[prefix])


spec = family(build, source=Choice("parameter", "input"))
