"""A report as one HTML file that needs no network and no script."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from attnverify.report.mathml import mathml
from attnverify.report.page import page
from attnverify.verdict import Report
from attnverify.verdict.plain import write_text


def render_html(report: Report) -> str:
    """The page as text: equal for equal verdicts, and without the time that anything took."""
    return templates().get_template("report.html").render(page=page(report))


def write_html(report: Report, path: str | Path) -> Path:
    """Write the page to a file, with the folders above it; ReportError where that fails.

    Raises ReportError where the file cannot be written.
    """
    target = Path(path)
    write_text(target, render_html(report))
    return target


@cache
def templates() -> Environment:
    """The templates, which escape what is put into them."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["mathml"] = lambda equation: mathml(equation["latex"], equation["text"])
    return environment
