"""The options that several commands share, and the reading of their values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from attnverify.errors import UsageError

OK, NOT_OK, USAGE, INTERRUPTED = 0, 1, 2, 130
_VERBOSE = "attnverify.verbose"


def _note_verbose(ctx: typer.Context, asked: bool) -> bool:
    if asked:
        ctx.meta[_VERBOSE] = True
    return asked


def verbose(ctx: Any) -> bool:
    """Whether tracebacks were asked for."""
    return bool(ctx.meta.get(_VERBOSE))


Json = Annotated[
    Path | None, typer.Option("--json", metavar="PATH", help="Write the report as JSON.")
]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="PATH", help="Write the report as one HTML file.")
]


def _known(targets: list[str] | None) -> list[str] | None:
    """The targets, refused before anything is judged where a form is not known."""
    # The forms bring Jinja2, which a command that asks for none does without.
    from attnverify.report.forms import form_of

    for target in targets or ():
        form_of(target)
    return targets


Write = Annotated[
    list[str] | None,
    typer.Option(
        "--write",
        metavar="PATH",
        callback=_known,
        help="Write the report in the form of its ending: .xml (JUnit), .md, .sarif, .svg "
        "(a badge), .html, .json; or FORM:PATH, as github:- prints annotations; repeatable.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="What draws start from.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Give a parameter a value; repeatable."),
]
Store = Annotated[
    Path, typer.Option("--store", metavar="DIR", help="Where verdicts and witnesses are kept.")
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", callback=_note_verbose, help="Show where an error comes from."),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", help="Print failures and the count, not every verdict.")
]


@dataclass(frozen=True)
class Files:
    """The files that a command line asks for."""

    json: Path | None = None
    html: Path | None = None
    others: Sequence[str] = ()


def settings(pairs: list[str] | None) -> dict[str, Any]:
    """The values of `--set name=value`: numbers, booleans and lists as JSON has them, else text.

    >>> settings(["window=4", "align=bottom_right"])
    {'window': 4, 'align': 'bottom_right'}
    """
    found: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UsageError("--set takes NAME=VALUE", found=pair, hint="such as --set window=4")
        if name.strip() in found:
            raise UsageError("--set gives a parameter twice", found=name.strip())
        found[name.strip()] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text


def mapping(text: str | None, option: str) -> dict[str, Any] | None:
    """The JSON object that an option carries; UsageError where it is none."""
    found = _json(text, option, "a JSON object")
    if found is None or isinstance(found, dict):
        return found
    raise UsageError(f"{option} takes a JSON object", found=text, hint=_quoted(option))


def listing(text: str | None, option: str) -> list[Any] | dict[str, Any] | None:
    """The JSON list or object that an option carries; UsageError where it is neither.

    >>> listing('["O", null]', "--outputs")
    ['O', None]
    """
    found = _json(text, option, "a JSON list or object")
    if found is None or isinstance(found, list | dict):
        return found
    raise UsageError(f"{option} takes a JSON list or object", found=text, hint=_quoted(option))


def _json(text: str | None, option: str, due: str) -> Any:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{option} takes {due}", found=error, hint=_quoted(option)) from None
    return False if found is None else found


def _quoted(option: str) -> str:
    return f"""such as {option} '{{"name": "value"}}', in quotes for the shell"""
