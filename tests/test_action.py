"""What other repositories run of ours: the action's own script, the hook's own command, a badge."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from typer.testing import CliRunner

from attnverify.cli import app
from attnverify.report.forms.badge import badge
from attnverify.verdict import Report
from tests.pages import SPEC, WHOLE

ROOT = Path(__file__).parent.parent
KERNEL = """
import numpy as np

def causal(q, k, v):
    i, j = np.mgrid[: q.shape[-2], : k.shape[-2]]
    s = np.where(j <= i, q @ np.swapaxes(k, -1, -2) / q.shape[-1] ** 0.5, -np.inf)
    e = np.exp(s - s.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True) @ v).astype(q.dtype)
"""


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def judged(folder: Path, spec: str, arguments: str) -> subprocess.CompletedProcess[str]:
    """The action's step that judges, as a runner runs it."""
    (step,) = (step for step in read("action.yml")["runs"]["steps"] if step["name"] == "Judge")
    given = {
        "python": sys.executable, "subject": "kernel.py:causal", "spec": spec,
        "arguments": arguments, "sarif": "scan.sarif", "badge": "badge.svg",
    }  # fmt: skip
    told = {
        name: given[value.removeprefix("${{ inputs.").removesuffix(" }}")]
        for name, value in step["env"].items()
    }
    (folder / "kernel.py").write_text(KERNEL, encoding="utf-8")
    return subprocess.run(
        ["/bin/bash", "-e", "-o", "pipefail", "-c", step["run"]],
        cwd=folder,
        env={**os.environ, **told, "GITHUB_STEP_SUMMARY": str(folder / "summary.md")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_action_passes_what_is_right(tmp_path: Path) -> None:
    done = judged(tmp_path, "causal", "--cases\n12\n")
    assert done.returncode == 0, done.stderr
    assert "::error" not in done.stdout
    assert "no failure" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "held" in (tmp_path / "badge.svg").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_action_fails_what_is_wrong_and_says_where(tmp_path: Path) -> None:
    # A word that a shell would run is a path that there is not.
    done = judged(tmp_path, "global", "--cases\n4\n--store\n$(touch pwned); x")
    assert done.returncode == 1, done.stderr
    assert "::error file=kernel.py" in done.stdout
    assert "fail" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert (tmp_path / "scan.sarif").exists()
    assert not (tmp_path / "pwned").exists()


def test_the_hook_verifies_a_spec_file(tmp_path: Path) -> None:
    (hook,) = read(".pre-commit-hooks.yaml")
    program, *words = shlex.split(hook["entry"])
    assert program == "attnverify"
    (tmp_path / "mine.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    told = CliRunner().invoke(app, [*words, str(tmp_path / "mine.py")])
    assert told.exit_code == 2
    assert "nothing_of_this_name" in told.stderr


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (Report(), "nothing judged"),
        (WHOLE, "2 of 6 fail"),
        (Report((SPEC,)), "1 proved, 1 held"),
    ],
)
def test_a_badge_says_one_thing(report: Report, words: str) -> None:
    root = ET.fromstring(badge(report))  # noqa: S314  our own text, not somebody's
    assert root.get("aria-label") == f"attnverify: {words}"
    assert [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")][1] == words
