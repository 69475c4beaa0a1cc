"""One long case: its sizes, its arrays, and cotangents that single out rows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.terms import Entry, Index
from attnverify.check.settings import Settings
from attnverify.compile import Oracle
from attnverify.compile import compile as compile_spec
from attnverify.compile.lower import lower
from attnverify.compile.parts import Parts, cut
from attnverify.compile.positioned import place_name, positioned
from attnverify.compile.recipe import label_axis
from attnverify.compile.streamed import KEYS, ROWS, parameters_of
from attnverify.dtypes import FloatType, float_type
from attnverify.errors import ParameterError, SpecError
from attnverify.inputs import Case, supported
from attnverify.inputs.draw import counting
from attnverify.inputs.entries import shape_of, structure_entries
from attnverify.inputs.sizes import CHANNELS, FEW, parameter_value
from attnverify.invariants import roles
from attnverify.spec import Spec

Array = NDArray[Any]
# The largest array of a case that is judged as a whole, unless rows are asked for.
WHOLE = 2**22
# Entries of an input: an array of masks over queries and keys grows as their product.
INPUT = 2**28
CHANNEL = 64
# What a cotangent says is the same in tiles of so many rows, and of random sign in each.
TILE = 64


def sizes_of(spec: Spec, support: Mapping[str, Any]) -> dict[str, int]:
    """The largest sizes that are declared; of an undeclared axis one, or 64 channels.

    A sequence that is not declared is as long as the longest.  Raises ParameterError where none is.
    """
    names = [axis.name for axis in spec.axes]
    told = {axis: rule for axis, rule in support.items() if not isinstance(rule, str)}
    most = {a: rule if isinstance(rule, int) else max(rule) for a, rule in told.items()}
    lengths = [size for axis, size in most.items() if axis not in (*FEW, *CHANNELS)]
    if not lengths:
        raise ParameterError(
            "rows of a long output are asked for, and no length is declared",
            spec=spec.name,
            due="such as " + 'sizes={"queries": 1048576, "keys": 1048576}',
        )
    plain = {a: 1 if a in FEW else CHANNEL if a in CHANNELS else max(lengths) for a in names}
    return supported(spec, {**plain, **most}, support)


def too_large(settings: Settings) -> bool:
    """Whether even the least sizes declared are more than is judged as a whole."""
    spec, support = settings.spec, settings.sizes
    least = {
        axis: 1 if isinstance(rule, str) else rule if isinstance(rule, int) else min(rule)
        for axis, rule in support.items()
    }
    if max(least.values(), default=1) ** 2 <= WHOLE:
        return False
    found = supported(spec, {a.name: least.get(a.name, 1) for a in spec.axes}, support)
    return max(prod(found[label_axis(x)] for x in op.labels) for op in lower(spec).ops) > WHOLE


def parts_of(spec: Spec) -> Parts:
    """The spec on some of its rows; ParameterError, which says why, where there are none."""
    try:
        return Parts(spec)
    except SpecError as error:
        raise ParameterError(
            "single rows cannot be judged", spec=spec.name, found=error.sentence()
        ) from error


@dataclass(frozen=True)
class Drawn:
    """A long case, whose cotangents are dense, and zero where a row may see no key.

    `aligned` says that cotangents follow the queries and values the keys; `seeing` has the rows
    that surely see a key.
    """

    case: Case
    aligned: bool
    seeing: Array

    @property
    def sure(self) -> int:
        """How many rows surely see a key."""
        return int(self.seeing.sum())

    def at(self, rows: Array, spec: Spec, *, inside: bool = True) -> Case:
        """The case with cotangents that are zero but in these rows, or in these rows alone."""
        kept: dict[str, Array] = {}
        for name, dense in self.case.cotangents.items():
            at = row_place(spec.heads[name])
            found = np.zeros_like(dense) if inside else dense.copy()
            moved = np.moveaxis(found, at, 0)
            moved[rows] = np.moveaxis(dense, at, 0)[rows] if inside else 0
            kept[name] = found
        return replace(self.case, cotangents=kept)


def row_place(head: Entry) -> int:
    """At which dimension an array runs along the rows."""
    for at, place in enumerate(head.places):
        if isinstance(place, Index) and place.axis.name == ROWS:
            return at
    raise ParameterError("an output has no rows", found=head.tensor.name)


def drawn(settings: Settings, dtype: str, types: Mapping[str, FloatType]) -> Drawn:
    """The case: normal entries, values that lean on the keys, cotangents on the queries.

    Then <dQ, Q> of a row is not the sum of terms of either sign: what is lost of it shows.
    """
    spec = settings.spec
    sizes = sizes_of(spec, settings.sizes)
    for entry in spec.inputs:
        shape = shape_of(entry, sizes)
        if {ROWS, KEYS} <= {i.axis.name for i in entry.indices} and prod(shape) > INPUT:
            raise ParameterError(
                "an input grows as queries times keys", spec=spec.name,
                found=f"{entry.tensor.name} of shape {shape}",
            )  # fmt: skip
    rng = np.random.default_rng([settings.seed, *sizes.values()])
    parameters = {p.name: parameter_value(p, sizes, rng) for p in spec.parameters}
    arrays = _normal(spec, sizes, dtype, rng, types)
    arrays |= structure_entries(spec, sizes, rng, 1.1, empty=False)
    query, key, value = _sides(spec, arrays)
    if value and key:
        # Half of the variance is shared: keys and values are still told apart.
        arrays[value] = _leaning(arrays[value], arrays[key])
    seeds = {n: _cotangent(spec.heads[n], sizes, rng) for n in spec.outputs[:1]}
    first = spec.outputs[0]
    aligned = bool(query and arrays[query].shape == seeds[first].shape)
    if aligned:
        seeds[first] += arrays[query].astype(np.float32)
    to = float_type(dtype).numpy
    cotangents = {n: seed.astype(to) for n, seed in seeds.items()}
    for name in spec.outputs[1:]:
        cotangents[name] = np.zeros(shape_of(spec.heads[name], sizes), to)
    ordered = {e.tensor.name: arrays[e.tensor.name] for e in spec.inputs}
    case = Case(sizes, parameters, ordered, cotangents, "normal", settings.seed)
    sure = seeing(spec, case)
    np.moveaxis(cotangents[first], row_place(spec.heads[first]), 0)[~sure] = 0
    return Drawn(case, aligned and bool(value and key), sure)


def _normal(
    spec: Spec,
    sizes: Mapping[str, int],
    dtype: str,
    rng: np.random.Generator,
    types: Mapping[str, FloatType],
) -> dict[str, Array]:
    """Normal entries in each real input, drawn on all cores; weights keep the size of a product."""
    real = [entry for entry in spec.inputs if entry.tensor.kind == "real"]
    first = spec.inputs[0].indices[:1]

    def entries(entry: Entry, own: np.random.Generator) -> Array:
        kind = types.get(entry.tensor.name, float_type(dtype))
        wide = np.float64 if kind.roundoff < float_type("float32").roundoff else np.float32
        shape = shape_of(entry, sizes)
        found = own.standard_normal(shape, dtype=wide)
        if not set(first) & {*entry.indices} and shape:
            found /= wide(max(shape) ** 0.5)
        if kind.largest < float_type(dtype).largest:
            np.clip(found, -kind.largest, kind.largest, out=found)
        return np.asarray(found.astype(kind.numpy, copy=False))

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        drawn_by = pool.map(entries, real, rng.spawn(len(real)))
        return dict(zip((entry.tensor.name for entry in real), drawn_by, strict=True))


def _sides(spec: Spec, arrays: Mapping[str, Array]) -> tuple[str, str, str]:
    """The names of the one query, key and value input where they have one shape by two."""
    parts = roles(spec)
    if parts.attention is None or parts.direct_values is None:
        return "", "", ""
    queries, keys = parts.query_inputs, parts.key_inputs
    if len(queries) != 1 or len(keys) != 1:
        return "", "", ""
    query, key, value = (e.tensor.name for e in (queries[0], keys[0], parts.direct_values))
    fits = key != value and arrays[key].shape == arrays[value].shape
    same = arrays[key].dtype == arrays[value].dtype
    return query, key if fits and same else "", value


def _leaning(values: Array, keys: Array) -> Array:
    found = values.astype(np.float32)
    found += keys.astype(np.float32)
    found *= np.float32(0.5**0.5)
    return np.asarray(found.astype(values.dtype))


def _cotangent(head: Entry, sizes: Mapping[str, int], rng: np.random.Generator) -> Array:
    """Ones whose sign is drawn for each tile of rows, and each place of the other axes.

    In the first channel all are one: whatever rows are lost of a sum, there they do not cancel.
    """
    shape = shape_of(head, sizes)
    at = row_place(head)
    tiles = (*shape[:at], -(-shape[at] // TILE), *shape[at + 1 :])
    signs = rng.integers(0, 2, tiles, dtype=np.int8).astype(np.float32) * 2 - 1
    if at < len(shape) - 1 and shape[-1]:
        signs[..., 0] = 1
    return np.repeat(signs, TILE, at)[tuple(slice(n) for n in shape)]


def seeing(spec: Spec, case: Case) -> Array:
    """The rows that surely see a key: one of a few that are looked at for each row."""
    found = counting(spec)
    sure = np.ones(case.sizes[ROWS], bool)
    if found is None:
        return sure
    # What counts keys is in parts as what is counted is: a count need have no rows.
    count = compile_spec(positioned(found[0], (ROWS, KEYS)))
    for step, block in ((64, 2048), (1, 128)):
        for start in range(0, len(sure), block):
            rows = np.arange(start, min(len(sure), start + block))
            if step == 64 or not sure[rows].all():
                sure[rows] = _seen(count, case, rows, step)
    return sure


def _seen(count: Oracle, case: Case, rows: Array, step: int) -> Array:
    """Whether rows see one of the keys at their own places, at the ends, or beside the last."""
    keys, shift = case.sizes[KEYS], case.sizes[KEYS] - case.sizes[ROWS]
    near = rows[::step]
    looked = np.unique(np.concatenate([[0, keys - 1], near, near + shift]).clip(0, keys - 1))
    kept = {ROWS: rows, KEYS: looked}
    heads = {e.tensor.name: e for e in count.spec.inputs}
    arrays = {n: cut(array, heads[n], kept) for n, array in case.arrays.items()}
    arrays |= {place_name(axis): places for axis, places in kept.items()}
    sizes = {**case.sizes, ROWS: len(rows), KEYS: len(looked)}
    told = count(**arrays, **case.parameters, **parameters_of(case.sizes), sizes=sizes)
    sure = np.ones(len(rows), bool)
    for name in count.spec.outputs:
        seen, head = told[name] > 0, count.spec.heads[name]
        at = [n for n, p in enumerate(head.places) if isinstance(p, Index) and p.axis.name == ROWS]
        others = tuple(n for n in range(seen.ndim) if n not in at)
        sure &= np.asarray(seen).all(axis=others)
    return sure
