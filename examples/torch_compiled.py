r"""Causal attention that torch.compile turns into kernels of its own: a subject like any other.

It needs a C++ compiler on the CPU, or a GPU, where `--device cuda` puts it:

    attnverify check examples/torch_compiled.py:causal_attention --spec causal \
        --framework torch --rows 16 --time-limit 300 \
        --sizes '{"queries": 512, "keys": 512, "key_dim": 16, "value_dim": 16}'

Each new shape is compiled anew, so rows of one case are judged.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch


def causal_attention(q: Any, k: Any, v: Any) -> Any:
    """Softmax attention over the keys up to the query's own, (batch, heads, sequence, channels)."""
    return _compiled()(q, k, v)


@cache
def _compiled() -> Any:
    return torch.compile(_plain, dynamic=True)


def _plain(q: Any, k: Any, v: Any) -> Any:
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    queries, keys = scores.shape[-2:]
    seen = torch.ones(queries, keys, dtype=torch.bool, device=q.device).tril()
    return torch.softmax(scores.masked_fill(~seen, float("-inf")), -1) @ v
