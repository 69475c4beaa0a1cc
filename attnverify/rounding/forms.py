"""Legal forms of one program: correct code rounds differently, and a bound must cover each.

Correct programs round differently, and a bound must cover each: the row term D is a sum of A dA or
of dO O, and the weights of the backward pass are kept, or computed again from rounded scores and
log-sum-exp.
"""

from __future__ import annotations

from dataclasses import replace

import networkx as nx

from attnverify.algebra.rewrite import free, rename, walk
from attnverify.algebra.terms import (
    Apply,
    Entry,
    Expr,
    Index,
    Mul,
    Softmax,
    Tensor,
    Total,
    mul,
    total,
)
from attnverify.equations import Equation, Statement
from attnverify.rounding.apart import apart, shared_sums
from attnverify.rounding.composed import composed
from attnverify.rounding.distributed import distributed
from attnverify.rounding.divided import by_last_division
from attnverify.rounding.features import by_elu, by_values
from attnverify.rounding.parts import Form, joint, read_again
from attnverify.spec import Spec
from attnverify.transforms.naming import name_softmaxes, unused
from attnverify.transforms.prune import prune


def forms(spec: Spec, *, backward: bool, logarithmic: bool = False) -> tuple[Form, ...]:
    """The forms of a spec's forward pass, or of its outputs and all gradients together.

    `logarithmic` adds weights that are exp(score - log-sum-exp) from the start, as some write a
    softmax.
    """
    needed = spec.replace(equations=prune(list(spec.equations), spec.outputs))
    named = name_softmaxes(needed)
    whole = joint(named) if backward else named
    plain = _with_scores(whole, whole.outputs)
    further: list[Form | None] = [_again(whole, forward=True)] if logarithmic else []
    if backward:
        further += [_again(whole, forward=False), composed(named)]
    features = by_elu(named)
    if features is not None:
        written = _with_scores(joint(features) if backward else features, whole.outputs)
        further.append(replace(written, enlarge=False))
    kept = by_values(whole) if backward else None
    if kept is not None:
        further.append(replace(_with_scores(kept, whole.outputs), enlarge=False))
    if not softmaxes(named):
        further += [apart(whole), distributed(whole)]
        further += [by_last_division(named)] if backward else []
    return (plain, *(form for form in further if form is not None))


def softmaxes(spec: Spec) -> dict[str, Softmax]:
    """The softmaxes that equations assign, by the name of the weights."""
    return {
        s.name: s.body
        for s in spec.equations
        if isinstance(s, Equation) and isinstance(s.body, Softmax)
    }


def score_equation(spec: Spec, name: str, taken: set[str]) -> Equation:
    """The scores that a softmax normalises, at the places of the weights that it gives."""
    body = softmaxes(spec)[name]
    head = Entry(Tensor(unused(f"{name}_scores", taken)), spec.heads[name].places)
    return Equation(head, rename(body.score, {body.over: body.at}))


def _with_scores(spec: Spec, outputs: tuple[str, ...]) -> Form:
    """The spec with the scores of each softmax as further outputs, to look at their size."""
    scores = [score_equation(spec, name, set(spec.heads)) for name in softmaxes(spec)]
    return _shown(Form(spec, outputs, row_terms=tuple(_row_terms(spec))), scores)


def _shown(form: Form, scores: list[Equation]) -> Form:
    """The form with the weights and the scores of each softmax as further outputs."""
    names = tuple(softmaxes(form.spec))
    pairs = tuple(zip(names, (e.name for e in scores), strict=True))
    shared = shared_sums(form.spec)
    further = dict.fromkeys([*form.outputs, *names, *(e.name for e in scores), *shared])
    equations = (*form.spec.equations, *scores)
    shown = form.spec.replace(equations=equations, outputs=tuple(further))
    return replace(form, spec=shown, scores=pairs)


def _row_terms(spec: Spec) -> dict[str, tuple[Equation, Entry, Entry]]:
    """Equations D = sum_j A dA over the axis of a softmax A, with their two entries (A, dA)."""
    found: dict[str, tuple[Equation, Entry, Entry]] = {}
    inputs = {entry.tensor.name for entry in spec.inputs}
    for statement in spec.equations:
        pair = _weights_and_slope(spec, statement)
        if pair is None or pair[1].tensor.name in inputs or not isinstance(statement, Equation):
            continue
        if set(statement.head.indices) <= set(pair[0].indices):
            found[statement.name] = (statement, *pair)
    return found


