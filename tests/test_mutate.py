"""Operators: each makes wrong specs, says what they compute, and cites who had the bug."""

from __future__ import annotations

import pytest

import attnverify as av
from attnverify.notation import attention, causal, given, parameter, same_document
from attnverify.spec import Spec
from attnverify.transforms.mutate import Mutant, Operator, citations, mutants, operators
from attnverify.transforms.naming import name_softmaxes
from tests.mutants.bugs import BUGS

CAP, SCALE, P = parameter("cap", gt=0), parameter("scale", gt=0), parameter("p", ge=0, lt=1)
# What the defaults of the catalogue have no stage for.
COMPOSED = (
    attention("capped", cap=CAP, mask=causal(), parameters=[CAP]),
    attention("capped_bias", cap=CAP, bias=av.notation.alibi_bias(), parameters=[CAP]),
    attention("scaled", scale=SCALE, parameters=[SCALE]),
    attention("dropped", dropout=P, parameters=[P]),
    attention("cross_documents", mask=same_document()),
    attention("causal_given", mask=causal() & given()),
)
CATALOGUE = (
    av.load("sliding_window"),
    av.load("padding"),
    av.load("biased"),
    av.load("alibi"),
    av.load("t5_bias"),
    av.load("rope", offset="input"),
    av.load("sinks"),
    av.load("grouped_query"),
    av.load("talking_heads"),
    av.load("causal").replace(outputs=("O", "L")),
    av.load("paged"),
)
SPECS = (*COMPOSED, *CATALOGUE)


def of(spec: Spec, operator: str) -> list[Mutant]:
    return [m for m in mutants(spec) if m.operator.name == operator]


@pytest.fixture(scope="module")
def made() -> dict[str, list[tuple[Spec, Mutant]]]:
    """Every mutant of every spec above, by the operator's name; nothing that raises is passed."""
    found: dict[str, list[tuple[Spec, Mutant]]] = {}
    for spec in map(name_softmaxes, SPECS):
        for operator in operators():
            found.setdefault(operator.name, []).extend((spec, m) for m in operator.mutants(spec))
    return found


@pytest.mark.parametrize("operator", operators(), ids=lambda operator: operator.name)
def test_each_operator_makes_specs_that_compile_and_are_called_as_theirs(
    operator: Operator, made: dict[str, list[tuple[Spec, Mutant]]]
) -> None:
    assert made[operator.name]
    for spec, mutant in made[operator.name][:3]:
        assert av.compile(mutant.spec).source != av.compile(spec).source
        assert mutant.spec.outputs == spec.outputs
        assert [e.tensor for e in mutant.spec.inputs] == [e.tensor for e in spec.inputs]
        assert mutant.sentence
        assert mutant.place


def test_names_are_given_once_and_cite_bugs_that_the_table_has() -> None:
    names = [operator.name for operator in operators()]
    assert len(names) == len({*names})
    for citation in (c for operator in operators() for c in operator.citations):
        assert BUGS[citation.bug].source == citation.source
    assert citations().keys() == BUGS.keys()


@pytest.mark.parametrize(
    ("spec", "operator", "equation", "text"),
    [
        ("causal", "alignment", "A", "A[b,h,i,j] = softmax_j(S[b,h,i,j] | j <= i + n_k - n_q)"),
        ("causal", "mask dropped", "A", "A[b,h,i,j] = softmax_j(S[b,h,i,j])"),
        ("causal", "mask after softmax", "A", "A[b,h,i,j] = [j <= i] softmax_j(S[b,h,i,j])"),
        ("causal", "scale dropped", "S", "S[b,h,i,j] = sum_k Q[b,h,i,k] K[b,h,j,k]"),
        ("global", "other axis", "A", "A[b,h,i,j] = softmax_i(S[b,h,i,j])"),
        ("softmax_plus_one", "sink", "Z", "Z[b,h,i] = sum_j exp(S[b,h,i,j])"),
        ("softmax_plus_one", "sink", "Z", "Z[b,h,i] = (sum_j exp(S[b,h,i,j])) + 2"),
        ("softmax_plus_one", "sink unshifted", "Z",
         "Z[b,h,i] = (sum_j exp(S[b,h,i,j])) + exp(max_j(S[b,h,i,j]))"),
        ("masked", "polarity", "A", "A[b,h,i,j] = softmax_j(S[b,h,i,j] | not mask[b,h,i,j])"),
        ("sliding_window", "window", "A",
         "A[b,h,i,j] = softmax_j(S[b,h,i,j] | j <= i and j >= i - window)"),
        ("grouped_query", "head map", "S",
         "S[b,r.g,i,j] = (sum_k Q[b,r.g,i,k] K[b,g,j,k]) / sqrt(d_k)"),
    ],
)  # fmt: skip
def test_a_mutant_is_the_equation_that_it_says(
    spec: str, operator: str, equation: str, text: str
) -> None:
    found = [str(m.spec.equation(equation)) for m in of(av.load(spec), operator)]
    assert text in found


def test_the_mask_is_changed_wherever_it_is_applied() -> None:
    (mutant,) = of(av.load("causal"), "mask dropped")
    assert str(mutant.spec.equation("L")) == "L[b,h,i] = log(sum_j exp(S[b,h,i,j]))"


def test_a_mutant_derives_like_any_spec() -> None:
    (mutant,) = of(av.load("causal"), "mask dropped")
    assert av.gradient(mutant.spec).equations == av.gradient(av.load("global")).equations


def test_a_stage_that_a_spec_lacks_has_no_mutants() -> None:
    found = {m.operator.name for m in mutants(av.load("global"))}
    assert not found & {"window", "alignment", "polarity", "head map", "pairing", "cap dropped"}
