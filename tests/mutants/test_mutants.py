"""Every mutant is REFUTED with the settings it names, and its twin is not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants.bugs import BUGS
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
