"""The store of verdicts: one JSON line each, only ever appended to; a report is a view of one run.

Lines lie in `verdicts.jsonl` of the store's folder, `.attnverify/` unless told otherwise, and kept
witnesses beside them in `witnesses/`. Several processes may append to one run at once: a line is
one write. A line that was cut off by a kill is told, never taken for a verdict. A section may be
begun again, as after a kill: what was appended to it before then counts no more.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from attnverify.errors import ReportError
from attnverify.verdict import Report, Section, Verdict
from attnverify.verdict.plain import Fields, decoded, parsed, plain, printed

FOLDER = Path(".attnverify")
LINES = "verdicts.jsonl"
WITNESSES = "witnesses"
INTERRUPTED = "interrupted"
SCHEMA = 1


@dataclass(frozen=True)
class Run:
    """One run of the program, which verdicts are appended to; `settings` is what it was told.

    It holds no open file, so that it can be handed to other processes. `attempt` tells one try at a
    section from a later one.
    """

    folder: Path
    id: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    attempt: str = ""

    def opened(self, spec: str) -> Run:
        """This run for a try at a section; what an earlier try left of it counts no more.

        A process of an earlier try may still be at work: what it appends later is left out too.
        """
        attempt = replace(self, attempt=uuid4().hex[:8])
        line = attempt._line({"spec": spec, "subject": None, "begun": True})  # noqa: SLF001  its own kind
        _append(self.folder / LINES, line)
        return attempt

    def append(self, spec: str, verdict: Verdict, subject: str | None = None) -> None:
        """Add one verdict; ReportError where the store cannot be written."""
        self._write({"spec": spec, "subject": subject, "verdict": verdict.plain()})

    def keep(self, spec: str, verdict: Verdict) -> Verdict:
        """The verdict with its witness's arrays kept, in a file named after its content."""
        witness = verdict.witness
        if witness is None or not witness.arrays:
            return verdict
        folder = self.folder / WITNESSES
        draft = witness.save(folder / f"{self.id}-{os.getpid()}.npz")
        digest = hashlib.sha256(draft.read_bytes()).hexdigest()[:12]
        target = folder / f"{_slug(spec)}-{_slug(verdict.name)}-{digest}.npz"
        draft.replace(target)
        return replace(verdict, witness=replace(witness, path=str(target)))

    def finish(self, section: Section, streamed: list[Verdict], content: str = "") -> None:
        """Add what a section has besides the verdicts that were appended as they came.

        `content` names all that its verdicts depend on, where that is known.
        """
        left = Counter((verdict.name, verdict.status) for verdict in streamed)
        for verdict in section.verdicts:
            key = verdict.name, verdict.status
            left[key] -= 1
            if left[key] < 0:
                self.append(section.spec, self.keep(section.spec, verdict), section.subject)
        figures = {"spec": section.spec, "subject": section.subject, "figures": section.figures}
        self._write({**figures, "content": content} if content else figures)

    def copy(self, spec: str, section: str, content: str) -> None:
        """Add a whole section, as JSON text, that was judged by another run."""
        line = self._line({"spec": spec, "subject": None, "content": content})
        _append(self.folder / LINES, f'{line[:-1]}, "section": {section}}}')

    def resumed(self) -> None:
        """Add that the run goes on: that it was interrupted is no longer so."""
        self._write({"resumed": True})

    def note(self, environment: Mapping[str, str]) -> None:
        """Add facts about where the run took place."""
        self._write({"environment": dict(environment)})

    def _write(self, facts: Mapping[str, Any]) -> None:
        _append(self.folder / LINES, self._line(facts))

    def _line(self, facts: Mapping[str, Any]) -> str:
        tried = {"attempt": self.attempt} if self.attempt else {}
        line = {"schema": SCHEMA, "run": self.id, "settings": self.settings, **tried, **facts}
        return printed(line, indent=None)


@dataclass(frozen=True)
class Reading:
    """One run read back: its report, what it was told, and the lines that could not be read.

    `whole` has the sections that came to their end, with what their verdicts depend on.
    """

    report: Report
    settings: Mapping[str, Any]
    broken: tuple[str, ...]
    whole: Mapping[str, str] = field(default_factory=dict)


