"""One long case: its sizes, its arrays, and cotangents that single out rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.terms import Entry, Index
from attnverify.check.settings import Settings
from attnverify.compile.lower import lower
from attnverify.compile.parts import Parts
from attnverify.compile.recipe import label_axis
from attnverify.compile.streamed import KEYS, ROWS
from attnverify.dtypes import FloatType, float_type
from attnverify.errors import ParameterError, SpecError
from attnverify.inputs import Case, supported
from attnverify.inputs.entries import real_entries, shape_of, structure_entries
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
    """A long case, whose cotangents are dense; `aligned` says that they follow the queries."""

    case: Case
    aligned: bool

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
    arrays = real_entries(spec, sizes, "normal", dtype, rng, types=types)
    arrays |= structure_entries(spec, sizes, rng, 1.1, empty=False)
    query, key, value = _sides(spec, arrays)
    if value and key:
        # Half of the variance is shared: keys and values are still told apart.
        arrays[value] = _leaning(arrays[value], arrays[key])
    seeds = {n: _cotangent(spec.heads[n], sizes, rng) for n in spec.outputs[:1]}
    first = spec.outputs[0]
    aligned = bool(query and arrays[query].shape == seeds[first].shape)
    if aligned:
        at = row_place(spec.heads[first])
        seeds[first] += _signs(seeds[first].shape, at, rng) * arrays[query].astype(np.float32)
    to = float_type(dtype).numpy
    cotangents = {n: seed.astype(to) for n, seed in seeds.items()}
    for name in spec.outputs[1:]:
        cotangents[name] = np.zeros(shape_of(spec.heads[name], sizes), to)
    ordered = {e.tensor.name: arrays[e.tensor.name] for e in spec.inputs}
    case = Case(sizes, parameters, ordered, cotangents, "normal", settings.seed)
    return Drawn(case, aligned and bool(value and key))


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
    """Ones whose sign is drawn for each tile of rows, and each place of the other axes."""
    shape = shape_of(head, sizes)
    at = row_place(head)
    tiles = (*shape[:at], -(-shape[at] // TILE), *shape[at + 1 :])
    signs = rng.integers(0, 2, tiles, dtype=np.int8).astype(np.float32) * 2 - 1
    return np.repeat(signs, TILE, at)[tuple(slice(n) for n in shape)]


def _signs(shape: tuple[int, ...], at: int, rng: np.random.Generator) -> Array:
    """A sign for each tile of rows."""
    signs = rng.integers(0, 2, -(-shape[at] // TILE)).astype(np.float32) * 2 - 1
    rows = np.repeat(signs, TILE)[: shape[at]]
    return rows.reshape(tuple(-1 if n == at else 1 for n in range(len(shape))))
