"""`attnverify verify`: specs against themselves, several at once, verdicts stored as they come."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import active_children, get_context
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
from attnverify.errors import ReportError

if TYPE_CHECKING:
    from attnverify.store import Run
    from attnverify.verdict import Section, Verdict

# So many equations make a spec one that takes long.
HEAVY = 24


@dataclass(frozen=True)
class Task:
    """One member of a spec's family to be verified, with all that its verdicts depend on.

    Tasks of more weight are begun first, so that none is left for the end.
    """

    spec: str
    values: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    examples: int | None = None
    title: str = ""
    weight: int = 0

    def command(self) -> str:
        """The command that verifies it again."""
        from shlex import join

        words = ["attnverify", "verify", self.spec, "--seed", str(self.seed)]
        if self.examples is not None:
            words += ["--examples", str(self.examples)]
        return join([*words, *assignments(self.values)])


def tasks_of(name: str, values: dict[str, Any], seed: int, examples: int | None) -> Iterator[Task]:
    """A task for each member that a name stands for."""
    from attnverify.library import selections
    from attnverify.verify import share

    found = list(selections(name, values))
    for member in found:
        weight = len(list(member.spec.expressions())) // HEAVY
        cases = examples or share(len(found))
        yield Task(name, dict(member.values), seed, cases, member.title, weight)


def assignments(values: dict[str, Any]) -> list[str]:
    """Parameter values as words of a command line."""
    from json import dumps

    told = {
        name: value if isinstance(value, str) else dumps(value) for name, value in values.items()
    }
    return [word for name, value in told.items() for word in ("--set", f"{name}={value}")]


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
    json: Json = None,
    forms: Write = None,
    html: Html = None,
    store: Store = Path(".attnverify"),
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Verify specs against themselves.

    Theorems, generated properties, and gradients by routes that share no code.
    """
    import attnverify as av
    from attnverify import store as kept
    from attnverify.cli.output import console, finish, interrupted, progress, read_back
    from attnverify.report.text import listing

    values = settings(assigned)
    names = list(dict.fromkeys(specs or av.catalog()))
    for name in names:
        av.load(name, **values)
    tasks = [task for name in names for task in tasks_of(name, values, seed, examples)]
    told = {"command": "verify", "specs": names, "set": values, "seed": seed, "examples": examples}
    run = kept.begin(told, {"attnverify": av.__version__}, store)
    out = console()
    try:
        with progress(out, len(tasks)) as bar:

            def running(tasks: list[Task], done: int) -> None:
                bar.update(bar.task_ids[0], description=_names(tasks), completed=done)

            count = 0
            for sections in judged(tasks, run, jobs or os.cpu_count() or 1, running):
                for section in sections:
                    count += len(section.verdicts)
                    if not quiet:
                        listing(out, section)
        report = read_back(run, out, [task.title for task in tasks])
        if len(report.verdicts) != count:
            found = f"{len(report.verdicts)} verdicts in it, {count} were given"
            raise ReportError("the store is not whole", store=store, found=found)
    except KeyboardInterrupt:
        raise interrupted(run, out, Files(json, html, forms or ())) from None
    finish(report, out, Files(json, html, forms or ()))


def _names(tasks: list[Task]) -> str:
    return ", ".join(task.title for task in tasks)


Running = Callable[[list[Task], int], None]


def judged(
    tasks: list[Task], run: Run, jobs: int, running: Running
) -> Iterator[tuple[Section, ...]]:
    """The sections of each task in the order of tasks, whichever is done first.

    `running` hears what is at work and how many are done.
    """
    if min(jobs, len(tasks)) == 1:
        for number, task in enumerate(tasks):
            running([task], number)
            yield judge(task, run)
        return
    waiting = deque(sorted(range(len(tasks)), key=lambda n: -tasks[n].weight))
    at_work: dict[Future[tuple[Section, ...]], int] = {}
    done: dict[int, tuple[Section, ...]] = {}
    told = 0
    with _workers(min(jobs, len(tasks))) as pool:
        while waiting or at_work:
            while waiting and len(at_work) < jobs:
                number = waiting.popleft()
                at_work[pool.submit(judge, tasks[number], run)] = number
            running([tasks[number] for number in at_work.values()], told + len(done))
            for future in wait(at_work, return_when=FIRST_COMPLETED).done:
                done[at_work.pop(future)] = future.result()
            while told in done:
                yield done.pop(told)
                told += 1


@contextmanager
def _workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with the block, at once where it is left early."""
    before = set(active_children())
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_leave_ctrl_c)
    try:
        yield pool
    except BaseException:
        for child in set(active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_ctrl_c() -> None:
    """In a worker: Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def judge(task: Task, run: Run) -> tuple[Section, ...]:
    """Verify one spec and append each verdict to the run as it comes, its witness's arrays kept."""
    import z3

    import attnverify as av

    # By itself z3 takes Ctrl-C for its own: the run would go on, with "unknown" for an answer.
    z3.set_param("ctrl_c", False)
    streamed: dict[str, list[Verdict]] = {}

    def take(title: str, verdict: Verdict) -> None:
        streamed.setdefault(title, []).append(verdict)
        run.append(title, _kept(title, verdict, task, run))

    report = av.verify(
        task.spec, examples=task.examples, seed=task.seed, on_verdict=take, **task.values
    )
    run.note(report.environment)
    sections = tuple(
        replace(
            section,
            verdicts=tuple(_kept(section.spec, verdict, task, run) for verdict in section.verdicts),
        )
        for section in report.sections
    )
    for section in sections:
        run.finish(section, streamed.get(section.spec, []))
    return sections


def _kept(title: str, verdict: Verdict, task: Task, run: Run) -> Verdict:
    from attnverify.verdict import Status

    if verdict.status is not Status.REFUTED or verdict.replay:
        return run.keep(title, verdict)
    return replace(run.keep(title, verdict), replay=task.command())
