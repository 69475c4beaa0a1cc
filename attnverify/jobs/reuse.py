"""What was judged before and is still so: put into a run, and kept for the next one."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnverify.cache import Cache
from attnverify.errors import ReportError
from attnverify.jobs.task import Task
from attnverify.store import WITNESSES, Run
from attnverify.verdict import Report, Section
from attnverify.verdict.plain import printed

# Stands for the folder of whichever store an entry is put into.
HERE = "@store@"
_PATH = '"path": "'


@dataclass(frozen=True)
class Reused:
    """A task that was not judged again, with how many verdicts it has."""

    task: Task
    verdicts: int


def remember(task: Task, report: Report, run: Run, cache: Cache) -> None:
    """Keep what a task gave under its content; nothing where the content cannot be told."""
    if not task.content or [section.spec for section in report.sections] != [task.title]:
        return
    (section,) = report.sections
    text = printed(section.plain(), indent=None)
    folder = f"{_PATH}{json.dumps(str(run.folder / WITNESSES))[1:-1]}"
    cache.put(
        task.content,
        {
            "section": text.replace(folder, f"{_PATH}{HERE}"),
            "verdicts": len(section.verdicts),
            "environment": dict(report.environment),
            "witnesses": {
                path.name: base64.b64encode(path.read_bytes()).decode() for path in _files(section)
            },
        },
    )


def _files(section: Section) -> list[Path]:
    """The files that hold the arrays of a section's witnesses."""
    witnesses = (verdict.witness for verdict in section.verdicts)
    return [Path(w.path) for w in witnesses if w is not None and w.path is not None]


def reused(tasks: Iterable[Task], run: Run, cache: Cache) -> list[Reused]:
    """Put into the run every task that the cache knows under its content."""
    found: list[Reused] = []
    environments: dict[str, dict[str, str]] = {}
    for task in tasks:
        kept = cache.get(task.content) if task.content else None
        if kept is None:
            continue
        _put(task, kept, run)
        environments[printed(kept["environment"])] = kept["environment"]
        found.append(Reused(task, int(kept["verdicts"])))
    for facts in environments.values():
        run.note(facts)
    return found


def _put(task: Task, kept: dict[str, Any], run: Run) -> None:
    """Write one section and its witnesses into the store."""
    folder = run.folder / WITNESSES
    try:
        for name, content in kept["witnesses"].items():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / Path(name).name).write_bytes(base64.b64decode(content))
    except OSError as error:
        raise ReportError("a witness cannot be kept", path=folder, found=error.strerror) from None
    here = json.dumps(str(folder))[1:-1]
    run.copy(task.title, kept["section"].replace(f"{_PATH}{HERE}", _PATH + here), task.content)
