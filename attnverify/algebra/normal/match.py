"""When two terms are one up to the names of what they bind, and when two polynomials are one class.

A signature (colour refinement, axes as colours) finds candidates; a match is an explicit one-to-one
renaming that carries every atom over, found by search; z3 compares what coefficients are left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, permutations

from attnverify.algebra.normal.core import (
    Atom,
    Class,
    Coef,
    Context,
    Poly,
    Term,
    add_coefs,
)
from attnverify.algebra.normal.forms import Var

ROUNDS = 2
MOST_MATCHES = 24  # how many renamings are tried where a term has many symmetries
MOST_BARE = 4  # slots that coefficients alone mention, whose orders are all tried

Map = dict[Var, Var]


def signature(ctx: Context, term: Term, *, anonymous: bool = False) -> tuple[int, ...]:
    """Colours that equal terms share; free variables count by axis alone when `anonymous`."""
    if anonymous in term.signs:
        return term.signs[anonymous]
    bound = set(term.bound)
    colours: dict[Var, int] = {}
    for var in [*term.bound, *(v for atom in term.atoms for v in atom.args)]:
        kind = "bound" if var in bound else "slot" if anonymous else f"free {var}"
        colours[var] = ctx.colour((kind, ctx.axes[var]))
    keys: list[int] = []
    for _ in range(ROUNDS):
        keys = []
        uses: dict[Var, list[tuple[int, int]]] = {var: [] for var in colours}
        for atom, exponent in term.atoms.items():
            orders = ctx.orders(atom)
            shape = min([tuple([colours[v] for v in order]) for order in orders])
            key = ctx.colour((atom.kind, atom.label, atom.number, exponent, shape))
            keys.append(key)
            for place, var in enumerate(atom.args):
                orbit = min(order.index(var) for order in orders) if len(orders) > 1 else place
                uses[var].append((key, orbit))
        colours = {v: ctx.colour((colours[v], tuple(sorted(u)))) for v, u in uses.items()}
    sign = (*sorted(keys), -1, *sorted(colours[v] for v in term.bound))
    term.signs[anonymous] = sign
    return sign


@dataclass
class _Pair:
    """The two terms being matched; `slots` are the free variables of each that may be renamed."""

    left: Term
    right: Term
    slots: tuple[frozenset[Var], frozenset[Var]]


def matches(
    ctx: Context, left: Term, right: Term, start: Map | None = None,
    slots: tuple[frozenset[Var], frozenset[Var]] = (frozenset(), frozenset()),
) -> Iterator[Map]:  # fmt: skip
    """One-to-one renamings under which the atoms of `left` are those of `right`.

    Bound variables and slots are renamed, axes are kept; every other free variable stays itself.
    """
    if len(left.atoms) != len(right.atoms) or len(left.bound) != len(right.bound):
        return
    pair = _Pair(left, right, slots)
    for mapping in _atoms(ctx, pair, list(left.atoms), set(), dict(start or {})):
        yield from _bare(ctx, pair, mapping)


def _atoms(
    ctx: Context, pair: _Pair, rest: list[Atom], used: set[Atom], mapping: Map
) -> Iterator[Map]:
    if not rest:
        yield dict(mapping)
        return
    atom = rest[0]
    for other, exponent in pair.right.atoms.items():
        same = (atom.kind, atom.label, atom.number) == (other.kind, other.label, other.number)
        if not same or other in used or exponent != pair.left.atoms[atom]:
            continue
        for order in ctx.variants(other):
            extended = _extend(ctx, pair, mapping, atom.args, order)
            if extended is not None:
                yield from _atoms(ctx, pair, rest[1:], used | {other}, extended)


def _extend(
    ctx: Context, pair: _Pair, mapping: Map, old: Sequence[Var], new: Sequence[Var]
) -> Map | None:
    result = dict(mapping)
    for var, image in zip(old, new, strict=True):
        if var in result:
            if result[var] != image:
                return None
        elif not _allowed(ctx, pair, var, image) or image in result.values():
            return None
        else:
            result[var] = image
    return result


def _allowed(ctx: Context, pair: _Pair, var: Var, image: Var) -> bool:
    if ctx.axes[var] != ctx.axes[image]:
        return False
    if var in pair.left.bound:
        return image in pair.right.bound
    if var in pair.slots[0]:
        return image in pair.slots[1]
    return var == image


def _bare(ctx: Context, pair: _Pair, mapping: Map) -> Iterator[Map]:
    """Complete a renaming on bound variables that no atom mentions."""
    old = [var for var in pair.left.bound if var not in mapping]
    images = set(mapping.values())
    new = [var for var in pair.right.bound if var not in images]
    if not old and not new:
        yield mapping
        return
    for order in permutations(new):
        if all(ctx.axes[a] == ctx.axes[b] for a, b in zip(old, order, strict=True)):
            yield {**mapping, **dict(zip(old, order, strict=True))}


def same_coefs(ctx: Context, left: Coef, right: Coef) -> bool:
    """Whether two coefficients are equal for all values of their variables."""
    rest = add_coefs(left, right, -1)
    return not rest or ctx.decider.vanishes(ctx.pieces(rest))


def bundle_matches(
    ctx: Context, left: tuple[Poly, ...], right: tuple[Poly, ...],
    slots: tuple[frozenset[Var], frozenset[Var]],
) -> Iterator[Map]:  # fmt: skip
    """Renamings of slots under which two bundles of polynomials are equal, coefficients and all."""
    pairs = []
    for one, other in zip(left, right, strict=True):
        if len(one) != len(other):
            return
        pairs.append((list(one), list(other)))
    for mapping in _bundle(ctx, pairs, 0, {}, slots):
        whole = _complete(ctx, mapping, slots)
        if whole is not None:
            yield whole


def _complete(
    ctx: Context, mapping: Map, slots: tuple[frozenset[Var], frozenset[Var]]
) -> Map | None:
    rest = sorted(slots[0] - set(mapping))
    if not rest:
        return mapping
    # A slot that only coefficients mention: take the one way that is left, if there is one.
    images = sorted(slots[1] - set(mapping.values()))
    whole = dict(mapping)
    for var in rest:
        fits = [image for image in images if ctx.axes[image] == ctx.axes[var]]
        if len(fits) != 1:
            return None
        whole[var] = fits[0]
        images.remove(fits[0])
    return whole


def _bundle(
    ctx: Context, pairs: list[tuple[list[Term], list[Term]]], place: int, mapping: Map,
    slots: tuple[frozenset[Var], frozenset[Var]],
) -> Iterator[Map]:  # fmt: skip
    if place == len(pairs):
        yield {old: new for old, new in mapping.items() if old in slots[0]}
        return
    left, right = pairs[place]
    if not left:
        yield from _bundle(ctx, pairs, place + 1, mapping, slots)
        return
    first, others = left[0], left[1:]
    sign = signature(ctx, first, anonymous=True)
    for spot, other in enumerate(right):
        if sign != signature(ctx, other, anonymous=True):
            continue
        rest = [*pairs[:place], (others, right[:spot] + right[spot + 1 :]), *pairs[place + 1 :]]
        for found in islice(matches(ctx, first, other, mapping, slots), MOST_MATCHES):
            for full in _complete_coef(ctx, first, other, found, slots):
                if same_coefs(ctx, ctx.rename_coef(first.coef, full), other.coef):
                    yield from _bundle(ctx, rest, place, full, slots)


def _complete_coef(
    ctx: Context,
    left: Term,
    right: Term,
    mapping: Map,
    slots: tuple[frozenset[Var], frozenset[Var]],
) -> Iterator[Map]:
    """The renaming, completed in each way on slots that the terms' coefficients alone mention."""
    images = set(mapping.values())
    missing = [v for v in sorted(ctx.coef_variables(left.coef) & slots[0]) if v not in mapping]
    others = [v for v in sorted(ctx.coef_variables(right.coef) & slots[1]) if v not in images]
    if not missing:
        yield mapping
    elif len(missing) == len(others) <= MOST_BARE:
        for order in permutations(others):
            if all(ctx.axes[a] == ctx.axes[b] for a, b in zip(missing, order, strict=True)):
                yield {**mapping, **dict(zip(missing, order, strict=True))}
    else:
        whole = _complete(ctx, mapping, slots)
        if whole is not None:
            yield whole


def bundle_signature(ctx: Context, bundle: tuple[Poly, ...]) -> object:
    """Colours that equal bundles share, whatever their free variables are called."""
    return tuple(
        tuple(sorted(signature(ctx, term, anonymous=True) for term in poly)) for poly in bundle
    )


def twins(ctx: Context, cls: Class) -> tuple[tuple[int, ...], ...]:
    """The orders of a class's slots that leave its body equal."""
    slots = frozenset(cls.slots)
    place = {var: k for k, var in enumerate(cls.slots)}
    found: dict[tuple[int, ...], None] = {tuple(range(len(cls.slots))): None}
    for mapping in islice(bundle_matches(ctx, cls.body, cls.body, (slots, slots)), MOST_MATCHES):
        found[tuple(place[mapping[var]] for var in cls.slots)] = None
    return tuple(found)
