"""What a proof may be taken over for: statements that claim the same, and no others."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest

from attnverify import load
from attnverify.algebra.terms import ONE, Axis, add, mul, total
from attnverify.content import claim
from attnverify.equations import Equation
from attnverify.notation import parameter
from attnverify.provers.normal import prove
from attnverify.spec import Spec
from attnverify.statement import Relabel, Statement

SPEC = load("global")


def rows(spec: Spec, name: str = "rows") -> Statement:
    """Rows of weights sum to one."""
    head = spec.equation("A").head
    return Statement(name, "equal", spec, total(head, over=head.indices[-1]), ONE)


def changed(name: str, times: int) -> Spec:
    """The spec with what it assigns to a name multiplied."""
    equations = tuple(
        Equation(row.head, mul(times, row.body))
        if isinstance(row, Equation) and row.name == name
        else row
        for row in SPEC.equations
    )
    return SPEC.replace(equations=equations)


def declared(size: int) -> Spec:
    """The spec with a size declared for its keys."""
    keys = Axis("keys", fixed=size)
    inputs = tuple(
        replace(e, places=tuple(keys["j"] if p == Axis("keys")["j"] else p for p in e.places))
        for e in SPEC.inputs
    )
    return SPEC.replace(inputs=inputs)


WHOLE = rows(SPEC)
HEAD = SPEC.equation("A").head
OTHERS: dict[str, Callable[[], Statement]] = {
    "kind": lambda: replace(WHOLE, kind="bound"),
    "left side": lambda: replace(WHOLE, left=add(WHOLE.left, 1)),
    "right side": lambda: replace(WHOLE, right=ONE + 1),
    "hypothesis": lambda: replace(WHOLE, hypotheses=(HEAD.indices[2] <= 1,)),
    "relabelling": lambda: replace(WHOLE, relabels=(Relabel("keys", ("K",)),)),
    "an equation on the way": lambda: rows(changed("S", 2)),
    "the equation itself": lambda: rows(changed("A", 2)),
    "a parameter": lambda: rows(SPEC.replace(parameters=(parameter("c", ge=0),))),
    "another domain": lambda: rows(SPEC.replace(parameters=(parameter("c", ge=1),))),
    "a declared size": lambda: rows(declared(2)),
    "another size": lambda: rows(declared(3)),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_is_claimed_tells_statements_apart(what: str) -> None:
    others = [WHOLE, *(make() for other, make in OTHERS.items() if other != what)]
    assert claim(OTHERS[what]()) not in [claim(other) for other in others]


@pytest.mark.parametrize("spec", [changed("O", 2), SPEC.replace(name="mine")], ids=["O", "name"])
def test_what_is_not_read_is_no_part_of_a_claim(spec: Spec) -> None:
    assert claim(rows(spec, "of another name")) == claim(WHOLE)


def test_a_name_taken_as_any_array_is_not_asked_how_it_is_computed() -> None:
    assert claim(rows(changed("S", 2)), {"S"}) == claim(WHOLE, {"S"})
    assert claim(WHOLE, {"S"}) != claim(WHOLE)
    assert claim(rows(changed("A", 2)), {"S"}) != claim(WHOLE, {"S"})


def test_no_proof_is_taken_over_for_a_false_neighbour() -> None:
    assert prove(WHOLE).proved
    assert not prove(rows(changed("A", 2))).proved
    assert not prove(OTHERS["right side"]()).proved
    assert prove(WHOLE) == prove(rows(SPEC.replace(name="mine")))


def test_a_pickled_node_keeps_nothing_that_another_process_hashes_otherwise() -> None:
    assert isinstance(hash(WHOLE.left), int)
    assert hasattr(WHOLE.left, "_hash")
    again = pickle.loads(pickle.dumps(WHOLE.left))  # noqa: S301  made by the line itself
    assert again == WHOLE.left
    assert not hasattr(again, "_hash")
