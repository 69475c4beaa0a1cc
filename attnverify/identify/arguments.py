"""A mask argument: whether True keeps or hides, whether numbers are added, and which shapes fit."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.errors import AttnverifyError
from attnverify.identify.box import CHANNELS, HEADS, Box, raised
from attnverify.identify.finding import Finding
from attnverify.library import load
from attnverify.subjects import SubjectFault

Array = NDArray[Any]

# What mask arguments are called in the libraries that were looked at.
MASKS = ("attn_mask", "attention_mask", "mask")
BIASES = ("bias", "attn_bias", "score_bias", *MASKS)
# The axes that an array may lack, most of them first.
LACKING = ("batch heads", "heads", "batch", "")
QUERIES, KEYS = 5, 9
ORDER = "order of cap and bias"


def mask_arguments(fn: Any) -> list[str]:
    """The arguments of a function that are masks by their names.

    >>> mask_arguments(lambda q, k, v, attn_mask=None: v)
    ['attn_mask']
    """
    try:
        named = inspect.signature(fn).parameters
    except (TypeError, ValueError):
        # What is not written in Python often says so in its first line alone.
        line = (getattr(fn, "__doc__", "") or "").strip().partition("->")[0]
        return [name for name in BIASES if re.search(rf"\b{name}\s*[:=]", line)]
    return [name for name in dict.fromkeys((*MASKS, *BIASES)) if name in named]


def arguments(box: Box, cap: float = 0.0) -> Iterator[Finding]:
    """What each mask argument means, booleans and numbers, under the cap of scores if there is one.

    The order of a cap and a bias is asked through the first argument that takes numbers.
    """
    found, order = mask_arguments(box.fn), _undecided(cap)
    if not found:
        yield Finding("mask argument", "", "no argument is named as masks are")
    for name in found:
        yield replace(boolean(box, name), topic="mask argument of booleans")
        added = additive(box, name, cap)
        yield replace(added, topic="mask argument of numbers")
        order = _order(added) if cap and "capped" in added.says and not order.value else order
    if cap:
        yield order


def _undecided(cap: float) -> Finding:
    """What is said of the order where no argument adds numbers."""
    said = f"no argument adds numbers to scores capped at {cap:g}, and hidden is hidden either way"
    return Finding(ORDER, "", said)


def _order(added: Finding) -> Finding:
    """The order of cap and bias, from what numbers in an argument do."""
    value = "bias inside the cap" if added.says["capped"] else "bias after the cap"
    return Finding(ORDER, value, added.evidence)


def _asked(
    box: Box, spec: str, tensor: str, name: str, make: Callable[[tuple[int, ...]], Array]
) -> tuple[str, Array, Array] | str:
    """The weights of zero queries under an argument; which axes it lacks, it, and the weights.

    What was raised, where no shape of it is taken.
    """
    said = ""
    for lacking in LACKING:
        one = box.taking(load(spec, broadcast=lacking), inputs={tensor: name})
        sizes = {
            "batch": 1, "heads": HEADS, "queries": QUERIES, "keys": KEYS, "key_dim": CHANNELS,
            "value_dim": CHANNELS,
        }  # fmt: skip
        array = make(one.shapes(sizes)[tensor])
        q = np.zeros((1, HEADS, QUERIES, CHANNELS))
        k = np.ones((1, HEADS, KEYS, CHANNELS))
        try:
            return lacking, array, one.weights(q, k, **{tensor: array})
        except SubjectFault as fault:
            said = raised(fault)
        except AttnverifyError as fault:
            said = str(fault).partition("\n")[0][:160]
    return said


def boolean(box: Box, name: str) -> Finding:
    """Whether True keeps or hides."""
    convention = f"{name} of booleans"

    def some(shape: tuple[int, ...]) -> Array:
        seen = np.zeros(shape, bool)
        seen[..., ::2] = True
        seen[..., 0, 1] = True
        return seen

    found = _asked(box, "masked", "mask", name, some)
    if isinstance(found, str):
        return Finding(convention, "", f"not taken ({found})")
    lacking, mask, weights = found
    weights, kept = _where_seen(box, weights, np.broadcast_to(_in_full(mask), weights.shape))
    without = f"; it may lack {lacking.replace(' ', ' and ')}" if lacking else ""
    if ((weights > 0) == kept).all():
        return Finding(
            convention, "True keeps", f"weights are positive where it is True{without}",
            says={"inputs": {"mask": name}, "broadcast": lacking},
        )  # fmt: skip
    if ((weights > 0) == ~kept).all():
        return Finding(
            convention, "True hides", f"weights are zero where it is True{without}",
            says={"hides": {"mask": name}, "broadcast": lacking},
        )  # fmt: skip
    if (weights > 0).all():
        return Finding(convention, "", "it hides nothing")
    return Finding(convention, "", "what is False is not hidden, nor is what is True")


def _in_full(mask: Array) -> Array:
    """A mask with the axes of heads and batch entries, whichever it lacks: there is one entry."""
    missing = {2: (0, 1), 3: (0 if mask.shape[0] == HEADS else 1,)}.get(mask.ndim, ())
    return np.expand_dims(mask, missing)


def _where_seen(box: Box, weights: Array, kept: Array) -> tuple[Array, Array]:
    """What the function's own mask shows of the weights and of the mask given, end to end."""
    own = box.quiet(QUERIES, KEYS) != 0
    return weights[own], kept[own]


