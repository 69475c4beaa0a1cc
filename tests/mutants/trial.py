"""Put a mutant, or its twin, before the checker, and say what came of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import attnverify as av
from attnverify.verdict import Report, Status, Verdict
from tests.mutants.registry import MUTANTS, Mutant, Pair

# What a line of the table has room for.
WIDTHS = (8, 24, 11, 26)


@dataclass(frozen=True)
class Trial:
    """What `check` said of one subject: the verdicts that refute it, and the seconds it took."""

    mutant: Mutant
    report: Report
    seconds: float

    @property
    def refuted(self) -> list[Verdict]:
        """The failures that no spec announces."""
        found = self.report.verdicts
        return [v for v in found if v.status is Status.REFUTED and not v.expected]

    @property
    def killer(self) -> tuple[str, str, str]:
        """The first failing comparison, the style of its draw, its sizes."""
        verdict = self.refuted[0]
        drawn: dict[str, Any] = dict(verdict.evidence.get("first", {}))
        told = {**drawn.get("sizes", {}), **drawn.get("parameters", {})}
        sizes = " ".join(f"{name}={value:.4g}" for name, value in told.items())
        return verdict.name, str(drawn.get("style", "")), sizes


def tried(mutant: Mutant, wrong: bool, store: str, **settings: Any) -> Trial:
    """The verdicts on a mutant, or on its twin."""
    built = mutant.build(wrong)
    forward, backward = built if isinstance(built, Pair) else (built, None)
    spec = mutant.spec() if callable(mutant.spec) else mutant.spec
    began = time.monotonic()
    told = {"explain": False, **mutant.settings, **settings}
    report = av.check(forward, spec, vjp=backward, store=store, **told)
    return Trial(mutant, report, time.monotonic() - began)


def line(trial: Trial) -> str:
    """One row of the table: bug, spec, comparison, draw."""
    bug = trial.mutant.bug.ljust(WIDTHS[0])
    spec = trial.mutant.judged_by.ljust(WIDTHS[1])
    if not trial.refuted:
        return f"{bug} {spec} SURVIVES  {trial.mutant.survives}"
    name, style, sizes = trial.killer
    return f"{bug} {spec} {name.ljust(WIDTHS[3])} {style.ljust(WIDTHS[2])} {sizes}"


def all_mutants() -> list[Mutant]:
    """Every mutant, by family and bug."""
    return sorted(MUTANTS, key=lambda mutant: (mutant.family, mutant.bug))


def described(mutant: Mutant) -> str:
    """What a mutant is: bug, title, citation, spec, what is needed, and why it survives."""
    bug = mutant.about
    told = [f"{mutant.bug}  {bug.title}", f"    {bug.source} ({bug.year})"]
    told.append(f"    judged by {mutant.judged_by}; needs {mutant.needs}")
    if mutant.survives:
        told.append(f"    not refuted yet: {mutant.survives}")
    return "\n".join(told)
