"""The runs that there are: reports in a folder, and the runs of a store; each known by its name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path

from attnverify import store
from attnverify.errors import ReportError
from attnverify.live.query import Refused, told
from attnverify.report.words import counts, line
from attnverify.verdict import Report

# Files that are listed, and how large one may be in bytes.
FILES, LARGEST = 200, 400_000_000
KEPT = 4
REPORT = "reports"


@dataclass(frozen=True)
class Run:
    """One run: its name, where it is kept, and its id there; `stamp` changes when it does."""

    name: str
    path: Path
    id: str
    stamp: tuple[int, int]


@dataclass(frozen=True)
class Summary:
    """How a run came out: sections, verdicts by kind, failures; or why it cannot be read."""

    sections: int = 0
    tally: tuple[tuple[str, int], ...] = ()
    failures: int = 0
    fault: str = ""


def runs(folder: Path, kept: Path) -> list[Run]:
    """The reports in a folder and below it, by path, then the runs of a store, newest first."""
    return [*_files(folder), *_stored(kept)]


def find(found: list[Run], name: str) -> Run:
    """The run of a name among those that there are; Refused where there is none."""
    for run in found:
        if run.name == name:
            return run
    raise Refused(f"there is no run '{told(name)}'", HTTPStatus.NOT_FOUND)


@lru_cache(maxsize=KEPT)
def report(run: Run) -> Report:
    """The report of a run; Refused where it cannot be read."""
    try:
        return store.read(run.path, run.id).report if run.id else Report.from_json(run.path)
    except ReportError as error:
        raise Refused(error.sentence()) from None


@lru_cache(maxsize=4 * FILES)
def summary(run: Run) -> Summary:
    """How a run came out, read once for as long as its file does not change."""
    try:
        found = report(run)
    except Refused as fault:
        return Summary(fault=fault.sentence)
    tally = tuple((kind, count) for kind, count in counts(found).items() if count)
    return Summary(len(found.sections), tally, len(found.failures))


def _files(folder: Path) -> Iterator[Run]:
    root = folder.resolve()
    paths = sorted(root.rglob("*.json"), key=lambda path: (len(path.parts), path))
    for path in paths[:FILES]:
        # A link may lead out of the folder, where nobody meant to show anything.
        if not path.resolve().is_relative_to(root) or not path.is_file():
            continue
        if path.stat().st_size <= LARGEST and _tells(path):
            yield Run(path.relative_to(root).as_posix(), path, "", _stamp(path))


def _tells(path: Path) -> bool:
    """Whether a file begins as a report does; other JSON is none of ours."""
    with path.open("rb") as file:
        return f'"{REPORT}"'.encode() in file.read(400)


def _stored(folder: Path) -> Iterator[Run]:
    lines = folder / store.LINES
    if not lines.is_file():
        return
    stamp = _stamp(lines)
    for run in reversed(_ids(folder, stamp)):
        yield Run(f"run {line(run)}", folder, run, stamp)


@lru_cache(maxsize=KEPT)
def _ids(folder: Path, _stamp: tuple[int, int]) -> tuple[str, ...]:
    return tuple(store.runs(folder))


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
