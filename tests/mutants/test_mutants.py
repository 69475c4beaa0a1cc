"""Every mutant is REFUTED with the settings it names, and its twin is not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants.bugs import BUGS
from tests.mutants.naming import UNNAMED, explained, first_bugs
from tests.mutants.registry import Mutant
from tests.mutants.trial import all_mutants, described, line, tried

ALL = all_mutants()
# The files that hold the mutants may take from the package only what says the spec.
ALLOWED = {"attnverify.notation", "attnverify.spec"}


def identifiers(mutants: list[Mutant]) -> list[str]:
    return [mutant.bug for mutant in mutants]


def judged(mutant: Mutant, store: Path) -> None:
    """The mutant is refuted, or survives for the reason that it states; its twin is right."""
    twin = tried(mutant, False, str(store))
    assert not twin.refuted, twin.refuted[0].detail
    trial = tried(mutant, True, str(store))
    assert bool(trial.refuted) is not bool(mutant.survives), line(trial)


QUICK = [mutant for mutant in ALL if mutant.quick]


@pytest.mark.parametrize("mutant", QUICK, ids=identifiers(QUICK))
def test_a_mutant_of_each_family_is_refuted_and_its_twin_is_not(
    mutant: Mutant, tmp_path: Path
) -> None:
    judged(mutant, tmp_path)
    assert mutant.family


@pytest.mark.mutants
@pytest.mark.parametrize("mutant", ALL, ids=identifiers(ALL))
def test_every_mutant_is_refuted_and_its_twin_is_not(mutant: Mutant, tmp_path: Path) -> None:
    judged(mutant, tmp_path)
    assert mutant.family


NAMED = [mutant for mutant in ALL if mutant.bug not in UNNAMED and mutant.family != "gradients"]
NAMED = [mutant for mutant in NAMED if mutant.bug not in ("DRP-03", "LAY-06")]


@pytest.mark.parametrize("bug", ["HED-01", "NRM-04"])
def test_a_few_mutants_are_named_and_their_twins_never(bug: str) -> None:
    (mutant,) = (mutant for mutant in NAMED if mutant.bug == bug)
    assert bug in first_bugs(mutant)
    assert explained(mutant, False) == []


@pytest.mark.mutants
@pytest.mark.parametrize("mutant", NAMED, ids=identifiers(NAMED))
def test_a_bug_of_the_equations_is_named_first_and_its_twin_never(mutant: Mutant) -> None:
    assert mutant.bug in first_bugs(mutant)
    assert explained(mutant, False) == []


@pytest.mark.mutants
@pytest.mark.parametrize("bug", UNNAMED)
def test_no_other_bug_is_named_where_none_explains(bug: str) -> None:
    (mutant,) = (mutant for mutant in ALL if mutant.bug == bug)
    assert explained(mutant, True) == []
    assert explained(mutant, False) == []


def test_every_bug_has_one_mutant() -> None:
    assert sorted(identifiers(ALL)) == sorted(BUGS)
    assert {mutant.family for mutant in QUICK} == {mutant.family for mutant in ALL}


def test_few_survive_and_each_for_a_reason() -> None:
    assert len([mutant for mutant in ALL if mutant.survives]) <= len(BUGS) - 80


def test_a_row_of_the_table_says_bug_citation_spec_and_need() -> None:
    (mutant,) = (mutant for mutant in ALL if mutant.bug == "MSK-01")
    told = described(mutant)
    for part in ("MSK-01", "bottom-right", "ml-explore/mlx#2835", "causal", "n_q != n_k"):
        assert part in told


def test_the_mutants_share_no_code_with_the_package() -> None:
    held = {mutant.family for mutant in ALL} | {"plain"}
    taken = {
        node.module
        for name in held
        for node in ast.walk(ast.parse((Path(__file__).parent / f"{name}.py").read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("attnverify")
    }
    assert taken <= ALLOWED
