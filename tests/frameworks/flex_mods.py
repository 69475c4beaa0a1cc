"""FlexAttention's masks and modifications of scores, and at which sizes their tables are read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.nn.attention.flex_attention import and_masks, noop_mask

from tests.frameworks import flex_masks as mask
from tests.frameworks import flex_scores as score
from tests.frameworks import flex_videos as video
from tests.frameworks.flex_masks import H, Mods, N


@dataclass(frozen=True)
class Case:
    """What is traced, and at which numbers of queries, keys and key heads it is compared."""

    make: Callable[[], Mods]
    queries: int = N
    keys: int = N
    key_heads: int = H
    # torch takes functions of positions in float32, whatever the scores are.
    tolerance: float = 1e-9


def masks(mod: Any) -> Callable[[], Mods]:
    return lambda: {"mask_mod": mod}


def scores(mod: Any) -> Callable[[], Mods]:
    return lambda: {"score_mod": mod}


CASES: dict[str, Case] = {
    "noop": Case(masks(noop_mask)),
    "causal": Case(masks(mask.causal)),
    "causal, queries fewer than keys": Case(masks(mask.causal), queries=5),
    "sliding window": Case(masks(mask.sliding(4))),
    "two-sided window": Case(masks(mask.two_sided(3))),
    "prefix": Case(masks(mask.prefix_lm(5))),
    "prefix of each batch entry": Case(mask.prefix_per_batch),
    "documents": Case(masks(mask.same_document)),
    "documents, causal": Case(masks(and_masks(mask.causal, mask.same_document))),
    "one packed sequence": Case(mask.packed_documents),
    "jagged": Case(mask.jagged),
    "jagged by offsets alone": Case(mask.within_offsets),
    "padded": Case(mask.padded),
    "decode with offsets": Case(mask.decode_offset, queries=3),
    "decode with one offset": Case(mask.fixed_offset, queries=3),
    "dilated": Case(mask.dilated),
    "dilated, causal": Case(mask.dilated_causal),
    "window and global tokens": Case(mask.longformer),
    "blocks, near, first and drawn": Case(mask.big_bird),
    "within blocks": Case(masks(mask.in_blocks)),
    "causal between blocks": Case(masks(mask.block_causal)),
    "checkerboard": Case(masks(mask.checkerboard)),
    "checkerboard of scores": Case(score.checkerboard_of_scores),
    "neighbourhood on a canvas": Case(masks(mask.neighbourhood(4, 3))),
    "neighbourhood in tiles": Case(masks(mask.tiled_neighbourhood(4, 2, 3)), queries=16, keys=16),
    "neighbourhood along the Morton curve": Case(
        masks(mask.morton_neighbourhood(2, 3)), queries=16, keys=16
    ),
    "another mask for each half of the heads": Case(masks(mask.by_head)),
    "a window for each head": Case(mask.windows_of_heads),
    "images in text": Case(mask.transfusion),
    "first tokens and a window": Case(mask.streaming),
    "a callable object": Case(masks(mask.Window(3))),
    "a partial": Case(masks(functools.partial(mask.of_keywords, left=2, right=1))),
    "pages": Case(mask.paged),
    "causal within groups": Case(masks(video.within_groups(mask.causal, 4))),
    "text and its images": Case(video.images_of_text, keys=9),
    "tiles around a tile, and text": Case(lambda: video.sliding_tiles((2, 2), (1, 2), 2, 4)),
    "tiles of a video, and text": Case(lambda: video.sliding_tiles((2, 1, 2), (1, 1, 2), 2, 4)),
    "frames near in time, and a prompt": Case(lambda: video.near_frames(2, 3, 2)),
    "places near in any frame, and a prompt": Case(lambda: video.near_in_frames(2, 5, 2)),
    "ALiBi": Case(score.alibi),
    "ALiBi of a table, two-sided": Case(score.alibi_of_a_table),
    "ALiBi, grouped heads": Case(score.alibi, key_heads=2),
    "relative position": Case(scores(score.relative_position)),
    "relative bias of a table": Case(score.relative_table),
    "relative bias, clipped": Case(score.clipped_table),
    "bias of every pair": Case(score.full_bias),
    "bias on a canvas": Case(score.canvas_bias),
    "bias of each distance": Case(score.distance_bias),
    "bias of each key": Case(score.key_bias),
    "bias read through another table": Case(score.bias_by_offset),
    "bias of one row of four": Case(score.bias_of_a_row),
    "a factor of each query": Case(score.query_factor),
    "softcap": Case(scores(score.softcap(3.0))),
    "ALiBi, capped": Case(score.alibi_capped),
    "doubled after a position": Case(scores(score.doubled_after)),
    "decay with distance": Case(score.decaying, tolerance=1e-6),
    "logarithm of the distance": Case(scores(score.log_distance), tolerance=1e-6),
    "hidden by minus infinity, first row empty": Case(scores(score.hidden_by_score)),
    "types and devices of the values": Case(scores(score.of_its_own_type)),
    "hidden below a threshold": Case(scores(score.above_threshold)),
    "a temperature for each head": Case(score.temperatures),
    "grouped heads": Case(mask.windows_of_heads, key_heads=2),
    "cap and window": Case(
        lambda: {
            "score_mod": score.softcap(2.0),
            "mask_mod": and_masks(mask.causal, mask.two_sided(4)),
        }
    ),
}
