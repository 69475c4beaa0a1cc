"""FlexAttention's modifications of scores, each written from its definition."""

from __future__ import annotations

from typing import Any

import torch

from tests.frameworks.flex_masks import B, H, Mods, N, causal


def checkerboard_of_scores() -> Mods:
    def score(s: Any, _b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        s = torch.where(torch.abs(kv_idx - q_idx) % 2 == 1, s * 0.5, s)
        return torch.where(torch.abs(kv_idx - q_idx) % 2 == 0, s * 2.0, s)

    return {"score_mod": score}


def alibi() -> Mods:
    """Slopes 2^(-8 (h + 1) / H) (Press et al. 2022)."""

    def score(s: Any, _b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return s + torch.exp2(-((h + 1) * 8.0 / H)) * (kv_idx - q_idx)

    return {"score_mod": score, "mask_mod": causal}


def alibi_of_a_table() -> Mods:
    slopes = torch.tensor([0.5, 0.25, 0.125, 0.0625], dtype=torch.float64)

    def score(s: Any, _b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return s - slopes[h] * (q_idx - kv_idx).abs()

    return {"score_mod": score}


def relative_position(s: Any, _b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return s + (q_idx - kv_idx)


def relative_table() -> Mods:
    """A learned bias per head and distance (Shaw et al. 2018; Liu et al. 2021)."""
    bias = torch.randn(
        H, 2 * N - 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )

    def score(s: Any, _b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return s + bias[h, q_idx - kv_idx + N - 1]

    return {"score_mod": score}


def clipped_table() -> Mods:
    """A learned bias whose far distances share an entry."""
    reach = 3
    table = torch.randn(2 * reach + 1, H, dtype=torch.float64)

    def score(s: Any, _b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        bucket = torch.clamp(kv_idx - q_idx, -reach, reach) + reach
        return s + table[bucket, h]

    return {"score_mod": score}


def full_bias() -> Mods:
    bias = torch.randn(B, H, N, N, dtype=torch.float64)
    return {"score_mod": lambda s, b, h, q_idx, kv_idx: s + bias[b, h, q_idx, kv_idx]}


BIAS = torch.randn(N, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def distance_bias() -> Mods:
    return {"score_mod": lambda s, _b, _h, q_idx, kv_idx: s + BIAS[torch.abs(q_idx - kv_idx)]}


def key_bias() -> Mods:
    return {"score_mod": lambda s, _b, _h, _q, kv_idx: s + BIAS[kv_idx]}


def query_factor() -> Mods:
    return {"score_mod": lambda s, _b, _h, q_idx, _k: s * BIAS[q_idx]}


def bias_by_offset() -> Mods:
    offset = torch.arange(N).flip(0)
    return {"score_mod": lambda s, _b, _h, _q, kv_idx: s + BIAS[offset[kv_idx]]}


def bias_of_a_row() -> Mods:
    """The row is held by a tensor of no axes."""
    which, bias = torch.tensor(2), torch.randn(B, H, 4, N, dtype=torch.float64)
    return {"score_mod": lambda s, b, h, _q, kv_idx: s + bias[b, h, which, kv_idx]}


def canvas_bias() -> Mods:
    """A learned bias per row and column distance on a canvas of 4 columns."""
    rows = torch.randn(H, 5, dtype=torch.float64)
    columns = torch.randn(H, 7, dtype=torch.float64)

    def score(s: Any, _b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        x = q_idx // 4 - kv_idx // 4 + 2
        y = q_idx % 4 - kv_idx % 4 + 3
        return s + rows[h, x] + columns[h][y]

    return {"score_mod": score}


def of_its_own_type(s: Any, _b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    """Types and devices are asked of the values themselves."""
    hidden = torch.tensor(-float("inf"), dtype=s.dtype, device=s.device)
    far = (q_idx - kv_idx).to(s.dtype) / 8
    return (s - far).where(q_idx >= kv_idx.to(q_idx.device), hidden)


def softcap(cap: float) -> Any:
    return lambda s, _b, _h, _q, _k: cap * torch.tanh(s / cap)


def alibi_capped() -> Mods:
    inner = alibi()["score_mod"]
    return {"score_mod": lambda s, *at: softcap(2.0)(inner(s, *at), *at), "mask_mod": causal}


def doubled_after(s: Any, _b: Any, _h: Any, q_idx: Any, _k: Any) -> Any:
    return torch.where(q_idx >= 6, s * 2, s)


def decaying() -> Mods:
    rate = 0.25

    def score(s: Any, _b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return s * torch.exp(-rate * torch.abs(q_idx - kv_idx))

    return {"score_mod": score}


def log_distance(s: Any, _b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return s - torch.log1p((q_idx - kv_idx).abs())


def hidden_by_score(s: Any, _b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return torch.where(q_idx > kv_idx, s, -float("inf"))


def above_threshold(s: Any, _b: Any, _h: Any, _q: Any, _k: Any) -> Any:
    return torch.where(s > 0.1, s, float("-inf"))


def temperatures() -> Mods:
    temperature = torch.tensor([1.0, 2.0, 0.5, 1.5], dtype=torch.float64)
    return {"score_mod": lambda s, _b, h, _q, _k: s / temperature[h]}
