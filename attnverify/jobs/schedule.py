"""Tasks to wherever they run, the heaviest first, and their reports back in the order of tasks."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, field
from typing import Protocol

from attnverify.errors import AttnverifyError
from attnverify.jobs.task import Task
from attnverify.verdict import Report

# A process that ends three times at one task does so because of it.
TRIES = 3
Running = Callable[[list[Task], int], None]
Done = Callable[[Task, Report], object]


class Engine(Protocol):
    """Where tasks run: how many at once, and how one is begun and taken back."""

    @property
    def slots(self) -> int:
        """How many tasks are worth having there at once."""

    def submit(self, task: Task) -> Future[Report]:
        """Begin a task; BrokenExecutor from here or from the future where its process ended."""

    def take(self, task: Task, report: Report) -> Report:
        """The report as the run keeps it."""

    def renew(self) -> None:
        """Go on after a process ended."""


@dataclass
class _State:
    waiting: deque[int]
    at_work: dict[Future[Report], int] = field(default_factory=dict)
    done: dict[int, Report] = field(default_factory=dict)
    lost: Counter[int] = field(default_factory=Counter)
    count: int = 0


def judged(
    tasks: Sequence[Task],
    engine: Engine,
    running: Running,
    done: Done = lambda _task, _report: None,
) -> Iterator[tuple[Task, Report]]:
    """Each task and its report in the order of tasks, whichever is done first.

    `running` hears what is at work and how many are done, `done` each report as it comes. A task
    whose process ended is begun again; AttnverifyError where that happens to it three times.
    """
    state = _State(deque(_order(tasks, engine.slots)))
    told = 0
    while state.waiting or state.at_work:
        try:
            _fill(state, tasks, engine, running)
            _collect(state, tasks, engine, done)
        except BrokenExecutor:
            _again(state, tasks)
            engine.renew()
        while told in state.done:
            yield tasks[told], state.done.pop(told)
            told += 1


def _order(tasks: Sequence[Task], slots: int) -> list[int]:
    """The heaviest first; one at a time as they are listed, so that each is told when done."""
    numbers = list(range(len(tasks)))
    return numbers if slots == 1 else sorted(numbers, key=lambda n: -tasks[n].weight)


def _fill(state: _State, tasks: Sequence[Task], engine: Engine, running: Running) -> None:
    while state.waiting and len(state.at_work) < engine.slots:
        number = state.waiting[0]
        running([tasks[n] for n in (*state.at_work.values(), number)], state.count)
        future = engine.submit(tasks[number])
        state.waiting.popleft()
        state.at_work[future] = number


def _collect(state: _State, tasks: Sequence[Task], engine: Engine, done: Done) -> None:
    """Take what is done; what is left at work stays there."""
    for future in wait(state.at_work, return_when=FIRST_COMPLETED).done:
        number = state.at_work[future]
        report = engine.take(tasks[number], future.result())
        del state.at_work[future]
        state.done[number] = report
        state.count += 1
        done(tasks[number], report)


def _again(state: _State, tasks: Sequence[Task]) -> None:
    """Put back what was at work when a process ended."""
    for number in state.at_work.values():
        state.lost[number] += 1
        if state.lost[number] >= TRIES:
            raise AttnverifyError(
                "the process of a job ended each time it was begun",
                spec=tasks[number].title,
                found=f"{TRIES} ends without an answer, as where memory runs out",
                hint=f"fewer --jobs, or by itself: {tasks[number].command()}",
            )
        state.waiting.appendleft(number)
    state.at_work.clear()
