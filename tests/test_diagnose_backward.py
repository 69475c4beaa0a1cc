"""Wrong backward passes are named by the bug that they have; right and odd ones never."""

from __future__ import annotations

from typing import Any

import pytest

import attnverify as av
from attnverify.check.diagnose_backward import BackwardDiagnosis
from attnverify.check.explanation import Explanation
from attnverify.check.run import judge_of
from attnverify.check.settings import Settings
from attnverify.inputs import Draw
from attnverify.notation import attention, parameter
from attnverify.spec import Spec
from attnverify.transforms.mutate import Operator
from attnverify.transforms.mutate.backward import BACKWARD_OPERATORS, derived
from attnverify.transforms.mutate.operator import citations, computed
from tests.mutants.backward import TABLE, Wrong
from tests.mutants.plain import attend, pulled, scores, softmax
from tests.mutants.registry import Pair

P = parameter("p", ge=0, lt=1)
SPECS = (
    av.load("causal").replace(outputs=("O", "L")),
    av.load("grouped_query"),
    av.load("biased", broadcast="batch heads"),
    av.load("softcap"),
    av.load("sinks"),
    attention("dropped", dropout=P, parameters=[P]),
)


def found(pair: Pair, spec: Spec) -> list[Explanation]:
    judge = judge_of(Settings(pair.forward, spec, vjp=pair.backward), "float32")
    draw = Draw(spec, dtype="float32")
    judge.look(next(draw.schedule(0, 1)))
    return BackwardDiagnosis(judge, draw, [], 0, seconds=60, clock=300).explanations()


def bent(share: float) -> Pair:
    """A backward pass with a share of the row term."""

    def backward(g: Any, q: Any, k: Any, v: Any) -> tuple[Any, ...]:
        a, d_a = softmax(scores(q, k)), g @ v.swapaxes(-1, -2)
        row = (a * d_a).sum(-1, keepdims=True)
        return pulled(a * (d_a - share * row), a, g, q, k)

    return Pair(attend, backward)


@pytest.mark.slow
def test_a_backward_pass_without_row_term_is_named() -> None:
    first, *others = found(bent(0.0), av.load("global"))
    assert first.mutant.operator.name == "row term dropped"
    assert not others
    assert first.agreed >= first.differed > 20


@pytest.mark.parametrize("share", [0.001, pytest.param(1.0, marks=pytest.mark.slow)])
def test_nearly_no_row_term_is_not_none_and_a_whole_one_is_no_bug(share: float) -> None:
    """What lies near an operator passes its sieve and must fall under the derived bound."""
    assert found(bent(share), av.load("global")) == []


@pytest.mark.mutants
@pytest.mark.parametrize("wrong", TABLE, ids=lambda wrong: wrong.words)
def test_a_wrong_backward_is_named_first_and_its_twin_never(wrong: Wrong) -> None:
    spec = av.load(wrong.spec, **wrong.settings)
    assert found(wrong.build(True), spec)[0].mutant.operator.name == wrong.words
    assert found(wrong.build(False), spec) == []


@pytest.mark.parametrize("operator", BACKWARD_OPERATORS, ids=lambda operator: operator.name)
def test_each_operator_makes_gradients_that_compile_and_are_called_as_theirs(
    operator: Operator,
) -> None:
    made = [(spec, m) for spec in SPECS for m in operator.mutants(spec)]
    assert made
    for spec, mutant in made[:: max(1, len(made) // 3)]:
        right = derived(spec)
        assert right is not None
        assert computed(mutant.spec) != computed(right.spec)
        assert mutant.spec.outputs == right.spec.outputs
        assert mutant.spec.inputs == right.spec.inputs
        assert av.compile(mutant.spec).source
    assert {*operator.bugs} <= citations().keys()


@pytest.mark.slow
def test_a_check_says_which_bug_a_backward_pass_has(tmp_path: Any) -> None:
    pair = bent(0.0)
    report = av.check(pair.forward, "global", vjp=pair.backward, store=tmp_path, cases=6)
    failing = [v for v in report.verdicts if v.status.value == "REFUTED"]
    assert {v.name for v in failing} == {"backward dQ (float32)", "backward dK (float32)"}
    for verdict in failing:
        (first,) = verdict.evidence["explained"]
        assert first["operator"] == "row term dropped"
        assert "fresh inputs, differs from the spec on" in first["evidence"]
