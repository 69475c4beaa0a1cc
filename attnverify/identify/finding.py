"""What a probe found: one convention, what the function follows, and what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from attnverify.verdict import Status, Verdict


@dataclass(frozen=True)
class Finding:
    """One convention and what the function follows; an empty value was not determined.

    `evidence` says what was asked and seen, `cases` on how many calls, `says` what it means for a
    spec or for a check ({"align": "bottom_right"}).  `topic` is what conventions of other functions
    are compared under, where the convention's own name has an argument's name in it.

    >>> Finding("alignment", "", "no mask was found").verdict().status
    <Status.UNDECIDED: 'UNDECIDED'>
    """

    convention: str
    value: str
    evidence: str
    cases: int = 1
    says: Mapping[str, Any] = field(default_factory=dict)
    topic: str = ""

    def verdict(self) -> Verdict:
        """HELD in the calls made, or UNDECIDED with the reason."""
        status = Status.HELD if self.value else Status.UNDECIDED
        detail = f"{self.value}: {self.evidence}" if self.value else self.evidence
        return Verdict(
            self.convention,
            status,
            detail,
            cases=self.cases,
            scope="the calls made",
            evidence={
                "convention": self.convention,
                "value": self.value,
                "topic": self.topic or self.convention,
            },
        )
