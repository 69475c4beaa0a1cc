"""Tasks on this machine: in this process one after the other, or in processes of their own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from attnverify.jobs.task import Task, judge
from attnverify.store import Run
from attnverify.verdict import Report


@dataclass(frozen=True)
class Here:
    """One task at a time, in this process."""

    run: Run
    slots: int = 1

    def submit(self, task: Task) -> Future[Report]:
        """The task's report, already there."""
        future: Future[Report] = Future()
        future.set_result(judge(task, self.run))
        return future

    def take(self, _task: Task, report: Report) -> Report:
        """The report itself: it was appended to the run as it came."""
        return report

    def renew(self) -> None:
        """Nothing: this process is still there."""


@dataclass
class Processes:
    """Several tasks at once, each in a process that appends to the run itself."""

    run: Run
    slots: int
    before: set[BaseProcess] = field(default_factory=lambda: set(active_children()))
    _pool: ProcessPoolExecutor | None = None

    def submit(self, task: Task) -> Future[Report]:
        """Begin a task."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.slots, mp_context=get_context("spawn"), initializer=_begin
            )
        return self._pool.submit(judge, task, self.run)

    def take(self, _task: Task, report: Report) -> Report:
        """The report itself: it was appended to the run as it came."""
        return report

    def renew(self) -> None:
        """New processes in place of those that are left when one ended."""
        self.end(at_once=True)

    def end(self, *, at_once: bool = False) -> None:
        """End the processes, with what they are at where it is not waited for."""
        for child in set(active_children()) - self.before if at_once else ():
            child.terminate()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


@contextmanager
def processes(run: Run, count: int) -> Iterator[Processes]:
    """Processes that end with the block, at once where it is left early."""
    engine = Processes(run, count)
    try:
        yield engine
    except BaseException:
        engine.end(at_once=True)
        raise
    finally:
        engine.end()


def _begin() -> None:
    """In a worker: Ctrl-C is the parent's to handle, and without the parent there is no work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        # A killed parent tells nobody; its workers would wait for work for ever.
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
