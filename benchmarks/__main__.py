"""`python -m benchmarks [--json PATH] [--only imports derivation passes verify check]`."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import derivation, imports, judging, passes, verification

PARTS = ("imports", "derivation", "passes", "verify", "check")
PACKAGES = ("attnverify", "numpy", "scipy", "sympy", "autograd", "torch", "jax", "tensorgrad")


def environment() -> dict[str, str]:
    """What the figures depend on: machine, interpreter, versions, threads."""
    found = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": str(os.cpu_count()),
        "threads": os.environ.get("OMP_NUM_THREADS", "not limited"),
    }
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def ms(value: float) -> str:
    """Seconds as milliseconds with three figures.

    >>> ms(0.0123456)
    '12.3'
    """
    return f"{value * 1e3:.3g}"


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """One table whose first column is words and whose others are figures."""
    made = Table(title=title, title_justify="left")
    for position, head in enumerate(heads):
        made.add_column(head, justify="left" if position == 0 else "right")
    for row in rows:
        made.add_row(*row)
    return made


def import_table(rows: Sequence[imports.ImportRow]) -> Table:
    """Import times in milliseconds."""
    cells = [(row["module"], ms(row["seconds"])) for row in rows]
    return table("import, fresh process", ("module", "ms"), cells)


def derivation_table(rows: Sequence[derivation.DerivationRow]) -> Table:
    """Derivation times per spec, their median last, ratios to tensorgrad where it ran."""
    ours = [row for row in rows if row["spec"] != derivation.PEER]
    peer = [row for row in rows if row["spec"] == derivation.PEER]
    median = derivation.DerivationRow(
        spec="median of the catalogue",
        first=statistics.median(row["first"] for row in ours),
        second=statistics.median(row["second"] for row in ours),
    )
    cells = []
    for row in [*ours, median, *peer]:
        ratios = [f"{row['first'] / p['first']:.2f}" for p in peer]
        cells.append((row["spec"], ms(row["first"]), ms(row["second"]), *ratios))
    heads = ("spec", "first order, ms", "second order, ms", *("to tensorgrad" for _ in peer))
    return table("derivation, nothing cached", heads, cells)


def pass_table(rows: Sequence[passes.PassRow]) -> Table:
    """Forward + backward: milliseconds, ratio to hand-written NumPy, difference from it."""
    cells = [
        (
            f"{row['n']} {row['peer']}",
            ms(row["seconds"]),
            f"{row['ratio_to_hand']:.2f}",
            f"{row['apart']:.0e}",
        )
        for row in rows
    ]
    title = "forward + backward, one head, d = 64, float64"
    return table(title, ("n", "ms", "to hand NumPy", "differs by"), cells)


def verify_table(rows: Sequence[verification.VerifyRow]) -> Table:
    """CPU seconds per member, their sum last."""
    cells = [
        (
            row["spec"],
            str(row["cases"]),
            f"{row['cpu']:.2f}",
            f"{row['statements']:.2f}",
            f"{row['routes']:.2f}",
        )
        for row in rows
    ]
    spent = sum(row["cpu"] for row in rows)
    cells.append((f"all {len(rows)}", "", f"{spent:.1f}", "", ""))
    heads = ("member", "cases", "CPU s", "statements, s", "routes, s")
    return table("verify, one process", heads, cells)


def check_table(rows: Sequence[judging.CheckRow]) -> Table:
    """Seconds of a default check."""
    cells = [
        (row["subject"], str(row["cases"]), f"{row['seconds']:.1f}", f"{row['cpu']:.1f}")
        for row in rows
    ]
    heads = ("subject", "cases", "seconds", "CPU s")
    return table("a default check against global, forward and backward", heads, cells)


def case_table(rows: Sequence[judging.CaseRow]) -> Table:
    """One gradient comparison, as a share of gradcheck's time."""
    cells = [(row["job"], ms(row["seconds"]), f"{100 * row['ratio']:.2f} %") for row in rows]
    title = "O, dQ, dK, dV of one case, (B, H, N, D) = (1, 2, 32, 16), float64, PyTorch"
    return table(title, ("job", "ms", "of gradcheck"), cells)


def measure(parts: Sequence[str], *, quick: bool, console: Console) -> dict[str, Any]:
    """Run the parts asked for, print each table as it is done, and return all figures."""
    figures: dict[str, Any] = {"schema": 1, "environment": environment()}
    if "imports" in parts:
        figures["imports"] = imports.measure(rounds=1 if quick else 5)
        console.print(import_table(figures["imports"]))
    if "derivation" in parts:
        figures["derivation"] = derivation.measure(rounds=1 if quick else 5)
        console.print(derivation_table(figures["derivation"]))
    if "passes" in parts:
        sizes, budget = (passes.SIZES[:1], 0.2) if quick else (passes.SIZES, 8.0)
        figures["passes"] = [row for n in sizes for row in passes.measure(n, budget=budget)]
        console.print(pass_table(figures["passes"]))
    if "verify" in parts:
        figures["verify"] = verification.measure(quick=quick)
        console.print(verify_table(figures["verify"]))
    if "check" in parts:
        figures["check"] = judging.checks(quick=quick)
        console.print(check_table(figures["check"]))
        figures["case"] = judging.measure_case(quick=quick)
        console.print(case_table(figures["case"]))
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write JSON to the path given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, help="where the figures are written")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run")
    parser.add_argument("--quick", action="store_true", help="one round, smallest size")
    options = parser.parse_args(arguments)
    figures = measure(options.only, quick=options.quick, console=Console())
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
