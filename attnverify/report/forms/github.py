"""GitHub annotations: a line for each failure, which its Actions show beside the file."""

from __future__ import annotations

from attnverify.report.forms.place import file_of
from attnverify.report.words import line, title, told
from attnverify.verdict import Report, Section, Verdict


def github(report: Report) -> str:
    """Workflow commands, one to a line, for what fails the report.

    >>> from attnverify.verdict import Section, Status, Verdict
    >>> bad = Verdict("forward O", Status.REFUTED, "half of it")
    >>> print(github(Report((Section("causal", (bad,), "k.py:f"),))).strip())
    ::error file=k.py,title=forward O%3A k.py%3Af against causal::REFUTED: half of it
    """
    rows = [(s, v) for s in report.sections for v in s.verdicts if s.fails(v)]
    return "".join(f"{_command(section, verdict)}\n" for section, verdict in rows)


def _command(section: Section, verdict: Verdict) -> str:
    file = file_of(section)
    place = [f"file={_property(file)}"] if file else []
    name = _property(f"{line(verdict.name)}: {title(section)}")
    return f"::error {','.join([*place, f'title={name}'])}::{_data(told(verdict))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
