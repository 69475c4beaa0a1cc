"""What every judging command does at its end: files, failures, count and exit status."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from attnverify import store
from attnverify.cli.options import INTERRUPTED, NOT_OK, OK, Files
from attnverify.errors import ReportError
from attnverify.report.text import close, write
from attnverify.report.words import clean
from attnverify.verdict import Report, Section


def console() -> Console:
    """Where results go; Rich leaves colours out where NO_COLOR is set or no terminal listens."""
    return Console()


@contextmanager
def progress(out: Console, total: int | None) -> Iterator[Progress]:
    """What is running and how much is left, in a terminal that shows it, gone when it ends."""
    # On one terminal lines and bar must come from one console, or they overwrite each other.
    shown = out if out.is_terminal else Console(stderr=True)
    columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
    if total is not None:
        columns += [BarColumn(bar_width=24), MofNCompleteColumn()]
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bar:
        bar.add_task("", total=total)
        yield bar


def read_back(run: store.Run, out: Console, order: Sequence[str] = ()) -> Report:
    """The report of a run as its store tells it, sections by title in the order asked for."""
    reading = store.read(run.folder, run.id)
    for fault in reading.broken:
        write(out, f"warning: {clean(fault)}")
    places = {name: at for at, name in enumerate(order)}

    def place(section: Section) -> int:
        return places.get(section.spec, len(places))

    report = reading.report
    return Report(tuple(sorted(report.sections, key=place)), report.environment)


def write_files(report: Report, out: Console, files: Files) -> None:
    """Write what was asked for and say where."""
    if files.json is not None:
        report.to_json(files.json)
        write(out, f"JSON: {clean(files.json)}")
    if files.html is not None:
        from attnverify.report import write_html

        write_html(report, files.html)
        write(out, f"page: {clean(files.html)}")
    for target in files.others:
        from attnverify.report.forms import form_of, write_form

        printed = write_form(report, target)
        form, path = form_of(target)
        write(out, printed.rstrip("\n") if printed else f"{form}: {clean(path)}")


def finish(report: Report, out: Console, files: Files) -> None:
    """Print failures and count, write the files, and leave with the status that the report has."""
    close(out, report)
    write_files(report, out, files)
    raise typer.Exit(OK if report.ok else NOT_OK)


def interrupted(run: store.Run, out: Console, files: Files) -> typer.Exit:
    """Leave the verdicts so far after Ctrl-C: in the store and in the files asked for."""
    print("attnverify: interrupted", file=sys.stderr)  # noqa: T201  a word on the way out
    try:
        # A report that is not whole says so wherever it goes.
        run.note({store.INTERRUPTED: "not everything was judged"})
        report = read_back(run, out)
        close(out, report)
        write_files(report, out, files)
    except ReportError as error:
        write(out, error.sentence())
    write(out, f"the verdicts so far are in {clean(run.folder / store.LINES)}, run {run.id}")
    return typer.Exit(INTERRUPTED)
