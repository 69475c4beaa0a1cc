"""The graph of what becomes what: lines lead to the right, nothing overlaps, nothing is lost."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from attnverify.report import render_html
from attnverify.report.graph import ROW, Step, graph
from attnverify.verdict import Report, Section, Status, Verdict
from tests.pages import checked


def steps(pairs: list[tuple[int, int]]) -> list[Step]:
    return [Step(f"n{a}", f"n{b}", f"n{b} at {a}", f"#n{a}") for a, b in pairs]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=24))
def test_a_drawing_of_no_circle_loses_nothing(pairs: list[tuple[int, int]]) -> None:
    told = steps([(max(pair), min(pair)) for pair in pairs if pair[0] != pair[1]])
    found = graph(told, {})
    distinct = {(step.source, step.target) for step in told}
    if len(distinct) < 2:
        assert found is None
        return
    assert found is not None
    places = {node.name: node for node in found.nodes}
    assert set(places) == {name for pair in distinct for name in pair}
    assert {(one.step.source, one.step.target) for one in found.lines} == distinct
    assert found.steps == tuple(told)
    for source, target in distinct:
        assert places[source].x + places[source].width < places[target].x
    for one in found.nodes:
        assert 0 <= one.x <= one.x + one.width <= found.width + 1
        assert 0 < one.y < found.height
        apart = [abs(one.y - two.y) for two in found.nodes if two.x == one.x and two is not one]
        assert min(apart, default=ROW) >= ROW / 2


def test_a_circle_and_a_single_step_are_no_graph() -> None:
    assert graph(steps([(1, 2), (2, 3), (3, 1)]), {}) is None
    assert graph(steps([(1, 2), (1, 2)]), {}) is None
    assert graph(steps([(1, 1), (2, 2), (3, 3)]), {}) is None


def section(name: str, verdicts: tuple[Verdict, ...] = (), **figures: Any) -> Section:
    return Section(name, verdicts, figures=figures)


def test_a_line_leads_to_where_the_step_is_told_or_judged() -> None:
    judged = Verdict("global at no mask", Status.PROVED, evidence={"becomes": "global"})
    report = Report((
        section("causal", (judged,), becomes=[{"spec": "global", "words": "global at no mask"}]),
        section("prefix (align=a)", becomes=[{"spec": "causal", "words": "causal at prefix 0"}]),
        section("prefix (align=b)"), section("global"),
    ))  # fmt: skip
    found = checked(render_html(report))
    lines = {
        attrs["aria-label"]: attrs
        for tag, attrs in found.elements
        if tag == "a" and "step" in (attrs.get("class") or "")
    }
    assert lines["causal is global at no mask"]["href"] == "#causal--global-at-no-mask"
    assert lines["causal is global at no mask"]["class"] == "step proved"
    assert lines["prefix is causal at prefix 0"]["href"] == "#spec--prefix-align-a--becomes"
    assert "Solid lines are proved" in found.text
    assert "What it becomes causal at prefix 0" in found.text


def test_a_report_without_steps_has_no_graph() -> None:
    assert "What becomes what" not in render_html(Report((section("causal"), section("global"))))
