"""Claims proved one equation after the other: deep specs, their mutants, and planted faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise

import pytest
import z3

from attnverify import load
from attnverify.algebra.predicates import Predicate
from attnverify.algebra.terms import ZERO, Entry, Expr, as_expr
from attnverify.certify import Rejected, certified, check
from attnverify.equations import Equation
from attnverify.invariants import roles
from attnverify.invariants.symmetry import batch_independence, later_changes, permutation
from attnverify.notation import axes, let, relu, softmax, sqrt, tensors, total, where
from attnverify.provers import normal
from attnverify.provers.induction import by_equation, proved_by, up_to
from attnverify.provers.induction import prove as induction
from attnverify.provers.outcome import Outcome
from attnverify.spec import Spec
from attnverify.statement import Statement
from tests.corrupt import corruptions
from tests.provers.judge import refutation
from tests.provers.laws import expect_never_proved, falsely_proved

batch, time, features = axes("batch time features")
b, b2, i, j, t, e, f = (
    batch["b"], batch["b2"], time["i"], time["j"], time["t"], features["e"], features["f"],
)  # fmt: skip
X, S, A, U, Y, C, N, P, B, G, O, D = tensors("X S A U Y C N P B G O D")
X_E, Y_E = X[b, t, e], Y[b, i, e]


def block(*, mask: Predicate | None = None, mixed: Expr | None = None) -> Spec:
    """Two layers of attention with a residual and a normaliser between; the second may be wrong."""
    first, second = j <= i, j <= i if mask is None else mask
    added = ZERO if mixed is None else mixed
    return Spec(
        "block",
        inputs=[X_E],
        equations=[
            let(S[b, i, j], total(X[b, i, e] * X[b, j, e], over=e) / sqrt(features.size)),
            let(A[b, i, j], softmax(S[b, i, j], over=j, where=first)),
            let(U[b, i, e], total(A[b, i, j] * X[b, j, e], over=j)),
            let(Y_E, X[b, i, e] + U[b, i, e]),
            let(C[b, i, e], Y_E - total(Y[b, i, f], over=f) / features.size),
            let(N[b, i, e], C[b, i, e] / sqrt(total(C[b, i, f] ** 2, over=f) + 1)),
            let(P[b, i, j], relu(total(N[b, i, e] * N[b, j, e], over=e))),
            let(B[b, i, j], softmax(P[b, i, j], over=j, where=second)),
            let(
                G[b, i, e],
                total(B[b, i, j] * N[b, j, e], over=j) + added,
            ),
            let(O[b, i, e], Y_E + G[b, i, e]),
        ],
        outputs=[O],
    )


def smoothed(mask: Predicate) -> Spec:
    """A mean over positions, by weights that nothing but a table of positions gives."""
    return Spec(
        "smoothed",
        inputs=[X_E],
        equations=[
            let(D[i, t], where(mask)),
            let(O[b, i, e], total(D[i, t] * X[b, t, e], over=t)),
        ],
        outputs=[O],
    )


def separate(name: str, spec: Spec) -> Statement:
    (found,) = batch_independence(roles(spec))
    return named(name, found)


def causal(name: str, spec: Spec) -> Statement:
    return named(name, later_changes(roles(spec), spec.inputs[0]))


def named(name: str, claim: Statement) -> Statement:
    return Statement(name, claim.kind, claim.spec, claim.left, claim.right, (), claim.relabels)


TRUE = [
    separate("batch entries are apart", block()),
    separate("whatever the second mask is", block(mask=j <= as_expr(i) + 1)),
    causal("nothing after a step", block()),
    causal("the mask is narrower in one layer", block(mask=j < i)),
    causal("other batch entries up to a step", block(mixed=total(N[b2, i, e], over=b2))),
    causal("a table of earlier positions", smoothed(t <= i)),
    causal("a sum over earlier steps", block(mixed=total(where(t <= i) * N[b, t, e], over=t))),
]
FALSE = [
    causal("a table of positions leaks", smoothed(t <= as_expr(i) + 1)),
    separate("a sum over the batch in one equation", block(mixed=total(N[b2, i, e], over=b2))),
    separate("the number of a batch entry", block(mixed=as_expr(b))),
    separate(
        "the first batch entry", block(mixed=total(where(as_expr(b2) <= 0) * N[b2, i, e], b2))
    ),
    causal("the mask leaks in one layer", block(mask=j <= as_expr(i) + 1)),
    causal("no mask in one layer", block(mask=j >= ZERO)),
    causal("the mask is turned round in one layer", block(mask=j >= i)),
    causal("a mean over time in one equation", block(mixed=total(N[b, t, e], over=t) / time.size)),
    causal("the next step", block(mixed=total(where(t <= as_expr(i) + 1) * N[b, t, e], t))),
]
FALSE += [
    named("a mask is no matter of order", statement) for statement in permutation(roles(block()))
]
LEAKS = [statement for statement in FALSE if not statement.relabels]
MIXES = [statement for statement in FALSE if statement.relabels]


def prove(statement: Statement) -> Outcome:
    """By equations alone: what else there is might prove it too."""
    if statement.relabels:
        plan = by_equation.carried(statement)
        return Outcome(proved=False, reason="no plan") if plan is None else proved_by(plan)
    found = up_to.agreeing(statement, normal.prove)
    return found or Outcome(proved=False, reason="no two computations")


@pytest.mark.parametrize("statement", TRUE, ids=lambda s: s.name)
def test_what_is_true_is_proved_by_equations(statement: Statement) -> None:
    outcome = prove(statement)
    assert outcome.proved, outcome.reason
    assert any("each equation by itself" in words for words in outcome.certificate)
    assert refutation(statement, 2) is None


@pytest.mark.parametrize("statement", FALSE, ids=lambda s: s.name)
def test_a_mutant_in_one_deep_equation_is_not_proved_and_is_refuted(statement: Statement) -> None:
    expect_never_proved(prove, statement)


@pytest.mark.parametrize(
    ("name", "values", "invariant"),
    [
        ("decoder_block", {"norm": "post"}, "causality"),
        ("decoder_block", {"norm": "pre"}, "batch independence"),
        ("induced_set", {"form": "block"}, "permutation equivariance"),
        ("latent", {"form": "absorbed"}, "causality"),
    ],
)
def test_blocks_of_the_catalogue_are_proved(
    name: str, values: dict[str, str], invariant: str
) -> None:
    parts = roles(load(name, **values))
    claims = {
        "causality": lambda: [later_changes(parts, parts.spec.inputs[0])],
        "batch independence": lambda: batch_independence(parts),
        "permutation equivariance": lambda: permutation(parts),
    }[invariant]()
    assert all(induction(statement).proved for statement in claims)


# ---- a fault planted in the rule proves something false, and the mutants notice


def test_replacing_what_a_sum_binds_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up_to, "_binds", lambda _: ())
    monkeypatch.setattr(up_to, "_conditions", lambda *_: set())
    assert "a mean over time in one equation" in _with_same_names(monkeypatch)


def _with_same_names(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    settled = up_to._settled
    monkeypatch.setattr(
        up_to, "_settled", lambda expr, agree, at: settled(expr, agree, {*at, i, j, t})
    )
    return falsely_proved(prove, LEAKS)


def test_believing_that_weights_are_zero_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up_to._Work, "_vanishes", lambda *_: True)
    assert "a table of positions leaks" in falsely_proved(prove, LEAKS)


def test_forgetting_an_equation_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    carries = by_equation._carries

    def forgetting(claim: Statement, row: Equation, heads: Mapping[str, Entry]) -> Statement:
        return carries(claim, claim.spec.equation("S") if row.name == "G" else row, heads)

    monkeypatch.setattr(by_equation, "_carries", forgetting)
    assert "a sum over the batch in one equation" in falsely_proved(prove, MIXES)


# ---- its certificate


@cache
def certificate(statement: Statement) -> tuple[str, ...]:
    return certified(statement, prove(statement).lines)


def test_every_equation_is_checked_again_and_no_bent_line_is_taken() -> None:
    (statement,) = batch_independence(roles(load("global")))
    lines, context = certificate(statement), z3.Context()
    assert lines[0] == "(induction equations)"
    assert lines.count("(obligation)") == 3
    check(statement, lines, context=context)
    taken = [words for words, other in _bent(lines) if _follows(statement, other, context)]
    assert taken == []


def _bent(lines: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each equation's lines bent in each way; equations left out, doubled, and in another order."""
    starts = [n for n, line in enumerate(lines) if line == "(obligation)"]
    blocks = [lines[a:b] for a, b in pairwise([*starts, len(lines)])]
    for n, (first, *rest) in enumerate(blocks):
        before, after = lines[: starts[n]], lines[starts[n] + len(blocks[n]) :]
        for words, other in corruptions(rest):
            yield words, (*before, first, *other, *after)
        yield f"no equation {n}", (*before, *after)
        yield f"equation {n} twice", (*before, *blocks[n], *blocks[n], *after)
        yield f"no head of {n}", (*before, *rest, *after)
    for words, kept in (("no plan", lines[1:]), ("two plans", (lines[0], *lines))):
        yield words, kept
    turned = [line for block in reversed(blocks) for line in block]
    yield "in another order", (lines[0], *turned)


def _follows(statement: Statement, lines: tuple[str, ...], context: z3.Context) -> bool:
    try:
        check(statement, lines, context=context)
    except Rejected:
        return False
    return True


@pytest.mark.parametrize("statement", [*FALSE, TRUE[2]], ids=lambda s: s.name)
def test_a_certificate_is_none_for_another_claim(statement: Statement) -> None:
    with pytest.raises(Rejected):
        check(statement, certificate(TRUE[0]))
