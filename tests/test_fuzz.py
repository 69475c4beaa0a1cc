"""No spec file and no command line, however wrong, ends in a traceback or in a failure of ours."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from attnverify.cli import app
from tests.fuzzed import command
from tests.seeds import SEEDS

FEW, MANY = 120, 10_000
STATUS = {0, 1, 2}


def fault(result: Result) -> str:
    """What a run must not do; empty where it did none of it."""
    if "Traceback" in result.output:
        return "a traceback"
    if "itself failed" in result.output:
        return "a failure of ours"
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return f"an exception: {result.exception!r}"
    return "" if result.exit_code in STATUS else f"status {result.exit_code}"


def faults(seed: int, count: int, folder: Path) -> list[str]:
    """Every run that did what it must not, with its number."""
    found = []
    for number in range(count):
        words = command(random.Random(f"{seed} {number}"), folder)
        told = fault(CliRunner().invoke(app, words))
        if told:
            found.append(f"seed {seed}, number {number}: {' '.join(words)[:200]}: {told}")
    return found


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hundred_lines_end_in_words(seed: int, tmp_path: Path) -> None:
    assert faults(seed, FEW, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_ten_thousand_lines_end_in_words(seed: int, tmp_path: Path) -> None:
    assert faults(seed + 1, MANY, tmp_path) == []


def test_each_fault_is_seen() -> None:
    """The test can fail: an error that nobody turned into words is one, and so is a traceback."""
    runner = CliRunner()

    def said(text: str, status: int = 0, error: BaseException | None = None) -> Result:
        return Result(runner, text.encode(), b"", text.encode(), None, status, error)

    assert not fault(said("fine"))
    assert not fault(said("", 2, SystemExit(2)))
    assert fault(said("Traceback (most recent call last):", 1))
    assert fault(said("attnverify itself failed: KeyError", 2))
    assert fault(said("", 1, KeyError("x")))
    assert fault(said("", 130))
