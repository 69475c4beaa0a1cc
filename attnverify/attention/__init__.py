"""The pipeline that composes attention: a variant is a choice at each stage.

Heads, position, score, bias and cap, mask, normaliser and aggregate are small values that
`attention` joins into a Spec.
"""

from attnverify.attention.compose import attention
from attnverify.attention.heads import Heads, grouped, multi_query, single, standard
from attnverify.attention.masks import (
    Mask,
    block_ends,
    causal,
    every_step,
    everything,
    first_keys,
    first_queries,
    given,
    key_lengths,
    query_lengths,
    same_block,
    same_document,
    top_k,
    within,
)
from attnverify.attention.normalisers import (
    Normaliser,
    entmax_weights,
    plus_one_weights,
    relu_weights,
    scalable_weights,
    sigmoid_weights,
    sink_weights,
    softmax_weights,
    sparsemax_weights,
)
from attnverify.attention.positions import Position, qk_norm, rope
from attnverify.attention.scores import (
    Bias,
    Score,
    additive_bias,
    alibi_bias,
    bucket_bias,
    cosine_score,
    distance_score,
    dot_score,
)
from attnverify.attention.site import Part, Site

__all__ = [
    "Bias",
    "Heads",
    "Mask",
    "Normaliser",
    "Part",
    "Position",
    "Score",
    "Site",
    "additive_bias",
    "alibi_bias",
    "attention",
    "block_ends",
    "bucket_bias",
    "causal",
    "cosine_score",
    "distance_score",
    "dot_score",
    "entmax_weights",
    "every_step",
    "everything",
    "first_keys",
    "first_queries",
    "given",
    "grouped",
    "key_lengths",
    "multi_query",
    "plus_one_weights",
    "qk_norm",
    "query_lengths",
    "relu_weights",
    "rope",
    "same_block",
    "same_document",
    "scalable_weights",
    "sigmoid_weights",
    "single",
    "sink_weights",
    "softmax_weights",
    "sparsemax_weights",
    "standard",
    "top_k",
    "within",
]
