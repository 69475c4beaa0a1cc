"""JUnit XML: a test suite for each section, a test case for each verdict.

The form that continuous integration reads: `testsuites`, `testsuite`, `testcase` with `failure` or
`skipped`. A verdict that fails the report is a failure; one that is UNDECIDED without failing it is
skipped, so that it is never counted as passed.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from attnverify.report.words import clean, line, title, told
from attnverify.verdict import Report, Section, Status, Verdict

# What no XML document may hold, even as a reference; control characters are written out before.
_FORBIDDEN = re.compile("[\ufffe\uffff]")


def junit(report: Report) -> str:
    """The report as one XML document."""
    root = ET.Element("testsuites", _counts(report.sections) | {"name": "attnverify"})
    for section in report.sections:
        suite = ET.SubElement(root, "testsuite", {"name": _xml(title(section))})
        suite.attrib.update(_counts((section,)))
        for verdict in section.verdicts:
            _case(suite, section, verdict)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _counts(sections: tuple[Section, ...]) -> dict[str, str]:
    rows = [(section, verdict) for section in sections for verdict in section.verdicts]
    fails = sum(section.fails(verdict) for section, verdict in rows)
    skipped = sum(_skipped(section, verdict) for section, verdict in rows)
    return {"tests": str(len(rows)), "failures": str(fails), "skipped": str(skipped)}


def _skipped(section: Section, verdict: Verdict) -> bool:
    return verdict.status is Status.UNDECIDED and not section.fails(verdict)


def _case(suite: ET.Element, section: Section, verdict: Verdict) -> None:
    names = {"classname": _xml(title(section)), "name": _xml(line(verdict.name))}
    case = ET.SubElement(suite, "testcase", names | {"time": f"{verdict.seconds:.3f}"})
    if section.fails(verdict):
        head = {"type": verdict.status.value, "message": _xml(line(verdict.detail))}
        ET.SubElement(case, "failure", head).text = _xml(told(verdict))
    elif _skipped(section, verdict):
        ET.SubElement(case, "skipped", {"message": _xml(line(verdict.detail))})
    else:
        ET.SubElement(case, "system-out").text = _xml(told(verdict))


def _xml(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", clean(text, len(text)))
