"""Keys and values: the inputs K and V, or a cache of past ones and then the new ones."""

from __future__ import annotations

from dataclasses import dataclass

from attnverify.algebra.along import concatenate, concatenated
from attnverify.algebra.terms import Axis, Entry, Index, Place, Tensor
from attnverify.attention.site import Site
from attnverify.equations import Equation, let


@dataclass(frozen=True)
class KeysAndValues:
    """Keys and values as scores and outputs read them, their inputs, and what joins these."""

    read: tuple[Entry, ...]
    inputs: tuple[Entry, ...]
    equations: tuple[Equation, ...] = ()


def cached_keys() -> Index:
    """An index of all keys: those of the past, then the new ones."""
    return concatenated("keys", Axis("past"), Axis("new"))["j"]


def keys_and_values(site: Site) -> KeysAndValues:
    """K and V along the keys; K_all and V_all where the keys are a cache and new ones."""
    channels = {"K": site.k, "V": site.c}

    def entry(name: str, at: Index, channel: Place) -> Entry:
        return Tensor(name)[(site.b, *site.key_head, at, channel)]

    if not site.j.axis.addends:
        whole = tuple(entry(name, site.j, channel) for name, channel in channels.items())
        return KeysAndValues(whole, whole)
    past, new = site.j.axis.addends
    fresh = [entry(name, new["n"], channel) for name, channel in channels.items()]
    old = [entry(f"{name}_past", past["p"], channel) for name, channel in channels.items()]
    joined = [entry(f"{name}_all", site.j, channel) for name, channel in channels.items()]
    equations = [
        let(head, concatenate(site.j, before, after))
        for head, before, after in zip(joined, old, fresh, strict=True)
    ]
    return KeysAndValues(tuple(joined), (*fresh, *old), tuple(equations))
