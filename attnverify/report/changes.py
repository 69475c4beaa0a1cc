"""Two reports side by side: which verdicts changed, came or went, and which take longer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from attnverify.report.words import title
from attnverify.verdict import Report, Verdict

# A verdict is slower when it takes so many times as long, and so many seconds longer.
TIMES, SECONDS = 1.5, 0.1
Key = tuple[str, str, int]


@dataclass(frozen=True)
class Change:
    """One verdict in two reports: None where a report has none of this name in this section."""

    section: str
    name: str
    old: Verdict | None
    new: Verdict | None

    @property
    def worse(self) -> bool:
        """Whether it fails now and did not, or is weaker than it was."""
        return _rank(self.new) > _rank(self.old)

    @property
    def seconds(self) -> float:
        """How many seconds more it takes."""
        return (self.new.seconds if self.new else 0.0) - (self.old.seconds if self.old else 0.0)


@dataclass(frozen=True)
class Changes:
    """What differs between two reports; `same` verdicts have the status that they had."""

    verdicts: tuple[Change, ...]
    slower: tuple[Change, ...]
    same: int
    seconds: tuple[float, float]


def changes(old: Report, new: Report) -> Changes:
    """What changed from one report to another: verdicts, the worse first, and what got slower.

    A verdict is found again by its section's title and its name; the second of one name in a
    section is compared with the second. Slower is what takes at least 1.5 times as long and 0.1
    seconds longer.

    >>> from attnverify.verdict import Section
    >>> one, two = (Report((Section("a", (Verdict("sum", s),)),)) for s in ("PROVED", "HELD"))
    >>> [(c.name, c.worse) for c in changes(one, two).verdicts]
    [('sum', True)]
    """
    before, after = dict(_keyed(old)), dict(_keyed(new))
    keys = list(dict.fromkeys([*after, *before]))
    rows = [Change(key[0], key[1], before.get(key), after.get(key)) for key in keys]
    changed = [row for row in rows if not _alike(row.old, row.new)]
    changed.sort(key=lambda row: (not row.worse, _rank(row.old) - _rank(row.new)))
    slower = sorted((row for row in rows if _slower(row)), key=lambda row: -row.seconds)
    return Changes(
        tuple(changed),
        tuple(slower),
        len(rows) - len(changed),
        (sum(v.seconds for v in old.verdicts), sum(v.seconds for v in new.verdicts)),
    )


def _keyed(report: Report) -> Iterator[tuple[Key, Verdict]]:
    seen: dict[tuple[str, str], int] = {}
    for section in report.sections:
        for verdict in section.verdicts:
            name = title(section), verdict.name
            seen[name] = seen.get(name, 0) + 1
            yield (*name, seen[name]), verdict


def _alike(old: Verdict | None, new: Verdict | None) -> bool:
    if old is None or new is None:
        return False
    return (old.status, old.expected) == (new.status, new.expected)


def _rank(verdict: Verdict | None) -> int:
    """How bad a verdict is; none at all is worse than one that holds."""
    if verdict is None:
        return 2
    if verdict.status == "REFUTED":
        return 1 if verdict.expected else 4
    return {"PROVED": 0, "HELD": 1, "UNDECIDED": 3}[verdict.status.value]


def _slower(row: Change) -> bool:
    if row.old is None or row.new is None:
        return False
    return row.seconds >= SECONDS and row.new.seconds >= TIMES * row.old.seconds
