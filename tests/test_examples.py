"""The commands in the examples' docstrings do what the docstrings say."""

from __future__ import annotations

import ast
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import ROOT

EXAMPLES = ROOT / "examples"


def commands(name: str) -> list[str]:
    """The `attnverify ...` commands in the docstring of an example."""
    text = ast.get_docstring(ast.parse((EXAMPLES / name).read_text(encoding="utf-8"))) or ""
    lines = (line.strip() for line in text.replace("\\\n", " ").splitlines())
    return [line for line in lines if line.startswith("attnverify ")]


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one command where the examples are at hand and what it keeps is thrown away."""
    if not (folder / "examples").exists():
        (folder / "examples").symlink_to(EXAMPLES)
    return subprocess.run(
        [sys.executable, "-m", "attnverify", *shlex.split(command)[1:]],
        cwd=folder,
        env=os.environ | {"COLUMNS": "100", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", commands("numpy_right.py") + commands("numpy_window.py"))
def test_right_ones_pass(command: str, tmp_path: Path) -> None:
    done = run(command, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [
        # Each asks twice, in processes of their own: one of them shows the way.
        pytest.param(command, marks=pytest.mark.slow if number else ())
        for number, command in enumerate(commands("numpy_wrong.py"))
    ],
)
def test_wrong_ones_are_refuted_and_the_replay_refutes_them_again(
    command: str, tmp_path: Path
) -> None:
    done = run(command, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "REFUTED" in done.stdout
    replays = [line.strip() for line in done.stdout.splitlines() if "--replay" in line]
    assert replays
    again = run(replays[0][replays[0].index("attnverify ") :], tmp_path)
    assert again.returncode == 1, again.stdout + again.stderr
    assert "REFUTED" in again.stdout


@pytest.mark.frameworks
@pytest.mark.parametrize("command", commands("torch_multi_head.py"))
def test_the_layer_of_torch_passes(command: str, tmp_path: Path) -> None:
    done = run(command, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dW_Q" in done.stdout


@pytest.mark.frameworks
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("command", commands("torch_compiled.py"))
def test_what_torch_compiles_passes(command: str, tmp_path: Path) -> None:
    done = run(command, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "backward dQ (float32)" in done.stdout


@pytest.mark.frameworks
@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "status"), list(zip(commands("torch_ring.py"), (0, 1), strict=True))
)
def test_the_ring_that_moves_passes_and_the_one_that_stands_still_does_not(
    command: str, status: int, tmp_path: Path
) -> None:
    done = run(command, tmp_path)
    assert done.returncode == status, done.stdout + done.stderr
    assert "backward dQ (float32)" in done.stdout
    assert ("REFUTED" in done.stdout) is bool(status)


def test_every_example_is_run() -> None:
    # tests/test_example_report.py has the script that makes the committed report.
    names = sorted({path.name for path in EXAMPLES.glob("*.py")} - {"report.py"})
    numpy = ["numpy_right", "numpy_window", "numpy_wrong"]
    due = [*numpy, "torch_compiled", "torch_multi_head", "torch_ring"]
    assert names == [f"{name}.py" for name in due]
    assert all(commands(name) for name in names)
