"""`attnverify serve`: runs and specs in a browser, for this machine alone unless told otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnverify.cli.options import Store, Verbose


def serve(
    folder: Annotated[
        Path, typer.Argument(help="The folder of the reports in JSON that are shown.")
    ] = Path("reports"),
    *,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="The address to serve.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, help="The port; 0 takes any that is free.")
    ] = 8000,
    store: Store = Path(".attnverify"),
    verbose: Verbose = False,
) -> None:
    """Show runs, compare two, and draw specs at sizes and parameters that are picked in a browser.

    Only this machine is answered, unless --host says otherwise; whoever reaches that address then
    reads every report in the folder.
    """
    from attnverify.errors import UsageError
    from attnverify.live import Server
    from attnverify.report.words import clean

    if not folder.is_dir():
        raise UsageError("there is no such folder", found=folder, hint="name one with reports")
    with Server(folder, store, host=host, port=port) as server:
        typer.echo(f"serving {clean(folder)} at {server.url} (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("stopped")
