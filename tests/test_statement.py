"""What a statement is, what it refuses in words, and how specs are joined for one."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest

from attnverify.algebra.predicates import Predicate, as_predicate
from attnverify.algebra.terms import (
    ONE,
    Entry,
    Expr,
    Parameter,
    Tensor,
    indicator,
    total,
)
from attnverify.equations import Equation
from attnverify.errors import AttnverifyError, ParameterError, SpecError
from attnverify.library import load
from attnverify.provers.normal import prove, prove_equal
from attnverify.spec import Spec
from attnverify.statement import Relabel, Sees, Statement, beside, inline, with_input
from tests.provers.corpus.common import (
    claim,
    i,
    j,
    length,
    seen_by,
    x,
)  # fmt: skip

GLOBAL = load("global")
OUT = GLOBAL.heads["O"]
UNKNOWN = as_predicate(Tensor("M", "bool")[j])


def about(kind: str = "equal", left: Expr = OUT, right: Expr = OUT, **more: object) -> Statement:
    return Statement("about", kind, GLOBAL, left, right, **more)  # type: ignore[arg-type]  # fields


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: about("similar"), ["similar", "equal", "bound"]),
        (lambda: about("zero", right=ONE), ["no right side"]),
        (lambda: about(left=Tensor("P")[j]), ["P[j]", "Q", "lacks"]),
        (lambda: about(left=Entry(OUT.tensor, OUT.places[::-1])), ["other axes", "value_dim"]),
        (lambda: about(left=Entry(Tensor("O", "int"), OUT.places)), ["other axes"]),
        (lambda: about(left=indicator(UNKNOWN)), ["M[j]", "lacks"]),
        (lambda: about(hypotheses=(UNKNOWN,)), ["M[j]", "lacks"]),
        (lambda: about(hypotheses=(Sees(UNKNOWN, j),)), ["M[j]", "lacks"]),
        (lambda: about(relabels=(Relabel("keys", ("A",)),)), ["moves an input", "A"]),
        (lambda: about(relabels=(Relabel("keys", ("K",), ("i",)),)), ["image", "i of queries"]),
        (lambda: with_input(GLOBAL, "M", OUT), ["M", "Q, K, V"]),
    ],
)
def test_a_malformed_statement_says_what_was_due(
    make: Callable[[], object], words: list[str]
) -> None:
    with pytest.raises(AttnverifyError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


def test_statements_read_like_claims() -> None:
    spec = load("masked")
    weights = spec.heads["A"]
    where = spec.equation("A").body.where  # type: ignore[attr-defined]  # a softmax
    keys = weights.indices[-1]
    statement = Statement("rows", "equal", spec, total(weights, keys), ONE, (Sees(where, keys),))
    assert str(statement) == "for all b, h, i: sum_j A[b,h,i,j] = 1, given some j has mask[b,h,i,j]"
    assert [index.name for index in statement.indices] == ["b", "h", "i"]
    assert prove(statement).proved
    moved = Statement(
        "m", "equal", spec, weights, weights, relabels=(Relabel("keys", ("K", "mask"), ("j",)),)
    )
    assert "pi any bijection of keys, applied to K, mask, j" in moved.text()
    assert (
        Statement("n", "bound", spec, weights, ONE, (keys < 3,))
        .text()
        .endswith("<= 1, given j < 3")
    )
    assert "any map" in str(Relabel("keys", ("K",), bijection=False))


def test_inlining_gives_an_expression_over_inputs() -> None:
    spec = load("causal")
    inside = inline(spec, spec.heads["O"])
    assert "A[" not in str(inside)
    assert "Q[" in str(inside)
    with pytest.raises(SpecError, match="induction"):
        inline(load("linear_rnn"), load("linear_rnn").heads["O"])


def test_recurrences_are_refused_by_name() -> None:
    spec = load("linear_rnn")
    outcome = prove_equal(spec, spec.heads["O"], 2 * spec.heads["O"])
    assert not outcome.proved
    assert "H is a state of a recurrence" in outcome.reason


def test_a_replaced_input_makes_a_spec() -> None:
    spec = load("global")
    value = spec.heads["V"]
    changed = with_input(spec, "V", value * 2)
    assert [entry.tensor.name for entry in changed.inputs] == ["Q", "K", "V"]
    assert str(changed.equation("O")) == "O[b,h,i,c] = sum_j A[b,h,i,j] V_new[b,h,j,c]"
    twice = with_input(changed, "V", value * 2)
    assert str(twice.equations[0]).startswith("V_new2")
    joint, names = beside(spec, changed)
    assert names["O"] == "O_2"
    out = spec.heads["O"]
    assert prove_equal(joint, Entry(Tensor("O_2"), out.places), 2 * out).proved
    assert not prove_equal(joint, Entry(Tensor("O_2"), out.places), out).proved
    assert beside(joint, spec)[1]["O"] == "O"
    _, again = beside(joint, with_input(spec, "V", value * 3))
    assert again["O"] == "O_22"


def test_masks_are_renamed_with_their_tensors() -> None:
    spec = load("masked")
    other = with_input(spec, "Q", 2 * spec.heads["Q"])
    joint, names = beside(spec, other, mark="_b")
    body = joint.equation(names["A"]).body
    assert str(body) == "softmax_j(S_b[b,h,i,j] | mask[b,h,i,j])"
    rnn = load("linear_rnn")
    both_rnn, renames = beside(rnn, with_input(rnn, "X", 2 * rnn.heads["X"]))
    assert renames["H"] == "H_2"
    assert "previous(H_2[b,t,g])" in both_rnn.text()


@pytest.mark.parametrize("mask", [(j <= i) | seen_by[i, j], ~seen_by[i, j] & (j < length[()])])
def test_any_mask_is_renamed_whole(mask: Predicate) -> None:
    statement = claim("m", total(indicator(mask) * x[j], j), total(indicator(mask) * x[j], j))
    row = Equation(Tensor("w")[i], statement.left)
    spec = statement.spec.replace(equations=(*statement.spec.equations, row))
    joint, names = beside(spec, spec)
    assert prove_equal(joint, Tensor("w")[i], Tensor(names["w"])[i]).proved
    assert prove_equal(joint, Tensor("w")[i], statement.left).proved


def test_specs_side_by_side_agree_on_what_they_share() -> None:
    spec = load("sliding_window")
    wide = Parameter("window", integer=True, ge=Fraction(0))
    with pytest.raises(ParameterError, match="two domains"):
        beside(spec, spec.replace(parameters=(wide,)))
    shorter = Tensor("Q")[GLOBAL.heads["Q"].places[:2]]
    reading = Equation(Tensor("w")[shorter.places], shorter * 2)
    other = Spec("short", inputs=[shorter], equations=[reading], outputs=["w"])
    with pytest.raises(SpecError, match="indices"):
        beside(GLOBAL, other)
