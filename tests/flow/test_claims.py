"""The ledger: every sentence is judged in its own direction, and a wrong ledger is not ok."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from attnverify.claims import (
    LEDGER,
    Claim,
    claims,
    costs,
    definition,
    influence,
    judged,
    learning,
    reach,
)
from attnverify.claims.claim import all_of, met, section
from attnverify.claims.family import one_family
from attnverify.cli import app
from attnverify.report import render_html
from attnverify.verdict import Report, Status, Verdict

HELD = Verdict("x", Status.HELD, "so", scope="here")
FALSE = Verdict("x", Status.REFUTED, "not so", scope="here", expected=True)


@pytest.mark.parametrize(
    ("claim", "status", "expected"),
    [
        (Claim("a", lambda: HELD), Status.HELD, False),
        # What an invariant announces is no excuse for the ledger.
        (Claim("a", lambda: FALSE), Status.REFUTED, False),
        (Claim("a", lambda: FALSE, fails="known"), Status.REFUTED, True),
        (Claim("a", lambda: HELD, fails="known"), Status.REFUTED, False),
        (Claim("a", lambda: FALSE, experiment=True), Status.REFUTED, True),
        (Claim("a", lambda: HELD, experiment=True), Status.HELD, False),
    ],
)
def test_a_claim_is_judged_in_its_own_direction(
    claim: Claim, status: Status, expected: bool
) -> None:
    verdict = judged(claim)
    assert (verdict.name, verdict.status, verdict.expected) == ("a", status, expected)
    assert Report((section("s", "w", [claim]),)).ok == (status is not Status.REFUTED or expected)


def test_several_verdicts_are_as_weak_as_the_weakest() -> None:
    proved = Verdict("p", Status.PROVED, "sure")
    assert all_of(proved, HELD).status is Status.HELD
    assert all_of(proved, FALSE, HELD).status is Status.REFUTED
    assert all_of(proved, HELD).detail == "sure; so"
    assert met([], "m", "d").status is Status.REFUTED


def test_every_part_has_claims_that_hold_and_claims_that_fail() -> None:
    rows = [claim for _, _, found in LEDGER for claim in found]
    assert len({claim.says for claim in rows}) == len(rows)
    for title, _, found in LEDGER:
        if title not in ("Theory beside measurement", "Long sequences"):
            assert any(claim.fails for claim in found), title
            assert any(not claim.fails for claim in found), title


CHEAP = (
    *definition.CLAIMS, *reach.CLAIMS[:4], *costs.CLAIMS, *influence.CLAIMS[2:],
)  # fmt: skip


@pytest.mark.parametrize("claim", CHEAP, ids=[claim.says for claim in CHEAP])
def test_a_claim_comes_out_as_the_ledger_says(claim: Claim) -> None:
    verdict = judged(claim)
    assert (verdict.status is Status.REFUTED) == bool(claim.fails), verdict.detail
    assert verdict.expected == bool(claim.fails)
    assert verdict.scope
    assert verdict.detail


def test_weights_with_the_same_output_are_weights() -> None:
    found = influence.others(12, 4, 0)
    assert found is not None
    P, Q, V = found
    assert (Q >= 0).all()
    assert abs(P - Q).sum() > 0.01
    assert influence.others(5, 4, 0) is None
    assert np.abs(P @ V - Q @ V).max() < 1e-12


def test_a_family_with_an_edge_that_does_not_hold_is_refuted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("attnverify.claims.family.judge", lambda _edge, _cases: FALSE)
    assert one_family(["biased", "global"]).status is Status.REFUTED
    assert one_family(["causal"]).status is Status.UNDECIDED


@pytest.mark.slow
def test_the_whole_ledger_is_ok_and_its_page_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An experiment may go either way: a few steps of it show that it is told.
    monkeypatch.setattr(learning, "SETTING", replace(learning.SETTING, steps=3, seeds=2))
    learning.trained.cache_clear()
    html, told = tmp_path / "flow.html", tmp_path / "flow.json"
    done = CliRunner().invoke(app, ["flow", "--claims", "--html", str(html), "--json", str(told)])
    assert done.exit_code == 0, done.output
    report = Report.from_json(told)
    assert len(report.verdicts) == sum(len(found) for _, _, found in LEDGER)
    assert all(verdict.scope and verdict.detail for verdict in report.verdicts)
    assert not {verdict.status for verdict in report.verdicts} & {Status.UNDECIDED}
    page = html.read_text(encoding="utf-8")
    assert page == render_html(report)
    assert page.count("<figure") > 15
    assert "(log scale)" in page
    assert len(json.loads(told.read_text())["reports"]) == len(LEDGER)
    learning.trained.cache_clear()


def test_claims_are_told_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    monkeypatch.setattr(
        "attnverify.claims.LEDGER", (("one", "words", (Claim("a", lambda: HELD),)),)
    )
    report = claims(lambda title, verdict: heard.append(f"{title}: {verdict.name}"))
    assert heard == ["one: a"]
    assert report.sections[0].figures["kind"] == "claims"
