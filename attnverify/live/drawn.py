"""One drawn case of a spec: its mask, weights, outputs and gradients, as a page draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.terms import Entry, Index
from attnverify.compile import Oracle
from attnverify.compile import compile as compile_spec
from attnverify.errors import AttnverifyError
from attnverify.inputs import Case, Draw
from attnverify.invariants import roles
from attnverify.invariants.sites import Attention
from attnverify.live.asked import Asked
from attnverify.live.query import Refused
from attnverify.pictured import grid, weighed
from attnverify.report.cells import Cells, Values, blocks, seen, shades
from attnverify.spec import Spec
from attnverify.transforms.gradient import gradient

Array = NDArray[Any]
# Entries of the largest array on the way: what a request may cost.
ENTRIES = 200_000
# Rows and columns that a picture has at most; of a larger array it shows the first.
SIDE = 36
KEPT = 64


@dataclass(frozen=True)
class Tools:
    """A spec compiled for drawing: forward with its weights, if it has any, and its gradient."""

    draw: Draw
    site: Attention | None
    names: tuple[str, str]
    forward: Oracle
    derived: Spec
    backward: Oracle


@dataclass(frozen=True)
class Drawing:
    """What a case looks like: pictures in groups, and the sizes that it came out with."""

    groups: tuple[tuple[str, str, tuple[Cells, ...]], ...]
    sizes: Mapping[str, int]
    tools: Tools


@lru_cache(maxsize=KEPT)
def tools(spec: Spec) -> Tools:
    """What drawing a spec takes, made once."""
    site = roles(spec).attention
    if site is not None and not (site.rows and site.keys):
        site = None
    whole, names = weighed(site) if site is not None else (spec, ("", ""))
    told = whole.replace(outputs=tuple(dict.fromkeys([*whole.outputs, *spec.outputs])))
    derived = gradient(spec)
    return Tools(Draw(spec), site, names, compile_spec(told), derived, compile_spec(derived))


def drawing(wanted: Asked) -> Drawing:
    """The pictures of what was asked for.

    Raises Refused where the spec has no such case, or one that is too large to draw.
    """
    try:
        made = tools(wanted.spec)
        case = _case(made, wanted)
        found = made.forward(**case.arrays, **case.parameters, sizes=case.sizes)
        given = {**case.arrays, **_cotangents(made, wanted.spec, case), **case.parameters}
        back = made.backward(**given, sizes=case.sizes)
    except AttnverifyError as error:
        raise Refused(error.sentence()) from None
    heads = wanted.spec.heads
    outputs = tuple(_blocks(heads[n], found[n], n, wanted.head) for n in wanted.spec.outputs)
    back_heads = made.derived.heads
    gradients = tuple(_blocks(back_heads[n], back[n], n, wanted.head) for n in made.derived.outputs)
    loss = "Of a loss that reads " + (
        "every entry of the outputs with a drawn weight."
        if wanted.row < 0
        else f"row {wanted.row} of the outputs alone, with drawn weights."
    )
    groups = [
        ("Mask and weights", "", _weights(made, found, case, wanted.head)),
        ("Gradients", loss, gradients),
        ("Outputs", "", outputs),
    ]
    return Drawing(tuple(group for group in groups if group[2]), case.sizes, made)


def _case(made: Tools, wanted: Asked) -> Case:
    whole = wanted.spec.fitted({a.name: wanted.sizes.get(a.name, 1) for a in wanted.spec.axes})
    if made.draw.with_room(dict(whole), ENTRIES) != whole:
        raise Refused(f"at these sizes an array on the way has more than {ENTRIES} entries")
    case = made.draw.case(whole, seed=wanted.seed, style=wanted.style, parameters=wanted.values)
    if wanted.row < 0:
        return case
    return replace(
        case,
        cotangents={n: _only(a, wanted.spec.heads[n], wanted.row)
                    for n, a in case.cotangents.items()},
    )  # fmt: skip


def _cotangents(made: Tools, spec: Spec, case: Case) -> dict[str, Array]:
    """The cotangents by the names that the derived spec has for them, output by output."""
    known = {entry.tensor.name for entry in spec.inputs}
    names = [e.tensor.name for e in made.derived.inputs if e.tensor.name not in known]
    return dict(zip(names, (case.cotangents[name] for name in spec.outputs), strict=True))


def _only(cotangent: Array, head: Entry, row: int) -> Array:
    """The cotangent with zeros outside one row, which is a place of the last axis but one."""
    if cotangent.ndim < 2:
        return cotangent
    kept = np.zeros_like(cotangent)
    at = min(row, cotangent.shape[-2] - 1)
    kept[..., at, :] = cotangent[..., at, :]
    return kept


def _weights(made: Tools, found: Mapping[str, Array], case: Case, head: int) -> tuple[Cells, ...]:
    if made.site is None:
        return ()
    weights, mask = (grid(made.site, found[name], case, head) for name in made.names)
    part = f", the first {SIDE} of {max(mask.shape)}" if max(mask.shape) > SIDE else ""
    weights, mask = weights[:SIDE, :SIDE], mask[:SIDE, :SIDE]
    axes = _named(made.site.rows), _named(made.site.keys)
    shown = weights.astype(object)
    shown[mask == 0] = None
    values: Values = shown.tolist()
    name = made.site.weights.name
    signed = any(value is not None and value < 0 for row in values for value in row)
    drawn = blocks if signed else shades
    return (seen(f"mask{part}", values, axes), drawn(f"weights {name}{part}", values, axes))


def _blocks(head: Entry, found: Array, name: str, at: int) -> Cells:
    """An array as signed squares: its last two axes, of the head that is asked for."""
    whole = np.asarray(found, float)
    places = [_named(p if isinstance(p, tuple) else (p,)) for p in head.places]
    while whole.ndim < 2:
        whole, places = whole[None], ["", *places]
    planes = whole.reshape(-1, *whole.shape[-2:])
    chosen = min(at, len(planes) - 1)
    told = f"{name}, {chosen + 1} of {len(planes)}" if len(planes) > 1 else name
    shape = planes.shape[1:]
    if max(shape) > SIDE:
        told = f"{told}, the first {SIDE} of {max(shape)}"
    return blocks(told, planes[chosen][:SIDE, :SIDE].tolist(), (places[-2], places[-1]))


def _named(sides: tuple[Index, ...]) -> str:
    return " by ".join(side.axis.name for side in sides)
