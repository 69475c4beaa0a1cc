"""Jacobian by distance: how much of the input at position s reaches the output at position t.

The blocks d output_t / d input_s come from the derived gradient, compiled and run on one-hot
cotangents, all of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.terms import Entry, Index
from attnverify.compile.oracle import stack
from attnverify.errors import ParameterError
from attnverify.flow.initial import Start, drawn, sizes_of
from attnverify.inputs.entries import shape_of
from attnverify.invariants.roles import SEQUENCES
from attnverify.spec import Spec
from attnverify.transforms.gradient import gradient

Array = NDArray[Any]
SOURCES = ("keys", "time")
TARGETS = ("queries", "time")


class Jacobian:
    """The Jacobian of a spec's first output along a sequence by its real inputs along one.

    `wrt` names the inputs; without it, they are the real inputs along the keys or, where there are
    none, along time. Calling it gives blocks (targets, positions, output entries, input entries):
    entries are those of all other axes, in order, inputs side by side. Raises ParameterError where
    the spec runs along no sequence.

    >>> import numpy as np
    >>> from attnverify import load
    >>> spec, x = load("global"), np.zeros((1, 1, 4, 2))
    >>> blocks = Jacobian(spec, wrt=["V"])({"Q": x, "K": x, "V": x})
    >>> blocks.shape, float(blocks[0, 3, 0, 0])
    ((4, 4, 2, 2), 0.25)
    """

    def __init__(self, spec: Spec, wrt: Sequence[str] | None = None) -> None:
        self.spec = spec.replace(outputs=spec.outputs[:1])
        self.output = spec.heads[spec.outputs[0]]
        self.target = _sequence(spec, self.output, TARGETS)
        self.inputs = self._chosen(wrt)
        self.source = _sequence(spec, self.inputs[0], SEQUENCES)
        names = [entry.tensor.name for entry in self.inputs]
        self._derived = gradient(self.spec, wrt=names)
        given = {entry.tensor.name for entry in spec.inputs}
        # A cotangent that no gradient reads is no input: the output then does not depend on them.
        (self._cotangent,) = (e for e in self._derived.inputs if e.tensor.name not in given)
        self._stack = stack(self._derived, over=(self._cotangent.tensor.name,))

    def _chosen(self, wrt: Sequence[str] | None) -> tuple[Entry, ...]:
        real = [entry for entry in self.spec.inputs if entry.tensor.kind == "real"]
        if wrt is not None:
            known = {entry.tensor.name: entry for entry in real}
            unknown = [name for name in wrt if name not in known]
            if unknown or not wrt:
                raise ParameterError(
                    "a Jacobian is taken by real inputs",
                    spec=self.spec.name, found=", ".join(unknown) or "none", due=", ".join(known),
                )  # fmt: skip
            found = [known[name] for name in wrt]
            axis = _sequence(self.spec, found[0], SEQUENCES)
            return tuple(e for e in found if _sequence(self.spec, e, (axis,)))
        for axis in SOURCES:
            along = tuple(entry for entry in real if _dimension(entry, axis) is not None)
            if along:
                return along
        raise _no_sequence(self.spec, ", ".join(map(str, self.spec.inputs)), SOURCES)

    @cached_property
    def follows(self) -> bool:
        """Whether the output's sequence comes after the input's, as a decoder's after its source's.

        Queries and keys are positions of one sequence unless a recurrence writes the output.
        """
        return self.source != self.target and self.target == "time"

    def distances(self, sizes: Mapping[str, int], target: int) -> Array:
        """How many steps each position of the input lies before a position of the output."""
        length = sizes[self.source]
        place = target + length if self.follows else target
        return place - np.arange(length)

    def __call__(
        self,
        arrays: Mapping[str, Any],
        *,
        sizes: Mapping[str, int] | None = None,
        parameters: Mapping[str, Any] | None = None,
        targets: Sequence[int] | None = None,
    ) -> Array:
        """The blocks at these arrays, for all positions of the output or those of `targets`."""
        whole = self._sizes(arrays) if sizes is None else dict(sizes)
        places = range(whole[self.target]) if targets is None else targets
        seeds = self._one_hot(whole, [_place(p, whole[self.target], self.spec) for p in places])
        given = {entry.tensor.name for entry in self._derived.inputs}
        real = {name: np.asarray(array) for name, array in arrays.items() if name in given}
        real[self._cotangent.tensor.name] = seeds
        found = self._stack(real, whole, self._settings(parameters or {}))
        blocks = [
            self._block(found[out], entry, len(places))
            for out, entry in zip(self._derived.outputs, self.inputs, strict=True)
        ]
        return np.concatenate(blocks, axis=-1)

    def _sizes(self, arrays: Mapping[str, Any]) -> dict[str, int]:
        found: dict[str, int] = {}
        for entry in self.spec.inputs:
            for place, size in zip(entry.places, np.shape(arrays[entry.tensor.name]), strict=True):
                if isinstance(place, Index):
                    found[place.axis.name] = size
        return self.spec.sized(found)

    def _settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A value for each parameter that the gradient reads, its default where none is given."""
        known = {p.name: p for p in self.spec.parameters}
        unknown = [name for name in given if name not in known]
        found = {n: p.default for n, p in known.items() if p.default is not None} | dict(given)
        missing = [name for name in known if name not in found]
        if missing or unknown:
            raise ParameterError(
                "a parameter is left open" if missing else "an unknown parameter",
                spec=self.spec.name,
                found=", ".join(unknown),
                due=", ".join(missing or known),
            )
        return {p.name: found[p.name] for p in self._derived.parameters}

    def _one_hot(self, sizes: Mapping[str, int], targets: Sequence[int]) -> Array:
        """One cotangent for each target and entry there, as draws."""
        shape = shape_of(self.output, sizes)
        at = _dimension(self.output, self.target) or 0
        rest = prod(size for n, size in enumerate(shape) if n != at)
        seeds = np.zeros((len(targets), rest, shape[at], rest))
        for number, target in enumerate(targets):
            seeds[number, :, target] = np.eye(rest)
        others = [size for n, size in enumerate(shape) if n != at]
        folded = seeds.reshape(len(targets) * rest, shape[at], *others)
        return np.ascontiguousarray(np.moveaxis(folded, 1, at + 1))

    def _block(self, slopes: Array, entry: Entry, targets: int) -> Array:
        """Gradients by draw as (targets, positions, output entries, input entries)."""
        at = _dimension(entry, self.source) or 0
        moved = np.moveaxis(slopes, at + 1, 1)
        folded = moved.reshape(targets, -1, moved.shape[1], prod(moved.shape[2:]))
        return folded.transpose(0, 2, 1, 3)


