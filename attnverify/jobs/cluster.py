"""Tasks on a Dask cluster: the same jobs, wherever its workers are."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attnverify.errors import AttnverifyError, MissingExtraError, UsageError
from attnverify.jobs.key import house
from attnverify.jobs.task import Task, recorded, verified
from attnverify.library import find
from attnverify.store import Run
from attnverify.verdict import Report

# Seconds in which a scheduler answers and has a worker.
PATIENCE = 30
# z3 and SymPy keep state of their process: a worker of several threads judges one task at a time.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Far:
    """What a worker needs of one task: the spec's own file travels with it."""

    task: Task
    file: str
    text: bytes
    house: Mapping[str, str]


@dataclass(frozen=True)
class Cluster:
    """Several tasks at once on the workers of a cluster; this process appends to the run."""

    run: Run
    pool: Executor
    slots: int

    def submit(self, task: Task) -> Future[Report]:
        """Send a task, with the text of its spec."""
        file = find(task.spec)
        return self.pool.submit(far, Far(task, file.name, file.read_bytes(), dict(house())))

    def take(self, task: Task, report: Report) -> Report:
        """The report as the run keeps it."""
        return recorded(task, report, self.run)

    def renew(self) -> None:
        """Nothing: the scheduler gives the tasks of a worker that ended to another."""


def far(job: Far) -> Report:
    """In a worker: verify the task by the text that was sent.

    Raises AttnverifyError where the worker would judge with other versions than were asked.
    """
    _same_house(job.house, house())
    with _ONE_AT_A_TIME, TemporaryDirectory() as folder:
        path = Path(folder) / job.file
        path.write_bytes(job.text)
        report = verified(replace(job.task, spec=str(path)))
    ours = replace(job.task, spec=str(path)).command()
    sections = []
    for section in report.sections:
        verdicts = tuple(
            replace(v, replay=job.task.command()) if v.replay == ours else v
            for v in section.verdicts
        )
        sections.append(replace(section, verdicts=verdicts))
    return replace(report, sections=tuple(sections))


def _same_house(due: Mapping[str, str], found: Mapping[str, str]) -> None:
    """AttnverifyError where verdicts from there and from here would not be of one kind."""
    other = [name for name, value in due.items() if found.get(name) != value]
    if other:
        raise AttnverifyError(
            "a worker of the cluster judges with other versions",
            found=", ".join(f"{name} {found.get(name, 'none')[:12]}" for name in other),
            due=", ".join(f"{name} {due[name][:12]}" for name in other),
            hint="install there what is installed here",
        )


@contextmanager
def cluster(run: Run, address: str) -> Iterator[Cluster]:
    """The cluster of a scheduler; what was sent there is cancelled where the block is left early.

    Raises MissingExtraError without Dask, UsageError where no scheduler or no worker answers.
    """
    try:
        from distributed import Client, KilledWorker  # noqa: PLC0415  an extra
    except ImportError as error:
        raise MissingExtraError("verifying on a cluster", extra="dask") from error
    client = _client(Client, address)
    try:
        workers = len(client.scheduler_info(n_workers=-1)["workers"])
        # One more than there are workers, so that none waits for the next task to be sent.
        yield Cluster(run, client.get_executor(pure=False), workers + 1)
    except KilledWorker as error:
        raise AttnverifyError(
            "the worker of a job ended each time it was begun",
            found=error,
            hint="workers with more memory; --resume goes on with what is left",
        ) from error
    except CancelledError as error:
        raise AttnverifyError(
            "the cluster went away",
            found=f"--scheduler {address}",
            hint="--resume goes on with what is left",
        ) from error
    finally:
        client.close()


def _client(kind: Any, address: str) -> Any:
    """A client whose scheduler answers and has a worker."""
    try:
        client = kind(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(
            "no scheduler answers there",
            found=f"--scheduler {address}",
            due="the address of a running one, such as tcp://10.0.0.1:8786",
            hint="dask scheduler starts one",
        ) from error
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        client.close()
        raise UsageError(
            "the cluster has no workers",
            found=f"--scheduler {address}",
            hint=f"dask worker {address} starts one",
        ) from error
    return client
