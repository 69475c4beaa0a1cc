"""`python -m benchmarks.tolerances [--json PATH] [--only right wrong] [--quick]`: bounds at work.

Right implementations must stay inside the derived bounds, and not far inside; wrong ones must not.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import attnverify as av
from attnverify.check.matched import FEWEST
from attnverify.check.matched import STYLES as CENTRED
from attnverify.compare import WIDTHS, Due, judge, together
from attnverify.dtypes import float_type
from attnverify.inputs import Case, Draw
from attnverify.rounding import Expected, Rounding
from attnverify.rounding.filters import common
from attnverify.subjects import SubjectFault, subject
from attnverify.verdict import Status, Verdict
from benchmarks.__main__ import environment, table
from benchmarks.kernels import FAULTS, KINDS, Kernel, applies
from benchmarks.libraries import LIBRARIES, Library

Array: TypeAlias = NDArray[Any]
Answers: TypeAlias = Mapping[str, Array]

DTYPES = ("float64", "float32", "bfloat16", "float16")
# Sizes and styles of the draws: (heads, rows, keys, channels); masks want as many keys as rows.
SHAPES = ((8, 64, 64, 32), (4, 33, 97, 64), (4, 160, 160, 128), (2, 250, 100, 8))
STYLES = ("normal", "peaked", "offset", "normal", "peaked", "spread", "normal", "flat", "peaked")
# Faults are put into one head of 64 rows and keys, with 64 channels.
FAULTY = (2, 64, 64, 64)


@dataclass(frozen=True)
class Judged:
    """One case and what is due, by output name as an answer has it."""

    case: Case
    dues: Mapping[str, Due]
    common: float


def cases(kind: str, dtype: str, count: int, shapes: Sequence[tuple[int, ...]]) -> list[Case]:
    """Draws of one kind of attention, sizes and styles in turn."""
    name, parameters = KINDS[kind]
    spec = av.load(name, **parameters)
    draw = Draw(spec, dtype=dtype)
    found = []
    for number in range(count):
        heads, rows, keys, channels = shapes[number % len(shapes)]
        sizes = {"batch": 1, "queries": rows, "key_dim": channels, "value_dim": channels}
        sizes |= {"keys": rows if kind in ("causal", "window") else keys}
        sizes |= {"group": heads // 2, "repeat": 2} if kind == "GQA" else {"heads": heads}
        style = STYLES[number % len(STYLES)]
        found.append(draw.case(sizes, seed=number, style=style))
    return found


def judged(
    kind: str,
    dtype: str,
    drawn: Sequence[Case],
    internal: str | None = None,
    profile: str = "loose",
) -> Iterator[Judged]:
    """What is due for each case that bounds hold for."""
    name, parameters = KINDS[kind]
    rounding = Rounding(
        av.load(name, **parameters), dtype, internal=internal, profile=profile, backward=True
    )
    names = {"O": "O", **{f"d{n}": out for n, out in rounding.gradients.items()}}
    for case in drawn:
        seeds = {rounding.cotangents[out]: a for out, a in case.cotangents.items()}
        matched = case.style in CENTRED
        expected: Expected = rounding.expected(
            {**case.arrays, **seeds}, {}, case.seed, case.sizes, matched=matched
        )
        if not expected.reason:
            dues = {told: expected.dues[out] for told, out in names.items()}
            yield Judged(case, dues, common(rounding.profile))


# Right implementations


class RightRow(TypedDict):
    """One library in one type: entries judged, violations, the worst error, how near bounds are."""

    library: str
    dtype: str
    profile: str
    kinds: int
    entries: int
    violations: int
    worst: float
    rms: float
    median: float
    ninetieth: float
    together: float
    said: str


@dataclass
class Figures:
    """Figures of one library in one type so far."""

    entries: int = 0
    violations: int = 0
    worst: float = 0.0
    rms: float = 0.0
    ratios: list[Array] = field(default_factory=list)
    together: float = 0.0
    kinds: set[str] = field(default_factory=set)
    said: set[str] = field(default_factory=set)

    def add(self, name: str, got: Array, due: Due) -> Verdict:
        """Count one array in; its verdict."""
        verdict = judge(name, got.astype(float), due)
        sigma, error = due.sigma.astype(float), np.abs(got.astype(float) - due.value.astype(float))
        self.entries += got.size
        self.violations += int(verdict.evidence.get("failing", 0))
        self.violations += verdict.status is Status.REFUTED and "failing" not in verdict.evidence
        self.worst = max(self.worst, float(verdict.evidence.get("worst", 0.0)))
        self.rms = max(self.rms, float(verdict.evidence.get("rms", 0.0)))
        off = (error > 0) & (sigma > 0)
        self.ratios.append((sigma[off] / error[off]).astype(np.float32))
        return verdict

    def row(self, library: str, dtype: str, profile: str) -> RightRow:
        """The figures as a row."""
        ratios = np.concatenate(self.ratios) if self.ratios else np.zeros(1)
        median, ninetieth = (float(np.quantile(ratios, q)) for q in (0.5, 0.9))
        return RightRow(
            library=library,
            dtype=dtype,
            profile=profile,
            kinds=len(self.kinds),
            entries=self.entries,
            violations=self.violations,
            worst=self.worst,
            rms=self.rms,
            median=median,
            ninetieth=ninetieth,
            together=self.together,
            said="; ".join(sorted(self.said)),
        )


def answers(library: Library, kind: str, case: Case, dtype: str) -> Answers | None:
    """What a library gives for a case; None where it has no such attention."""
    fn = library.make(kind)
    if fn is None:
        return None
    name, parameters = KINDS[kind]
    asked = subject(
        fn,
        av.load(name, **parameters),
        framework=library.framework,
        layout=library.layout,
        dtype=dtype,
        vjp=library.vjp and library.vjp(kind),
    )
    outputs, slopes = asked.backward(case.arrays, case.cotangents, {})
    # Where a backward pass is given apart, it gives gradients alone.
    outputs = outputs or asked.forward(case.arrays, {})
    back = (0, 2, 1, 3) if library.layout == "b n h d" else (0, 1, 2, 3)
    found = {"O": outputs["O"].transpose(back)}
    for wrt, slope in slopes.items():
        if slope is not None:
            found[f"d{wrt}"] = slope if wrt == "bias" else slope.transpose(back)
    return found


def right(
    dtype: str, profile: str, *, count: int, shapes: Sequence[tuple[int, ...]]
) -> list[RightRow]:
    """Every library that is here and fits a profile, in one type, over every kind of attention."""
    fitting = {n: x for n, x in LIBRARIES.items() if x.strict or profile == "loose"}
    figures = {n: Figures() for n, x in fitting.items() if x.present and dtype in x.dtypes}
    for kind in KINDS:
        drawn = cases(kind, dtype, count, shapes)
        for internal in sorted({dict(LIBRARIES[n].internal).get(dtype, "") for n in figures}):
            there = [n for n in figures if dict(LIBRARIES[n].internal).get(dtype, "") == internal]
            _right(
                kind,
                dtype,
                list(judged(kind, dtype, drawn, internal or None, profile)),
                {n: figures[n] for n in there},
            )
    return [figures[name].row(name, dtype, profile) for name in figures]


def _right(kind: str, dtype: str, due: Sequence[Judged], figures: Mapping[str, Figures]) -> None:
    """Count in what each of some libraries gives for the cases of one kind."""
    for name, kept in figures.items():
        along: dict[tuple[str, str], list[tuple[float, Any]]] = {}
        try:
            for one in due:
                found = answers(LIBRARIES[name], kind, one.case, dtype)
                if found is None:
                    break
                kept.kinds.add(kind)
                for out, got in found.items():
                    verdict = kept.add(out, got, one.dues[out])
                    for way, amplitude in verdict.evidence.get("along", {}).items():
                        told = along.setdefault((out, way), [])
                        told.append((float(amplitude), one.dues[out].filters[way]))
        except SubjectFault as fault:
            kept.said.add(f"{kind}: {fault.message[:60]}")
        kept.together = max([kept.together, *(_apart(t, due[0].common) for t in along.values())])


def _apart(told: Sequence[tuple[float, Any]], floor: float) -> float:
    """How many spreads many draws go along one direction."""
    one = together("together", [a for a, _ in told], [f for _, f in told], floor, "")
    return abs(one.evidence["amplitude"]) / one.evidence["spread"] if one.evidence else 0.0


# Wrong implementations


class WrongRow(TypedDict):
    """One fault in one kind, type and profile: of how many draws each showed it, and all together.

    `together` is how many spreads the draws go along a wrong scale or gain; `refuted` whether the
    entries of any draw, or all draws together, refute it.
    """

    fault: str
    kind: str
    dtype: str
    profile: str
    draws: int
    refuted_by_entries: int
    together: float
    refuted: bool


def wrong(kind: str, dtype: str, profile: str, *, count: int, size: int = 64) -> list[WrongRow]:
    """Every fault that applies, and the right kernel first, judged under one profile."""
    heads, *_ = FAULTY
    drawn = [
        c for c in cases(kind, dtype, 2 * count, ((heads, size, size, 64),)) if c.style in CENTRED
    ]
    due = list(judged(kind, dtype, drawn[:count], profile=profile))
    faults = ("", *(f for f in FAULTS if applies(f, kind, dtype)))
    return [_wrong(fault, kind, dtype, profile, due) for fault in faults]


def _wrong(fault: str, kind: str, dtype: str, profile: str, due: Sequence[Judged]) -> WrongRow:
    """What becomes of one fault."""
    kernel = Kernel(kind, float_type(dtype).numpy, fault)
    along: dict[tuple[str, str], list[tuple[float, Any]]] = {}
    failed = 0
    for one in due:
        statuses = set()
        for out, got in kernel(one.case.arrays, one.case.cotangents["O"]).items():
            verdict = judge(out, got.astype(float), one.dues[out])
            statuses.add(verdict.status)
            for way, amplitude in verdict.evidence.get("along", {}).items():
                told = along.setdefault((out, way), [])
                told.append((float(amplitude), one.dues[out].filters[way]))
        failed += Status.REFUTED in statuses
    enough = [told for told in along.values() if len(told) >= FEWEST]
    apart = max((_apart(told, due[0].common) for told in enough), default=0.0)
    return WrongRow(
        fault=fault or "none", kind=kind, dtype=dtype, profile=profile, draws=len(due),
        refuted_by_entries=failed, together=apart, refuted=bool(failed) or apart > WIDTHS,
    )  # fmt: skip


# The program


def right_table(rows: Sequence[RightRow]) -> Table:
    """Right implementations, a row for each library and type."""
    heads = (
        "library, type, profile", "kinds", "entries", "violations", "worst, sigma", "rms",
        "sigma/error, median", "90th", "together", "said",
    )  # fmt: skip
    cells = [
        (
            f"{r['library']}, {r['dtype']}, {r['profile']}", str(r["kinds"]), f"{r['entries']:,}",
            str(r["violations"]), f"{r['worst']:.2f}", f"{r['rms']:.2f}", f"{r['median']:.1f}",
            f"{r['ninetieth']:.0f}", f"{r['together']:.1f}", r["said"],
        )
        for r in rows
    ]  # fmt: skip
    total = sum(r["entries"] for r in rows)
    bad = sum(r["violations"] for r in rows)
    cells.append(("all", "", f"{total:,}", str(bad), "", "", "", "", "", ""))
    return table("right implementations, forward and backward", heads, cells)


def reported(rows: Sequence[RightRow]) -> list[RightRow]:
    """The row of each library and type under the tightest profile that it fits: what is reported.

    >>> rows = [{"library": "one", "dtype": "float16", "profile": "loose", "violations": 0}]
    >>> [r["profile"] for r in reported([*rows, {**rows[0], "profile": "strict"}])]
    ['strict']
    >>> failing = {**rows[0], "profile": "strict", "violations": 2}
    >>> [r["profile"] for r in reported([*rows, failing])]
    ['loose']
    """
    tightest: dict[tuple[str, str], RightRow] = {}
    for row in rows:
        key = row["library"], row["dtype"]
        if key not in tightest or (row["profile"] == "strict" and not row["violations"]):
            tightest[key] = row
    return list(tightest.values())


def reported_table(rows: Sequence[RightRow]) -> Table:
    """How near bounds are under the profile reported, beside `loose`, which all are judged by."""
    loose = {(r["library"], r["dtype"]): r["median"] for r in rows if r["profile"] == "loose"}
    heads = "library, type", "reported", "sigma/error, median", "under loose"
    cells = [
        (
            f"{r['library']}, {r['dtype']}", r["profile"], f"{r['median']:.1f}",
            f"{loose[r['library'], r['dtype']]:.1f}",
        )
        for r in reported(rows)
    ]  # fmt: skip
    return table("the tightest profile that fits", heads, cells)


def wrong_table(rows: Sequence[WrongRow], dtype: str, profile: str) -> Table:
    """Faults by kind for one type and profile: draws refuted by entries, spreads together."""
    own = [r for r in rows if (r["dtype"], r["profile"]) == (dtype, profile)]
    kinds = list(dict.fromkeys(r["kind"] for r in own))
    cells = []
    for fault in dict.fromkeys(r["fault"] for r in own):
        by_kind = {r["kind"]: r for r in own if r["fault"] == fault}
        cells.append((fault, *(_cell(by_kind.get(kind)) for kind in kinds)))
    title = f"{dtype}, {profile}: draws refuted by entries, spreads together"
    return table(title, ("fault", *kinds), cells)


def _cell(row: WrongRow | None) -> str:
    if row is None:
        return "-"
    mark = "" if row["refuted"] else " missed" if row["fault"] != "none" else " held"
    return f"{row['refuted_by_entries']}/{row['draws']}, {row['together']:.0f}{mark}"


def profiles(dtype: str) -> tuple[str, ...]:
    """The profiles that differ for a type."""
    return ("loose", "strict") if dtype in ("float16", "bfloat16") else ("loose",)


def measure(parts: Sequence[str], *, quick: bool, console: Console) -> dict[str, Any]:
    """Run the parts asked for, print each table as it is done, and return all figures."""
    figures: dict[str, Any] = {"schema": 1, "environment": environment()}
    if "right" in parts:
        shapes, count = (((2, 16, 16, 8),), 1) if quick else (SHAPES, len(STYLES))
        figures["right"] = []
        for dtype, profile in ((d, p) for d in DTYPES for p in profiles(d)):
            figures["right"] += right(dtype, profile, count=count, shapes=shapes)
        console.print(right_table(figures["right"]))
        console.print(reported_table(figures["right"]))
    if "wrong" in parts:
        figures["wrong"] = []
        for dtype in DTYPES:
            for profile in profiles(dtype):
                for kind in ("causal",) if quick else KINDS:
                    size, count = (16, 2) if quick else (64, 12)
                    figures["wrong"] += wrong(kind, dtype, profile, count=count, size=size)
                console.print(wrong_table(figures["wrong"], dtype, profile))
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write JSON to the path given; 1 where a right implementation fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tolerances", description=__doc__)
    parser.add_argument("--json", type=Path, help="where the figures are written")
    parser.add_argument("--only", nargs="+", choices=("right", "wrong"), default=("right", "wrong"))
    parser.add_argument("--quick", action="store_true", help="few and small draws")
    options = parser.parse_args(arguments)
    figures = measure(options.only, quick=options.quick, console=Console())
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return int(any(row["violations"] for row in figures.get("right", ())))


if __name__ == "__main__":
    raise SystemExit(main())
