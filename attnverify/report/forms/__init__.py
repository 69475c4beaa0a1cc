"""A report in the forms that other programs read, each a view of the same verdicts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from attnverify.errors import ReportError
from attnverify.report.forms.badge import badge
from attnverify.report.forms.github import github
from attnverify.report.forms.junit import junit
from attnverify.report.forms.markdown import markdown
from attnverify.report.forms.sarif import sarif
from attnverify.report.html import write_html
from attnverify.verdict import Report
from attnverify.verdict.plain import write_text

FORMS: dict[str, Callable[[Report], str]] = {
    "badge": badge,
    "github": github,
    "junit": junit,
    "markdown": markdown,
    "sarif": sarif,
}
ENDINGS = {
    ".html": "html", ".json": "json", ".md": "markdown", ".sarif": "sarif", ".svg": "badge",
    ".xml": "junit",
}  # fmt: skip
PRINTED = "-"
KNOWN = (*FORMS, "html", "json")


def form_of(target: str) -> tuple[str, str]:
    """The form and the path that `FORM:PATH` or a path with a known ending names.

    Raises ReportError for a form that there is not, and for one that is no text to print.

    >>> form_of("results.xml"), form_of("markdown:-")
    (('junit', 'results.xml'), ('markdown', '-'))
    """
    form, colon, path = target.partition(":")
    if colon and form in KNOWN:
        if path == PRINTED and form not in FORMS:
            raise ReportError("this form is written to a file", found=target)
        return form, path
    found = ENDINGS.get(Path(target).suffix.lower())
    if found is None:
        raise ReportError(
            "the form of the file is not known",
            found=target,
            due=f"an ending among {', '.join(ENDINGS)}, or FORM:PATH with {', '.join(KNOWN)}",
        )
    return found, target


def write_form(report: Report, target: str) -> str:
    """Write a report in the form that the target names; what is to be printed is returned.

    Raises ReportError for a form that there is not, and where the file cannot be written.
    """
    form, path = form_of(target)
    if form == "html":
        write_html(report, path)
    elif form == "json":
        report.to_json(Path(path))
    elif path == PRINTED:
        return FORMS[form](report)
    else:
        write_text(Path(path), FORMS[form](report))
    return ""
