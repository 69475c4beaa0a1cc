"""The committed example is what its own JSON gives, and what judging again finds."""

from __future__ import annotations

from pathlib import Path

import pytest

import attnverify as av
from attnverify.verdict import Report
from examples.report import JUDGED, SPECS, TARGET, build
from tests.house import ROOT

COMMITTED = ROOT / TARGET


def pages(folder: Path) -> dict[str, str]:
    """Each page of a folder by its path in it."""
    found = folder.rglob("*.html")
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in found}


def statuses(report: Report) -> list[tuple[str, str, str, str]]:
    return [
        (section.spec, section.subject or "", verdict.name, verdict.status.value)
        for section in report.sections
        for verdict in section.verdicts
    ]


def test_the_committed_pages_are_those_of_the_committed_json(tmp_path: Path) -> None:
    report = Report.from_json(COMMITTED / "report.json")
    av.write_html(report, tmp_path / "index.html")
    assert pages(tmp_path) == pages(COMMITTED), "stale: run `tox run -e report` and commit"
    assert len(report.sections) == len(SPECS) + len(JUDGED)
    assert not any(verdict.seconds for verdict in report.verdicts)


def test_the_example_shows_a_right_kernel_and_wrong_ones_named() -> None:
    report = Report.from_json(COMMITTED / "report.json")
    fails = {section.subject for section in report.sections if section.failures}
    assert fails == {f"examples/{name.replace(':', '.py:')}" for name, _ in JUDGED[1:]}
    assert "lets each query see one key too many ahead" in pages(COMMITTED)["index.html"]


@pytest.mark.slow
def test_judging_again_gives_the_committed_verdicts(tmp_path: Path) -> None:
    committed = Report.from_json(COMMITTED / "report.json")
    assert statuses(build(tmp_path)) == statuses(committed)
