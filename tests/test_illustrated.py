"""What a page shows of a spec besides verdicts is what the spec's own code and algebra give."""

from __future__ import annotations

from typing import Any

import pytest
import sympy

import attnverify as av
from attnverify.flow.cost import cost, printed
from attnverify.illustrated import illustrated
from attnverify.jobs.task import tasks_of
from attnverify.report import render_html
from attnverify.transforms.mutate import mutants
from attnverify.verdict import Report, Section
from attnverify.verdict.figure import Figure
from tests.pages import checked


def figures(name: str, **values: Any) -> dict[str, Any]:
    return dict(illustrated(Section(name), av.load(name, **values)).figures)


def plotted(value: Any) -> Figure:
    found = Figure.read(value)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["causal", "elman", "rope"])
def test_the_polynomials_are_those_of_the_cost(name: str) -> None:
    table = {key: printed(count) for key, count in cost(name).table().items() if count != 0}
    rows = {row["name"]: row["text"] for row in figures(name)["cost"]}
    assert rows.keys() == table.keys()
    for key, count in table.items():
        known = {symbol.name: symbol for symbol in count.free_symbols}
        assert sympy.expand(sympy.sympify(rows[key], locals=known) - count) == 0


@pytest.mark.parametrize("name", ["causal", "sinks", "elman", "linear"])
def test_errors_of_a_right_program_lie_under_their_bounds(name: str) -> None:
    line, *outputs = plotted(figures(name)["errors"]).curves
    assert line.x == line.y
    assert outputs
    for curve in outputs:
        assert curve.scattered
        assert 10 < len(curve.x) <= 300
        assert all(0 < error < bound for bound, error in zip(curve.x, curve.y, strict=True))
        assert max(e / b for b, e in zip(curve.x, curve.y, strict=True)) > 0.01


def test_a_gradient_goes_as_far_as_the_window() -> None:
    own, other = plotted(figures("sliding_window")["flow"]).curves
    reached = [x for x, y in zip(own.x, own.y, strict=True) if y > 0]
    assert reached == [0, 1, 2]
    assert all(y > 0 for y in other.y)
    assert other.y[0] > other.y[-1]
    assert len(plotted(figures("elman")["flow"]).curves) == 1
    assert "flow" not in figures("neighbourhood_2d")


@pytest.mark.parametrize("name", ["causal", "global", "elman"])
def test_the_bugs_are_those_that_some_mutant_stands_for(name: str) -> None:
    due = {bug for mutant in mutants(av.load(name)) for bug in mutant.operator.bugs}
    found = [one["bug"] for one in figures(name).get("bugs", [])]
    assert set(found) == due
    assert len(found) == len(set(found))


def test_what_a_spec_becomes_is_in_the_lattice() -> None:
    assert figures("prefix")["becomes"] == [
        {"spec": "causal", "words": "causal at prefix 0"},
        {"spec": "global", "words": "global at prefix >= n_k"},
    ]
    assert "becomes" not in figures("global")


def test_one_member_of_a_family_has_all_of_it() -> None:
    firsts = [task.first for task in tasks_of("sliding_window", {}, 0, None)]
    assert firsts == [True] + [False] * (len(firsts) - 1)
    assert len(firsts) > 1
    few = illustrated(Section("causal"), av.load("causal"), whole=False)
    assert set(few.figures) == {"cost"}


def test_a_page_shows_all_of_it() -> None:
    found = checked(render_html(Report((illustrated(Section("prefix"), av.load("prefix")),))))
    for words in (
        "Cost of one run", "Gradient by distance", "Error and bound, entry by entry",
        "What it becomes causal at prefix 0", "Known bugs that code for it can have",
    ):  # fmt: skip
        assert words in found.text, words
    assert {"mfrac", "math"} & {tag for tag, _ in found.elements}
