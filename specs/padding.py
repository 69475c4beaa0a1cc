"""Attention over padded sequences: sequence b has `lengths[b]` keys (Vaswani et al. 2017).

A sequence without keys gives what `empty_rows` says.
"""

from attnverify.notation import Choice, Spec, attention, family, key_lengths


def build(empty_rows: str) -> Spec:
    """Padded attention with one convention for sequences without keys."""
    return attention("padding", mask=key_lengths(), empty_rows=empty_rows)


spec = family(build, empty_rows=Choice("zeros", "nan", "uniform"))
