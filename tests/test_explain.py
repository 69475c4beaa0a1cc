"""What is known of each bug: said in full, and its check refutes whoever has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from attnverify import notation
from attnverify.cli import app
from attnverify.spec import Spec
from attnverify.transforms.mutate import Citation, citations
from tests.mutants.registry import MUTANTS, Mutant

BUGS = tuple(citations().values())


def told(*words: str) -> str:
    done = CliRunner().invoke(app, ["explain", *words])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.bug)
def test_every_bug_is_explained_in_full(bug: Citation) -> None:
    page = told(bug.bug)
    assert bug.title in page
    for label, text in bug.advice():
        assert text, label
        assert text in page


class _Asked:
    """What a check's line asks for: the spec and what else is declared."""

    def check(self, fn: object, spec: str | Spec, **settings: Any) -> tuple[str | Spec, Any]:
        del fn
        return spec, settings


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.bug)
def test_the_check_that_is_told_is_the_one_that_refutes_the_mutant(mutant: Mutant) -> None:
    """`tests/mutants` refutes each mutant under its spec and settings: the page names these."""
    names = {**vars(notation), "av": _Asked(), "fn": None}
    spec, settings = eval(citations()[mutant.bug].check, names)  # noqa: S307  our own data
    due = mutant.spec() if callable(mutant.spec) else mutant.spec
    assert spec == due
    assert settings.items() <= {**mutant.settings}.items()
    # What is left out says how this subject is called, and nothing of what is right.
    left = mutant.settings.keys() - settings.keys()
    assert left <= {"layout", "sizes", "inputs", "kwargs"}
    assert citations()[mutant.bug].needs == mutant.needs


def test_all_are_listed_and_words_find_them() -> None:
    assert all(f"{bug.bug}  {bug.title}" in told() for bug in BUGS)
    found = told("query axis")
    assert "NRM-04" in found
    assert "MSK-01" not in found


@pytest.mark.parametrize(
    ("word", "hint"), [("MSK-99", "did you mean MSK-"), ("tartan", "`attnverify explain` lists")]
)
def test_what_is_no_known_bug_is_refused(word: str, hint: str) -> None:
    done = CliRunner().invoke(app, ["explain", word])
    assert done.exit_code == 2
    assert hint in done.output


def test_the_page_has_a_place_for_each(tmp_path: Path) -> None:
    told("--html", str(tmp_path / "bugs.html"))
    html = (tmp_path / "bugs.html").read_text("utf-8")
    assert all(f'id="{bug.bug}"' in html and f'href="#{bug.bug}"' in html for bug in BUGS)
    assert "<script" not in html
