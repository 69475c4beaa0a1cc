"""Verdict, Section and Report: what was found, as frozen data that pages and texts are views of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from attnverify.errors import RefutedError, ReportError
from attnverify.verdict.plain import (
    Fields,
    decoded,
    parsed,
    plain,
    printed,
    read_text,
    write_text,
)
from attnverify.verdict.witness import Witness

SCHEMA = 1
COMPARISONS = ("forward", "backward")


class Status(StrEnum):
    """How sure a statement is; the four are never merged into one tick.

    PROVED is true in real arithmetic, for all sizes or the scope stated, with its certificate;
    HELD is true in the cases tried; REFUTED is false, with a witness; UNDECIDED is none of these,
    and says why.
    """

    PROVED = "PROVED"
    HELD = "HELD"
    REFUTED = "REFUTED"
    UNDECIDED = "UNDECIDED"


@dataclass(frozen=True)
class Verdict:
    """One statement and what became of it.

    `expected` marks a failure that the spec announces as a property of the variant. `cases` is how
    many were tried, `scope` for which sizes or parameters it holds, `certificate` the steps of a
    proof, `replay` the command that shows the witness again, `evidence` whatever else a page may
    draw.

    >>> Verdict("rows sum to one", "HELD", cases=50).status
    <Status.HELD: 'HELD'>
    """

    name: str
    status: Status
    detail: str = ""
    expected: bool = False
    seconds: float = 0.0
    cases: int | None = None
    scope: str = ""
    witness: Witness | None = None
    replay: str = ""
    certificate: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        cases = None if self.cases is None else int(self.cases)
        evidence = plain(self.evidence, f"the evidence of {self.name}")
        object.__setattr__(self, "status", Status(self.status))
        object.__setattr__(self, "expected", bool(self.expected))
        object.__setattr__(self, "seconds", float(self.seconds))
        object.__setattr__(self, "cases", cases)
        object.__setattr__(self, "certificate", tuple(str(step) for step in self.certificate))
        object.__setattr__(self, "evidence", evidence)

    @property
    def compares(self) -> bool:
        """Whether this is a comparison of a subject with the oracle, forward or backward."""
        return self.name.startswith(COMPARISONS)

    def plain(self) -> dict[str, Any]:
        """The verdict as `encoded` takes it."""
        return {
            "name": self.name, "status": self.status.value, "detail": self.detail,
            "expected": self.expected, "seconds": self.seconds, "cases": self.cases,
            "scope": self.scope, "witness": self.witness and self.witness.plain(),
            "replay": self.replay, "certificate": list(self.certificate), "evidence": self.evidence,
        }  # fmt: skip

    @classmethod
    def read(cls, fields: Fields) -> Verdict:
        """The verdict that a JSON object tells; ReportError where it is malformed."""
        witness = fields.values.get("witness")
        return cls(
            name=fields.text("name"),
            status=_status(fields),
            detail=fields.text("detail", ""),
            expected=fields.flag("expected", default=False),
            seconds=fields.number("seconds", 0.0),
            cases=fields.whole_or_none("cases"),
            scope=fields.text("scope", ""),
            witness=witness and Witness.read(Fields.of(witness, f"{fields.where}.witness")),
            replay=fields.text("replay", ""),
            certificate=fields.texts("certificate"),
            evidence=decoded(fields.mapping("evidence")),
        )


def _status(fields: Fields) -> Status:
    found = fields.text("status")
    try:
        return Status(found)
    except ValueError:
        raise ReportError(
            "the report is malformed",
            at=f"{fields.where}.status",
            found=found,
            due=", ".join(Status),
        ) from None


@dataclass(frozen=True)
class Section:
    """The verdicts on one spec, or on one subject against one spec.

    `figures` holds what a page shows beside them: "description", "equations" and "gradient" (lists
    of {"name", "text", "latex"}), "source", "notes".
    """

    spec: str
    verdicts: tuple[Verdict, ...] = ()
    subject: str | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "verdicts", tuple(self.verdicts))
        object.__setattr__(self, "figures", plain(self.figures, f"the figures of {self.spec}"))

    @property
    def failures(self) -> tuple[Verdict, ...]:
        """The verdicts that make the report not ok, in order."""
        return tuple(verdict for verdict in self.verdicts if self.fails(verdict))

    def fails(self, verdict: Verdict) -> bool:
        """Whether a verdict makes the report not ok when it stands in this section."""
        if verdict.status is Status.UNDECIDED:
            # A subject is not passed by a comparison that could not see a fault.
            return self.subject is not None and verdict.compares
        return verdict.status is Status.REFUTED and not verdict.expected

    def plain(self) -> dict[str, Any]:
        """The section as `encoded` takes it."""
        verdicts = [verdict.plain() for verdict in self.verdicts]
        return {
            "spec": self.spec, "subject": self.subject, "verdicts": verdicts,
            "figures": self.figures,
        }  # fmt: skip

    @classmethod
    def read(cls, fields: Fields) -> Section:
        """The section that a JSON object tells; ReportError where it is malformed."""
        return cls(
            spec=fields.text("spec"),
            verdicts=tuple(Verdict.read(child) for child in fields.children("verdicts")),
            subject=fields.text_or_none("subject"),
            figures=decoded(fields.mapping("figures")),
        )


@dataclass(frozen=True)
class Report:
    """Sections of verdicts, and the environment that they were found in.

    >>> Report((Section("causal", (Verdict("rows sum to one", "HELD"),)),)).ok
    True
    """

    sections: tuple[Section, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        environment = {str(name): str(fact) for name, fact in self.environment.items()}
        object.__setattr__(self, "sections", tuple(self.sections))
        object.__setattr__(self, "environment", environment)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """All verdicts of all sections."""
        return tuple(verdict for section in self.sections for verdict in section.verdicts)

    @property
    def comparisons(self) -> tuple[Verdict, ...]:
        """Those that compare a subject with the oracle, forward or backward."""
        return tuple(verdict for verdict in self.verdicts if verdict.compares)

    @property
    def failures(self) -> tuple[tuple[Section, Verdict], ...]:
        """Each verdict that makes the report not ok, with its section."""
        return tuple((section, bad) for section in self.sections for bad in section.failures)

    @property
    def ok(self) -> bool:
        """No REFUTED that is not expected and, for a subject, no comparison UNDECIDED."""
        return not self.failures

    def raise_if_refuted(self) -> Report:
        """The report itself where it is ok; RefutedError with the verdicts where it is not."""
        failures = self.failures
        if not failures:
            return self
        section, worst = failures[0]
        others = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
        raise RefutedError(
            f"{section.subject or section.spec}: {worst.name} is {worst.status}{others}",
            verdicts=[verdict for _, verdict in failures],
            spec=section.spec,
            detail=worst.detail,
            **(worst.witness.parts() if worst.witness else {}),
            replay=worst.replay,
        )

    def to_json(self, path: str | Path | None = None) -> str:
        """The report as strict JSON text, written to a file too where a path is given."""
        sections = [section.plain() for section in self.sections]
        text = printed(
            {"schema": self.schema, "reports": sections, "environment": self.environment}
        )
        if path is not None:
            write_text(Path(path), text + "\n")
        return text

    @classmethod
    def from_json(cls, source: str | Path) -> Report:
        """A report from JSON text or from the path of a file; ReportError where it is malformed.

        >>> Report.from_json('{"schema": 1, "reports": []}').ok
        True
        """
        given = isinstance(source, str) and source.lstrip()[:1] in tuple('{["')
        text = str(source) if given else read_text(Path(source))
        fields = Fields.of(parsed(text, "the text" if given else str(source)), "")
        schema = fields.whole_or_none("schema")
        if schema != SCHEMA:
            raise ReportError(
                "the report has another schema", found=schema, due=SCHEMA,
                hint="render it with the version of attnverify that wrote it",
            )  # fmt: skip
        sections = tuple(Section.read(child) for child in fields.children("reports"))
        return cls(sections, _environment(fields), schema)

    @classmethod
    def merged(cls, reports: Iterable[Report]) -> Report:
        """All sections in one report; facts of the environment that differ are told side by side.

        >>> one, two = Report(environment={"os": "a"}), Report(environment={"os": "b"})
        >>> Report.merged([one, two]).environment
        {'os': 'a | b'}
        """
        sections: list[Section] = []
        environment: dict[str, str] = {}
        for report in reports:
            sections.extend(report.sections)
            for name, fact in report.environment.items():
                told = environment.setdefault(name, fact)
                if fact not in told.split(" | "):
                    environment[name] = f"{told} | {fact}"
        return cls(tuple(sections), environment)


def _environment(fields: Fields) -> dict[str, str]:
    found = Fields(fields.mapping("environment"), "environment")
    return {name: found.text(name) for name in found.values}
