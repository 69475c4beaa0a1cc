"""Mutants of the contract: what a mask argument means."""

from __future__ import annotations

from typing import Any

from attnverify.notation import attention, key_lengths
from tests.mutants.plain import Array, attend, hidden, places, scores, softmax
from tests.mutants.registry import Function, mutant


@mutant("API-01", "masked", "a masked key", quick=True)
def mask_of_the_wrong_polarity(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, mask: Array) -> Array:
        return attend(q, k, v, ~mask if wrong else mask)

    return subject


@mutant("API-03", "masked", "a masked key")
def mask_added_as_numbers(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, mask: Array) -> Array:
        s = scores(q, k)
        return softmax(s + mask.astype(s.dtype) if wrong else hidden(s, mask)) @ v

    return subject


@mutant("API-05", "biased", "a bias that is not 0")
def bias_taken_for_a_mask(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, bias: Array) -> Array:
        s = scores(q, k)
        return softmax(hidden(s, bias == 0) if wrong else s + bias) @ v

    return subject


@mutant("API-07", "masked", "a mask beside the hint", kwargs={"is_causal": True})
def mask_lost_to_the_causal_hint(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, mask: Array, is_causal: Any = False) -> Array:
        i, j = places(scores(q, k))
        return attend(q, k, v, j <= i if wrong and is_causal else mask)

    return subject


@mutant(
    "API-11",
    lambda: attention("padded_sequence", mask=key_lengths(), one_sequence=True),
    "a length below the longest",
)
def padded_queries_zeroed(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, lengths: Array) -> Array:
        out = attend(q, k, v, places(scores(q, k))[1] < lengths[:, None, None, None])
        if wrong:
            padded = places(out)[0] >= lengths[:, None, None, None]
            out = out * ~padded
        return out.astype(v.dtype)

    return subject
