"""The table of statements: what applies to which spec, and that false statements are refuted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from attnverify import load
from attnverify.algebra.terms import ONE, ZERO, Entry, Tensor, mul, total
from attnverify.attention import attention, causal
from attnverify.invariants import INVARIANTS, REQUIREMENTS, applicable
from attnverify.invariants.forms import linear_in
from attnverify.invariants.roles import roles
from attnverify.notation import Spec, axes, let, relu, softmax, tanh, tensors, where
from attnverify.provers.sampled import sampled
from attnverify.spec import Spec as Plain
from attnverify.statement import Relabel, Statement
from attnverify.verdict import Status
from attnverify.verify import verify
from tests.members import MEMBERS, TITLES

APPLIES = {
    "global (dropout=False, lse_base=e)": {
        "rows sum to one",
        "convex hull",
        "key shift",
        "<dQ, Q> = <dK, K>",
        "permutation equivariance",
    },
    "causal (align=top_left, offset=0, empty_rows=zeros)": {
        "causality",
        "masked weights are zero",
        "masked keys have no influence",
    },
    "additive": {"rows sum to one", "score shift", "row term"},
    "linear (causal=True, form=recurrent)": {"causality", "permutation equivariance"},
    "multi_head (bias=False)": {"key shift", "linearity in the values", "<dQ, Q> = <dK, K>"},
}
LACKS = {
    "global (dropout=False, lse_base=e)": {
        "causality": "its own index",
        "masked weights are zero": "no mask",
    },
    "causal (align=bottom_right, offset=0, empty_rows=zeros)": {"causality": "its own index"},
    "additive": {
        "key shift": "not affine in the keys",
        "<dQ, Q> = <dK, K>": "queries are scaled up",
    },
    "linear_rnn": {"rows sum to one": "no softmax weights"},
    "multi_head (bias=True)": {
        "linearity in the values": "not linear",
        "convex hull": "not the sum of weights times an input",
    },
}


@pytest.mark.parametrize("title", APPLIES)
def test_invariants_apply_where_they_should(title: str) -> None:
    found = {invariant.name for invariant, reason in applicable(MEMBERS[title]) if not reason}
    assert APPLIES[title] <= found


@pytest.mark.parametrize("title", LACKS)
def test_invariants_that_do_not_apply_say_why(title: str) -> None:
    reasons = {invariant.name: reason for invariant, reason in applicable(MEMBERS[title])}
    for name, words in LACKS[title].items():
        assert words in reasons[name]


@pytest.mark.parametrize("title", TITLES)
def test_every_row_of_the_table_answers_for_every_spec(title: str) -> None:
    rows = applicable(MEMBERS[title])
    assert [invariant for invariant, _ in rows] == list(INVARIANTS)
    for invariant, reason in rows:
        if not reason:
            assert invariant.statements(roles(MEMBERS[title]))


def test_every_requirement_is_named_by_a_row() -> None:
    assert set(REQUIREMENTS) == {need for invariant in INVARIANTS for need in invariant.needs}


b, h, q, n, kd, vd = axes("batch heads queries keys key_dim value_dim")
B, H, i, j, k, c = b["b"], h["h"], q["i"], n["j"], kd["k"], vd["c"]
Q, K, V, S, A, O = tensors("Q K V S A O")
INPUTS = [Q[B, H, i, k], K[B, H, j, k], V[B, H, j, c]]
DOTS = total(Q[B, H, i, k] * K[B, H, j, k], over=k)


def spec(
    score: object = DOTS, weights: object | None = None, out: object | None = None, **announces: str
) -> Plain:
    """Global attention with one part replaced."""
    return Spec(
        "changed",
        INPUTS,
        [
            let(S[B, H, i, j], score),
            let(A[B, H, i, j], softmax(S[B, H, i, j], over=j) if weights is None else weights),
            let(
                O[B, H, i, c], total(A[B, H, i, j] * V[B, H, j, c], over=j) if out is None else out
            ),
        ],
        [O],
        announces={key.replace("_", " "): value for key, value in announces.items()},
    )


def row(name: str, computed: Plain) -> Statement:
    """A statement of the table about a spec."""
    invariant = next(one for one in INVARIANTS if one.name == name)
    return invariant.statements(roles(computed))[0]


FALSE: dict[str, Callable[[], Statement]] = {
    "rows sum to two": lambda: Statement(
        "two", "equal", spec(), total(A[B, H, i, j], j), mul(2, ONE)
    ),
    "weights are at most a half": lambda: Statement(
        "half", "bound", spec(), A[B, H, i, j], mul(ONE, 0.5)
    ),
    "weights are not positive": lambda: Statement("sign", "sign", spec(), mul(-1, A[B, H, i, j])),
    "outputs vanish": lambda: Statement("zero", "zero", spec(), O[B, H, i, c]),
    "a causal mask is top-left when it is bottom-right": lambda: Statement(
        "mask",
        "zero",
        attention("x", mask=causal("bottom_right")),
        mul(A[B, H, i, j], where(j > i)),
    ),
    "causal weights are equivariant": lambda: Statement(
        "perm",
        "equal",
        load("causal"),
        O[B, H, i, c],
        O[B, H, i, c],
        relabels=(Relabel("keys", ("K", "V")),),
    ),
    "permuting keys alone leaves the output": lambda: Statement(
        "keys", "equal", spec(), O[B, H, i, c], O[B, H, i, c], relabels=(Relabel("keys", ("K",)),)
    ),
    "a map that is no bijection leaves the output": lambda: Statement(
        "map",
        "equal",
        spec(),
        O[B, H, i, c],
        O[B, H, i, c],
        relabels=(Relabel("keys", ("K", "V"), bijection=False),),
    ),
    "a key shift leaves weights of tanh scores": lambda: row(
        "key shift", spec(score=DOTS + total(tanh(K[B, H, j, k]), over=k))
    ),
    "unmasked weights are causal": lambda: Statement(
        "later", "zero", spec(), mul(A[B, H, i, j], where(j > i))
    ),
}


@pytest.mark.parametrize("name", FALSE)
def test_false_statements_are_refuted_with_a_small_witness(name: str) -> None:
    verdict = sampled(FALSE[name]())
    assert verdict.status is Status.REFUTED
    assert verdict.witness is not None
    assert max(verdict.witness.sizes.values()) <= 3
    assert "fails at" in verdict.detail


def test_a_hypothesis_limits_where_a_statement_is_tried() -> None:
    whole = load("causal", align="bottom_right")
    claim = Statement("seen", "equal", whole, total(A[B, H, i, j], j), ONE)
    assert sampled(claim).status is Status.REFUTED
    limited = Statement("seen", "equal", whole, claim.left, ONE, hypotheses=(n.size >= q.size,))
    assert sampled(limited).status is Status.HELD


def test_a_hypothesis_that_no_case_meets_is_undecided() -> None:
    claim = Statement("far", "equal", spec(), ONE, ZERO, hypotheses=(n.size > 100,))
    assert sampled(claim).status is Status.UNDECIDED


@pytest.mark.parametrize("announced", ["rows sum to one", "causality"])
def test_an_announced_failure_that_does_not_fail_is_refuted(announced: str) -> None:
    report = verify(spec(**{announced.replace(" ", "_"): "claimed"}), examples=4)
    verdict = next(v for v in report.verdicts if v.name == announced)
    assert verdict.status is Status.REFUTED
    assert not verdict.expected
    assert not report.ok


def test_an_announced_failure_is_expected_and_keeps_the_report_ok() -> None:
    report = verify("causal", align="top_left", offset=0, empty_rows="zeros", examples=4)
    verdict = next(v for v in report.verdicts if v.name == "permutation equivariance")
    assert (verdict.status, verdict.expected) == (Status.REFUTED, True)
    assert report.ok
    assert "as announced" in verdict.detail


def test_an_unannounced_failure_spoils_the_report() -> None:
    later = spec(weights=softmax(S[B, H, i, j], over=j, where=j <= i))
    report = verify(later, examples=4)
    assert not report.ok


def test_unproved_statements_say_so() -> None:
    # It takes that what the threshold's own gradient takes away is the mean of what is seen.
    report = verify(load("sparsemax"), examples=4)
    verdict = next(one for one in report.verdicts if one.name == "score gradients sum to zero")
    assert verdict.status is Status.HELD
    assert verdict.cases == 4
    assert "not proved" in verdict.detail


LINEAR = [
    (V[B, H, j, c], True),
    (total(V[B, H, j, c] * 2, over=c), True),
    (V[B, H, j, c] + 1, False),
    (ZERO, True),
    (V[B, H, j, c] * V[B, H, j, c], False),
    (relu(V[B, H, j, c]), False),
    (V[B, H, j, c] - K[B, H, j, k] * V[B, H, j, c], True),
]


@pytest.mark.parametrize(("expr", "due"), LINEAR, ids=[str(expr) for expr, _ in LINEAR])
def test_linearity_by_form(expr: object, due: bool) -> None:
    assert linear_in(expr, {"V"}) is due  # type: ignore[arg-type]  # Index arithmetic gives Expr


def test_a_spec_without_named_weights_still_has_roles() -> None:
    inner = Spec(
        "inner",
        INPUTS,
        [let(O[B, H, i, c], total(softmax(DOTS, over=j) * V[B, H, j, c], over=j))],
        [O],
    )
    parts = roles(inner)
    assert parts.weights is not None
    assert [e.tensor.name for e in parts.key_inputs] == ["K"]
    assert parts.direct_values == Entry(Tensor("V"), (B, H, j, c))
