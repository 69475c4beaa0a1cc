"""FlexAttention's masks, each written from its definition; a maker gives arguments of from_flex."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch.nn.attention.flex_attention import and_masks, or_masks

Mods = dict[str, Any]
B, H, N = 2, 4, 12


def causal(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return q_idx >= kv_idx


def sliding(window: int) -> Any:
    return lambda _b, _h, q_idx, kv_idx: (q_idx - kv_idx < window) & (q_idx >= kv_idx)


def two_sided(window: int) -> Any:
    return lambda _b, _h, q_idx, kv_idx: torch.abs(q_idx - kv_idx) <= window


def prefix_lm(length: int) -> Any:
    return or_masks(causal, lambda _b, _h, _q, kv_idx: kv_idx < length)


def prefix_per_batch() -> Mods:
    prefix_length = torch.tensor([3, 5], dtype=torch.int32)

    def mask(b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return (kv_idx < prefix_length[b]) | (kv_idx <= q_idx)

    return {"mask_mod": mask}


DOCUMENTS = torch.tensor([[0] * 4 + [1] * 5 + [2] * 3, [0] * 7 + [1] * 5])


def same_document(b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return DOCUMENTS[b, q_idx] == DOCUMENTS[b, kv_idx]


def packed_documents() -> Mods:
    document_id = DOCUMENTS[0]

    def mask(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return document_id[q_idx] == document_id[kv_idx]

    return {"mask_mod": and_masks(mask, causal)}


def jagged() -> Mods:
    """Documents, each with a window that counts positions from its own start."""
    document_id, offsets = DOCUMENTS[0].int(), torch.tensor([0, 4, 9, 12])

    def mask(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        document = document_id[q_idx]
        q_here = q_idx - offsets[document]
        kv_here = kv_idx - offsets[document_id[kv_idx]]
        return (document == document_id[kv_idx]) & (q_here >= kv_here) & (q_here - kv_here <= 2)

    return {"mask_mod": mask}


def within_offsets() -> Mods:
    """Jagged sequences told by their offsets alone."""
    offsets = torch.tensor([0, 4, 9])

    def mask(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        starts = [(q_idx >= offsets[n]) == (kv_idx >= offsets[n]) for n in range(3)]
        return functools.reduce(lambda x, y: x & y, starts)

    return {"mask_mod": mask}


def padded() -> Mods:
    lengths = torch.tensor([5, 12])

    def mask(b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return (q_idx < lengths[b]) & (kv_idx < lengths[b])

    return {"mask_mod": mask}


def decode_offset() -> Mods:
    """Causal where query 0 stands at a position of the cache that a tensor gives."""
    offset = torch.tensor([7, 3])

    def mask(b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return q_idx + offset[b] >= kv_idx

    return {"mask_mod": mask}


def fixed_offset() -> Mods:
    """The same with one offset, a tensor without axes."""
    offset = torch.tensor(8)
    return {"mask_mod": lambda _b, _h, q_idx, kv_idx: q_idx + offset >= kv_idx}


def dilated() -> Mods:
    def mask(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        distance = torch.abs(q_idx - kv_idx)
        return (distance <= 6) & (distance % 2 == 0)

    return {"mask_mod": mask}


def dilated_causal() -> Mods:
    def mask(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        distance = q_idx - kv_idx
        return (distance >= 0) & (distance % 3 == 0)

    return {"mask_mod": mask}


def longformer() -> Mods:
    """A window, and tokens that see and are seen by all."""
    is_global = torch.zeros(N, dtype=torch.bool)
    is_global[[0, 5]] = True

    def everywhere(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return is_global[q_idx] | is_global[kv_idx]

    return {"mask_mod": or_masks(two_sided(2), everywhere)}


def big_bird() -> Mods:
    """Blocks near each other, the first block, and blocks drawn beforehand."""
    drawn = torch.rand(4, 4, generator=torch.Generator().manual_seed(0)) < 0.3
    size = 3

    def mask(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        q_block, kv_block = q_idx // size, kv_idx // size
        near = (q_block - kv_block).abs() <= 1
        return near | (q_block == 0) | (kv_block == 0) | drawn[q_block, kv_block]

    return {"mask_mod": mask}


def in_blocks(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return q_idx // 4 == kv_idx // 4


def block_causal(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return torch.div(q_idx, 4, rounding_mode="floor") >= kv_idx // 4


def checkerboard(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return (q_idx + kv_idx) % 2 == 0


def neighbourhood(width: int, kernel: int) -> Any:
    """Keys in a square around the query on a canvas, the square kept within it."""

    def mask(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        q_x, q_y = q_idx // width, q_idx % width
        kv_x, kv_y = kv_idx // width, kv_idx % width
        half = kernel // 2
        x = q_x.clamp(half, N // width - 1 - half)
        y = q_y.clamp(half, width - 1 - half)
        return ((x - kv_x).abs() <= half) & ((y - kv_y).abs() <= half)

    return mask


def tiled_neighbourhood(width: int, tile: int, kernel: int) -> Any:
    """The same where positions run through one tile of the canvas after another."""

    def place(position: Any) -> Any:
        across = width // tile
        n, inside = position // (tile * tile), position % (tile * tile)
        return n // across * tile + inside // tile, n % across * tile + inside % tile

    def mask(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        (q_x, q_y), (kv_x, kv_y) = place(q_idx), place(kv_idx)
        return ((q_x - kv_x).abs() <= kernel // 2) & ((q_y - kv_y).abs() <= kernel // 2)

    return mask


def morton_neighbourhood(bits: int, kernel: int) -> Any:
    """The same along the Morton curve: bits of a position are those of its row and column."""

    def place(position: Any) -> Any:
        x = sum(((position >> (2 * k)) & 1) << k for k in range(bits))
        y = sum(((position >> (2 * k + 1)) & 1) << k for k in range(bits))
        return x, y

    def mask(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        (q_x, q_y), (kv_x, kv_y) = place(q_idx), place(kv_idx)
        return ((q_x - kv_x).abs() <= kernel // 2) & ((q_y - kv_y).abs() <= kernel // 2)

    return mask


def by_head(_b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
    """Half of the heads look back, the others look near."""
    return torch.where(h < 2, q_idx >= kv_idx, (q_idx - kv_idx).abs() <= 2)


def windows_of_heads() -> Mods:
    windows = torch.tensor([1, 2, 4, 8])

    def mask(_b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return (q_idx - kv_idx <= windows[h]) & (kv_idx <= q_idx)

    return {"mask_mod": mask}


def transfusion() -> Mods:
    """Text is causal; an image sees all of itself (Zhou et al. 2024)."""
    starts, lengths = torch.tensor([2, 4]), torch.tensor([3, 5])

    def image(b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        low, high = starts[b], starts[b] + lengths[b]
        return (q_idx >= low) & (q_idx < high) & (kv_idx >= low) & (kv_idx < high)

    return {"mask_mod": or_masks(causal, image)}


def streaming() -> Mods:
    """The first tokens, and a window (Xiao et al. 2024)."""
    sinks = 2

    def first(_b: Any, _h: Any, _q: Any, kv_idx: Any) -> Any:
        return kv_idx < sinks

    return {"mask_mod": and_masks(causal, or_masks(first, sliding(3)))}


class Window:
    """A callable object with a number of its own."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __call__(self, _b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return (q_idx >= kv_idx) & (q_idx - kv_idx <= self.left)


def of_keywords(_b: Any, _h: Any, q_idx: Any, kv_idx: Any, *, left: int, right: int) -> Any:
    return (kv_idx >= q_idx - left) & (kv_idx <= q_idx + right)


def paged() -> Mods:
    """Keys lie in pages: a table says which block of the sequence a page holds."""
    block = torch.tensor([[2, 0, 1], [1, 2, 0]])

    def mask(b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        logical = block[b, kv_idx // 4] * 4 + kv_idx % 4
        return q_idx >= logical

    return {"mask_mod": mask}
