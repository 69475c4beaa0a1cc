"""The command line: the same words as the Python face, and what goes wrong in one sentence.

Exit status: 0 the report is ok, 1 it is not, 2 usage or a spec that does not load, 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from attnverify import __version__
from attnverify.cli.audit import audit
from attnverify.cli.check import check
from attnverify.cli.explain import explain
from attnverify.cli.export import export
from attnverify.cli.flow import flow
from attnverify.cli.ghostwrite import ghostwrite
from attnverify.cli.identify import identify
from attnverify.cli.lattice import lattice
from attnverify.cli.look import list_specs, show
from attnverify.cli.new import new
from attnverify.cli.options import INTERRUPTED, OK, USAGE, verbose
from attnverify.cli.report import report
from attnverify.cli.serve import serve
from attnverify.cli.theorems import theorems
from attnverify.cli.verify import verify
from attnverify.errors import AttnverifyError, MissingExtraError


class Words(TyperGroup):
    """The commands; an error of ours leaves as one sentence and a status, never as a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except AttnverifyError as error:
            told = str(error) if isinstance(error, MissingExtraError) else error.sentence()
            raise _stopped(ctx, told, error) from error
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            typer.echo("attnverify: interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            raise _stopped(
                ctx, f"{error.strerror or error}: {error.filename or ''}", error
            ) from error
        except Exception as error:
            if _is_usage(error):
                raise
            told = f"attnverify itself failed: {type(error).__name__}: {error}"
            raise _stopped(
                ctx, f"{told}; `--verbose` shows where, please report it", error
            ) from error


def _is_usage(error: Exception) -> bool:
    """Whether the argument parser means to tell this one itself; its errors carry a status."""
    return hasattr(error, "exit_code") and hasattr(error, "show")


def _stopped(ctx: Any, told: str, error: Exception) -> typer.Exit:
    from attnverify.report.words import clean

    if verbose(ctx):
        import traceback

        typer.echo("".join(traceback.format_exception(error)), err=True)
    typer.echo(f"attnverify: {clean(told)}", err=True)
    return typer.Exit(USAGE)


app = typer.Typer(
    cls=Words,
    name="attnverify",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("list")(list_specs)
app.command("show")(show)
app.command("verify")(verify)
app.command("check")(check)
app.command("identify")(identify)
app.command("audit")(audit)
app.command("explain")(explain)
app.command("flow")(flow)
app.command("ghostwrite")(ghostwrite)
app.command("export")(export)
app.command("new")(new)
app.command("lattice")(lattice)
app.command("theorems")(theorems)
app.command("report")(report)
app.command("serve")(serve)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"attnverify {__version__}")
        raise typer.Exit(OK)


@app.callback()
def _words(
    _version_asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Say whether an attention computation is right, and why."""


def main() -> None:
    """Run the command line; what a terminal cannot show is replaced, not an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app()
