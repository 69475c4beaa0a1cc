"""Markdown: a summary for the page of a pull request or of a run, failures first."""

from __future__ import annotations

import re

from attnverify.report.words import counts, line, title, told, worst_first
from attnverify.verdict import Report, Section, Verdict

# Every mark that Markdown might read; a backslash before each shows it as it is.
_MARKS = re.compile(r"([!-/:-@\[-`{-~])")
MARKS = {"PROVED": "■", "HELD": "●", "REFUTED": "◆", "UNDECIDED": "?", "expected": "◇"}
# Rows that a summary lists; the whole stands in the page and in the JSON.
FAILURES, SECTIONS = 50, 200


def markdown(report: Report) -> str:
    """The report as Markdown: the outcome, what fails and how to replay it, and a table."""
    failing = [(s, v) for s in report.sections for v in worst_first(s) if s.fails(v)]
    parts = [f"## attnverify: {_outcome(report, len(failing))}", _count(report)]
    parts += [_failure(section, verdict) for section, verdict in failing[:FAILURES]]
    if len(failing) > FAILURES:
        parts.append(f"and {len(failing) - FAILURES} more failures.")
    if report.sections:
        parts.append(_table(report.sections))
    return "\n\n".join(parts) + "\n"


def _outcome(report: Report, failures: int) -> str:
    if failures:
        return f"{failures} of {len(report.verdicts)} verdicts fail"
    return "no failure" if report.verdicts else "nothing judged"


def _count(report: Report) -> str:
    found = {"REFUTED, expected" if k == "expected" else k: n for k, n in counts(report).items()}
    return " · ".join(f"**{number}** {word}" for word, number in found.items() if number) or "—"


def _failure(section: Section, verdict: Verdict) -> str:
    head = f"### {MARKS[verdict.status.value]} {_plain(verdict.name)}: {_plain(title(section))}"
    return "\n\n".join([head, _code(told(verdict))])


def _table(sections: tuple[Section, ...]) -> str:
    rows = ["| | proved | held | refuted | undecided | expected |", "|---|--:|--:|--:|--:|--:|"]
    for section in sections[:SECTIONS]:
        found = counts(Report((section,)))
        keys = ("PROVED", "HELD", "REFUTED", "UNDECIDED", "expected")
        cells = " | ".join(str(found[key] or "") for key in keys)
        rows.append(f"| {_plain(title(section))} | {cells} |")
    if len(sections) > SECTIONS:
        rows.append(f"| and {len(sections) - SECTIONS} more | | | | | |")
    return "\n".join(rows)


def _plain(text: str) -> str:
    """Text on one line, with nothing in it that is read as Markdown or HTML."""
    return _MARKS.sub(r"\\\1", line(text)).replace(r"\&", "&amp;").replace(r"\<", "&lt;")


def _code(text: str) -> str:
    """Text in a fence longer than any that it holds."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
