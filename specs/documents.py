"""Packed sequences: a query sees the keys of its own document (Krell et al. 2021, section 3).

`source="segments"` reads an id per position from the input `segments`; `"bounds"` reads cumulative
lengths: document n begins at position bounds[b, n]. Queries and keys are one sequence.
"""

from attnverify.notation import Choice, Spec, attention, causal, family, same_document


def build(ordered: bool, source: str) -> Spec:
    """Documents, causal or not, told by ids or by cumulative lengths."""
    mask = same_document(source)
    return attention("documents", mask=causal() & mask if ordered else mask, one_sequence=True)


spec = family(build, ordered=Choice(True, False), source=Choice("segments", "bounds"))