def _dimension(entry: Entry, axis: str) -> int | None:
    """At which dimension an entry runs along an axis; None where it does not."""
    places = enumerate(entry.places)
    found = [n for n, p in places if isinstance(p, Index) and p.axis.name == axis]
    return found[0] if len(found) == 1 else None


def _sequence(spec: Spec, entry: Entry, axes: Sequence[str]) -> str:
    found = [axis for axis in axes if _dimension(entry, axis) is not None]
    if not found:
        raise _no_sequence(spec, str(entry), axes)
    return found[0]


def _no_sequence(spec: Spec, found: str, axes: Sequence[str]) -> ParameterError:
    return ParameterError(
        "flow is measured from one position of a sequence to another",
        spec=spec.name,
        found=found,
        due=f"an axis of {' or '.join(axes)} by itself",
    )


def _place(target: int, length: int, spec: Spec) -> int:
    if not -length <= target < length:
        raise ParameterError(
            "no such position of the output", spec=spec.name, found=target, due=f"below {length}"
        )
    return target % length


@dataclass(frozen=True)
class Profile:
    """Norms of Jacobian blocks at one position of the output, by draw and distance.

    `spectral` and `frobenius` are (draws, distances), `distances` in positions, from the farthest
    input to the nearest. Both norms are in units of output per input.
    """

    name: str
    distances: Array
    spectral: Array
    frobenius: Array

    def median(self, norm: str = "spectral") -> Array:
        """The median over draws for each distance."""
        return np.asarray(np.median(getattr(self, norm), axis=0))

    def curve(self, norm: str = "spectral", name: str = "") -> dict[str, Any]:
        """Median and quartiles over draws as plain data that a page can draw."""
        low, middle, high = np.quantile(getattr(self, norm), [0.25, 0.5, 0.75], axis=0)
        order = np.argsort(self.distances)
        return {
            "name": name or self.name,
            "x": self.distances[order].tolist(),
            "y": middle[order].tolist(),
            "low": low[order].tolist(),
            "high": high[order].tolist(),
        }


def profile(
    spec: Spec,
    *,
    length: int = 32,
    width: int = 8,
    draws: int = 20,
    seed: int = 0,
    start: Start | None = None,
    wrt: Sequence[str] | None = None,
    target: int | None = None,
    sizes: Mapping[str, int] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Profile:
    """Norms of d output_t / d input_s over drawn inputs and weights, by distance.

    `length` is the size of sequences, `width` of channels, `sizes` of single axes; `start` says how
    inputs are drawn. `target` is the output's position: the last one unless told, or the first
    where the output's sequence follows the input's, as in seq2seq. Norms are of blocks (output
    entries, input entries), as Pascanu et al. (2013) and Hochreiter (1991) speak of them.

    Raises ParameterError where the spec runs along no sequence, or a parameter is left open.

    >>> from attnverify import load
    >>> found = profile(load("elman"), length=4, width=2, draws=3)
    >>> found.spectral.shape, found.distances.tolist()
    ((3, 4), [3, 2, 1, 0])
    """
    if draws < 1 or length < 1 or width < 1:
        raise ParameterError(
            "draws, length and width are at least 1", found=f"{draws}, {length}, {width}"
        )
    one = Jacobian(spec, wrt)
    whole = sizes_of(
        spec, length, width, {"batch": 1, **(sizes or {})} if _batched(spec) else sizes
    )
    aim = target if target is not None else 0 if one.follows else whole[one.target] - 1
    spectral, frobenius = [], []
    for number in range(draws):
        arrays = drawn(spec, whole, np.random.default_rng([seed, number]), start)
        (blocks,) = one(arrays, sizes=whole, parameters=parameters, targets=[aim])
        spectral.append(np.linalg.norm(blocks, 2, axis=(-2, -1)))
        frobenius.append(np.linalg.norm(blocks, axis=(-2, -1)))
    place = _place(aim, whole[one.target], spec)
    return Profile(spec.name, one.distances(whole, place), np.array(spectral), np.array(frobenius))


def _batched(spec: Spec) -> bool:
    return any(axis.name == "batch" for axis in spec.axes)
