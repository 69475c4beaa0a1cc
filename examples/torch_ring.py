r"""Ring attention over ranks of torch.distributed: blocks of keys pass by (Liu et al. 2023).

Each rank holds its own queries, keys and values, a share of the sequence; the judge cuts the
arrays, starts the ranks, and puts what comes back end to end.

    attnverify check examples/torch_ring.py:ring_attention --spec global --framework torch \
        --ranks 2 --cases 6

The wrong one forgets in its backward pass that the blocks move: every step takes the rank's own
keys and values (huggingface/diffusers#14265).

    attnverify check examples/torch_ring.py:reuses_its_own_block --spec global \
        --framework torch --ranks 2 --cases 6
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist


def ring_attention(q: Any, k: Any, v: Any) -> Any:
    """Attention of this rank's queries (batch, heads, share, channels) over the keys of all."""
    return Ring.apply(q, k, v, "moving")


def reuses_its_own_block(q: Any, k: Any, v: Any) -> Any:
    """The same outputs, with gradients of a ring that stands still."""
    return Ring.apply(q, k, v, "still")


def passed(*blocks: Any) -> list[Any]:
    """What the rank before sends, while these go to the rank after."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    received = [block.new_empty(block.shape) for block in blocks]
    for block, place in zip(blocks, received, strict=True):
        sending = dist.isend(block.contiguous(), (rank + 1) % ranks)
        dist.recv(place, (rank - 1) % ranks)
        sending.wait()
    return received


def finite(lse: Any) -> Any:
    """A log-sum to subtract: 0 for a row that has seen no key."""
    return lse.masked_fill(torch.isneginf(lse), 0.0)


class Ring(torch.autograd.Function):  # type: ignore[misc]  # torch is Any here
    """Blocks go once round; in the backward pass their gradients travel with them."""

    @staticmethod
    def forward(ctx: Any, q: Any, k: Any, v: Any, blocks: str) -> Any:
        """Join each block into the running output and its log-sum."""
        scale = q.shape[-1] ** -0.5
        out = q.new_zeros(*q.shape[:-1], v.shape[-1])
        lse = q.new_full((*q.shape[:-1], 1), -torch.inf)
        key, value = k, v
        for step in range(dist.get_world_size()):
            if step:
                key, value = passed(key, value)
            s = q @ key.mT * scale
            joined = torch.logaddexp(lse, torch.logsumexp(s, -1, keepdim=True))
            out = out * torch.exp(lse - finite(joined)) + torch.exp(s - finite(joined)) @ value
            lse = joined
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.blocks = blocks
        return out

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        """Recompute the weights of each block as it passes."""
        (dO,) = cotangents
        q, k, v, out, lse = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        D = (dO * out).sum(-1, keepdim=True)
        key, value, dQ = k, v, torch.zeros_like(q)
        dK, dV = torch.zeros_like(k), torch.zeros_like(v)
        for _ in range(dist.get_world_size()):
            seen_key, seen_value = (k, v) if ctx.blocks == "still" else (key, value)
            A = torch.exp(q @ seen_key.mT * scale - finite(lse))
            dS = A * (dO @ seen_value.mT - D) * scale
            dQ = dQ + dS @ seen_key
            # After as many steps as there are ranks every block is home, with its gradients.
            key, value, dK, dV = passed(key, value, dK + dS.mT @ q, dV + A.mT @ dO)
        return dQ, dK, dV, None
