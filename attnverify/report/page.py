"""What the page shows, drawn from a Report and nothing else: rows, anchors and words, no markup."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from attnverify.report.graph import Step, graph
from attnverify.report.parts import Family, Matrix, Page, Part, Placed, Row, Support, spec_name
from attnverify.report.picture import mask_picture, picture, weights_picture
from attnverify.report.plot import plot
from attnverify.report.words import (
    clean,
    counts,
    explanations,
    kind,
    line,
    reach,
    title,
    worst_first,
)
from attnverify.verdict import Report, Section, Verdict
from attnverify.verdict.figure import Table

LABEL = 80
CELL, ROWS = 200, 200
SOURCE = 60_000
# One function alone is no table.
LEAST = 2


@dataclass
class Anchors:
    """Names that the page's places go by: readable, and each given once."""

    taken: dict[str, int] = field(default_factory=dict)

    def new(self, *words: str) -> str:
        """An anchor of these words, with a number behind it where they were used before."""
        slugs = (re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")[:48] for word in words)
        anchor = "--".join(slug or "x" for slug in slugs)
        self.taken[anchor] = self.taken.get(anchor, 0) + 1
        # Words have no `---` in them, so a numbered anchor is nobody else's.
        return anchor if self.taken[anchor] == 1 else f"{anchor}---{self.taken[anchor]}"


def page(report: Report, folder: str = "") -> Page:
    """Everything the template needs, failures first; the sections in a folder, if one is told."""
    anchors = Anchors()
    parts = [_part(section, anchors, folder) for section in report.sections]
    parts.sort(key=lambda part: not part.fails)
    # A family's first member stands for all of it.
    homes = {part.name: part for part in reversed(parts) if not part.subject}
    parts = [_beside(part, homes) for part in parts]
    claims = tuple(part for part in parts if part.claims)
    specs = tuple(part for part in parts if not part.subject and not part.claims)
    subjects = tuple(part for part in parts if part.subject)
    families = _families(specs)
    compared = tuple(Family(part.title, (part,)) for part in subjects if not part.function)
    matrices = [
        _matrix("Specs by statements", "spec", families),
        _matrix("Subjects by comparisons", "subject", compared),
    ]
    return Page(
        title=_title(parts, _extent(specs, subjects, claims)),
        partial=line(report.environment.get("interrupted", "")),
        verdicts=len(report.verdicts),
        tally=tuple(counts(report).items()),
        failures=tuple((part, row) for part in parts for row in part.rows if row.fails),
        matrices=tuple(matrix for matrix in matrices if matrix.lines),
        lattice=graph(_steps(parts), {n: f"{part.href}#{part.id}" for n, part in homes.items()}),
        support=_support(tuple(part for part in subjects if part.function)),
        specs=specs,
        families=families,
        subjects=subjects,
        claims=claims,
        environment=tuple((line(k), line(v)) for k, v in sorted(report.environment.items())),
        folder=folder,
    )


def _steps(parts: list[Part]) -> tuple[Step, ...]:
    """Which spec becomes which other: as verdicts of this report, or as its sections tell."""
    specs = [part for part in parts if not part.subject]
    judged = [
        Step(part.name, row.becomes, row.name, f"{part.href}#{row.id}", row.kind)
        for part in specs
        for row in part.rows
        if row.becomes
    ]
    known = {(step.source, step.words) for step in judged}
    told = [
        replace(step, href=f"{part.href}#{part.id}--becomes")
        for part in specs
        for step in part.becomes
        if (step.source, step.words) not in known
    ]
    return (*judged, *told)


def _beside(part: Part, homes: Mapping[str, Part]) -> Part:
    """The part with what it becomes linked to where that is, as seen from its own page."""

    def place(name: str) -> str:
        home = homes.get(name)
        if home is None:
            return ""
        return f"{quote(Path(home.file).name)}#{home.id}"

    return replace(part, becomes=tuple(replace(s, href=place(s.target)) for s in part.becomes))


def _title(parts: list[Part], extent: str) -> str:
    """The one part's own title, or how much there is of what."""
    if len(parts) == 1:
        return parts[0].title
    functions = sum(part.function is not None for part in parts)
    return f"Conventions of {functions} functions" if functions == len(parts) > 0 else extent


def _extent(specs: tuple[Part, ...], subjects: tuple[Part, ...], claims: tuple[Part, ...]) -> str:
    """How many specs, subjects and claims there are; a spec has a member for each choice."""
    names = {part.title.split(" (")[0] for part in specs}
    told = (
        (len(names), "spec"),
        (len(subjects), "subject"),
        (sum(len(part.rows) for part in claims), "claim"),
    )
    words = [f"{count} {noun}{'s' * (count != 1)}" for count, noun in told if count]
    if len(names) < len(specs):
        words[0] += f" in {len(specs)} members"
    return " and ".join(words) or "nothing judged"


def _part(section: Section, anchors: Anchors, folder: str) -> Part:
    figures = section.figures
    words = (
        ("subject", section.subject, section.spec) if section.subject else ("spec", section.spec)
    )
    anchor = anchors.new(*words)
    # On a page of its own a verdict goes by its name alone.
    about = () if folder else (section.subject or section.spec,)
    known = Anchors({anchor: 1}) if folder else anchors
    rows = tuple(
        _row(section, verdict, known.new(*about, verdict.name)) for verdict in worst_first(section)
    )
    described = [" ".join(text.split()) for text in clean(figures.get("description")).split("\n\n")]
    return Part(
        id=anchor,
        title=title(section),
        spec=line(section.spec),
        subject=line(section.subject or ""),
        lead=described[0],
        paragraphs=tuple(described[1:]),
        fails=bool(section.failures),
        asked=tuple(line(verdict.name) for verdict in section.verdicts),
        topics=tuple(line(v.evidence["topic"]) for v in section.verdicts if "topic" in v.evidence),
        rows=rows,
        tally=tuple((k, n) for k, n in counts(Report((section,))).items() if n),
        equations=_equations(figures.get("equations")),
        gradient=_equations(figures.get("gradient")),
        source=clean(figures.get("source") or "", SOURCE),
        notes=_notes(figures.get("notes")),
        weights=weights_picture(figures.get("weights")),
        mask=mask_picture(figures.get("weights")),
        cost=_equations(figures.get("cost")),
        flow=plot(figures.get("flow")),
        errors=plot(figures.get("errors")),
        bugs=_bugs(figures.get("bugs")),
        becomes=_becomes(section),
        claims=figures.get("kind") == "claims" and not section.subject,
        function=(line(figures["library"]), line(figures.get("function")))
        if "library" in figures
        else None,
        file=f"{folder}/{anchor.removeprefix('spec--')}.html" if folder else "",
    )


def _row(section: Section, verdict: Verdict, anchor: str) -> Row:
    witness = verdict.witness.parts() if verdict.witness else {}
    return Row(
        id=anchor,
        name=line(verdict.name),
        kind=kind(verdict),
        status=verdict.status.value,
        fails=section.fails(verdict),
        expected=verdict.expected,
        detail=clean(verdict.detail),
        reach=reach(verdict),
        facts=(
            *((name, clean(value)) for name, value in witness.items()),
            *explanations(verdict),
        ),
        # Cut short, a command cannot be pasted.
        replay=clean(verdict.replay, SOURCE),
        topic=line(verdict.evidence.get("topic") or ""),
        value=line(verdict.evidence.get("value") or "") if "topic" in verdict.evidence else "",
        certificate=tuple(clean(step) for step in verdict.certificate),
        evidence=tuple((line(k), told) for k, v in verdict.evidence.items() if (told := _brief(v))),
        where=_where(verdict.evidence.get("where")),
        picture=picture(verdict.evidence.get("map")),
        plot=plot(verdict.evidence.get("figure")),
        table=_table(verdict.evidence.get("table")),
        becomes=line(verdict.evidence.get("becomes") or "", LABEL),
    )


def _where(found: Any) -> tuple[str, ...]:
    """Statements about where entries fail."""
    return tuple(line(told) for told in found) if isinstance(found, list) else ()


def _table(value: Any) -> Table | None:
    """A table of the evidence with its words made safe."""
    found = Table.read(value)
    if found is None:
        return None
    rows = tuple(tuple(line(cell, CELL) for cell in row) for row in found.rows[:ROWS])
    columns = tuple(line(word, CELL) for word in found.columns)
    return Table(columns, rows, line(found.caption))


def _brief(value: Any) -> str:
    """A single number or word of the evidence; what is larger is for other views."""
    if isinstance(value, bool) or value is None or isinstance(value, list | dict):
        return ""
    return f"{value:.3g}" if isinstance(value, float) else line(value, LABEL)


def _equations(found: Any) -> tuple[dict[str, str], ...]:
    """Equations as the figures hold them; whatever else stands there is shown as text."""
    items = found if isinstance(found, list) else []
    told = [item if isinstance(item, dict) else {"text": item} for item in items]
    # The text and the LaTeX are made safe where they are set.
    return tuple(
        {
            "name": line(item.get("name") or "", LABEL),
            **{key: str(item.get(key) or "") for key in ("text", "latex")},
        }
        for item in told
    )


def _bugs(found: Any) -> tuple[tuple[str, str, str], ...]:
    """Known bugs as identifier, title and source."""
    rows = [one for one in (found if isinstance(found, list) else []) if isinstance(one, dict)]
    return tuple(
        (
            line(one.get("bug", ""), LABEL),
            line(one.get("title", ""), CELL),
            line(f"{one.get('source', '')} ({one.get('year', '')})", CELL),
        )
        for one in rows[:ROWS]
    )


def _becomes(section: Section) -> tuple[Step, ...]:
    """The other specs that this one becomes, as its figures tell."""
    found = section.figures.get("becomes")
    rows = [one for one in (found if isinstance(found, list) else []) if isinstance(one, dict)]
    source = spec_name(line(section.spec))
    return tuple(
        Step(source, line(one.get("spec", ""), LABEL), line(one.get("words", ""), CELL), "")
        for one in rows[:ROWS]
    )


def _notes(found: Any) -> tuple[str, ...]:
    if isinstance(found, dict):
        return tuple(clean(f"{name}: {note}") for name, note in found.items())
    notes: Iterable[Any] = found if isinstance(found, list) else [found] if found else []
    return tuple(clean(note) for note in notes)


def _support(parts: tuple[Part, ...]) -> Support | None:
    """The conventions of several functions side by side, in the order that they were read off."""
    if len(parts) < LEAST:
        return None
    functions = tuple((part, *part.function) for part in parts if part.function)
    found = [{row.topic: row for row in part.rows if row.topic} for part in parts]
    topics = dict.fromkeys(topic for part in parts for topic in part.topics)
    lines = tuple((topic, _compared([one.get(topic) for one in found])) for topic in topics)
    return Support(functions, lines)


def _compared(rows: list[Row | None]) -> tuple[tuple[Row | None, bool], ...]:
    """Rows on one convention, each with whether it differs from what most follow."""
    values = Counter(row.value for row in rows if row and row.value)
    usual, times = values.most_common(1)[0] if values else ("", 0)
    clear = times * 2 > values.total()
    return tuple((row, bool(clear and row and row.value and row.value != usual)) for row in rows)


def _families(parts: Iterable[Part]) -> tuple[Family, ...]:
    """The members of each spec together, in the order in which the first of them stand."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(part.name, []).append(part)
    return tuple(Family(name, tuple(members)) for name, members in found.items())


def _matrix(caption: str, corner: str, families: tuple[Family, ...]) -> Matrix:
    """The verdicts of these families under the names that they share, most shared first."""
    parts = [part for family in families for part in family.parts]
    names = [name for name, _ in Counter(n for part in parts for n in part.asked).most_common()]
    lines = tuple((family, tuple(_cell(family, name) for name in names)) for family in families)
    return Matrix(caption, corner, tuple(line(name, LABEL) for name in names), lines)


def _cell(family: Family, name: str) -> tuple[Placed, ...]:
    """The verdicts of one name, the first of each kind; all of them where there is one member."""
    rows = [(part, row) for part in family.parts for row in part.rows if row.name == name]
    if len(family.parts) == 1:
        return tuple(rows)
    return tuple({row.kind: (part, row) for part, row in reversed(rows)}.values())[::-1]
