"""Masks of images and videos for FlexAttention, each written from its definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention.flex_attention import or_masks

from tests.frameworks.flex_masks import Mods

Mask = Callable[[Any, Any, Any, Any], Any]


def within_groups(mask: Mask, size: int) -> Mask:
    """A mask inside each group of neighbouring positions, and nothing between groups."""

    def grouped(b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return (q_idx // size == kv_idx // size) & mask(b, h, q_idx % size, kv_idx % size)

    return grouped


def images_of_text() -> Mods:
    """Text looks at images: the one whose interval of the text it stands in (Flamingo, 2022)."""
    intervals = torch.tensor([[0, 7], [1, 7], [7, 12]], dtype=torch.int32)
    image_of = torch.repeat_interleave(torch.arange(3), 3)

    def mask(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        interval = intervals[image_of[kv_idx]]
        return (q_idx >= interval[0]) & (q_idx < interval[1])

    return {"mask_mod": mask}


def sliding_tiles(tiles: tuple[int, ...], kernel: tuple[int, ...], each: int, text: int) -> Mods:
    """Tiles of a canvas see the tiles around them, and all see the text (Zhang et al. 2025, STA).

    Positions run through one tile after another, `each` to a tile; the text comes last. A kernel of
    tiles is kept within the canvas.
    """
    count = 1
    for size in tiles:
        count *= size
    seen = count * each

    def places(position: Any) -> list[Any]:
        found, left = [], position // each
        for size in reversed(tiles):
            found.append(left % size)
            left = left // size
        return found[::-1]

    def near(q: Any, kv: Any, size: int, width: int) -> Any:
        before, after = width // 2, width // 2 + (width % 2 - 1)
        centre = q.clamp(before, size - 1 - after)
        return (kv >= centre - before) & (kv <= centre + after)

    def canvas(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        inside = (q_idx < seen) & (kv_idx < seen)
        for q, kv, size, width in zip(places(q_idx), places(kv_idx), tiles, kernel, strict=True):
            inside = inside & near(q, kv, size, width)
        return inside

    def to_text(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return (q_idx < seen) & (kv_idx >= seen) & (kv_idx < seen + text)

    def from_text(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return (q_idx >= seen) & (kv_idx < seen + text)

    return {"mask_mod": or_masks(canvas, to_text, from_text)}


def prompt(length: int) -> Mask:
    """The prompt sees everything, and everything sees it."""
    return lambda _b, _h, q_idx, kv_idx: (q_idx < length) | (kv_idx < length)


def near_frames(length: int, frame: int, width: int) -> Mods:
    """A spatial head: frames that are near in time (Xi et al. 2025, Sparse VideoGen)."""

    def near(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return torch.abs(q_idx - kv_idx) < width * frame

    return {"mask_mod": or_masks(prompt(length), near)}


def near_in_frames(length: int, frame: int, width: int) -> Mods:
    """A temporal head: tokens at nearly one place of any frame (Xi et al. 2025)."""

    def near(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return torch.abs((q_idx - length) % frame - (kv_idx - length) % frame) < width

    return {"mask_mod": or_masks(prompt(length), near)}
