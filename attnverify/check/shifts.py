"""Exponentials with another shift than their row's maximum: right until they leave their range."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from attnverify.check.explanation import habit
from attnverify.compile.recipe import Op, Recipe, label_axis
from attnverify.dtypes import FloatType, float_type
from attnverify.rounding.bent import Bend
from attnverify.rounding.profiles import Profile
from attnverify.transforms.mutate import Operator

Array = NDArray[np.float64]
Made = tuple[Operator, str, dict[str, Bend]]

SENTINELS = (-5e4, -1e4, -3e4, -1e3, -65504.0, -100.0)
TILES = (8, 16, 32, 64, 128, 256)
# Which exponentials a type may flush to zero is its own affair: there nothing is told.
UNSURE = 0.5
ROWS = ("queries", "time")
LOW = habit("low maximum", "a finite number stands for minus infinity in a row's maximum", "NUM-01")
OTHER = habit("maximum of another row", "rows are shifted by the maximum of others", "NUM-09")
AFTER = habit("maximum after a masked tile", "a maximum begins anew after a masked tile", "NUM-11")
NONE = habit("no shift", "exponentials are taken of scores that are not shifted")


def shifted(recipe: Recipe, profile: Profile) -> Iterator[Made]:
    """A recipe's exponentials under each wrong shift, in the range of its arithmetic.

    A row whose sum is 0 gives zeros where code guards its division, and NaN where it does not.
    """
    kind = float_type("float64" if profile.stage < float_type("float32").roundoff else "float32")
    tops = {op.out: op for op in recipe.ops if op.kind == "reduce" and op.detail == "max"}
    grown = {op.out: _in_range(kind) for op in recipe.ops if op.detail == "exp" and op.labels}
    divided = {op.out: _unguarded for op in recipe.ops if op.detail == "inverse" and op.labels}
    for top in tops.values() if grown else ():
        for operator, sentence, shift in _wrong(top):
            bends: dict[str, Bend] = {top.out: shift, **grown}
            yield operator, f"{sentence}, and rows of zeros where all of a row vanishes", bends
            if divided:
                yield operator, f"{sentence}, and divides by 0", {**bends, **divided}


def _wrong(top: Op) -> Iterator[tuple[Operator, str, Bend]]:
    """What may stand in the place of a row's maximum, each with its words."""
    row = next((n for n, x in enumerate(top.labels) if label_axis(x) in ROWS), None)
    for low in SENTINELS:
        yield (
            LOW,
            f"takes a finite number such as {low:g} for minus infinity in the maximum of a row",
            _at_least(low),
        )
    if row is not None:
        back = row - len(top.labels)
        for step, which in ((1, "before"), (-1, "behind")):
            told = f"shifts the scores of a row by the maximum of the row {which} it"
            yield OTHER, told, _rolled(step, back)
        yield OTHER, "shifts the scores of all rows by one maximum", _largest(back)
    keys = [n for n, x in enumerate(top.operands[0].labels) if x not in top.labels]
    if len(keys) == 1:
        back = keys[0] - len(top.operands[0].labels)
        for tile in TILES:
            for last, which in ((True, "last"), (False, "first")):
                told = (
                    f"begins a row's maximum at 0 where its {which} tile of {tile} keys is masked"
                )
                yield AFTER, told, _from_zero(tile, back, last=last)
    yield NONE, "takes exponentials of the scores without a shift", lambda _op, top, _: 0 * top


def _at_least(low: float) -> Bend:
    return lambda _op, top, _read: np.maximum(top, low)


def _rolled(step: int, axis: int) -> Bend:
    return lambda _op, top, _read: np.roll(top, step, axis)


def _largest(axis: int) -> Bend:
    def bend(_op: Op, top: Array, _read: tuple[Array, ...]) -> Array:
        return np.broadcast_to(top.max(axis, keepdims=True, initial=-np.inf), top.shape).copy()

    return bend


def _from_zero(tile: int, axis: int, *, last: bool) -> Bend:
    """At least 0 in rows whose first tile, or the last one, has no score that is seen."""

    def bend(_op: Op, top: Array, read: tuple[Array, ...]) -> Array:
        shown = np.moveaxis(read[0], axis, -1)
        length = shown.shape[-1]
        begun = (length - 1) // tile * tile if last else 0
        masked = np.isneginf(shown[..., begun : begun + tile]).all(-1)
        return np.where(masked, np.maximum(top, 0), top)

    return bend


def _in_range(kind: FloatType) -> Bend:
    """What a type's range makes of exponentials: nothing below it, infinity beyond.

    Between its smallest normal number and nothing, entries are disturbed by half of themselves.
    """

    def bend(op: Op, value: Array, _read: tuple[Array, ...]) -> Array:
        found = np.where(value > kind.largest, np.inf, value)
        small = (found < kind.smallest_normal) & (found > 0)
        found = np.where(found < kind.quantum / 2, 0.0, found)
        if value.ndim == len(op.labels):
            return np.asarray(found)
        noise = np.random.default_rng(0).standard_normal(value.shape)
        return np.asarray(np.where(small, found * (1 + UNSURE * noise), found))

    return bend


def _unguarded(_op: Op, value: Array, read: tuple[Array, ...]) -> Array:
    """One over a number, which is not 0 where the number is."""
    return np.where(read[0] == 0, np.inf, value)
