"""Other tensors as outputs: what is computed for them, and what can still be said of the spec."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from attnverify import compile, gradient, load, verify  # noqa: A004  the fixed public name
from attnverify.compile.lower import lower
from attnverify.errors import ParameterError
from attnverify.exact import evaluate
from attnverify.invariants import applicable
from attnverify.notation import Spec, axes, exp, let, log, previous, recur, softmax, tensors, total
from attnverify.verdict import Status

queries, keys = axes("queries keys")
i, j = queries["i"], keys["j"]
X, V, S, A, L, O, H, P = tensors("X V S A L O H P")
# Attention with its scores given; L is the log of each row's sum, H and P a recurrence that no
# other equation reads.
LOGS = Spec(
    "logs",
    [X[i, j], V[j]],
    [
        let(S[i, j], 2 * X[i, j]),
        let(A[i, j], softmax(S[i, j], j)),
        let(L[i], log(total(exp(S[i, j]), j))),
        let(O[i], total(A[i, j] * V[j], j)),
        recur(j, [let(H[j], previous(H[j]) + V[j]), let(P[j], H[j] ** 2)], {H: 0}),
    ],
    [O],
)
DIRECT = LOGS.replace(equations=LOGS.equations[:4])
NAMED: list[tuple[str | Sequence[str], tuple[str, ...]]] = [
    ("O A", ("O", "A")),
    ("L, O", ("L", "O")),
    (["P"], ("P",)),
    (("A", "S"), ("A", "S")),
]


@pytest.mark.parametrize(("outputs", "due"), NAMED)
def test_any_assigned_tensor_is_an_output(
    outputs: str | Sequence[str], due: tuple[str, ...]
) -> None:
    spec = load(LOGS, outputs=outputs)
    assert spec.outputs == due
    rng = np.random.default_rng(0)
    arrays = {"X": rng.normal(size=(2, 3)), "V": rng.normal(size=3)}
    found, exact = compile(spec)(**arrays), evaluate(spec, arrays)
    assert tuple(found) == due
    for name in due:
        assert np.allclose(found[name], exact[name].astype(float), atol=1e-12)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ("Y", "no such output"),
        ("O V", "no such output"),  # an input
        ("O AA", "did you mean A"),
        ("", "once each"),
        ("O O", "once each"),
        ([1], "no such output"),
    ],
)
def test_other_outputs_are_refused_in_words(outputs: str, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        load(LOGS, outputs=outputs)


def test_a_named_spec_takes_them_too() -> None:
    spec = load("causal", align="bottom_right", outputs="O A")
    assert (spec.outputs, spec.choices["align"]) == (("O", "A"), "bottom_right")
    assert set(gradient(spec).heads) >= {"dO", "dA", "dQ"}


def test_what_no_output_needs_is_not_computed() -> None:
    assert LOGS.dead() == ("L", "H", "P")
    recipe = lower(LOGS)
    assert not any(op.kind == "loop" for op in recipe.ops)
    assert "np.log" not in compile(LOGS).source
    alone = LOGS.replace(equations=(LOGS.equations[0], LOGS.equations[1], LOGS.equations[3]))
    assert recipe == lower(alone)
    assert any(op.kind == "loop" for op in lower(load(LOGS, outputs="P")).ops)
    assert set(gradient(LOGS).heads).isdisjoint({"L", "H", "P"})


def test_a_scores_cotangent_sums_to_zero_only_through_the_weights() -> None:
    for outputs, told in (("O", True), ("O A", True), ("O L", False), ("O S", False)):
        asked = {
            row.name for row, reason in applicable(load(DIRECT, outputs=outputs)) if not reason
        }
        assert ("score gradients sum to zero" in asked) is told
        assert "row term" in asked


@pytest.mark.parametrize("spec", [LOGS, DIRECT], ids=["recurrent", "direct"])
@pytest.mark.parametrize("outputs", ["A", "O A", "S", "L O", "O L"])
def test_no_false_alarm_is_given(spec: Spec, outputs: str) -> None:
    report = verify(load(spec, outputs=outputs), examples=6)
    assert not [str(v) for v in report.verdicts if v.status is Status.REFUTED]


def test_scores_that_are_the_output_are_not_said_to_be_masked() -> None:
    report = verify(load("causal", outputs="S"), examples=6)
    refuted = {v.name for v in report.verdicts if v.status is Status.REFUTED}
    # What the spec announces of O does not hold of S, and that is said.
    assert refuted == {"permutation equivariance"}
