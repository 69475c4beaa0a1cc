"""Which types and shapes a function takes, and whether it gives the same answer twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from attnverify.compare import same_bits
from attnverify.dtypes import NAMES
from attnverify.errors import AttnverifyError
from attnverify.identify.box import CHANNELS, HEADS, Box, raised
from attnverify.identify.finding import Finding
from attnverify.library import load
from attnverify.subjects import SubjectFault
from attnverify.verdict import Status

BASE = {
    "batch": 1, "heads": HEADS, "queries": 5, "keys": 5, "key_dim": CHANNELS, "value_dim": CHANNELS,
}  # fmt: skip
# Numbers of channels that a check is told where odd ones are refused.
EVEN = [8, 16, 64]
# What is tried, and what a check is told where it is refused.
SHAPES: dict[str, tuple[dict[str, int], dict[str, Any]]] = {
    "more keys than queries": ({"keys": 9}, {"keys": "queries"}),
    "more queries than keys": ({"queries": 9}, {"keys": "queries"}),
    "values wider than keys": ({"value_dim": 2 * CHANNELS}, {"value_dim": "key_dim"}),
    "an odd number of channels": ({"key_dim": 5, "value_dim": 5}, {"key_dim": EVEN}),
    "several batch entries": ({"batch": 3}, {"batch": [1]}),
    "one query": ({"queries": 1}, {}),
}
# Asked at once: libraries that compile take a second for every new shape.
TOGETHER = ("more keys than queries", "several batch entries")
# The sizes that a variant is confirmed at, so that what is compiled here serves there.
COMMON = {"batch": 2, "queries": 5, "keys": 9}


def fault(box: Box, sizes: dict[str, int]) -> str:
    """What a call at some sizes raises; empty where it answers."""
    rng = np.random.default_rng(0)
    arrays = {n: rng.standard_normal(shape) for n, shape in box.shapes(sizes).items()}
    try:
        box.ask(sizes, **arrays)
    except SubjectFault as refused:
        return raised(refused)
    except AttnverifyError as refused:
        return str(refused).partition("\n")[0][:160]
    return ""


def types(box: Box) -> Finding:
    """The types of arrays that it takes, widest first."""
    refused = {name: fault(box.in_type(name), BASE) for name in NAMES}
    taken = [name for name, said in refused.items() if not said]
    words = "; ".join(f"{name}: {said}" for name, said in refused.items() if said)
    return Finding(
        "types of arrays",
        ", ".join(taken),
        f"answers are of the same type{f' ({words})' if words else ''}" if taken else words,
        len(NAMES),
        {"dtypes": tuple(taken)},
    )


def shapes(box: Box) -> Iterator[Finding]:
    """The shapes that it takes beyond a plain square one."""
    refused = {}
    support: dict[str, Any] = {}
    both = {size: n for words in TOGETHER for size, n in SHAPES[words][0].items()}
    sure = () if fault(box, {**BASE, **both}) else TOGETHER
    for words, (changed, otherwise) in SHAPES.items():
        said = "" if words in sure else fault(box, {**BASE, **changed})
        if said:
            refused[words] = said
            support |= otherwise
    taken = [words for words in SHAPES if words not in refused]
    told = "; ".join(f"not {words} ({said})" for words, said in refused.items())
    yield Finding(
        "shapes", ", ".join(taken) or "square ones alone", told or "all that were tried",
        len(SHAPES), {"sizes": support},
    )  # fmt: skip
    yield head_map(box, COMMON if sure else {})


def head_map(box: Box, common: Mapping[str, int]) -> Finding:
    """Which key head each query head reads, where there are fewer key heads: values that say so."""
    grouped = box.taking(load("grouped_query"))
    sizes = {**BASE, **common, "group": 2, "repeat": 2}
    del sizes["heads"]
    made = {name: np.zeros(shape) for name, shape in grouped.shapes(sizes).items()}
    made["V"] += np.arange(2.0)[None, :, None, None]
    name = "key heads of query heads"
    try:
        out = grouped.ask(sizes, **made)["O"]
    except SubjectFault as refused:
        said = f"fewer key heads than query heads are refused ({raised(refused)})"
        return Finding(name, "one each", said)
    read = [int(n) for n in np.rint(out[0, :, 0, 0])]
    found = {"0011": "interleave", "0101": "tile"}.get("".join(map(str, read)), "")
    said = f"with values that name their head, 4 query heads read key heads {read}"
    words = {"interleave": "consecutive query heads share one", "tile": "they take turns"}
    if not found:
        return Finding(name, "", f"{said}, which is neither order")
    return Finding(name, words[found], said, says={"head_map": found})


def repeatable(box: Box) -> Finding:
    """Whether the same call gives the same bits, and whether weights are dropped at random."""
    rng = np.random.default_rng(1)
    arrays = {n: rng.standard_normal(shape) for n, shape in box.shapes(BASE).items()}
    first, second = (box.ask(BASE, **arrays)["O"] for _ in range(2))
    name = "the same call twice"
    if same_bits(name, first, second).status is Status.HELD:
        return Finding(name, "the same bits", "nothing is dropped at random", 2)
    return Finding(
        name, "other bits", "weights are dropped at random, or sums come in any order", 2
    )


def widest(box: Box, found: Finding) -> Box:
    """The function on the widest arrays that it takes."""
    taken = found.says["dtypes"]
    return replace(box, dtype=taken[0]) if taken else box
