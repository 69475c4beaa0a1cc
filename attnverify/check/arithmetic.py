"""The spec's own equations in another arithmetic: rounded, summed or shifted in a narrower type.

Each is computed as such code computes it, and judged like any mutant: what is off by an arithmetic
that nobody has here agrees with none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.check.asked import widest
from attnverify.check.explanation import Candidate, habit
from attnverify.check.shifts import shifted
from attnverify.compare import Due
from attnverify.compile.recipe import Op, Recipe, holds_whole, op_labels
from attnverify.compile.run import aligned
from attnverify.dtypes import float_type
from attnverify.inputs import Case
from attnverify.rounding.bent import Bend, Bent
from attnverify.rounding.profiles import Profile
from attnverify.spec import Spec
from attnverify.transforms.mutate import Operator

Array = NDArray[Any]
Named = Callable[[Mapping[str, Any]], dict[str, Any]]
Seeded = Callable[[Case], Mapping[str, Array]]
Rights = Callable[[Case], Mapping[str, Due] | None]

NARROW = ("float16", "bfloat16", "float32")
TABLES = ("position", "scalar")
PRODUCT = habit("product in a narrow type", "products are rounded before they are scaled", "NUM-04")
SUM = habit("sum in a narrow type", "a sum is carried in a narrow type, term by term", "NUM-07")
ANGLES = habit("angles in a narrow type", "angles of rotations are of a narrow type", "POS-06")
ROUNDED = habit("rounded to a narrow type", "an intermediate is rounded to a narrow type")


@dataclass(frozen=True)
class Program:
    """What arithmetic is bent in: a spec, and how answers, cotangents and right values are named.

    `right` is what is due of the spec itself, whose legal forms may err by more than this one.
    """

    spec: Spec
    profile: Profile
    named: Named
    seeded: Seeded
    right: Rights


@dataclass(frozen=True)
class Arithmetic(Candidate):
    """A program with some of its operations bent."""

    program: Program | None = None
    bends: Mapping[str, Bend] | None = None

    @cached_property
    def _bent(self) -> tuple[Program, Bent]:
        if self.program is None or self.bends is None:
            raise AssertionError(self.sentence)  # nothing else makes one
        return self.program, Bent(self.program.spec, self.program.profile, self.bends)

    def values(self, case: Case) -> Mapping[str, Array]:
        """What it gives on a case."""
        program, bent = self._bent
        return program.named(bent.values(program.seeded(case), case.parameters, case.sizes))

    def dues(self, case: Case) -> Mapping[str, Due] | None:
        """What it gives, each entry under the larger of its own bound and that of the spec."""
        program, bent = self._bent
        right = program.right(case)
        if right is None:
            return None
        found = bent.dues(program.seeded(case), case.parameters, case.seed, case.sizes)
        return None if found is None else widest(program.named(found), right)


def arithmetics(program: Program) -> Iterator[Candidate]:
    """The ways to compute a program in another arithmetic, the likelier ones first."""
    recipe = Bent(program.spec, program.profile, {}).recipe
    sites = Sites(recipe, program.spec)
    types = [t for t in NARROW if float_type(t).roundoff > program.profile.stage]
    sums = [t for t in NARROW if float_type(t).roundoff > program.profile.accumulator]
    made = chain(
        shifted(recipe, program.profile),
        *(_angles(sites, to) for to in types),
        *(_products(sites, to) for to in types),
        *(_sums(sites, to) for to in sums),
        *(_rounded(sites, to) for to in types),
        *(_operands(sites, to) for to in types),
        *(_logarithms(sites, to) for to in types),
    )
    for operator, sentence, bends in made:
        yield Arithmetic(operator, sentence, fine=True, program=program, bends=bends)


Made = tuple[Operator, str, dict[str, Bend]]


@dataclass(frozen=True)
class Sites:
    """The operations of a recipe that compute real numbers, and what to call them."""

    recipe: Recipe
    spec: Spec

    @cached_property
    def real(self) -> list[Op]:
        """Operations with real values, but for constants."""
        whole: set[str] = set()
        found = []
        for op in self.recipe.ops:
            if holds_whole(op, whole):
                whole.add(op.out)
            elif op.kind not in ("scalar", "loop", "step"):
                found.append(op)
        return found

    @cached_property
    def by_name(self) -> dict[str, Op]:
        """Operations by what they compute."""
        return {op.out: op for op in self.recipe.ops}

    @cached_property
    def tables(self) -> set[str]:
        """What no input reaches but whole numbers: positions, frequencies, angles."""
        found: set[str] = set()
        for op in self.recipe.ops:
            given = op.kind == "input" and op.detail != "real"
            if op.kind in TABLES or given or (op.operands and self._all_in(op, found)):
                found.add(op.out)
        return found

    @staticmethod
    def _all_in(op: Op, found: set[str]) -> bool:
        return all(operand.name in found for operand in op.operands)

    @property
    def guarded(self) -> dict[str, Bend]:
        """Maxima that are 0 where they would be minus infinity."""
        tops = [op.out for op in self.recipe.ops if op.kind == "reduce" and op.detail == "max"]
        return dict.fromkeys(tops, lambda _op, top, _read: np.where(np.isneginf(top), 0, top))

    def scale(self, op: Op) -> str:
        """The constant that an operand of a product was multiplied by before; empty without one."""
        for operand in op.operands:
            # What a loop keeps is made by no operation of its own.
            made = self.by_name.get(operand.name)
            if made is not None and made.kind == "map" and made.detail == "multiply":
                for factor in made.operands:
                    if getattr(self.by_name.get(factor.name), "kind", "") == "scalar":
                        return factor.name
        return ""

    def words(self, op: Op) -> str:
        """An operation in words, by the tensor that it is part of."""
        heads = [h for h in self.spec.heads if op.out == h or op.out.startswith(f"{h}_")]
        tensor = max(heads, key=len, default=op.out)
        if op.kind == "input":
            return f"the input {tensor}"
        if op.detail == "exp":
            return f"the exponentials of {tensor}"
        if op.kind == "reduce":
            return f"the {'sums' if op.detail == 'sum' else 'maxima'} that {tensor} needs"
        last = [o.out for o in self.real if o.out == tensor or o.out.startswith(f"{tensor}_")][-1:]
        return tensor if op.out in (tensor, *last) else f"a part of {tensor}"


def rounding(to: str) -> Bend:
    """Rounding to nearest in a type."""
    kind = float_type(to).numpy

    def bend(_op: Op, value: Array, _read: tuple[Array, ...]) -> Array:
        with np.errstate(all="ignore"):
            return value.astype(kind).astype(np.float64)

    return bend


def _angles(sites: Sites, to: str) -> Iterator[Made]:
    """Tables that a cosine is taken of: their factors, themselves, or their cosines rounded."""
    turned = [op for op in sites.real if op.detail in ("cos", "sin") and op.out in sites.tables]
    angles = {op.operands[0].name for op in turned}
    factors = {
        part.name
        for name in angles
        if name in sites.by_name
        for part in sites.by_name[name].operands
        if sites.by_name.get(part.name) in sites.real
    }
    for places, told in (
        (factors, "positions and frequencies"),
        (angles, "the angles of rotations"),
        ({op.out for op in turned}, "cosines and sines of the angles"),
        (factors | angles, "positions, frequencies and angles"),
        (factors | angles | {op.out for op in turned}, "all that rotations need"),
    ):
        if places:
            yield ANGLES, f"computes {told} in {to}", dict.fromkeys(places, rounding(to))


def _products(sites: Sites, to: str) -> Iterator[Made]:
    """Products that are scaled, rounded before they are."""
    for op in sites.real:
        scale = sites.scale(op) if op.kind == "contract" else ""
        if scale:
            bends, told = _unscaled(sites, op, to), f"rounds {op.out} to {to} before it is scaled"
            yield PRODUCT, told, bends
            # A row of nothing but minus infinity is one that sees no key, where that is guarded.
            yield PRODUCT, told, {**bends, **sites.guarded}


def _unscaled(sites: Sites, op: Op, to: str) -> dict[str, Bend]:
    """Rounding of a product without the scale of its operand, which the recipe takes in first."""
    scale, narrow = sites.scale(op), rounding(to)
    known: list[Array] = []

    def keep(_op: Op, value: Array, _read: tuple[Array, ...]) -> Array:
        # The undisturbed run comes first; disturbed ones are of the same case.
        known[:] = known if value.ndim else [value]
        return value

    def bend(op: Op, value: Array, read: tuple[Array, ...]) -> Array:
        return narrow(op, value / known[0], read) * known[0]

    return {scale: keep, op.out: bend}


def _sums(sites: Sites, to: str) -> Iterator[Made]:
    """Sums of products carried in a narrow type, term by term."""
    for op in reversed(sites.real):
        if op.kind == "contract" and len(op.operands) == 2:
            yield (
                SUM,
                f"carries the sum {sites.words(op)} in {to}, term by term",
                {op.out: _carried(to)},
            )


def _carried(to: str) -> Bend:
    kind = float_type(to).numpy

    def bend(op: Op, _value: Array, read: tuple[Array, ...]) -> Array:
        left, right = op.operands
        summed = tuple(
            x for x in dict.fromkeys((*left.labels, *right.labels)) if x not in op.labels
        )
        parts = []
        for operand, array in zip(op.operands, read, strict=True):
            ahead = tuple(f"run{n}@runs" for n in range(array.ndim - len(operand.labels)))
            parts.append(aligned(array, (*ahead, *operand.labels), (*ahead, *op.labels, *summed)))
        sizes = np.broadcast_shapes(*(part.shape for part in parts))
        terms = prod(sizes[len(sizes) - len(summed) :])
        one, other = (
            np.broadcast_to(
                part, (*part.shape[: part.ndim - len(summed)], *sizes[-len(summed) :])
            ).reshape(*part.shape[: part.ndim - len(summed)], terms)
            for part in parts
        )
        total = np.zeros(sizes[: len(sizes) - len(summed)])
        with np.errstate(all="ignore"):
            for n in range(terms):
                total = (total + one[..., n] * other[..., n]).astype(kind).astype(np.float64)
        return np.asarray(total)

    return bend


def _rounded(sites: Sites, to: str) -> Iterator[Made]:
    """Any single intermediate rounded once."""
    for op in sites.real:
        if op.kind in ("input", "contract") or (op.labels and op.out not in sites.tables):
            yield ROUNDED, f"rounds {sites.words(op)} to {to}", {op.out: rounding(to)}


def _operands(sites: Sites, to: str) -> Iterator[Made]:
    """An operand of one product rounded for it alone."""
    for op in sites.real:
        if op.kind == "contract":
            for number, operand in enumerate(op.operands):
                made = sites.by_name.get(operand.name)
                read = operand.name if made is None else sites.words(made)
                told = f"rounds {read} to {to} where {sites.words(op)} needs it"
                yield ROUNDED, told, {op.out: _read_narrow(number, to)}


def _read_narrow(number: int, to: str) -> Bend:
    narrow = rounding(to)

    def bend(op: Op, _value: Array, read: tuple[Array, ...]) -> Array:
        letters = {x: chr(ord("a") + n) for n, x in enumerate(dict.fromkeys(op_labels(op)))}
        terms = ["..." + "".join(letters[x] for x in o.labels) for o in op.operands]
        arrays = [narrow(op, a, ()) if n == number else a for n, a in enumerate(read)]
        kept = "".join(letters[x] for x in op.labels)
        return np.asarray(np.einsum(f"{','.join(terms)}->...{kept}", *arrays))

    return bend


def _logarithms(sites: Sites, to: str) -> Iterator[Made]:
    """Weights normalised by a log-sum-exp that is kept in a narrow type."""
    tops = [op for op in sites.real if op.kind == "reduce" and op.detail == "max"]
    for op in sites.real:
        if op.detail == "inverse" and tops and op.labels == tops[0].labels:
            yield ROUNDED, f"rounds the log-sum-exp to {to}", _by_logarithm(tops[0], op, to)


def _by_logarithm(top: Op, divided: Op, to: str) -> dict[str, Bend]:
    narrow, known = rounding(to), list[Array]()

    def keep(_op: Op, value: Array, _read: tuple[Array, ...]) -> Array:
        known[:] = [np.where(np.isneginf(value), 0, value)]
        return value

    def bend(op: Op, value: Array, read: tuple[Array, ...]) -> Array:
        with np.errstate(all="ignore"):
            logarithm = narrow(op, known[0] + np.log(read[0]), read)
            return np.asarray(np.where(read[0] == 0, value, np.exp(known[0] - logarithm)))

    return {top.out: keep, divided.out: bend}
