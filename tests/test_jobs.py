"""Jobs in processes: whatever is killed, the report is that of one process left in peace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from attnverify import store
from attnverify.errors import AttnverifyError
from attnverify.jobs.schedule import TRIES, judged
from attnverify.jobs.task import Task, recorded
from attnverify.store import Run
from attnverify.verdict import Report, Section, Status, Verdict
from tests.commands import run, started
from tests.house import ROOT
from tests.light import FAMILY, SPEC

HELD = Verdict("rows sum to one", Status.HELD, cases=3)
WORDS = ("verify", "four.py", "--examples", "40", "--quiet")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    (tmp_path / "four.py").write_text(FAMILY)
    return tmp_path


def timeless(path: Path) -> dict[str, Any]:
    """A report without the seconds, and without the folder of its store."""
    found: dict[str, Any] = json.loads(path.read_text())
    for section in found["reports"]:
        for verdict in section["verdicts"]:
            verdict["seconds"] = 0
            if verdict["witness"] and verdict["witness"]["path"]:
                verdict["witness"]["path"] = Path(verdict["witness"]["path"]).name
    return found


def until(seen: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something is seen; an error where the process ends before."""
    deadline = time.monotonic() + 120
    while not seen():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lines(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of a store."""
    path = folder / ".attnverify" / store.LINES
    raw = path.read_text().split("\n") if path.exists() else []
    return [json.loads(line) for line in raw if line.endswith("}")]


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in listed.stdout.split()]


# Interrupted and resumed


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("how", "jobs"), [("SIGINT", "1"), pytest.param("SIGKILL", "2", marks=pytest.mark.slow)]
)
def test_an_interrupted_run_goes_on_where_it_stopped(folder: Path, how: str, jobs: str) -> None:
    words = WORDS
    whole = run(*words, "--store", "whole", "--json", "whole.json", "--jobs", "1")
    assert whole.exit_code == 0, whole.output

    def one_whole_and_one_begun() -> bool:
        found = lines(folder)
        ended = [line for line in found if "figures" in line]
        return bool(ended) and "verdict" in found[-1]

    with started(*words, "--jobs", jobs) as process:
        until(one_whole_and_one_begun, process)
        process.send_signal(signal.Signals[how])
        process.communicate(timeout=60)
    stopped = store.read(folder / ".attnverify")
    assert 0 < len(stopped.whole) < 4
    assert ("interrupted" in stopped.report.environment) is (how == "SIGINT")

    again = run(*words, "--resume", "--json", "again.json", "--jobs", "1")
    assert again.exit_code == 0, again.output
    told = f"{len(stopped.whole)} of 4 sections judged by the run that was interrupted"
    assert told in " ".join(again.stdout.split())
    assert timeless(folder / "again.json") == timeless(folder / "whole.json")
    # What was whole is there as it was, to the second; and it is one run.
    assert len(store.runs(folder / ".attnverify")) == 1
    kept = {section.spec: section for section in store.read(folder / ".attnverify").report.sections}
    for section in stopped.report.sections:
        if section.spec in stopped.whole:
            assert kept[section.spec] == section


def test_there_is_nothing_to_resume_where_no_run_was_told_the_same(folder: Path) -> None:
    assert "there is no run to go on with" in run("verify", "cross", "--resume").output
    store.begin({"command": "verify", "specs": ["cross"], "set": {}, "seed": 1}, {})
    found = run("verify", "cross", "--resume")
    assert found.exit_code == 2
    assert "leave out --resume" in found.output


def test_what_changed_since_is_judged_again(folder: Path) -> None:
    (folder / "mine.py").write_text(SPEC)
    words = ("verify", "mine.py", "--examples", "2", "--quiet", "--jobs", "1")
    assert run(*words).exit_code == 0
    same = run(*words, "--resume")
    assert "1 of 1 sections judged by the run" in " ".join(same.stdout.split())
    (folder / "mine.py").write_text(SPEC.replace("window + 1", "window"))
    found = run(*words, "--resume", "--json", "r.json")
    assert "judged by the run" not in found.stdout
    assert len(store.runs(folder / ".attnverify")) == 2


def test_two_specs_of_one_name_are_verified_apart(folder: Path) -> None:
    (folder / "cross.py").write_text((ROOT / "specs" / "cross.py").read_text())
    found = run("verify", "cross", "cross.py")
    assert found.exit_code == 2
    assert "two specs have one name" in found.output


# What a store tells of several tries


def test_an_earlier_try_at_a_section_counts_no_more(folder: Path) -> None:
    run_ = store.begin({}, {"python": "3"})
    first = run_.opened("causal")
    first.append("causal", replace(HELD, detail="of the first try"))
    second = run_.opened("causal")
    second.append("causal", HELD)
    # The process of the first try is still there, and says something late.
    first.append("causal", replace(HELD, detail="late"))
    first.finish(Section("causal", (HELD,)), [HELD], "old")
    assert store.read().whole == {}
    second.finish(Section("causal", (HELD,), figures={"notes": ["n"]}), [HELD], "new")
    reading = store.read()
    assert reading.report.verdicts == (HELD,)
    assert reading.whole == {"causal": "new"}
    assert reading.report.sections[0].figures == {"notes": ["n"]}


def test_nothing_is_added_to_a_section_that_was_copied(folder: Path) -> None:
    run_ = store.begin({}, {})
    late = run_.opened("causal")
    run_.copy("causal", json.dumps(Section("causal", (HELD,)).plain()), "key")
    late.append("causal", HELD)
    assert store.read().report.verdicts == (HELD,)
    assert store.read().whole == {"causal": "key"}


def test_a_section_that_came_to_nothing_is_no_section(folder: Path) -> None:
    run_ = store.begin({}, {})
    run_.opened("causal")
    run_.append("global", HELD)
    assert [section.spec for section in store.read().report.sections] == ["global"]


# Processes that end


@dataclass
class Failing:
    """An engine whose process ends at each of the first `ends` tries of one task."""

    run: Run
    ends: int
    slots: int = 2
    tries: dict[str, int] = field(default_factory=dict)
    renewed: int = 0

    def submit(self, task: Task) -> Future[Report]:
        self.tries[task.title] = self.tries.get(task.title, 0) + 1
        future: Future[Report] = Future()
        if task.title == "b" and self.tries["b"] <= self.ends:
            future.set_exception(BrokenExecutor())
        else:
            future.set_result(Report((Section(task.title, (HELD,)),)))
        return future

    def take(self, task: Task, report: Report) -> Report:
        return recorded(task, report, self.run)

    def renew(self) -> None:
        self.renewed += 1


@pytest.mark.parametrize("ends", [0, 1, TRIES - 1])
def test_a_task_whose_process_ended_is_begun_again(folder: Path, ends: int) -> None:
    run_ = store.begin({}, {})
    engine = Failing(run_, ends)
    tasks = [Task(name, title=name) for name in "abcd"]
    found = judged(tasks, engine, lambda _tasks, _count: None)
    assert [task.title for task, _ in found] == ["a", "b", "c", "d"]
    assert engine.tries["b"] == ends + 1
    assert engine.renewed == ends
    assert len(store.read().report.verdicts) == 4


def test_a_task_that_ends_its_process_each_time_is_an_error_in_words(folder: Path) -> None:
    engine = Failing(store.begin({}, {}), TRIES)
    tasks = [Task(name, title=name) for name in "ab"]
    with pytest.raises(AttnverifyError, match="ended each time") as error:
        list(judged(tasks, engine, lambda _tasks, _count: None))
    assert "attnverify verify b --seed 0" in str(error.value)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no ps there")
def test_a_killed_worker_costs_nothing_but_time(folder: Path) -> None:
    words = WORDS
    assert run(*words, "--store", "whole", "--json", "whole.json", "--jobs", "1").exit_code == 0
    with started(*words, "--jobs", "2", "--json", "killed.json") as process:
        until(lambda: any("verdict" in line for line in lines(folder)), process)
        workers = [pid for pid in children(process.pid) if _judges(pid)]
        os.kill(workers[0], signal.SIGKILL)
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    assert timeless(folder / "killed.json") == timeless(folder / "whole.json")


def _judges(pid: int) -> bool:
    """Whether a process is a worker, and not what multiprocessing keeps beside them."""
    shown = subprocess.run(
        ["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return "spawn_main" in shown.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no ps there")
def test_workers_end_with_a_killed_parent(folder: Path) -> None:
    with started(*WORDS, "--jobs", "2") as process:
        until(lambda: any("verdict" in line for line in lines(folder)), process)
        workers = [pid for pid in children(process.pid) if _judges(pid)]
        assert len(workers) == 2
        process.kill()
        process.communicate(timeout=30)
    deadline = time.monotonic() + 20
    while any(_judges(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


# A cluster


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    found = run(*WORDS, "--scheduler", "tcp://127.0.0.1:9")
    assert found.exit_code == 2
    assert 'pip install "attnverify[dask]"' in found.output
