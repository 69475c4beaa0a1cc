"""What explains a failure, and what a subject may compute where no rewrite of a spec says it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from attnverify.compare import Due
from attnverify.inputs import Case
from attnverify.transforms.mutate import Mutant, Operator

Array = NDArray[Any]


def habit(name: str, words: str, *bugs: str) -> Operator:
    """What stands for bugs that are no rewrite of a spec."""
    return Operator(name, words, lambda _: iter(()), bugs)


def told(
    operator: Operator, sentence: str, evidence: str, equations: Sequence[object] = ()
) -> dict[str, Any]:
    """What explains a failure, as the evidence of a verdict holds it."""
    cited = [f"{c.bug}: {c.title}, {c.source} ({c.year})" for c in operator.citations]
    return {
        "sentence": sentence,
        "operator": operator.name,
        "bugs": list(operator.bugs),
        "evidence": evidence,
        "citations": cited,
        "equations": [str(s) for s in equations],
    }


@dataclass(frozen=True)
class Observed:
    """What a subject does from call to call, with what was seen of it."""

    operator: Operator
    sentence: str
    evidence: str

    def plain(self) -> dict[str, Any]:
        """As the evidence of a verdict holds it."""
        return told(self.operator, self.sentence, self.evidence)


@dataclass(frozen=True)
class Candidate(ABC):
    """Something that a subject may compute, said in words, with what it gives by answers' names.

    `fine` tells that it differs from the spec by little, so that what lies near it tells nothing.
    """

    operator: Operator
    sentence: str
    fine: bool = False

    @abstractmethod
    def values(self, case: Case) -> Mapping[str, Array]:
        """What it gives on a case."""

    @abstractmethod
    def dues(self, case: Case) -> Mapping[str, Due] | None:
        """What it gives on a case, under bounds; None where none can be had."""


@dataclass(frozen=True)
class Explanation:
    """What gives the subject's answers: how often, and how often the spec does not."""

    mutant: Mutant | Candidate
    agreed: int
    differed: int
    also: int = 0

    def plain(self) -> dict[str, Any]:
        """As the evidence of a verdict holds it."""
        mutant = self.mutant
        return told(mutant.operator, mutant.sentence, self.evidence, _changed(mutant))

    @property
    def evidence(self) -> str:
        """How often the mutant gives the subject's answers, and how often the spec does not.

        `agreed` and `differed` count inputs that the check has not seen, `also` those that failed.
        """
        found = f"agrees on {self.agreed} of {self.agreed} fresh inputs, differs from the spec on "
        return f"{found}{self.differed}" if self.differed else f"{found}{self.also} that failed"


def _changed(mutant: Mutant | Candidate) -> list[object]:
    if isinstance(mutant, Candidate):
        return []
    return [s for s in mutant.spec.equations if getattr(s, "name", "") == mutant.place]
