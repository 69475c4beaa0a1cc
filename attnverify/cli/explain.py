"""`attnverify explain`: what a known bug is, who had it, how it shows, the fix and the test."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import typer

from attnverify.cli.options import OK, Html, Verbose
from attnverify.errors import UsageError

if TYPE_CHECKING:
    from attnverify.transforms.mutate import Citation


def explain(
    bug: Annotated[
        str,
        typer.Argument(
            help="An identifier such as MSK-01, or words of a title; all are listed without.",
            show_default=False,
        ),
    ] = "",
    *,
    html: Html = None,
    verbose: Verbose = False,
) -> None:
    """Explain a known bug: what happens, how it shows, who was hit, the fix, what catches it.

    `--html` writes one page with a place for each bug.
    """
    from attnverify.cli.output import console
    from attnverify.report.advice import Leaf, write_advice
    from attnverify.report.text import leaf, write
    from attnverify.report.words import clean
    from attnverify.transforms.mutate import citations

    found = _found(bug, [*citations().values()])
    out = console()
    if bug:
        for one in found:
            leaf(out, Leaf(one.bug, one.title, one.advice()))
    elif html is None:
        for one in found:
            write(out, f"{one.bug}  {one.title}")
    if html is not None:
        write_advice([Leaf(one.bug, one.title, one.advice()) for one in found], html)
        write(out, f"page: {clean(html)}")
    raise typer.Exit(OK)


def _found(wanted: str, known: list[Citation]) -> list[Citation]:
    """The bug of an identifier, or those that have words in their titles."""
    named = [one for one in known if one.bug.lower() == wanted.lower()]
    words = wanted.lower().split()
    found = named or [one for one in known if all(word in one.title.lower() for word in words)]
    if not found:
        near = get_close_matches(wanted.upper(), [one.bug for one in known], n=1)
        raise UsageError(
            "no known bug has this identifier or these words in its title",
            found=wanted,
            hint=f"did you mean {near[0]}?" if near else "`attnverify explain` lists them",
        )
    return found
