"""A theorem as data: a name, what it says, where it is from, and the statements that it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from attnverify.statement import Statement


@dataclass(frozen=True)
class Theorem:
    """Statements that are one claim of a source; `fails` is the reason where it does not hold."""

    name: str
    says: str
    source: str
    statements: Callable[[], tuple[Statement, ...]]
    fails: str = ""
