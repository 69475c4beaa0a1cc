"""A report in a terminal: one line per verdict, and for each failure a block with its witness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from attnverify.report.words import clean, counts, explanations, kind, line, reach, title
from attnverify.verdict import Report, Section, Status, Verdict

if TYPE_CHECKING:
    from attnverify.report.advice import Leaf

STYLES = {
    "PROVED": "green", "HELD": "blue", "REFUTED": "bold red", "UNDECIDED": "yellow",
    "expected": "magenta",
}  # fmt: skip
GLYPHS = {"PROVED": "■", "HELD": "●", "REFUTED": "◆", "UNDECIDED": "?", "expected": "◇"}
PLAIN = {"PROVED": "P", "HELD": "H", "REFUTED": "X", "UNDECIDED": "?", "expected": "x"}
LABELS = {
    "shape": "smallest shape", "entry": "first wrong entry", "got": "got", "due": "due",
    "bound": "bound", "note": "note",
}  # fmt: skip
WIDEST, NAMES, LABELLED = 48, 26, 17


def write(console: Console, text: str | Text) -> None:
    """Print text as it is: no markup is read in it, and a long line is left whole for pasting."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def heading(console: Console, section: Section) -> None:
    """Print what a section is about."""
    first = line(str(section.figures.get("description") or "").strip().partition("\n")[0])
    write(console, Text.assemble((title(section), "bold"), ("  " + first if first else "", "dim")))


def verdict_line(console: Console, verdict: Verdict) -> None:
    """Print one verdict on one line; in a terminal the line is cut to its width."""
    word = kind(verdict)
    status = f"{verdict.status}{', expected' if word == 'expected' else ''}"
    text = Text.assemble(
        (f"  {_glyph(console, word)} {status:<17} ", STYLES[word]),
        f"{line(verdict.name, 200):<{WIDEST}}",
        (f" {reach(verdict)}", "dim"),
    )
    text.rstrip()
    if console.is_terminal:
        text.truncate(console.width, overflow="ellipsis")
    write(console, text)


def failure(console: Console, section: Section, verdict: Verdict) -> None:
    """Print a failure: its witness by axis names, the wrong entry, and how to replay it."""
    word = kind(verdict)
    head = (f"{_glyph(console, word)} {verdict.status}", STYLES[word])
    write(console, Text.assemble(head, f"  {line(verdict.name)}  ", (title(section), "dim")))
    for part in clean(verdict.detail).splitlines():
        write(console, f"    {part}")
    parts = verdict.witness.parts() if verdict.witness else {}
    for name, value in parts.items():
        for at, part in enumerate(clean(value).splitlines()):
            label = "" if at else LABELS[name]
            write(console, Text.assemble((f"    {label:<18}", "dim"), part))
    for label, told in explanations(verdict):
        write(console, Text.assemble((f"    {label:<18}", "dim"), told))
    if verdict.replay:
        write(console, Text("    replay with", style="dim"))
        # Begins at the margin and stays on one line, so that it can be pasted.
        write(console, clean(verdict.replay, longest=len(verdict.replay)))


def summary(console: Console, report: Report) -> None:
    """Print how many verdicts there are of each kind, and whether the report is ok."""
    told = Text()
    for word, count in counts(report).items():
        if count:
            label = "REFUTED, expected" if word == "expected" else word
            told.append(f"{count} {label}", STYLES[word]).append("   ")
    failures, so_far = len(report.failures), " so far" * ("interrupted" in report.environment)
    outcome = (
        (f"{failures} failure{'s' * (failures != 1)}", "bold red")
        if failures
        else (f"ok{so_far}", "bold")
    )
    write(console, told.append(*outcome))


def listing(console: Console, section: Section) -> None:
    """Print a section: what it is about, and each verdict on one line."""
    heading(console, section)
    for verdict in section.verdicts:
        verdict_line(console, verdict)


def conventions(console: Console, section: Section) -> None:
    """Print what was found of a function: each convention, what it follows, and what was seen."""
    heading(console, section)
    for verdict in section.verdicts:
        word = kind(verdict)
        value = line(str(verdict.evidence.get("value") or "not determined"), 200)
        seen = line(verdict.detail.removeprefix(f"{value}: "), 400)
        name = f"{line(verdict.name, 200):<{NAMES}}"
        write(
            console, Text.assemble((f"  {_glyph(console, word)} ", STYLES[word]), name, " ", value)
        )
        write(console, Text(f"    {'':<{NAMES}} {seen}", style="dim"))


def leaf(console: Console, found: Leaf) -> None:
    """Print what is known of a bug."""
    write(console, Text.assemble((found.id, "bold"), "  ", clean(found.title)))
    for label, told in found.rows:
        write(console, Text.assemble((f"  {label:<{LABELLED}}", "dim"), clean(told)))
    write(console, "")


def survivors(console: Console, section: Section) -> None:
    """Print which bugs a test lets pass, each with the draw that shows it and who had it."""
    heading(console, section)
    for verdict in section.verdicts:
        if verdict.status is Status.HELD:
            continue
        word = kind(verdict)
        write(
            console,
            Text.assemble((f"  {_glyph(console, word)} ", STYLES[word]), line(verdict.name, 200)),
        )
        write(console, Text(f"      {line(verdict.detail, 400)}", style="dim"))
        cited = verdict.evidence.get("citations")
        for citation in (cited if isinstance(cited, list) else [])[:1]:
            write(console, Text(f"      seen in {line(citation)}", style="dim"))
    equivalent = section.figures.get("equivalent") or ()
    if equivalent:
        write(console, Text(f"  {len(equivalent)} more differ from it on no draw", style="dim"))


def show(console: Console, report: Report) -> None:
    """Print a whole report: its sections, then its failures, then the count."""
    for section in report.sections:
        listing(console, section)
    close(console, report)


def close(console: Console, report: Report) -> None:
    """Print the failures of a report and the count."""
    for section, verdict in report.failures:
        write(console, "")
        failure(console, section, verdict)
    write(console, "")
    summary(console, report)


def _glyph(console: Console, word: str) -> str:
    try:
        GLYPHS[word].encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return PLAIN[word]
    return GLYPHS[word]
