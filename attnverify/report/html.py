"""A report as HTML that needs no network: one file, or an index with a file for each section."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from attnverify.report.mathml import mathml
from attnverify.report.page import page
from attnverify.report.parts import Page
from attnverify.verdict import Report
from attnverify.verdict.plain import write_text

TEMPLATES = Path(__file__).parent / "templates"
# Bytes: what a phone opens at once, and what goes by mail to a reviewer.
WHOLE = 400_000
# Where a browser that saves a page puts what belongs to it.
BESIDE = "_files"


def render_html(report: Report) -> str:
    """The whole report as one page: equal for equal verdicts, without the time anything took."""
    return _index(page(report))


def write_html(report: Report, path: str | Path) -> Path:
    """Write a report to a file, with the folders above it.

    A report of several sections that takes more than 400 kB becomes an index at `path`, and a page
    for each section in the folder beside it that bears its name and `_files`.

    Raises ReportError where a file cannot be written.
    """
    target = Path(path)
    whole = render_html(report)
    if len(whole.encode()) <= WHOLE or len(report.sections) <= 1:
        write_text(target, whole)
        return target
    found = page(report, folder=target.stem + BESIDE)
    for name, text in _pages(found, f"../{quote(target.name)}"):
        write_text(target.parent / name, text)
    # The index comes last, so that it never points at pages that are not there.
    write_text(target, _index(found))
    return target


def _index(found: Page) -> str:
    script = (TEMPLATES / "filter.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    # The script is the project's own; the page allows it by its hash, and no other.
    told = {"script": Markup(script), "script_hash": f"sha256-{digest}"}  # noqa: S704
    return templates().get_template("report.html").render(page=found, **told)


def _pages(found: Page, index: str) -> Iterator[tuple[str, str]]:
    """Each section's file, below the index's folder, and its text."""
    template = templates().get_template("section.html")
    beside = [None, *((Path(part.file).name, part.title) for part in found.parts), None]
    for part, before, after in zip(found.parts, beside, beside[2:], strict=False):
        told = {"item": part, "index": index, "before": before, "after": after}
        yield part.file, template.render(page=found, **told)


@cache
def templates() -> Environment:
    """The templates, which escape what is put into them."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["mathml"] = lambda equation: mathml(equation["latex"], equation["text"])
    environment.filters["coded"] = coded
    return environment


def coded(text: str) -> Markup:
    """The text with what stands between backticks set as code, and everything escaped.

    >>> coded("`align` is <b>")
    Markup('<code>align</code> is &lt;b&gt;')
    """
    # Escaping makes no backtick, so a pair of them holds escaped text alone.
    told = re.sub(r"`([^`\n]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(told)  # noqa: S704 - escaped in the line above
