"""Rows that see no key, NaN in hidden places, and the log-sum-exp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.compare import convention
from attnverify.identify.box import CHANNELS, HEADS, Box, raised
from attnverify.identify.finding import Finding
from attnverify.identify.masks import FEWER, empty_row
from attnverify.library import load
from attnverify.subjects import SubjectFault

Array = NDArray[Any]

SIZES = {
    "batch": 1, "heads": HEADS, "queries": 5, "keys": 9, "key_dim": CHANNELS, "value_dim": CHANNELS,
}  # fmt: skip

SHORT = {**SIZES, "queries": FEWER[0], "keys": FEWER[1]}


def masked_box(box: Box, says: Mapping[str, Any]) -> Box | None:
    """The function under its boolean mask; None without one that is understood."""
    names = says.get("inputs") or says.get("hides")
    if names is None:
        return None
    return box.taking(load("masked", broadcast=says["broadcast"]), inputs=names)


def _arrays(masked: Box, shown: Array, says: Mapping[str, Any]) -> dict[str, Array]:
    """Zero queries, values that differ, and a mask for all batch entries and heads."""
    seen = ~shown if "hides" in says else shown
    rng = np.random.default_rng(3)
    made = {
        name: np.broadcast_to(seen, shape) if name == "mask" else rng.standard_normal(shape)
        for name, shape in masked.shapes(SIZES).items()
    }
    return made | {"Q": np.zeros_like(made["Q"]), "mask": made["mask"].copy()}


def empty_rows(box: Box, says: Mapping[str, Any]) -> Finding:
    """What a row that sees no key gives, under a mask argument or where keys are too few."""
    name = "rows without keys"
    masked = masked_box(box, says)
    try:
        if masked is not None:
            seen = np.ones((SIZES["queries"], SIZES["keys"]), bool)
            seen[1] = False
            arrays = _arrays(masked, seen, says)
            row, mean = masked.ask(SIZES, **arrays)["O"][0, 0, 1], arrays["V"][0, 0].mean(axis=0)
            how = "a mask that hides all keys from a row"
        else:
            at = empty_row(says, SHORT["queries"], SHORT["keys"])
            if at is None:
                return Finding(name, "none", "no way was found to hide all keys of a row")
            row, mean = _short(box, at)
            how = f"row {at} of more queries than keys"
    except SubjectFault as fault:
        return Finding(name, "", raised(fault))
    return _named(box, name, row, mean, how)


def _short(box: Box, at: int) -> tuple[Array, Array]:
    """One row of more queries than keys, and the mean of values."""
    rng = np.random.default_rng(3)
    arrays = {n: rng.standard_normal(shape) for n, shape in box.shapes(SHORT).items()}
    return box.ask(SHORT, **arrays)["O"][0, 0, at], arrays["V"][0, 0].mean(axis=0)


def _named(box: Box, name: str, row: Array, mean: Array, how: str) -> Finding:
    kind = convention(row)
    if kind == "other" and box.fits(row, mean):
        kind = "uniform"
    words = {"zeros": "zeros", "nan": "NaN", "uniform": "the mean of all values"}
    if kind in words:
        return Finding(name, words[kind], how, says={"empty_rows": kind})
    return Finding(name, "", f"{how}: neither zeros nor NaN nor the mean of all values")


def poison(box: Box, says: Mapping[str, Any]) -> Finding:
    """Whether NaN in a hidden value or key reaches rows that do not see it."""
    name = "NaN in hidden places"
    masked = masked_box(box, says)
    causal = says.get("highest") == 0 and says.get("lowest") is None
    if masked is None and not causal:
        return Finding(name, "none", "no way was found to hide a key")
    square = {**SIZES, "keys": SIZES["queries"]}
    asked = box if masked is None else masked
    told = []
    for tensor in ("K", "V"):
        arrays = (
            _arrays(asked, np.arange(SIZES["keys"]) < SIZES["keys"] - 1, says)
            if masked is not None
            else {n: np.ones(shape) for n, shape in box.shapes(square).items()}
        )
        arrays[tensor][:, :, -1] = np.nan
        try:
            out = asked.ask(SIZES if masked is not None else square, **arrays)["O"]
        except SubjectFault as fault:
            return Finding(name, "", raised(fault))
        if np.isnan(out[:, :, 0]).any():
            told.append({"K": "keys", "V": "values"}[tensor])
    if told:
        said = f"NaN in a hidden place of {' and of '.join(told)} reaches rows that do not see it"
        return Finding(name, "propagates", said, 2, {"poison": "propagates"})
    return Finding(
        name, "isolates", "rows that do not see it stay finite", 2, {"poison": "isolates"}
    )


def outputs(fn: Any, call: Mapping[str, Any], dtype: str) -> tuple[Finding, dict[str, Any]]:
    """What is returned, and the base of the log-sum-exp where that is second."""
    name = "outputs"
    plain = Box(fn, call, dtype)
    rng = np.random.default_rng(5)
    square = {**SIZES, "keys": SIZES["queries"]}
    arrays = {n: rng.standard_normal(shape) for n, shape in plain.shapes(square).items()}
    try:
        plain.ask(square, **arrays)
        return Finding(name, "O", "one array"), {}
    except SubjectFault as fault:
        first = raised(fault)
    spec = load("global")
    both = {"outputs": ("O", "L")}
    try:
        found = plain.taking(spec.replace(outputs=("O", "L")), **both).ask(square, **arrays)
    except SubjectFault:
        return Finding(name, "", first), {}
    due = _log_sum_exp(arrays)
    bases = {"e": due, "2": due / np.log(2)}
    for base, value in bases.items():
        if plain.fits(found["L"], value):
            said = f"the second output is the log-sum-exp of the scores to the base {base}"
            return Finding(name, f"O and the log-sum-exp, base {base}", said), both
    return Finding(name, "O and a number per row", "it is no log-sum-exp"), {"outputs": ("O", None)}


def _log_sum_exp(arrays: Mapping[str, Array]) -> Array:
    scores = arrays["Q"] @ arrays["K"].swapaxes(-1, -2) / np.sqrt(CHANNELS)
    found: Array = np.log(np.exp(scores).sum(axis=-1))
    return found
