"""What positions do to scores: biases by distance, which zero queries show, and rotations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import acos
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.identify.box import CHANNELS, HEADS, Box, raised
from attnverify.identify.finding import Finding
from attnverify.identify.scores import KEYS
from attnverify.subjects import SubjectFault

Array = NDArray[np.float64]

USUAL = 10000
# Queries so large that channels which turn slowly show, and scores do not overflow.
LOUD = 64.0
# More keys than queries tell what positions are counted from.
MORE = 9


def positions(box: Box) -> Iterator[Finding]:
    """Biases by distance, and rotations: which channels turn, how fast, counted from where."""
    yield bias(box)
    turned = rotation(box)
    yield turned
    if "rope" in turned.says:
        yield frequencies(box, turned.says)
        yield origin(box)


def bias(box: Box) -> Finding:
    """A bias that depends on positions: weights of zero queries that differ along a row."""
    name = "position bias"
    try:
        weights = box.quiet(KEYS, KEYS)[0]
    except SubjectFault as fault:
        return Finding(name, "", raised(fault))
    row = weights[:, -1]
    seen = (row > 0).all(axis=0)
    with np.errstate(divide="ignore"):
        growth = np.diff(np.log(row[:, seen]), axis=1)
    if growth.size == 0:
        return Finding(name, "", "a row sees one key")
    if box.fits(growth, 0.0):
        return Finding(name, "none", f"with Q = 0 all {int(seen.sum())} seen keys weigh the same")
    slopes = growth.mean(axis=1)
    due = np.array([2.0 ** (-8 * (h + 1) / HEADS) for h in range(HEADS)])
    told = ", ".join(f"{x:.5g}" for x in slopes)
    if box.fits(growth / slopes[:, None], 1.0) and box.fits(slopes / due, 1.0):
        said = f"with Q = 0 log weights grow by {told} a key: 2^(-8 h / H)"
        return Finding(name, "ALiBi, standard slopes", said, says={"bias": "alibi"})
    return Finding(name, "", f"with Q = 0 log weights of the last row step by {told} in the mean")


def rotation(box: Box) -> Finding:
    """Whether q.k turns with the distance, and which channels turn together (RoPE).

    Channel 0 of all queries and keys is one: its products are cos of the distance.  The channel
    that it turns into shows with keys that are one there.
    """
    name = "rotation"
    try:
        same = _products(box, 0, 0)
    except SubjectFault as fault:
        return Finding(name, "", raised(fault))
    if same is None:
        return Finding(name, "", "weights vanish, or a row sees fewer than three keys")
    if box.fits(same, 0.0):
        return Finding(name, "none", "equal queries and keys weigh the same at every distance")
    partners = [other for other in range(1, CHANNELS) if _turns(box, 0, other)]
    if len(partners) != 1:
        said = f"scores of equal vectors depend on the distance; channels {partners}"
        return Finding(name, "", said)
    (partner,) = partners
    found = "interleaved" if partner == 1 else "half"
    turning = [p for p in range(CHANNELS // 2) if _turns(box, *_pair(p, partner), size=LOUD)]
    said = f"a query in channel 0 turns into channel {partner} of {CHANNELS}"
    says: dict[str, Any] = {"rope": found}
    if found == "half" and turning != list(range(partner)):
        return Finding(name, "", f"{said}, but of the pairs by half {turning} turn")
    if turning != list(range(len(turning))):
        return Finding(name, "", f"{said}, but of the pairs {turning} turn")
    says |= {"rotary_dim": 2 * len(turning)} if 2 * len(turning) < CHANNELS else {}
    some = f", of the first {2 * len(turning)} channels" if "rotary_dim" in says else ""
    return Finding(name, f"RoPE, {found} pairs{some}", said, CHANNELS, says)


def _pair(number: int, partner: int) -> tuple[int, int]:
    """The channels of a pair, where channel 0 turns into `partner`."""
    return (2 * number, 2 * number + 1) if partner == 1 else (number, number + partner)


def frequencies(box: Box, says: Mapping[str, Any]) -> Finding:
    """How fast pairs of channels turn: the base b of frequencies b^(-2 p / d).

    A query in one channel of a pair and a key in the other give sin(f n) at distance n, and
    sin(2 f) = 2 sin(f) cos(f).
    """
    name, channels = "base of rotations", says.get("rotary_dim", CHANNELS)
    partner = 1 if says["rope"] == "interleaved" else channels // 2
    read: list[float] = []
    for number in range(min(3, channels // 2)):
        row = _products(box, *_pair(number, partner))
        if row is None:
            return Finding(name, "", "a row sees fewer than three keys")
        # From the key at the query's own position backwards.
        once, twice = -row[-1], -row[-1] - row[-2]
        turn = twice / (2 * once) if once else 1.0
        read.append(acos(turn) if abs(turn) < 1 else 0.0)
    told = ", ".join(f"{x:.5g}" for x in read)
    if len(read) < 2 or not all(read) or not box.fits(read[0], 1.0):
        return Finding(name, "", f"pairs turn by {told} a position, the first by 1 is usual")
    base = float(f"{read[1] ** (-channels / 2):.3g}")
    said = f"pairs turn by {told} a position: {base:g}^(-2 p / {channels})"
    if not all(abs(x / base ** (-2 * p / channels) - 1) < 2**-8 for p, x in enumerate(read)):
        return Finding(name, "", f"pairs turn by {told} a position, which is no power of one base")
    found = {} if base == USUAL else {"base": int(base) if base == int(base) else base}
    return Finding(name, f"{base:g}", said, len(read), found)


def origin(box: Box) -> Finding:
    """Which key stands at the position of the last query, where there are more keys."""
    name = "positions of queries"
    try:
        row = _row(box, 0, 0, 1.0, MORE)
    except SubjectFault as fault:
        return Finding(name, "", raised(fault))
    if row is None:
        return Finding(name, "", "the last row sees too few keys")
    place = int(np.nanargmax(row))
    said = f"of {MORE} keys the last of {KEYS} queries agrees most with key {place}"
    if place == KEYS - 1:
        return Finding(name, "counted from 0, as keys are", said)
    if place == MORE - 1:
        says: dict[str, Any] = {"rope_align": "bottom_right"}
        return Finding(name, "the last query stands at the last key", said, says=says)
    offset = place - KEYS + 1
    return Finding(name, f"counted from {offset}", said, says={"rope_offset": offset})


def _turns(box: Box, query: int, key: int, *, size: float = 1.0) -> bool:
    """Whether a query in one channel turns into another."""
    read = _products(box, query, key, size)
    return read is not None and not box.fits(read, 0.0)


def _row(box: Box, query: int, key: int, size: float, keys: int) -> Array | None:
    """Log weights of the last row, less those of zero queries; NaN where unseen, None for few."""
    q, k = np.zeros((1, HEADS, KEYS, CHANNELS)), np.zeros((1, HEADS, keys, CHANNELS))
    q[..., query] = size
    k[..., key] = 1
    row, still = box.weights(q, k)[0, 0, -1], box.weights(0 * q, k)[0, 0, -1]
    seen = (row > 0) & (still > 0)
    if seen.sum() < 3:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Array = np.where(seen, np.log(row) - np.log(still), np.nan)
    return found


def _products(box: Box, query: int, key: int, size: float = 1.0) -> Array | None:
    """Differences of log weights along the last row, less those of zero queries; None if unseen."""
    row = _row(box, query, key, size, KEYS)
    return None if row is None else np.diff(row[~np.isnan(row)])
