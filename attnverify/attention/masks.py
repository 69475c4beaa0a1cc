"""Masks: which keys a query sees, as predicates that combine with & | ~ and shift."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from attnverify.algebra.predicates import (
    TRUE,
    Compare,
    Holds,
    Predicate,
    conjunction,
    disjunction,
    negation,
)
from attnverify.algebra.terms import (
    Axis,
    Entry,
    Expr,
    Index,
    Tensor,
    add,
    as_expr,
    floor_div,
    indicator,
    mul,
    remainder,
    total,
)
from attnverify.attention.heads import standard
from attnverify.attention.shift import moved
from attnverify.attention.site import Site
from attnverify.equations import Equation
from attnverify.errors import ParameterError, SpecError

# What says how far the diagonal stands: a number or parameter, or "input" for one per batch entry.
Offset = object


@dataclass(frozen=True)
class Mask:
    """Which keys a query sees, as a predicate at a site.

    `keep` is the predicate, `inputs` and `rows` are the inputs and the equations of what else it
    reads. Masks combine with & (both), | (either) and ~ (not), and print as their predicate.
    `ordered` tells that positions matter, so that keys cannot be permuted; `ranked` tells that the
    scores decide, so that no score can depend on what is seen.

    >>> print(causal() & within(left=2))
    j <= i and j >= i - 2
    """

    keep: Callable[[Site], Predicate]
    inputs: Callable[[Site], tuple[Entry, ...]] = lambda _: ()
    ordered: bool = False
    rows: Callable[[Site], tuple[Equation, ...]] = lambda _: ()
    ranked: bool = False

    def __and__(self, other: Mask) -> Mask:
        return self._joined(other, conjunction)

    def __or__(self, other: Mask) -> Mask:
        return self._joined(other, disjunction)

    def __invert__(self) -> Mask:
        return replace(self, keep=lambda site: negation(self.keep(site)))

    def shifted(self, queries: object = 0, keys: object = 0) -> Mask:
        """The mask with query i and key j read at i + queries and j + keys.

        Raises SpecError for a mask that reads an input along the positions it is shifted by.

        >>> print(causal().shifted(queries=3))
        j <= i + 3
        """
        return replace(
            self, keep=lambda site: moved(self.keep(site), {site.i: queries, site.j: keys})
        )

    def __str__(self) -> str:
        return str(self.keep(usual_site()))

    def _joined(self, other: Mask, join: Callable[..., Predicate]) -> Mask:
        if not isinstance(other, Mask):
            raise SpecError(
                "a mask combines with a mask",
                found=repr(other),
                hint="use causal() & within(left=...)",
            )
        return Mask(
            lambda site: join(self.keep(site), other.keep(site)),
            lambda site: tuple(dict.fromkeys((*self.inputs(site), *other.inputs(site)))),
            self.ordered or other.ordered,
            lambda site: tuple(dict.fromkeys((*self.rows(site), *other.rows(site)))),
            self.ranked or other.ranked,
        )


def usual_site() -> Site:
    """The site of plain attention, for printing."""
    heads = standard()
    i, j = Axis("queries")["i"], Axis("keys")["j"]
    channels = Axis("key_dim")["k"], Axis("value_dim")["c"]
    return Site(Axis("batch")["b"], heads.query, heads.key, i, j, *channels)


def everything() -> Mask:
    """Every query sees every key."""
    return Mask(lambda _: TRUE)


def diagonal(site: Site, align: str, offset: Offset) -> Expr:
    """The key that stands on the diagonal of query i."""
    far = Tensor("offset", "int")[site.b] if offset == "input" else as_expr(offset)
    if align == "top_left":
        return add(site.i, far)
    if align == "bottom_right":
        return add(site.i, site.j.axis.size, mul(-1, site.i.axis.size), far)
    raise ParameterError(
        "an unknown alignment", found=repr(align), due="'top_left' or 'bottom_right'"
    )


def offset_inputs(site: Site, offset: Offset) -> tuple[Entry, ...]:
    """What an offset is read from: the input `offset` (batch) where it says "input"."""
    return (Tensor("offset", "int")[site.b],) if offset == "input" else ()


def _offsets(offset: Offset) -> Callable[[Site], tuple[Entry, ...]]:
    return lambda site: offset_inputs(site, offset)


def causal(align: str = "top_left", offset: Offset = 0) -> Mask:
    """Query i sees key j when j <= i + offset, counted from the first or from the last position.

    `align="top_left"` is PyTorch's is_causal and JAX; `"bottom_right"` is FlashAttention 2.1 and
    later. `offset` is a number, a parameter, or "input": one integer per batch entry (ONNX).
    """
    return Mask(
        lambda site: Compare("<=", as_expr(site.j), diagonal(site, align, offset)),
        _offsets(offset),
        ordered=True,
    )


def within(
    left: object = None, right: object = None, align: str = "top_left", offset: Offset = 0
) -> Mask:
    """Query i sees keys from i - left to i + right, both inclusive; None leaves a side open."""

    def keep(site: Site) -> Predicate:
        centre = diagonal(site, align, offset)
        near = TRUE if left is None else site.j >= centre - left
        return conjunction(near, TRUE if right is None else site.j <= centre + right)

    return Mask(keep, _offsets(offset), ordered=True)


def every_step(step: object, align: str = "top_left", offset: Offset = 0) -> Mask:
    """Query i sees the keys whose distance from it is a multiple of `step`."""
    return Mask(
        lambda site: Compare(
            "==", remainder(diagonal(site, align, offset) - site.j, step), as_expr(0)
        ),
        _offsets(offset),
        ordered=True,
    )


def same_block(size: object) -> Mask:
    """Query i sees the keys of its own block of `size` positions."""
    return Mask(
        lambda site: Compare("==", floor_div(site.j, size), floor_div(site.i, size)), ordered=True
    )


def block_ends(size: object, width: object) -> Mask:
    """Every query sees the last `width` positions of each block of `size`.

    Source: Child et al. 2019, section 4.3, the second pattern of fixed attention.
    """
    return Mask(
        lambda site: Compare(">=", remainder(site.j, size), as_expr(size) - width), ordered=True
    )


def first_keys(count: object) -> Mask:
    """Every query sees the first `count` keys."""
    return Mask(lambda site: Compare("<", as_expr(site.j), as_expr(count)), ordered=True)


def first_queries(count: object) -> Mask:
    """The first `count` queries see every key."""
    return Mask(lambda site: Compare("<", as_expr(site.i), as_expr(count)), ordered=True)


def key_lengths() -> Mask:
    """Sequence b has `lengths[b]` keys; later ones are padding."""
    lengths = Tensor("lengths", "int")
    return Mask(
        lambda s: Compare("<", as_expr(s.j), lengths[s.b]), lambda s: (lengths[s.b],), ordered=True
    )


def query_lengths() -> Mask:
    """Sequence b has `query_lengths[b]` queries; later ones are padding, and see nothing."""
    lengths = Tensor("query_lengths", "int")
    return Mask(lambda s: Compare("<", as_expr(s.i), lengths[s.b]), lambda s: (lengths[s.b],))


def same_document(source: str = "segments") -> Mask:
    """Query and key belong to one document of a packed sequence.

    `source="segments"` reads an integer id per position: `segments` where queries and keys are one
    axis, else `query_segments` and `segments`. `source="bounds"` reads the cumulative lengths
    `bounds` (batch, documents): document n begins at position bounds[b, n].
    """
    if source not in ("segments", "bounds"):
        raise ParameterError(
            "an unknown source of documents", found=repr(source), due="'segments' or 'bounds'"
        )
    if source == "segments":
        names = Tensor("query_segments", "int"), Tensor("segments", "int")
        # Ids move along with the positions that they are of, bounds do not.
        return Mask(lambda s: Compare("==", *_of_both(s, names)), lambda s: _once(s, names))
    counts = Tensor("N_q"), Tensor("N")
    return Mask(
        lambda s: Compare("==", *_of_both(s, counts)),
        lambda s: (Tensor("bounds", "int")[s.b, Axis("documents")["n"]],),
        ordered=True,
        rows=lambda s: tuple(_documents_begun(s, entry) for entry in _once(s, counts)),
    )


def _of_both(site: Site, tensors: tuple[Tensor, Tensor]) -> tuple[Entry, Entry]:
    """A tensor's entries at the query and at the key; along one sequence it is one tensor."""
    query, key = tensors
    return (key if site.i.axis == site.j.axis else query)[site.b, site.i], key[site.b, site.j]


