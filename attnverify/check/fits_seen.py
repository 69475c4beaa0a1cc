"""Fit which keys a query sees: between two bounds that move with its position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.predicates import Predicate, conjunction
from attnverify.algebra.terms import Expr, add, as_expr, negative
from attnverify.check.diagnose import Diagnosis
from attnverify.check.recovered import Recovered, recovered, staged
from attnverify.spec import Spec
from attnverify.transforms.mutate import Mutant, Operator
from attnverify.transforms.mutate.bounds import of_data
from attnverify.transforms.mutate.sites import At, Stage, masks, with_masks

Array = NDArray[Any]
SEEN = Operator("mask fitted", "a query sees keys between other bounds", lambda _: iter(()))
# Queries and keys, both ways unequal; whole parameters are as large as the number that follows.
SIZES = ((12, 12, 5), (12, 17, 3), (17, 12, 4), (14, 14, 6))


@dataclass(frozen=True)
class _Bounds:
    """The least and the greatest distance of a key that is seen; None where nothing bounds it."""

    ahead: int
    whole: int
    least: int | None
    most: int | None


@dataclass(frozen=True)
class _Bound:
    """A distance as a number of places, whole parameters less, counted from either corner."""

    number: int
    ends: bool
    parameter: str = ""

    def expression(self, stage: Stage) -> Expr:
        """The distance as an expression."""
        parts: list[Expr] = [as_expr(self.number)]
        if self.ends:
            row, key = stage.rows[0].axis, stage.keys[0].axis
            parts += [as_expr(key.size), negative(as_expr(row.size))]
        parts += [negative(as_expr(p)) for p in stage.spec.parameters if p.name == self.parameter]
        return add(*parts)

    def __str__(self) -> str:
        ends = " + n_k - n_q" if self.ends else ""
        return f"i{ends}{f' - {self.parameter}' if self.parameter else ''}{_signed(self.number)}"


def _signed(number: int) -> str:
    return f" {'+' if number > 0 else '-'} {abs(number)}" if number else ""


def seen_fitted(search: Diagnosis) -> Iterator[Mutant]:
    """The mask that a subject's weights show, where it is another than the spec's."""
    found = staged(search)
    if found is None or any(of_data(mask) for mask in masks(found[1])):
        return
    spec, stage = found
    measured = [*_measured(search, spec)]
    if len(measured) < len(SIZES):
        return
    names = [p.name for p in spec.parameters if p.integer]
    least = _common([(m, m.least) for m in measured], names)
    most = _common([(m, m.most) for m in measured], names)
    if least is not None and most is not None:
        yield _between(spec, stage, *least, *most)


def _measured(search: Diagnosis, spec: Spec) -> Iterator[_Bounds]:
    whole = [p.name for p in spec.parameters if p.integer]
    for number, (queries, keys, size) in enumerate(SIZES):
        sizes = {"queries": queries, "keys": keys, "key_dim": 4}
        found = recovered(search, sizes, search.seed + number, dict.fromkeys(whole, size))
        bounds = None if found is None else _bounds(found, size)
        if bounds is not None:
            yield bounds


def _bounds(found: Recovered, whole: int) -> _Bounds | None:
    """The bounds of what is seen, where these are all that says it."""
    seen = np.asarray(found.weights > 0)
    plane = seen.reshape(-1, *seen.shape[-2:])
    if not (plane == plane[:1]).all() or not plane[0].any():
        return None
    i, j = np.indices(plane[0].shape)
    away = j - i
    least, most = int(away[plane[0]].min()), int(away[plane[0]].max())
    if not (((away >= least) & (away <= most)) == plane[0]).all():
        return None
    return _Bounds(
        plane.shape[-1] - plane.shape[-2],
        whole,
        None if least == away.min() else least,
        None if most == away.max() else most,
    )


def _common(
    values: list[tuple[_Bounds, int | None]], names: list[str]
) -> tuple[_Bound | None] | None:
    """The one bound that is measured in every case; none where it is not one, (None,) without."""
    told = [(m, v) for m, v in values if v is not None]
    if not told:
        return (None,)
    for parameter in ("", *names):
        for ends in (False, True):
            rest = {v - ends * m.ahead + bool(parameter) * m.whole for m, v in told}
            if len(rest) == 1 and len(told) > 1:
                return (_Bound(rest.pop(), ends, parameter),)
    return None


def _between(spec: Spec, stage: Stage, least: _Bound | None, most: _Bound | None) -> Mutant:
    def seen(_where: Predicate, at: At) -> Predicate:
        row, key = as_expr(at.rows[0]), as_expr(at.keys[0])
        parts = []
        if most is not None:
            parts.append(key <= row + most.expression(stage))
        if least is not None:
            parts.append(key >= row + least.expression(stage))
        return conjunction(*parts)

    said = [f"j >= {least}"] * (least is not None) + [f"j <= {most}"] * (most is not None)
    own = " and ".join(str(mask) for mask in masks(stage)) or "that every key is seen"
    told = f"sees {_window(least, most)} where {' and '.join(said)}" if said else "sees every key"
    told = f"{told}; the spec says {own}"
    return Mutant(with_masks(stage, seen), SEEN, stage.name, told)


def _window(least: _Bound | None, most: _Bound | None) -> str:
    """How many keys there are between two bounds, where that is one number."""
    if least is None or most is None or least.ends != most.ends or most.parameter:
        return "keys"
    count = most.number - least.number + 1
    if not least.parameter:
        return f"a window of {count} keys"
    return f"a window of {least.parameter}{_signed(count)} keys"
