"""What a form of a program is, and the parts that forms are made of."""

from __future__ import annotations

from dataclasses import dataclass

from attnverify.algebra.rewrite import rebuild
from attnverify.algebra.terms import Entry, Expr
from attnverify.equations import equations_of
from attnverify.spec import Spec
from attnverify.transforms.gradient import gradient


@dataclass(frozen=True)
class Peak:
    """Three further inputs of a form: each row's largest score, 1 where it stands, and shares.

    `shares` tells how far what a row's slopes sum to may flow into each score through running
    maxima, as a standard deviation; it is drawn anew in each run.  `score` is the score at the
    weights' places, `place` the place of the keys among them.
    """

    weights: str
    score: Expr
    top: Entry
    largest: Entry
    shares: Entry
    place: int


@dataclass(frozen=True)
class Form:
    """One form: its spec, the outputs judged, and what the disturbed runs must know of it.

    `scores` holds (weights, scores), `recomputed` (weights computed again, weights), `copies` (a
    copy that errs on its own, its original), `stored` what is an output computed once more.
    Without `enlarge` noise is drawn as large as it is: some forms lose digits, and more than that
    in enlarged noise.
    """

    spec: Spec
    outputs: tuple[str, ...]
    scores: tuple[tuple[str, str], ...] = ()
    row_terms: tuple[str, ...] = ()
    recomputed: tuple[tuple[str, str], ...] = ()
    peaks: tuple[Peak, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()
    stored: tuple[str, ...] = ()
    enlarge: bool = True


def joint(spec: Spec, wrt: list[str] | None = None) -> Spec:
    """The outputs of a spec and its gradient by every real input (or those named), as one spec."""
    back = gradient(spec, wrt)
    own = {e.name for s in back.equations for e in equations_of(s)}
    missing = tuple(s for s in spec.equations if not {e.name for e in equations_of(s)} & own)
    return back.replace(
        equations=(*back.equations, *missing), outputs=(*spec.outputs, *back.outputs)
    )


def read_again(expr: Expr, again: dict[str, Entry]) -> Expr:
    """The expression with weights read from their recomputed copies."""
    if isinstance(expr, Entry) and expr.tensor.name in again:
        return Entry(again[expr.tensor.name].tensor, expr.places)
    return rebuild(expr, lambda child: read_again(child, again))
