"""Check the certificates of a report again, apart from whatever proved them.

What is claimed is made anew from the spec that the report keeps and from the table of invariants; a
certificate proves that, or it is rejected.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from attnverify.certify import Rejected, check, parts, steps_of
from attnverify.certify.check import QUESTION
from attnverify.errors import AttnverifyError
from attnverify.invariants import applicable, roles
from attnverify.serial import from_json
from attnverify.statement import Statement
from attnverify.verdict import Report, Section, Status, Verdict


@dataclass(frozen=True)
class Rechecked:
    """What became of one PROVED: `fault` where it is rejected, else how much was checked.

    `apart` says why a certificate was not checked, where it is honest about that itself.
    """

    section: str
    verdict: str
    steps: int = 0
    questions: int = 0
    fault: str = ""
    apart: str = ""


def recheck(report: Report) -> Iterator[Rechecked]:
    """Check again every PROVED of a report, in order.

    >>> from attnverify import verify
    >>> found = list(recheck(verify("global", examples=2)))
    >>> [row for row in found if row.fault]
    []
    >>> [row.verdict for row in found if row.apart]
    []
    >>> all(row.steps for row in found)
    True
    """
    for section in report.sections:
        proved = [verdict for verdict in section.verdicts if verdict.status is Status.PROVED]
        if proved:
            asked = _statements(section)
            yield from (_verdict(section, verdict, asked) for verdict in proved)


def _statements(section: Section) -> dict[str, tuple[Statement, ...]] | str:
    """What each invariant claims of a section's spec, or why that is not known."""
    tree: Any = section.figures.get("spec")
    if not isinstance(tree, dict):
        return "the report keeps no spec for this section"
    try:
        spec = from_json(json.dumps(tree))
        found = roles(spec)
        rows = [row for row, reason in applicable(spec) if not reason]
        return {row.name: tuple(row.statements(found)) for row in rows}
    except AttnverifyError as error:
        return f"the report's spec cannot be read: {error}"


def _verdict(
    section: Section, verdict: Verdict, asked: dict[str, tuple[Statement, ...]] | str
) -> Rechecked:
    where = (section.spec, verdict.name)
    if isinstance(asked, str):
        return Rechecked(*where, apart=asked)
    if verdict.name not in asked:
        return Rechecked(*where, apart="it is no invariant of the table")
    statements, found = asked[verdict.name], list(parts(verdict.certificate))
    if len(statements) != len(found):
        due = f"{len(statements)} statements are claimed"
        return Rechecked(*where, fault=f"{due}, {len(found)} are proved")
    steps = questions = 0
    for statement, part in zip(statements, found, strict=True):
        lines = steps_of(part)
        if lines is None:
            return Rechecked(*where, apart=part[-1])
        try:
            check(statement, lines)
        except Rejected as reason:
            return Rechecked(*where, fault=f"{statement.text()}: {reason}")
        asked_z3 = sum(line.startswith(QUESTION) for line in lines)
        steps, questions = steps + len(lines) - asked_z3, questions + asked_z3
    return Rechecked(*where, steps=steps, questions=questions)
