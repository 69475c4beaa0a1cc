"""A user's test, put to one function after another: what it says, or that it says nothing."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, TypeAlias

import pytest

from attnverify.errors import ParameterError
from attnverify.library import resolve_subject

Test: TypeAlias = Callable[[Any], object]
HINT = "name the function that the test calls, as target='package.module:function'"


class Noticed(Exception):  # noqa: N818  no error: it is what a test is for
    """A test of pytest failed."""


def as_test(test: str | Test, target: str) -> Test:
    """What takes an implementation and raises where it is unhappy.

    A name with `::` in it is a test of pytest, in whose calls `target` is replaced; any other is
    that of a function.  Raises ParameterError where a test of pytest has no target.
    """
    if callable(test):
        return test
    if "::" not in test:
        found: Test = resolve_subject(test)
        return found
    module, _, name = target.partition(":")
    if not name:
        raise ParameterError("what a test of pytest calls is not known", found=test, hint=HINT)
    return _Node(test, module, name)


@dataclass
class _Node:
    """A test of pytest as a function of the implementation."""

    node: str
    module: str
    name: str

    def __call__(self, fn: Any) -> None:
        put = _Put(self.module, self.name, fn)
        words = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", self.node]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = pytest.main(words, plugins=[put])
        if put.asked and not put.places:
            raise ParameterError(
                "there is nothing of this name to be replaced",
                found=f"{self.module}:{self.name}",
                hint=HINT,
            )
        if code == pytest.ExitCode.TESTS_FAILED:
            raise Noticed(put.said)
        if code != pytest.ExitCode.OK:
            raise ParameterError(
                "pytest did not run the test",
                found=f"{self.node}: {pytest.ExitCode(code).name}",
                hint=said.getvalue().strip().rpartition("\n")[2],
            )


@dataclass
class _Put:
    """A plugin of pytest that puts a function in another's place while tests run."""

    module: str
    name: str
    fn: Any
    said: str = ""
    places: int = 0
    asked: bool = False

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Replace it in its module and wherever the test's module has it by that name."""
        self.asked = True
        home = _imported(self.module)
        original = getattr(home, self.name, None)
        holders = [home, item.module if isinstance(item, pytest.Function) else None]
        spots = [
            (holder, key)
            for holder in holders
            if holder is not None
            for key, value in list(vars(holder).items())
            if original is not None and value is original
        ]
        for holder, key in spots:
            setattr(holder, key, self.fn)
        self.places += len(spots)
        yield
        for holder, key in spots:
            setattr(holder, key, original)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the last line of what failed."""
        if report.failed and not self.said:
            self.said = str(report.longrepr).strip().rpartition("\n")[2]


def _imported(name: str) -> ModuleType | None:
    """A module as the test's own imports find it; None where there is none."""
    try:
        return sys.modules.get(name) or import_module(name)
    except ImportError:
        return None
