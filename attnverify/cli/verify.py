"""`attnverify verify`: specs against themselves, several at once, verdicts stored as they come."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attnverify.cli.options import (
    Files,
    Html,
    Json,
    Quiet,
    Seed,
    Set,
    Store,
    Verbose,
    Write,
    settings,
)
from attnverify.errors import ReportError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from attnverify.cache import Cache
    from attnverify.jobs.schedule import Engine
    from attnverify.jobs.task import Task
    from attnverify.store import Run
    from attnverify.verdict import Report


def verify(
    specs: Annotated[
        list[str] | None, typer.Argument(help="Specs by name or path; none: the whole catalogue.")
    ] = None,
    *,
    assigned: Set = None,
    examples: Annotated[
        int | None,
        typer.Option("--examples", min=1, help="Cases to draw for each member of a spec."),
    ] = None,
    seed: Seed = 0,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Members at once; one per core unless told.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            metavar="ADDRESS",
            help="Judge on a Dask cluster, such as tcp://host:8786.",
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Judge all of it, also what was judged before.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run of these words that was interrupted."),
    ] = False,
    json: Json = None,
    forms: Write = None,
    html: Html = None,
    store: Store = Path(".attnverify"),
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Verify specs against themselves.

    Theorems, generated properties, and gradients by routes that share no code. What was judged
    before and has not changed is reused.
    """
    from attnverify import catalog

    names = list(dict.fromkeys(specs or catalog()))
    told = {
        "command": "verify", "specs": names, "set": settings(assigned), "seed": seed,
        "examples": examples,
    }  # fmt: skip
    where = (jobs or os.cpu_count() or 1, scheduler)
    files = Files(json, html, forms or ())
    _verified(told, store, where, files, fresh=fresh, resume=resume, quiet=quiet)


def _verified(
    told: dict[str, Any],
    store: Path,
    where: tuple[int, str | None],
    files: Files,
    *,
    fresh: bool,
    resume: bool,
    quiet: bool,
) -> None:
    """Judge what was told, by as many jobs or on the scheduler of `where`, and finish."""
    import attnverify as av
    from attnverify import cache as kept
    from attnverify.cli.output import console, finish, interrupted
    from attnverify.jobs.task import planned
    from attnverify.report.text import write
    from attnverify.store import begin

    out = console()
    book = kept.Cache(kept.path(), lambda words: write(out, f"warning: {words}"))
    asked = (told["set"], told["seed"], told["examples"])
    found = [planned(name, *asked, cache=book, fresh=fresh) for name in told["specs"]]
    tasks = [task for each in found for task in each]
    _apart(tasks)
    earlier = _earlier(told, tasks, store) if resume else None
    run, whole = earlier or (begin(told, {"attnverify": av.__version__}, store), {})
    work = Work(tasks, run, book, fresh, whole)
    try:
        report = _through(work, out, *where, quiet=quiet)
    except KeyboardInterrupt:
        raise interrupted(run, out, files) from None
    finish(report, out, files)


@dataclass(frozen=True)
class Work:
    """All tasks of one command, the run that they are put into, and what of it is there already.

    `whole` has how many verdicts there are in the sections that the run has, by title; `book` is
    what was judged by other runs.
    """

    tasks: list[Task]
    run: Run
    book: Cache
    fresh: bool
    whole: Mapping[str, int]


def _apart(tasks: list[Task]) -> None:
    """UsageError where two tasks would share one section."""
    for title, number in Counter(task.title for task in tasks).items():
        if number > 1:
            raise UsageError("two specs have one name", found=title, hint="verify them apart")


def _earlier(
    told: dict[str, Any], tasks: list[Task], folder: Path
) -> tuple[Run, dict[str, int]] | None:
    """The run to go on with and what of it still holds; None where nothing does.

    UsageError where no run in the store was told the same.
    """
    from attnverify import store as kept

    id_ = kept.latest(folder, told) if (folder / kept.LINES).is_file() else None
    if id_ is None:
        raise UsageError(
            "there is no run to go on with",
            store=folder,
            due="one of the same specs, --set, --seed and --examples",
            hint="leave out --resume",
        )
    reading = kept.read(folder, id_)
    due = {task.title: task.content for task in tasks}
    sections = {section.spec: len(section.verdicts) for section in reading.report.sections}
    same = {
        title: sections[title]
        for title, content in reading.whole.items()
        if content and due.get(title) == content
    }
    if sections.keys() - due.keys() or (reading.whole and not same):
        return None
    run = kept.Run(folder, id_, told)
    run.resumed()
    return run, same


def _through(work: Work, out: Console, jobs: int, scheduler: str | None, *, quiet: bool) -> Report:
    """Judge what is not known yet, and read the whole report back."""
    from attnverify.cli.output import progress, read_back
    from attnverify.jobs.reuse import remember
    from attnverify.jobs.schedule import judged
    from attnverify.report.text import listing

    left, count = _known(work, out, quiet=quiet)
    with progress(out, len(work.tasks)) as bar, _engine(work.run, left, jobs, scheduler) as engine:

        def running(tasks: list[Task], done: int) -> None:
            known = len(work.tasks) - len(left)
            bar.update(bar.task_ids[0], description=_names(tasks), completed=known + done)

        def done(task: Task, report: Report) -> None:
            remember(task, report, work.run, work.book)

        for _, report in judged(left, engine, running, done):
            for section in report.sections:
                count += len(section.verdicts)
                if not quiet:
                    listing(out, section)
    report = read_back(work.run, out, [task.title for task in work.tasks])
    if len(report.verdicts) != count:
        found = f"{len(report.verdicts)} verdicts in it, {count} were given"
        raise ReportError("the store is not whole", store=work.run.folder, found=found)
    return report


def _known(work: Work, out: Console, *, quiet: bool) -> tuple[list[Task], int]:
    """The tasks that are left to judge, and how many verdicts there are of the others."""
    from attnverify.jobs.reuse import reused
    from attnverify.report.text import write
    from attnverify.report.words import line

    left = [task for task in work.tasks if task.title not in work.whole]
    found = [] if work.fresh else reused(left, work.run, work.book)
    titles = {each.task.title for each in found}
    if not quiet:
        for each in found:
            write(out, f"{line(each.task.title)}  reused, {each.verdicts} verdicts")
    told = (
        (len(work.whole), "judged by the run that was interrupted"),
        (len(found), "reused, nothing that they depend on has changed; --fresh judges them again"),
    )
    for number, words in told:
        if number:
            write(out, f"{number} of {len(work.tasks)} sections {words}")
    count = sum(work.whole.values()) + sum(each.verdicts for each in found)
    return [task for task in left if task.title not in titles], count


@contextmanager
def _engine(run: Run, tasks: list[Task], jobs: int, scheduler: str | None) -> Iterator[Engine]:
    """Where the tasks run; nothing is started where there are none."""
    from attnverify.jobs.local import Here, processes

    count = min(jobs, len(tasks))
    if scheduler is not None and tasks:
        from attnverify.jobs.cluster import cluster

        with cluster(run, scheduler) as far:
            yield far
    elif count > 1:
        with processes(run, count) as here:
            yield here
    else:
        yield Here(run)


def _names(tasks: list[Task]) -> str:
    return ", ".join(task.title for task in tasks)
