"""Cases tried before z3 is asked: they say no where it would, and a proof is the same without."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnverify.algebra.normal.decide import Decider
from attnverify.algebra.normal.examples import CASES, Examples, Untried
from attnverify.algebra.normal.forms import Lin, divided, lin, variable
from attnverify.algebra.normal.formulas import (
    TRUE,
    Below,
    Both,
    Either,
    Exists,
    Formula,
    Known,
    Negated,
    Zero,
)
from attnverify.algebra.normal.query import Query
from attnverify.algebra.normal.setting import Limits, Setting
from attnverify.algebra.terms import Axis, Parameter
from attnverify.provers.normal import prove
from attnverify.statement import Statement
from tests.provers.corpus import hard, true_attention, true_sums

AXES = {0: "keys", 1: "keys", 2: "keys", 3: "queries", 4: "first"}
PARAMETERS = {
    p.name: p
    for p in (
        Parameter("window", integer=True, ge=Fraction(1)),
        Parameter("cut", integer=True),
        Parameter("even", integer=True, gt=Fraction(0), le=Fraction(6), multiple_of=2),
        Parameter("scale", gt=Fraction(0), lt=Fraction(1)),
        Parameter("none", integer=True, gt=Fraction(0), lt=Fraction(1)),
    )
}
DECLARED = {
    axis.name: axis
    for axis in (
        Axis("keys", addends=(Axis("first"), Axis("second"))),
        Axis("first", fixed=2),
    )
}


def setting() -> Setting:
    return Setting(AXES.__getitem__, PARAMETERS, Limits(), DECLARED)


def form(**of: int) -> Lin:
    """A linear form: v0, v1, ... variables, n_axis sizes, others parameters, const a number."""
    const = of.pop("const", 0)
    keys = {name: _key(name) for name in of}
    return lin({keys[name]: Fraction(value) for name, value in of.items()}, const)


def _key(name: str) -> tuple[object, ...]:
    if name[0] == "v" and name[1:].isdigit():
        return ("v", "", int(name[1:]))
    return ("n", name[2:]) if name.startswith("n_") else ("p", name)


# A formula, and whether some case makes it true.
KINDS = [
    ("two positions meet", Zero(form(v0=1, v1=-1)), True),
    ("a position is in its range", Below(form(v0=-1), strict=False), True),
    ("a position is below its range", Below(form(v0=1), strict=True), False),
    ("a position is above its range", Below(form(v0=-1, n_keys=1)), False),
    ("an axis is empty", Below(form(n_queries=1)), False),
    ("a sum of axes has its parts", Zero(form(n_keys=1, n_first=-1, n_second=-1)), True),
    ("a sum of axes is another", Negated(Zero(form(n_keys=1, n_first=-1, n_second=-1))), False),
    ("a size is what is declared", Negated(Zero(form(n_first=1, const=-2))), False),
    ("a window is below its domain", Below(form(window=1)), False),
    ("a cut is below zero", Below(form(cut=1), strict=True), True),
    ("an even number is odd", Zero(form(even=1, const=-3)), False),
    ("an even number is above its domain", Below(form(even=-1, const=7)), False),
    ("a scale is not above zero", Below(form(scale=1)), False),
    ("a scale is a half", Zero(form(scale=2, const=-1)), True),
    ("a domain without numbers", Below(form(none=1)), False),
    ("a mask is true here and not there", Both(
        (Known("m", (0,)), Negated(Known("m", (1,))))), True),
    ("a mask is another mask where both are one", Both(
        (Known("m", (0,)), Negated(Known("m", (1,))), Zero(form(v0=1, v1=-1)))), False),
    ("some position is below", Exists(2, Below(form(v2=1, v0=-1), strict=True)), True),
    ("some position is below the first", Both(
        (Exists(2, Below(form(v2=1, v0=-1), strict=True)), Zero(form(v0=1)))), False),
    ("a half, rounded down, is too large", Below(lin(
        {("v", "", 0): Fraction(1), divided(form(v0=1), 2): Fraction(-1)}), strict=True), False),
    ("an entry is another at one place", Both((
        Zero(lin({("i", "len", (0,)): Fraction(1), ("i", "len", (1,)): Fraction(-1)}, 1)),
        Zero(form(v0=1, v1=-1)))), False),
]  # fmt: skip


@pytest.mark.parametrize(("formula", "due"), [k[1:] for k in KINDS], ids=[k[0] for k in KINDS])
def test_a_case_is_known_where_there_is_one_and_only_there(formula: Formula, due: bool) -> None:
    assert Examples(setting()).any([formula]) is due
    assert Query(setting()).impossible([formula]) is not due


LEAVES = st.one_of(
    st.builds(
        lambda a, b, c, n: Below(form(v0=a, v1=b, n_queries=c, const=n)),
        *[st.integers(-2, 2)] * 4,
    ),
    st.builds(lambda a, b, w: Zero(form(v0=1, v3=a, window=b, const=w)), *[st.integers(-1, 1)] * 3),
    st.builds(lambda a, b: Known("m", (a, b)), st.integers(0, 2), st.integers(0, 2)),
)
FORMULAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Negated, inner),
        st.builds(lambda a, b: Both((a, b)), inner, inner),
        st.builds(lambda a, b: Either((a, b)), inner, inner),
        st.builds(lambda a: Exists(2, a), inner),
    ),
    max_leaves=5,
)


@given(formulas=st.lists(FORMULAS, min_size=1, max_size=3))
@settings(max_examples=150)
def test_what_a_case_shows_z3_does_not_deny(formulas: list[Formula]) -> None:
    if Examples(setting()).any(formulas):
        assert not Query(setting()).impossible(formulas)


@given(formula=FORMULAS, value=st.integers(-2, 2))
@settings(max_examples=20)
def test_a_decision_is_the_same_without_cases(formula: Formula, value: int) -> None:
    pieces = [(formula, Fraction(1)), (TRUE, Fraction(value, 2))]
    found, ratios = [], []
    for known in (True, False):
        decider = Decider(AXES.__getitem__, PARAMETERS, Limits(), DECLARED)
        if not known:
            decider.examples.first = lambda *_: None  # type: ignore[method-assign]
        found.append(
            (
                decider.holds(formula),
                decider.vanishes(pieces),
                decider.never_negative(pieces),
            )
        )
        ratios.append(decider.ratio(pieces, [(TRUE, Fraction(1))]))
    assert found[0] == found[1]
    assert ratios[1] in (ratios[0], None)  # z3 may not say what a quantified sum is


@pytest.mark.parametrize(
    "statement",
    [*true_sums.TRUE[::9], *true_attention.TRUE[::9], *hard.TRUE[::9]],
    ids=lambda s: s.name,
)
def test_a_proof_is_the_same_without_cases(
    statement: Statement, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cases = prove(statement)
    monkeypatch.setattr(Examples, "first", lambda *_: None)
    without = prove(statement)
    assert with_cases.lines == without.lines
    assert with_cases.queries <= without.queries


def test_where_a_variable_was_put_it_stands() -> None:
    found = setting()
    found.defined = (Zero(form(v1=1, n_keys=-1, const=1)),)
    examples = Examples(found)
    assert (examples.position(1, {}) == examples.size("keys") - 1).all()
    assert not examples.any([Below(form(v1=1, v0=-1), strict=True)])


def test_what_is_taken_for_granted_holds_in_every_case_that_is_known() -> None:
    found = setting()
    found.hypotheses = (Below(form(v0=1, v1=-1), strict=True),)
    examples = Examples(found)
    assert not examples.any([Zero(form(v0=1, v1=-1))])
    found.hypotheses = ()
    assert examples.any([Zero(form(v0=1, v1=-1))])


@pytest.mark.parametrize("one_to_one", [True, False])
def test_a_map_keeps_positions_apart_only_where_it_is_one_to_one(one_to_one: bool) -> None:
    found = Setting(lambda _: "queries", {}, Limits())
    if one_to_one:
        found.one_to_one.add("pi")
    images = Zero(variable(0, "pi") - variable(1, "pi"))
    both = [images, Negated(Zero(variable(0) - variable(1)))]
    assert Examples(found).any(both) is not one_to_one
    assert Examples(found).any([images])


def test_numbers_that_a_machine_does_not_hold_are_left_to_z3() -> None:
    examples = Examples(setting())
    with pytest.raises(Untried):
        examples.truth(Below(form(v0=10**12)), {})
    assert not examples.any([Below(form(v0=-(10**12)))])
    assert len(examples.position(0, {})) == CASES
