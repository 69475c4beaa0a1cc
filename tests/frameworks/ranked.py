"""Subjects over ranks, right ones and every way to go wrong that one process does not have."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import torch
import torch.distributed as dist

from examples.torch_ring import ring_attention


class Gathered(torch.autograd.Function):  # type: ignore[misc]  # torch is Any here
    """The shards of all ranks end to end; gradients are summed and each rank takes its own."""

    @staticmethod
    def forward(_ctx: Any, shard: Any) -> Any:
        parts = [torch.empty_like(shard) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, shard.contiguous())
        return torch.cat(parts, -2)

    @staticmethod
    def backward(_ctx: Any, *cotangents: Any) -> Any:
        total = cotangents[0].contiguous()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size(), -2)[dist.get_rank()]


def with_sinks(q: Any, k: Any, v: Any, *, sinks: Any) -> Any:
    """Sinks are whole on every rank."""
    key, value = Gathered.apply(k), Gathered.apply(v)
    s = q @ key.mT * q.shape[-1] ** -0.5
    s = torch.cat([s, sinks[None, :, None, None].expand(*s.shape[:-1], 1)], -1)
    return torch.softmax(s, -1)[..., :-1] @ value


def unsummed(q: Any, k: Any, v: Any, *, sinks: Any) -> Any:
    """The gradient of the sinks on every rank is that of all: summed again it is too large."""
    return with_sinks(q, k, v, sinks=Doubled.apply(sinks))


class Doubled(torch.autograd.Function):  # type: ignore[misc]  # torch is Any here
    """A copy whose gradients were summed over the ranks already."""

    @staticmethod
    def forward(_ctx: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(_ctx: Any, *cotangents: Any) -> Any:
        total = cotangents[0].contiguous()
        dist.all_reduce(total)
        return total


def local(q: Any, k: Any, v: Any) -> Any:
    """Attention to this rank's keys alone."""
    return torch.nn.functional.scaled_dot_product_attention(q, k, v)


def dying(q: Any, k: Any, v: Any) -> Any:
    """The process of rank 1 is killed; rank 0 waits for it."""
    if dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return ring_attention(q, k, v)


def hanging(q: Any, k: Any, v: Any) -> Any:
    """Rank 1 says nothing any more."""
    if dist.get_rank() == 1:
        time.sleep(1000)
    return ring_attention(q, k, v)


def raising(q: Any, k: Any, v: Any) -> Any:
    """Rank 1 raises before it sends what rank 0 waits for."""
    if dist.get_rank() == 1:
        raise ValueError("no block for me")
    return ring_attention(q, k, v)


def uneven(q: Any, k: Any, v: Any) -> Any:
    """Rank 1 gives its output in another type."""
    out = ring_attention(q, k, v)
    return out.double() if dist.get_rank() == 1 else out
