"""Plans of inductions: followed where right, and rejected where one step of them is not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import z3

from attnverify import load
from attnverify.certify import Rejected, certified, check
from attnverify.certify.plans import OBLIGATION, blocks, is_plan, obligations
from attnverify.equations import Recurrence
from attnverify.notation import tanh
from attnverify.provers import induction, normal
from attnverify.statement import Relabel, Statement
from tests.provers.corpus import rules
from tests.provers.corpus.recurrences import FALSE, TRUE, apart, network, unchanged
from tests.provers.judge import refutation

# Positions of an axis as pairs of positions.
PAIRS = [one for one in rules.PAIRS if not normal.prove(one).proved]
NAMES = {statement.name: statement for statement in (*TRUE, *PAIRS)}
# One of each plan, with and without levels that begin with 0, guards, stacks, arrays told free.
SOME = (
    "a running sum from a start", "a constant decay of a start", "a gate from the end",
    "online softmax over any tiles", "a network from the end, backwards",
    "a stacked network is causal", "a network permuted",
)  # fmt: skip
# Each line and each word of these is bent, and each proof put in another's place.
BENT = (
    "a running sum from a start", "a constant decay of a start",
    "a network from the end, backwards", "a network keeps entries apart",
    "writes that never meet", "softmax over pairs",
)  # fmt: skip


@cache
def certificate(name: str) -> tuple[str, ...]:
    """The certificate of a statement of the corpus."""
    statement = NAMES[name]
    return certified(statement, induction.steps_of(induction.prove(statement), statement))


@pytest.fixture(scope="module")
def context() -> z3.Context:
    """One state of z3's for many certificates."""
    return z3.Context()


def follows(statement: Statement, lines: Sequence[str], context: z3.Context | None = None) -> bool:
    try:
        check(statement, lines, context=context)
    except Rejected:
        return False
    return True


@pytest.mark.parametrize("name", SOME)
def test_a_proof_by_induction_is_followed(name: str, context: z3.Context) -> None:
    lines = certificate(name)
    assert is_plan(lines)
    found = check(NAMES[name], lines, context=context)
    kept = [line for line in lines if not line.startswith("(set-logic")]
    assert list(found.needed) == kept


@pytest.mark.parametrize("statement", [*TRUE, *PAIRS], ids=lambda one: one.name)
def test_every_proof_by_induction_is_followed(statement: Statement, context: z3.Context) -> None:
    assert follows(statement, certificate(statement.name), context)


# ---- one step of a plan is another


def leaves(tree: Any) -> Iterator[Any]:
    """The tree with one number, word or part changed, or one part gone."""
    if isinstance(tree, list):
        for place, part in enumerate(tree):
            for other in leaves(part):
                yield [*tree[:place], other, *tree[place + 1 :]]
        if len(tree) > 3:
            yield tree[:-1]
    elif isinstance(tree, bool):
        yield not tree
    elif isinstance(tree, int):
        yield tree + 1
    else:
        swaps = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "add": "mul", "mul": "add",
                 "exp": "tanh", "total": "indicator", "number": "size"}  # fmt: skip
        yield swaps.get(tree, f"{tree}_")


