"""Jobs on a real Dask cluster: two workers, one of them killed, and the report of one process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from attnverify.cli import app
from attnverify.errors import AttnverifyError
from attnverify.jobs.cluster import Far, far
from attnverify.jobs.key import house
from attnverify.jobs.task import Task
from tests.commands import started
from tests.light import FAMILY
from tests.test_jobs import timeless, until

pytestmark = [pytest.mark.frameworks, pytest.mark.slow]
distributed = pytest.importorskip("distributed")
WORDS = ("verify", "four.py", "cross", "--examples", "20", "--quiet")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "four.py").write_text(FAMILY)
    return tmp_path


@pytest.fixture
def cluster(folder: Path) -> Iterator[Any]:
    """A scheduler and two workers, which stand in another folder than the judge."""
    apart = folder / "apart"
    apart.mkdir()
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=2,
        processes=True,
        dashboard_address=None,
        local_directory=str(apart),
    ) as found:
        yield found


def test_a_killed_worker_leaves_the_report_that_one_process_gives(
    folder: Path, cluster: Any
) -> None:
    alone = CliRunner().invoke(app, [*WORDS, "--jobs", "1", "--store", "a", "--json", "alone.json"])
    assert alone.exit_code == 0, alone.output
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        pids = client.run(os.getpid)
        words = (*WORDS, "--scheduler", cluster.scheduler_address, "--json", "far.json")
        with started(*words) as process:
            until(lambda: any(client.processing().values()), process)
            busy = next(name for name, keys in client.processing().items() if keys)
            os.kill(pids[busy], signal.SIGKILL)
            out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out
    assert timeless(folder / "far.json") == timeless(folder / "alone.json")


def test_where_no_scheduler_answers_it_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attnverify.jobs.cluster.PATIENCE", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        found = CliRunner().invoke(app, [*WORDS, "--scheduler", address])
        assert found.exit_code == 2, found.output
        assert "no scheduler answers there" in found.output


def test_a_cluster_without_workers_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnverify.jobs.cluster.PATIENCE", 1)
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as empty:
        found = CliRunner().invoke(app, [*WORDS, "--scheduler", empty.scheduler_address])
    assert found.exit_code == 2, found.output
    assert "the cluster has no workers" in found.output


def test_a_worker_of_another_version_is_refused() -> None:
    job = Far(Task("four.py"), "four.py", FAMILY.encode(), {**house(), "numpy": "0.0"})
    with pytest.raises(AttnverifyError, match="other versions") as error:
        far(job)
    assert "numpy 0.0" in str(error.value)