def _once(site: Site, tensors: tuple[Tensor, Tensor]) -> tuple[Entry, ...]:
    return tuple({entry.tensor: entry for entry in _of_both(site, tensors)}.values())


def _documents_begun(site: Site, head: Entry) -> Equation:
    """How many documents begin up to a position."""
    n = Axis("documents")["n"]
    begun = Compare("<=", Tensor("bounds", "int")[site.b, n], as_expr(head.indices[-1]))
    return Equation(head, total(indicator(begun), over=n))


def given(broadcast: Iterable[str] = ()) -> Mask:
    """A boolean input `mask` (True = keep), without the axes named in `broadcast`."""
    left_out = tuple(broadcast)

    def entry(site: Site) -> Entry:
        return Tensor("mask", "bool")[site.places(left_out)]

    return Mask(lambda s: Holds(entry(s)), lambda s: (entry(s),))


def top_k(count: object, among: Mask | None = None) -> Mask:
    """Each row sees its `count` largest scores among the keys of `among`; of equal ones the first.

    Source: Gupta et al. 2021, section 3.
    """
    others = among or everything()

    def keep(site: Site) -> Predicate:
        l = Index("l", site.j.axis)
        there = replace(site, j=l)
        mine, other = site.score, there.score
        ahead = disjunction(
            Compare(">", other, mine),
            conjunction(Compare("==", other, mine), Compare("<", as_expr(l), as_expr(site.j))),
        )
        rank = total(indicator(conjunction(others.keep(there), ahead)), over=l)
        return conjunction(others.keep(site), Compare("<", rank, as_expr(count)))

    # Of equal scores the first is kept, which a permutation of the keys changes.
    return Mask(keep, others.inputs, ordered=True, rows=others.rows, ranked=True)
