"""At least 95 % of the mutants are named right as first explanation, and no twin ever is.

The table is `tests/mutants/naming.py`: every mutant but those in `UNNAMED` is named by a test here,
and those in it get no other bug's name.
"""

from __future__ import annotations

from importlib import import_module

import pytest

from attnverify.transforms.mutate import citations
from tests.mutants.naming import SHARE, UNNAMED, explanations, first_bugs
from tests.mutants.registry import Mutant
from tests.mutants.trial import all_mutants

ALL = {mutant.bug: mutant for mutant in all_mutants()}
NAMED = [bug for bug in ALL if bug not in UNNAMED]
# Memory, what is kept, a form, arithmetic; `tests/test_diagnose.py` has some of the equations.
QUICK = ("HED-04", "POS-07", "EDG-10", "NUM-07")


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search as long as a busy machine takes: what is found is tested here, not how soon."""
    module = import_module("attnverify.check.explained")
    monkeypatch.setattr(module, "SECONDS", 60.0)
    monkeypatch.setattr(module, "CLOCK", 300.0)


def named(mutant: Mutant) -> bool:
    """Whether each explanation of a mutant's failures begins with its bug, which has a page."""
    found = first_bugs(mutant)
    right = found and all(mutant.bug in bugs for bugs in found)
    return bool(right) and all(text for _, text in citations()[mutant.bug].advice())


def test_nearly_all_bugs_are_in_the_table_of_those_named() -> None:
    assert UNNAMED.keys() <= ALL.keys()
    assert len(NAMED) / len(ALL) >= SHARE


@pytest.mark.parametrize("bug", QUICK)
def test_a_mutant_of_each_kind_is_named(bug: str) -> None:
    assert named(ALL[bug])


@pytest.mark.parametrize("bug", ["NRM-04"])
def test_a_twin_is_never_named(bug: str) -> None:
    assert explanations(ALL[bug], False) == []


@pytest.mark.mutants
@pytest.mark.parametrize("bug", NAMED)
def test_every_mutant_is_named_first_and_its_twin_never(bug: str) -> None:
    assert named(ALL[bug])
    assert explanations(ALL[bug], False) == []


@pytest.mark.mutants
@pytest.mark.parametrize("bug", UNNAMED)
def test_no_other_bug_is_named_where_none_explains(bug: str) -> None:
    assert first_bugs(ALL[bug]) == []
    assert explanations(ALL[bug], False) == []
