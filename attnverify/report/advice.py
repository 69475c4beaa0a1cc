"""Known bugs as a page: what happens, how it shows, who was hit, the fix, what catches it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attnverify.report.html import templates
from attnverify.verdict.plain import write_text


@dataclass(frozen=True)
class Leaf:
    """One bug as it is shown: identifier, title, and labelled statements."""

    id: str
    title: str
    rows: tuple[tuple[str, str], ...]


def render_advice(leaves: Sequence[Leaf]) -> str:
    """The page as text, one place for each bug, which its identifier links to."""
    return templates().get_template("advice.html").render(leaves=leaves)


def write_advice(leaves: Sequence[Leaf], path: str | Path) -> Path:
    """Write the page to a file, with the folders above it.

    Raises ReportError where the file cannot be written.
    """
    target = Path(path)
    write_text(target, render_advice(leaves))
    return target
