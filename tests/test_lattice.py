"""The lattice: every edge of the list is a statement that holds, and a false edge is refuted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

import attnverify as av
from attnverify.algebra.predicates import Compare
from attnverify.algebra.terms import as_expr
from attnverify.cli import app
from attnverify.errors import AttnverifyError
from attnverify.lattice import EDGES, Edge, Side, edge, edges, judge, verify_edges
from attnverify.lattice.build import prepared, statement
from attnverify.lattice.values import constant, read
from attnverify.library import catalog
from attnverify.verdict import Report, Status

# What each variant becomes: the last column of the catalogue's list.
BECOMES: Mapping[str, set[str]] = {
    "causal": {"global"},
    "local": {"global"},
    "sliding_window": {"causal"},
    "dilated": {"local"},
    "blocked": {"global"},
    "window_global": {"local"},
    "prefix": {"causal", "global"},
    "documents": {"causal"},
    "padding": {"global"},
    "biased": {"global"},
    "top_k": {"global"},
    "shifted_window_2d": {"blocked_2d"},
    "multi_head": {"global"},
    "grouped_query": {"global"},
    "multi_query": {"grouped_query"},
    "talking_heads": {"multi_head"},
    "differential": {"global"},
    "rope": {"global"},
    "alibi": {"causal", "global"},
    "t5_bias": {"biased"},
    "shaw": {"global"},
    "softcap": {"global"},
    "softmax_plus_one": {"sinks"},
    "sinks": {"global"},
    "performer": {"linear"},
    "retention": {"linear"},
    "gated_linear": {"retention"},
    "delta_rule": {"linear"},
    "gated_delta": {"linear"},
    "state_space_dual": {"gated_linear"},
    "linformer": {"global"},
    "perceiver": {"cross"},
    "induced_set": {"cross"},
    "online_softmax": {"global", "causal"},
    "split_kv": {"global"},
    "ring": {"global"},
    "kv_cache": {"causal"},
    "paged": {"kv_cache"},
    "visual_attention": {"additive"},
    "object_queries": {"cross"},
}
BUILT = {one.words + " from " + one.source: one for one in edges()}


def test_the_table_has_every_edge_of_the_list() -> None:
    found: dict[str, set[str]] = {}
    for one in EDGES:
        found.setdefault(one.source, set()).add(one.target)
    assert found == BECOMES


def test_edges_have_words_of_their_own() -> None:
    told = [(one.source, one.words) for one in EDGES]
    assert sorted(set(told)) == sorted(told)


@pytest.mark.parametrize("words", BUILT)
def test_an_edge_holds_in_every_case_that_meets_its_hypotheses(words: str) -> None:
    verdict = judge(BUILT[words], examples=24)
    assert verdict.status in (Status.PROVED, Status.HELD) or verdict.expected, verdict.detail
    # Random draws rarely meet a hypothesis: the cases are made to.
    assert verdict.status is not Status.HELD or (verdict.cases or 0) >= 12


CAUSAL_IS_GLOBAL = edge("causal", "global", "always")
FALSE = {
    "causal attention is global": CAUSAL_IS_GLOBAL,
    "alignments are one": edge(
        Side("causal", {"align": "top_left"}), Side("causal", {"align": "bottom_right"}), "always"
    ),
    "a window of one is causal": edge(
        "sliding_window",
        "causal",
        "at window 1",
        given=lambda at: (Compare("==", at.parameter("window"), as_expr(1)),),
        parameters={"window": lambda _: 1},
    ),
    "a bias of one in some rows is none": edge(
        Side("biased", values={"bias": lambda head: as_expr(head.indices[3])}), "global", "always"
    ),
    "keys are values": edge(
        Side("global", values={"V": read("K", 0, 1, 2, 3)}, axes={"value_dim": "key_dim"}),
        Side("global", axes={"value_dim": "key_dim"}),
        "always",
    ),
}


@pytest.mark.parametrize("one", EDGES, ids=lambda one: f"{one.words} from {one.source}")
def test_the_statement_of_an_edge_has_its_hypotheses(one: Edge) -> None:
    # Sizes and parameters are drawn so that hypotheses are met; without these it is another claim.
    assert statement(one).hypotheses or not (one.sizes or one.parameters)


@pytest.mark.parametrize("name", FALSE)
def test_a_false_edge_is_refuted_with_a_small_witness(name: str) -> None:
    verdict = judge(FALSE[name], examples=40)
    assert (verdict.status, verdict.expected) == (Status.REFUTED, False)
    assert verdict.witness is not None
    assert max(verdict.witness.sizes.values()) <= 3


def known_to_fail(one: Edge, reason: str) -> Edge:
    return Edge(one.general, one.special, one.at, given=one.given, fails=reason)


def test_an_edge_that_is_known_to_fail_is_expected() -> None:
    report = verify_edges([known_to_fail(CAUSAL_IS_GLOBAL, "the mask hides keys")], examples=20)
    assert report.ok
    assert report.verdicts[0].expected
    assert "the mask hides keys" in report.verdicts[0].detail


def test_an_edge_that_holds_against_its_reason_spoils_the_report() -> None:
    true = edge(Side("biased", values={"bias": constant(0)}), "global", "at bias 0")
    report = verify_edges([known_to_fail(true, "so it says")], examples=8)
    assert not report.ok
    assert "so it says" in report.verdicts[0].detail


def test_ends_that_do_not_fit_say_why() -> None:
    with pytest.raises(AttnverifyError, match="indices"):
        statement(edge("additive", "global", "never"))
    with pytest.raises(AttnverifyError, match="nothing"):
        prepared(Side("global", values={"nothing": constant(0)}))


def test_the_lattice_is_a_graph_of_the_catalogue() -> None:
    graph = av.lattice()
    assert set(graph.nodes) == set(catalog())
    assert graph["biased"]["global"]["words"] == "global at bias 0"
    assert {one.target for one in graph["causal"]["global"]["edges"]} == {"global"}
    assert len(graph["causal"]["global"]["edges"]) == 2


def test_the_command_line_judges_edges(tmp_path: Path) -> None:
    path = tmp_path / "lattice.json"
    done = CliRunner().invoke(
        app, ["lattice", "biased", "--examples", "8", "--json", str(path)], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert "global at bias 0" in done.output
    assert Report.from_json(path).ok
    assert json.loads(path.read_text())["reports"][0]["spec"] == "biased"
    assert CliRunner().invoke(app, ["lattice", "biassed"]).exit_code == 2
