"""A command line run here, or in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from typer.testing import CliRunner, Result

from attnverify.cli import app
from tests.house import ROOT


def run(*words: str) -> Result:
    """Run a command line in this process."""
    result = CliRunner().invoke(app, list(words))
    assert "Traceback" not in result.output or "--verbose" in words
    return result


@contextmanager
def started(*words: str, stderr: int = subprocess.STDOUT) -> Iterator[subprocess.Popen[str]]:
    """A command line in a process of its own, which ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "attnverify", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