def _weights_and_slope(spec: Spec, statement: Statement) -> tuple[Entry, Entry] | None:
    """The entries A and dA where a statement sums their product over the keys of A."""
    body = statement.body if isinstance(statement, Equation) else None
    if not isinstance(body, Total) or not isinstance(body.body, Mul):
        return None
    weights = softmaxes(spec)
    match body.body.factors:
        case (Entry() as one, Entry() as other):
            for first, second in ((one, other), (other, one)):
                source = weights.get(first.tensor.name)
                if source is None:
                    continue
                place = spec.heads[first.tensor.name].indices.index(source.at)
                if first.indices[place] in body.over:
                    return first, second
    return None


def _again(spec: Spec, *, forward: bool) -> Form | None:
    """The form with weights computed again from scores and a rounded log-sum-exp.

    With `forward` they are so from the start; else in the backward pass alone, as fused kernels do,
    which take the row term from the outputs.  None where there is no softmax, or no such row term.
    """
    taken = set(spec.heads)
    terms = {} if forward else _row_terms(spec)
    again, scores = _copies(spec, taken)
    if not again or not (forward or terms):
        return None
    reading = set(spec.heads) if forward else _backward_names(spec)
    equations: list[Statement] = []
    stored: list[str] = []
    for statement in spec.equations:
        if not isinstance(statement, Equation):
            equations.append(statement)
        elif statement.name in terms:
            exchanged = _by_outputs(spec, terms[statement.name], taken)
            stored += [equation.name for equation in exchanged[:-1]]
            equations += exchanged
        elif statement.name in reading:
            equations.append(Equation(statement.head, read_again(statement.body, again)))
        else:
            equations.append(statement)
        if isinstance(statement, Equation) and statement.name in again:
            kept = Apply("stop_gradient", (Entry(statement.head.tensor, statement.head.places),))
            equations.append(Equation(again[statement.name], kept))
    recomputed = tuple((head.tensor.name, name) for name, head in again.items())
    changed = spec.replace(equations=tuple(equations))
    row_terms = tuple(_row_terms(spec))
    form = Form(changed, spec.outputs, row_terms=row_terms, recomputed=recomputed)
    return _shown(replace(form, stored=tuple(stored)), scores)


def _copies(spec: Spec, taken: set[str]) -> tuple[dict[str, Entry], list[Equation]]:
    """A second tensor for the weights of each softmax, and the scores that it is computed from."""
    again: dict[str, Entry] = {}
    scores: list[Equation] = []
    for name in softmaxes(spec):
        head = Entry(Tensor(unused(f"{name}_again", taken)), spec.heads[name].places)
        scores.append(score_equation(spec, name, taken))
        taken |= {head.tensor.name, scores[-1].name}
        again[name] = head
    return again, scores


def _backward_names(spec: Spec) -> set[str]:
    """The names that depend on a cotangent: what a backward pass computes."""
    graph = spec.graph()
    names = {e.tensor.name for e in spec.inputs}
    seeds = {f"d{out}" for out in spec.outputs} & names
    return set().union(*(nx.descendants(graph, seed) for seed in seeds)) if seeds else set()


def _by_outputs(spec: Spec, term: tuple[Equation, Entry, Entry], taken: set[str]) -> list[Equation]:
    """D = sum_c dO O in place of D = sum_j A dA, where dA = sum_c dO V: the sums exchanged."""
    equation, weights, slope = term
    source = spec.equation(slope.tensor.name)
    body = rename(source.body, dict(zip(source.head.indices, slope.indices, strict=True)))
    total_over = equation.body.over if isinstance(equation.body, Total) else ()
    split = _split(body, total_over)
    if split is None:
        return [equation]
    outside, inside, channels = split
    inner = total(mul(weights, *inside), total_over)
    places = tuple(free(inner))
    head = Entry(Tensor(unused(f"{weights.tensor.name}_out", taken)), places)
    taken.add(head.tensor.name)
    return [Equation(head, inner), Equation(equation.head, total(mul(*outside, head), channels))]


def _split(
    body: Expr, over: tuple[Index, ...]
) -> tuple[list[Expr], list[Expr], tuple[Index, ...]] | None:
    """The factors of a sum over channels that do not, and that do, depend on the summed keys."""
    if not isinstance(body, Total) or not isinstance(body.body, Mul):
        return None
    if any(isinstance(node, Total) for node in walk(body.body)):
        return None
    outside = [f for f in body.body.factors if not set(free(f)) & set(over)]
    inside = [f for f in body.body.factors if set(free(f)) & set(over)]
    return (outside, inside, body.over) if outside and inside else None