def begin(
    settings: Mapping[str, Any], environment: Mapping[str, str], folder: Path = FOLDER
) -> Run:
    """Start a run in a store, which is made where there is none; ReportError where it cannot be."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    run = Run(folder, f"{stamp}-{uuid4().hex[:8]}", plain(settings, "the settings"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise _fault("the store cannot be made", folder, error) from None
    run.note(environment)
    return run


def runs(folder: Path = FOLDER) -> list[str]:
    """The ids of the runs in a store that came to anything, oldest first."""
    found = (line.get("run") for line, _ in _lines(folder) if line is not None and "spec" in line)
    return list(dict.fromkeys(run for run in found if isinstance(run, str)))


def read(folder: Path = FOLDER, run: str | None = None) -> Reading:
    """A run as a report: the newest one, or that of an id; ReportError where there is none.

    Sections and verdicts come in the order in which they were first appended.
    """
    told = _Told()
    settings: dict[str, Any] = {}
    broken: list[str] = []
    wanted = run or next(iter(reversed(runs(folder))), None)
    for line, fault in _lines(folder, wanted or ""):
        if line is None:
            # What was cut off before the run began is no part of it.
            broken.extend([fault] if told.anything else [])
        elif line.get("run") == wanted:
            settings = decoded(Fields(line, "").mapping("settings"))
            try:
                told.add(Fields(line, fault))
            except ReportError as error:
                broken.append(f"{fault}: {error.sentence()}")
    if wanted is None or not told.anything:
        raise ReportError("the store has no such run", store=folder, run=wanted)
    return Reading(told.report(), settings, tuple(broken), told.whole)


def latest(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """The id of the newest run in a store that was told these settings; None where there is none.

    Raises ReportError where there is no store.
    """
    due, found = plain(settings, "the settings"), None
    for line, _ in _lines(folder):
        if line is not None and decoded(line.get("settings", {})) == due:
            found = str(line.get("run"))
    return found


@dataclass
class _Told:
    """What the lines of one run tell, line by line."""

    sections: dict[tuple[str, str | None], Section] = field(default_factory=dict)
    attempts: dict[tuple[str, str | None], str] = field(default_factory=dict)
    whole: dict[str, str] = field(default_factory=dict)
    notes: list[Report] = field(default_factory=list)

    @property
    def anything(self) -> bool:
        """Whether the run was begun."""
        return bool(self.sections or self.notes)

    def report(self) -> Report:
        """The report so far; a section that was begun and came to nothing is left out."""
        begun = self.attempts.keys() - self.whole_keys
        found = (s for key, s in self.sections.items() if s.verdicts or key not in begun)
        return Report.merged([Report(tuple(found)), *self.notes])

    @property
    def whole_keys(self) -> set[tuple[str, str | None]]:
        """The sections that came to their end."""
        return {(spec, None) for spec in self.whole}

    def add(self, line: Fields) -> None:
        """Put one line where it belongs: to the facts, to a section's figures or its verdicts."""
        if "environment" in line.values:
            facts = Fields(line.mapping("environment"), "environment")
            self.notes.append(Report(environment={name: facts.text(name) for name in facts.values}))
        elif "resumed" in line.values:
            self.notes = [note for note in self.notes if INTERRUPTED not in note.environment]
        else:
            self._section((line.text("spec"), line.text_or_none("subject")), line)

    def _section(self, key: tuple[str, str | None], line: Fields) -> None:
        attempt = line.text("attempt", "")
        if "begun" in line.values:
            self.attempts[key] = attempt
            self.sections[key] = Section(key[0], subject=key[1])
            self.whole.pop(key[0], None)
            return
        if "section" in line.values:
            self.sections[key] = Section.read(Fields.of(line.values["section"], "section"))
            # No try at judging it has this name, so that none adds to it.
            self.attempts[key] = "copied"
            self.whole[key[0]] = line.text("content", "")
            return
        if attempt != self.attempts.get(key, ""):
            return
        section = self.sections.get(key) or Section(key[0], subject=key[1])
        if "verdict" in line.values:
            verdict = Verdict.read(Fields.of(line.values["verdict"], "verdict"))
            self.sections[key] = replace(section, verdicts=(*section.verdicts, verdict))
        else:
            self.sections[key] = replace(section, figures=decoded(line.mapping("figures")))
            self.whole[key[0]] = line.text("content", "")


def _lines(folder: Path, since: str = "") -> Iterator[tuple[dict[str, Any] | None, str]]:
    """Each line as an object with its place, or None and what is wrong with it.

    Lines before the first one that names the run `since` are passed over unread.
    """
    path = folder / LINES
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _fault("the store cannot be read", path, error) from None
    lines = content.split(b"\n")
    first = next((n for n, line in enumerate(lines) if since.encode() in line), 0)
    for number, line in enumerate(lines[first:], start=first + 1):
        if not line.strip():
            continue
        where = f"line {number} of {path}"
        try:
            value = parsed(line.decode("utf-8", "replace"), where)
        except ReportError:
            yield None, f"{where} is not whole: it was cut off as it was written"
            continue
        known = isinstance(value, dict) and value.get("schema") == SCHEMA
        yield (value, where) if known else (None, f"{where} is of another schema")


def _append(path: Path, line: str) -> None:
    """Add one line in one write; after a line that was cut off, a new one is begun first."""
    try:
        with path.open("a+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - 1, 0))
            torn = file.read(1) not in (b"", b"\n")
            content = ("\n" if torn else "") + line + "\n"
            if file.write(content.encode()) != len(content):
                raise ReportError("the store is full", file=path)
    except OSError as error:
        raise _fault("the store cannot be written", path, error) from None


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "unnamed"


def _fault(message: str, path: Path, error: OSError) -> ReportError:
    return ReportError(
        message, path=path, found=error.strerror or str(error), hint="another folder: --store DIR"
    )
