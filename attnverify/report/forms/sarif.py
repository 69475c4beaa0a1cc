"""SARIF 2.1.0: what fails, as results that code scanning reads (OASIS SARIF 2.1.0, 2020)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from attnverify.report.forms.place import file_of
from attnverify.report.words import line, title, told
from attnverify.verdict import Report, Section, Verdict

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def sarif(report: Report) -> str:
    """The failures of a report as one run of a tool, a rule for each name of a verdict."""
    rows = [(s, v) for s in report.sections for v in s.verdicts if s.fails(v)]
    names = list(dict.fromkeys(line(verdict.name) for _, verdict in rows))
    driver = {
        "name": "attnverify",
        "version": line(report.environment.get("attnverify", "0")),
        "rules": [{"id": name, "shortDescription": {"text": name}} for name in names],
    }
    results = [_result(section, verdict, names) for section, verdict in rows]
    run = {"tool": {"driver": driver}, "results": results}
    found = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _result(section: Section, verdict: Verdict, names: list[str]) -> dict[str, Any]:
    name, file = line(verdict.name), file_of(section)
    place: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": title(section)}]}
    if file:
        artifact = {"artifactLocation": {"uri": quote(file)}, "region": {"startLine": 1}}
        place["physicalLocation"] = artifact
    return {
        "ruleId": name,
        "ruleIndex": names.index(name),
        "level": "error",
        "message": {"text": f"{title(section)}\n{told(verdict)}"},
        "locations": [place],
    }