def bent_plans(lines: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Certificates whose plan is one step away, or whose proofs are of other statements."""
    plan, proofs = blocks(lines)
    for place, line in enumerate(plan):
        for other in (None, *bent_words(line)):
            new = () if other is None else (other,)
            yield f"{line} is {other}", (*plan[:place], *new, *plan[place + 1 :], *proved(proofs))
        yield f"{line} twice", (*plan[: place + 1], *plan[place:], *proved(proofs))
    for place in range(len(proofs)):
        rest = [*proofs[:place], *proofs[place + 1 :]]
        yield f"proof {place} is gone", (*plan, *proved(rest))
        yield (
            f"proof {place} is empty",
            (*plan, *proved([*proofs[:place], (), *proofs[place + 1 :]])),
        )
        for before in range(place):
            if proofs[before] != proofs[place]:
                swapped = list(proofs)
                swapped[before], swapped[place] = swapped[place], swapped[before]
                yield f"proofs {before} and {place} change places", (*plan, *proved(swapped))


def proved(proofs: Sequence[tuple[str, ...]]) -> list[str]:
    return [line for proof in proofs for line in (OBLIGATION, *proof)]


def bent_words(line: str) -> Iterator[str]:
    """The line with one word, or one part of an expression, changed."""
    others = {"zero": "any", "any": "zero", "relabelled": "copied", "copied": "closed",
              "closed": "relabelled"}  # fmt: skip
    for found in re.finditer(r"\|([^|]*)\||[^\s()|]+", line):
        if found[1] is None:
            # A name that another index or tensor has; a new one would be as good.
            taken = "t" if line.startswith("(earlier") else "X"
            words = [others.get(found[0], taken)]
        else:
            words = [f"|{json.dumps(tree)}|" for tree in leaves(json.loads(found[1]))]
        for word in words:
            yield line[: found.start()] + word + line[found.end() :]


@pytest.mark.parametrize("name", BENT)
def test_no_bent_plan_is_taken(name: str, context: z3.Context) -> None:
    tried = list(bent_plans(certificate(name)))
    taken = [words for words, lines in tried if follows(NAMES[name], lines, context)]
    assert len(tried) > 10
    assert taken == []


def other_recurrence(statement: Statement, **changes: Any) -> Statement:
    """The statement about a spec whose recurrences are other ones."""
    rows = [
        replace(row, **changes) if isinstance(row, Recurrence) else row
        for row in statement.spec.equations
    ]
    return replace(statement, spec=statement.spec.replace(equations=rows))


def test_a_proof_is_of_its_own_recurrence_alone(context: z3.Context) -> None:
    name = "a running sum from a start"
    (row,) = (r for r in NAMES[name].spec.equations if isinstance(r, Recurrence))
    ((state, value),) = row.initial
    others = [
        other_recurrence(NAMES[name], reverse=True),
        other_recurrence(NAMES[name], initial=((state, value + 1),)),
        replace(NAMES[name], right=NAMES[name].right + 1),
    ]
    assert follows(NAMES[name], certificate(name), context)
    assert not any(follows(one, certificate(name), context) for one in others)


# ---- no plan proves what is false


def filled(statement: Statement, plan: Sequence[str]) -> tuple[str, ...]:
    """A plan with the proofs of all that it asks for and the prover proves."""
    due = obligations(statement, plan)
    return (*plan, *proved([normal.prove(one).lines for one in due]))


@pytest.mark.parametrize("statement", [*FALSE, *rules.NOT_PAIRS], ids=lambda one: one.name)
def test_no_plan_of_the_prover_proves_a_false_statement(
    statement: Statement, context: z3.Context
) -> None:
    for plan in induction.plans(statement):
        if plan.told:
            try:
                lines = filled(statement, plan.told)
                check(statement, lines, asking=True, context=context)
            except Rejected:
                continue
            pytest.fail(f"{statement.text()} is taken by {plan.words}")


ELMAN = network(tanh(NAMES["a network is causal"].spec.heads["X"]))
ROW = "a network from the end, backwards"


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        # The guard holds at one step alone, and not at the step before it.
        (ROW, r'"compare", ">"', '"compare", "=="', "."),
        (ROW, r"\(copy H_2 H\)", "", "."),
        (ROW, r"\(copy H_2 H\)", "(copy H_2 H_2)", "no original"),
        (ROW, r"\(earlier H_2 (\w+)\)", "(earlier H_2 t)", "no index of its own"),
        (ROW, r"\(before H (\w+)\)", "(before H X)", "no new name"),
        ("a network permuted", r"relabelled", "closed", "other values on the right"),
        ("a network permuted", r"relabelled", "copied", "without a relabelling"),
        ("a running sum from a start", r"closed", "relabelled", "a relabelling"),
        ("a running sum from a start", r"\(solved", "(free M)\n(solved", "told free"),
        ("a constant decay of a start", r" zero\)", " any)", "."),
        ("a running sum", r"\(induction closed\)", "(induction trust)", "no such plan"),
    ],
)  # fmt: skip
def test_what_a_plan_may_not_say(name: str, old: str, new: str, reason: str) -> None:
    statement = NAMES[name]
    plan = "\n".join(induction.prove(statement).lines)
    changed = re.sub(old, lambda _: new, plan, count=1)
    assert changed != plan
    lines = [line for line in changed.split("\n") if line]
    with pytest.raises(Rejected, match=reason):
        check(statement, filled(statement, lines), asking=True)


WHOLE, ALONE = NAMES["softmax over pairs"], NAMES["a sum over one"]
MOVED = (Relabel("keys", ()),)


@pytest.mark.parametrize(
    ("statement", "line", "reason"),
    [
        (replace(WHOLE, hypotheses=()), "(pairs keys tile offset)", "no hypothesis gives"),
        (ALONE, "(pairs keys)", "no hypothesis gives"),
        (WHOLE, "(pairs keys tile)", "the two that it is made of"),
        (WHOLE, "(pairs keys tile tile)", "the two that it is made of"),
        (WHOLE, "(pairs tile keys offset)", "no such axes"),
        (WHOLE, "(pairs keys tile other)", "no such axes"),
        (replace(WHOLE, relabels=MOVED), "(pairs keys tile offset)", "relabelled"),
        (WHOLE, "(pairs keys tile offset)\n(pairs keys tile offset)", "no hypothesis gives"),
    ],
)
def test_an_axis_is_of_pairs_where_its_size_says_so(
    statement: Statement, line: str, reason: str
) -> None:
    with pytest.raises(Rejected, match=reason):
        obligations(statement, ["(induction pairs)", *line.split("\n")])


def test_pairs_in_the_other_order_are_other_positions() -> None:
    (due,) = obligations(WHOLE, ["(induction pairs)", "(pairs keys offset tile)"])
    assert not normal.prove(due).proved
    (due,) = obligations(WHOLE, ["(induction pairs)", "(pairs keys tile offset)"])
    assert refutation(due, 8) is None


def test_steps_along_a_relabelled_axis_are_no_plan() -> None:
    moved = apart("moved", ELMAN, "time", bijection=True)
    with pytest.raises(Rejected, match="the step before a moved position"):
        obligations(moved, ["(induction relabelled)"])


def test_an_initial_value_that_differs_by_position_is_asked_for() -> None:
    wanted = "a network that begins with its entry's number"
    statement = next(one for one in FALSE if one.name == wanted)
    due = obligations(statement, ["(induction relabelled)", "(before H H_before)"])
    assert [one.name for one in due][:1] == ["H begins"]
    assert not normal.prove(due[0]).proved


def test_states_of_other_steps_are_not_read_in_a_step() -> None:
    joint = unchanged("nothing", ELMAN)
    (row, other) = (r for r in joint.spec.equations if isinstance(r, Recurrence))
    assert row.steps[0].head != other.steps[0].head
    due = obligations(joint, induction.prove(joint).lines)
    assert [one.name for one in due][-1] == joint.name


# ---- what is not checked apart


def test_a_spec_of_the_catalogue_is_followed(context: z3.Context) -> None:
    spec = load("elman")
    state = next(e for e in spec.heads.values() if e.tensor.name in spec.outputs)
    claim = apart("apart", spec, state.indices[0].axis.name)
    lines = induction.steps_of(induction.prove(claim), claim)
    assert follows(claim, certified(claim, lines), context)
