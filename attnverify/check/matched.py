"""What the errors of many draws have in common, which no entry shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from attnverify.compare import WIDTHS, Due, Filter, together
from attnverify.rounding.filters import GAIN, TEMPERATURE
from attnverify.verdict import Status, Verdict

# Draws whose entries have no mean, and whose weights spread over many roundings: where weights are
# all alike they are all rounded alike, and what they have in common is no fault.
STYLES = ("normal", "peaked")
# Fewer draws than these have too little in common.
FEWEST = 6

Along = list[tuple[float, Filter]]


@dataclass
class Matched:
    """How far the answers of each comparison went along each direction, draw by draw.

    `floor` is what any right answer may have in all its draws, `temper` what a wrong scale scales.
    """

    floor: float
    temper: str
    found: dict[str, dict[str, Along]] = field(default_factory=dict)

    def add(self, name: str, verdict: Verdict, due: Due) -> None:
        """Count one answer in."""
        for way, amplitude in verdict.evidence.get("along", {}).items():
            told = self.found.setdefault(name, {}).setdefault(way, [])
            told.append((float(amplitude), due.filters[way]))

    def verdicts(self, name: str) -> Mapping[str, Verdict]:
        """The verdict of each direction in which enough draws go."""
        words = {
            TEMPERATURE: f"the scale of {self.temper} were off",
            GAIN: "all values were off",
        }
        ways = {w: t for w, t in self.found.get(name, {}).items() if len(t) >= FEWEST}
        made = {
            way: together(name, [a for a, _ in told], [f for _, f in told], self.floor, words[way])
            for way, told in ways.items()
        }
        return {way: verdict for way, verdict in made.items() if verdict.evidence}

    def joined(self, verdict: Verdict) -> Verdict:
        """A verdict that HELD entry by entry, with what the draws say together."""
        made = self.verdicts(verdict.name)
        told: dict[str, Any] = {way: dict(one.evidence) for way, one in made.items()}
        evidence = {**verdict.evidence, "filters": told} if told else verdict.evidence
        wrong = [one for one in made.values() if one.status is Status.REFUTED]
        if verdict.status is not Status.HELD or not wrong:
            return replace(verdict, evidence=evidence)
        worst = max(wrong, key=lambda one: abs(one.evidence["amplitude"]) / one.evidence["spread"])
        return replace(
            verdict,
            status=Status.REFUTED,
            detail=worst.detail,
            witness=worst.witness,
            evidence=evidence,
        )

    def sees(self, name: str, amplitude: float, sure: float) -> bool:
        """Whether a scale that is off by this much would have been told by all draws together."""
        one = self.verdicts(name).get(TEMPERATURE)
        return one is not None and amplitude > (WIDTHS + sure) * float(one.evidence["spread"])


def by_many(verdict: Verdict) -> bool:
    """Whether a verdict was refuted by many draws together, and by none alone."""
    told = verdict.evidence.get("filters", {})
    return verdict.status is Status.REFUTED and any("worst" in one for one in told.values())
