"""A report as HTML that needs no network: one file, or an index with a file for each section."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from attnverify.report.mathml import mathml
from attnverify.report.page import page
from attnverify.report.parts import Page, Part
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
    texts = book(page(report, folder=target.stem + BESIDE), index=f"../{quote(target.name)}")
    index = texts.pop("")
    for name, text in texts.items():
        write_text(target.parent / name, text())
    # The index comes last, so that it never points at pages that are not there.
    write_text(target, index())
    return target


def book(found: Page, *, index: str, home: str = "") -> dict[str, Callable[[], str]]:
    """A page's index, as "", and each section's file, each made when it is called for.

    `index` is the index's address as sections see it. `home` is the address of a server that all
    of it is a part of, if there is one.
    """
    beside = [None, *((Path(part.file).name, part.title) for part in found.parts), None]
    neighbours = zip(found.parts, beside, beside[2:], strict=False)
    told = partial(_section, found, index=index, home=home)
    sections = {
        part.file: partial(told, part, before=before, after=after)
        for part, before, after in neighbours
    }
    return {"": partial(_index, found, home), **sections}


def _index(found: Page, home: str = "") -> str:
    script = filter_script()
    # The script is the project's own; the page allows it by its hash, and no other.
    told = {"script": Markup(script), "script_hash": digest(script)}  # noqa: S704
    return templates().get_template("report.html").render(page=found, home=home, **told)


def _section(found: Page, part: Part, **told: Any) -> str:
    return templates().get_template("section.html").render(page=found, item=part, **told)


def filter_script() -> str:
    """The script that filters an index."""
    return (TEMPLATES / "filter.js").read_text(encoding="utf-8")


def digest(script: str) -> str:
    """A script's hash as a page's policy names it."""
    found = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(found).decode('ascii')}"


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