def additive(box: Box, name: str, cap: float = 0.0) -> Finding:
    """Whether numbers are added to the scores, with which factor, and inside the cap or after it.

    As many as a cap bends: up to the cap, and to 20 where exponentials of more would vanish.
    """
    convention, most = f"{name} of numbers", min(max(1.0, cap), 20.0)
    given = np.arange(float(KEYS)) / KEYS * most

    def some(shape: tuple[int, ...]) -> Array:
        return np.broadcast_to(given, shape).copy()

    found = _asked(box, "biased", "bias", name, some)
    if isinstance(found, str):
        return Finding(convention, "", f"not taken ({found})")
    lacking, _, weights = found
    last = weights[:, :, -1]
    seen = (last > 0).all(axis=(0, 1))
    if (seen != (box.quiet(QUERIES, KEYS)[0, :, -1] > 0).all(axis=0)).any():
        return Finding(convention, "taken for booleans", "a key with the number 0 is hidden")
    steps = np.diff(np.log(last[..., seen]), axis=-1) / np.diff(given[seen])
    bent = np.diff(cap * np.tanh(given / cap)[seen]) / np.diff(given[seen]) if cap else None
    if bent is not None and steps.size and box.fits(steps, np.broadcast_to(bent, steps.shape)):
        said = f"log weights grow by {cap:g} tanh of it over {cap:g}"
        return Finding(
            convention, "added to scaled scores, inside the cap", said, says={"capped": True}
        )
    factor = float(steps.flat[0]) if steps.size else float("nan")
    if not np.isfinite(steps).all() or steps.size == 0 or not box.fits(steps, factor):
        return Finding(convention, "", "weights do not follow it as a sum in the exponent would")
    without = f"; it may lack {lacking.replace(' ', ' and ')}" if lacking else ""
    if box.fits(factor, 1.0):
        says: dict[str, Any] = {"bias_inputs": {"bias": name}, "broadcast": lacking}
        says |= {"capped": False} if cap else {}
        return Finding(convention, "added to scaled scores", f"with factor 1{without}", says=says)
    if box.fits(factor, 0.0):
        return Finding(convention, "", "it changes nothing")
    said = f"log weights grow by {factor:.6g} times it{without}"
    where = "added before scaling" if box.fits(factor * CHANNELS**0.5, 1.0) else "scaled and added"
    return Finding(convention, where, said)
