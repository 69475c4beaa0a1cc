"""The form that autodiff makes of a softmax written out by hand."""

from __future__ import annotations

from attnverify.algebra.predicates import TRUE, Compare
from attnverify.algebra.rewrite import rename, rename_in
from attnverify.algebra.terms import (
    Entry,
    Index,
    Softmax,
    Tensor,
    apply,
    as_expr,
    indicator,
    inverse,
    mul,
    total,
)
from attnverify.equations import Equation, Statement, equations_of
from attnverify.rounding.parts import Form, Peak, joint, read_again
from attnverify.spec import Spec
from attnverify.transforms.naming import unused


def composed(spec: Spec) -> Form | None:
    """The form of autodiff through a softmax written out: exponentials, sum, quotient, maximum.

    The row term is then a sum over exponentials, and what the rows of dS sum to, zero but for
    rounding, flows back through maxima: through one over the row into its largest score, through
    running ones in shares into the scores that led.  Shares are as far as each step of a running
    sum may round, their signs free, and together they take what the row sums to, no more: equal
    scores share it (PyTorch, JAX, autograd and MLX divide by their number or choose one).
    """
    taken = set(spec.heads)
    equations: list[Statement] = []
    peaks: list[Peak] = []
    for statement in spec.equations:
        body = statement.body if isinstance(statement, Equation) else None
        if (
            not isinstance(statement, Equation)
            or not isinstance(body, Softmax)
            or body.at not in statement.head.places
        ):
            equations.append(statement)
            continue
        peak, written = _written_out(statement, body, taken)
        equations += written
        peaks.append(peak)
    if not peaks:
        return None
    real = [e.tensor.name for e in spec.inputs if e.tensor.kind == "real"]
    tops = tuple(peak.top for peak in peaks)
    whole = joint(spec.replace(inputs=(*spec.inputs, *tops), equations=tuple(equations)), real)
    for peak in peaks:
        whole = _through_maximum(spec, whole, peak)
    return Form(whole, whole.outputs, peaks=tuple(peaks))


def _written_out(weights: Equation, body: Softmax, taken: set[str]) -> tuple[Peak, list[Equation]]:
    """A = softmax(S) as E = exp(S - top), Z = sum E, A = E / Z."""
    places, at = weights.head.places, body.at
    rows = tuple(place for place in places if place != at)
    parts = ("grown", "norm", "top", "peak", "shares")
    names = [unused(f"{weights.name}_{part}", taken) for part in parts]
    taken |= set(names)
    grown, norm, top, peak, shares = (
        Entry(Tensor(name), where)
        for name, where in zip(names, (places, rows, rows, places, places), strict=True)
    )
    to = {body.over: at}
    score = rename(body.score, to)
    # A predicate that always holds makes the compiler write exponentials out where no mask does.
    seen = (
        Compare(">=", as_expr(at), as_expr(0)) if body.where == TRUE else rename_in(body.where, to)
    )
    equations = [
        Equation(grown, mul(indicator(seen), apply("exp", score - top))),
        Equation(norm, total(grown, at)),
        Equation(weights.head, mul(grown, inverse(norm))),
    ]
    return Peak(weights.name, score, top, peak, shares, places.index(at)), equations


def _through_maximum(source: Spec, spec: Spec, peak: Peak) -> Spec:
    """The spec with what each row of dS sums to taken from the scores that maxima read."""
    score = peak.score
    if not isinstance(score, Entry) or len(list(source.graph().successors(score.tensor.name))) != 1:
        return spec
    slope = f"d{score.tensor.name}"
    if slope not in {e.name for s in spec.equations for e in equations_of(s)}:
        return spec
    head = Entry(Tensor(slope), score.places)
    over = peak.largest.places[peak.place]
    rows = tuple(place for place in score.places if place != over)
    if not isinstance(over, Index) or len(rows) != len(score.places) - 1:
        return spec
    taken = set(spec.heads)
    left, kept = (Entry(Tensor(unused(f"{slope}_{n}", taken)), rows) for n in ("left", "kept"))
    joined = Entry(Tensor(unused(f"{slope}_joined", taken)), score.places)
    added = [
        Equation(left, total(head, over)),
        Equation(kept, left - left * total(peak.shares, over)),
        Equation(joined, head - peak.shares * left - peak.largest * kept),
    ]
    equations: list[Statement] = []
    for statement in spec.equations:
        own = isinstance(statement, Equation) and statement.name == slope
        if isinstance(statement, Equation) and not own:
            equations.append(Equation(statement.head, read_again(statement.body, {slope: joined})))
        else:
            equations.append(statement)
        equations += added if own else []
    return spec.replace(
        inputs=(*spec.inputs, peak.largest, peak.shares), equations=tuple(equations)
    )
