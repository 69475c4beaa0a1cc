"""Mutants of caches, pages and packed sequences."""

from __future__ import annotations

import numpy as np

from attnverify.notation import attention, causal, key_lengths, rope, same_document
from attnverify.spec import Spec
from tests.mutants.plain import Array, attend, places, scores
from tests.mutants.positions import frequencies, turned
from tests.mutants.registry import Function, mutant


def bounded_and_padded() -> Spec:
    mask = same_document("bounds") & key_lengths()
    return attention("bounds_lengths", mask=mask, one_sequence=True)


def rotated_documents() -> Spec:
    turn = rope("half", positions="input")
    mask = causal() & same_document()
    return attention("rope_documents", position=turn, mask=mask, one_sequence=True)


def joined(past: Array, new: Array) -> Array:
    """A cache with the new entries behind it."""
    return np.concatenate([past, new], -2)


@mutant("KVC-01", "kv_cache", "several queries and a past", quick=True)
def history_masked_out(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, K_past: Array, V_past: Array) -> Array:
        keys, values = joined(K_past, k), joined(V_past, v)
        i, j = places(scores(q, keys))
        return attend(q, keys, values, j <= i + (0 if wrong else keys.shape[-2] - q.shape[-2]))

    return subject


@mutant("KVC-02", "kv_cache", "several queries")
def mask_skipped_with_a_cache(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, K_past: Array, V_past: Array) -> Array:
        keys, values = joined(K_past, k), joined(V_past, v)
        i, j = places(scores(q, keys))
        return attend(q, keys, values, wrong or j <= i + keys.shape[-2] - q.shape[-2])

    return subject


@mutant("KVC-05", "paged", "a length that fills its last page, and a page behind it")
def one_page_too_many(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, table: Array, lengths: Array) -> Array:
        page = k.shape[1]
        keys, values = (
            np.moveaxis(x[table], 3, 1).reshape(len(table), x.shape[2], -1, x.shape[-1])
            for x in (k, v)
        )
        i, j = places(scores(q, keys))
        length = lengths[:, None, None, None]
        extra = (length % page == 0) & (length <= j) & (j < length + page) if wrong else False
        return attend(q, keys, values, extra | ((j < length) & (j <= i + length - q.shape[-2])))

    return subject


@mutant("KVC-07", "documents", "several documents", ordered=False)
def documents_see_each_other(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, segments: Array) -> Array:
        return attend(q, k, v, wrong or segments[:, None, :, None] == segments[:, None, None, :])

    return subject


@mutant("KVC-10", bounded_and_padded, "several documents and lengths")
def bounds_replaced_by_the_padding(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, bounds: Array, lengths: Array) -> Array:
        _, j = places(scores(q, k))
        short = j < lengths[:, None, None, None]
        n = (bounds[:, None, :] <= np.arange(q.shape[-2])[:, None]).sum(-1)
        return attend(q, k, v, short & (wrong or n[:, None, :, None] == n[:, None, None, :]))

    return subject


@mutant("KVC-12", rotated_documents, "several documents")
def documents_by_positions_alone(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, segments: Array, position_ids: Array) -> Array:
        angle = position_ids[:, None, :, None] * frequencies(q.shape[-1])
        i, j = places(scores(q, k))
        same = segments[:, None, :, None] == segments[:, None, None, :]
        return attend(turned(q, angle), turned(k, angle), v, (j <= i) & (wrong | same))

    return subject
