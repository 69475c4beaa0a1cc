"""JUnit, Markdown, SARIF and GitHub's annotations say what the report says, and obey nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnverify.errors import ReportError
from attnverify.report.forms import FORMS, form_of, write_form
from attnverify.report.forms.github import github
from attnverify.report.forms.junit import junit
from attnverify.report.forms.markdown import markdown
from attnverify.report.forms.sarif import sarif
from attnverify.verdict import Report, Section, Status, Verdict
from tests.pages import BAD, HOSTILE, REPLAY, SPEC, WHOLE, everywhere

FINE_ALONE = Report((SPEC,))
IN_A_FILE = Report((Section("causal", (BAD,), "src/my kernel.py:attention"),))


def parsed(report: Report) -> ET.Element:
    """JUnit as a reader takes it; what is read was written here."""
    return ET.fromstring(junit(report))  # noqa: S314  our own text, not somebody's


def test_junit_has_a_case_for_each_verdict() -> None:
    root = parsed(WHOLE)
    assert root.attrib == {"name": "attnverify", "tests": "6", "failures": "2", "skipped": "1"}
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["causal", "m:f against causal"]
    found = {case.get("name"): [part.tag for part in case] for case in root.iter("testcase")}
    assert found == {
        "rows sum to one": ["system-out"], "convex hull": ["system-out"],
        "equivariance": ["system-out"], "second order": ["skipped"],
        "forward O": ["failure"], "backward dQ": ["failure"],
    }  # fmt: skip
    failure = next(root.iter("failure"))
    assert failure.attrib == {"type": "REFUTED", "message": "differs"}
    for words in ("batch=1 queries=2", "0.125", "0.75", f"replay: {REPLAY}"):
        assert words in (failure.text or "")


def test_markdown_tells_the_outcome_each_failure_and_a_table() -> None:
    found = markdown(WHOLE)
    assert found.startswith("## attnverify: 2 of 6 verdicts fail\n")
    assert "**1** PROVED · **1** HELD · **1** REFUTED · **2** UNDECIDED" in found
    assert f"replay: {REPLAY}\n```" in found
    assert "| m\\:f against causal |  |  | 1 | 1 |  |" in found
    assert "no failure" in markdown(FINE_ALONE)
    assert "nothing judged" in markdown(Report())
    many = tuple(Verdict(f"n{n}", Status.REFUTED) for n in range(70))
    assert "and 20 more failures" in markdown(Report((Section("causal", many),)))


def test_github_gets_a_line_for_each_failure_at_its_file() -> None:
    assert github(FINE_ALONE) == ""
    (line,) = github(IN_A_FILE).splitlines()
    title = "forward O%3A src/my kernel.py%3Aattention against causal"
    assert line.startswith(f"::error file=src/my kernel.py,title={title}::REFUTED: differs%0A")
    assert github(WHOLE).count("::error title=") == 2


def test_sarif_has_a_result_for_each_failure_at_its_file() -> None:
    found = json.loads(sarif(IN_A_FILE))
    assert (found["version"], len(found["runs"])) == ("2.1.0", 1)
    run = found["runs"][0]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["forward O"]
    (result,) = run["results"]
    assert (result["ruleId"], result["ruleIndex"], result["level"]) == ("forward O", 0, "error")
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "src/my%20kernel.py"
    assert REPLAY in result["message"]["text"]
    assert json.loads(sarif(FINE_ALONE))["runs"][0]["results"] == []
    assert "physicalLocation" not in sarif(WHOLE)


def checked(report: Report) -> None:
    """Each form of the report is well formed, whatever its words are."""
    root = parsed(report)
    assert len(list(root.iter("testcase"))) == len(report.verdicts)
    assert len(json.loads(sarif(report))["runs"][0]["results"]) == len(report.failures)
    lines = github(report).splitlines()
    assert len(lines) == len(report.failures)
    assert all(one.startswith("::error ") for one in lines)
    outside = re.sub(r"(?ms)^(`{3,})text\n.*?^\1$", "", markdown(report))
    assert not re.search(r"(?<!\\)[<>`\[]|^(?:    |\t)", outside, re.MULTILINE)
    for form in FORMS.values():
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", form(report))


@pytest.mark.parametrize("words", [*HOSTILE, "```\n# head", "::error::x%0A\r\n::stop", "|a|\n|-|"])
def test_hostile_text_is_inert_in_every_form(words: str) -> None:
    checked(everywhere(words))


@given(st.text(st.characters(), max_size=40))
def test_any_text_is_inert_in_every_form(words: str) -> None:
    checked(everywhere(words))


NAMED: list[tuple[str, tuple[str, str]]] = [
    ("results.xml", ("junit", "results.xml")), ("a/b.MD", ("markdown", "a/b.MD")),
    ("scan.sarif", ("sarif", "scan.sarif")), ("github:-", ("github", "-")),
    ("junit:out.txt", ("junit", "out.txt")), ("C:\\x\\r.json", ("json", "C:\\x\\r.json")),
]  # fmt: skip


@pytest.mark.parametrize(("target", "due"), NAMED)
def test_a_form_is_named_or_known_by_its_ending(target: str, due: tuple[str, str]) -> None:
    assert form_of(target) == due


@pytest.mark.parametrize("target", ["results.txt", "", "pdf:x.pdf", "html:-", "json:-"])
def test_a_form_that_is_not_known_is_refused(target: str) -> None:
    with pytest.raises(ReportError):
        form_of(target)


WRITTEN: list[tuple[str, Any]] = [
    ("r.xml", junit(WHOLE)), ("r.md", markdown(WHOLE)), ("r.sarif", sarif(WHOLE)),
    ("github:r.txt", github(WHOLE)),
]  # fmt: skip


@pytest.mark.parametrize(("target", "due"), WRITTEN)
def test_a_form_is_written_or_printed(
    target: str, due: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert write_form(WHOLE, target) == ""
    form, path = form_of(target)
    assert Path(path).read_text(encoding="utf-8") == due
    assert write_form(WHOLE, f"{form}:-") == due


def test_pages_and_data_are_written_too(tmp_path: Path) -> None:
    for ending in ("html", "json"):
        assert write_form(WHOLE, str(tmp_path / f"r.{ending}")) == ""
    assert Report.from_json(tmp_path / "r.json").verdicts == WHOLE.verdicts
