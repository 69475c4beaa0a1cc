"""A claim as data: a sentence, what judges it, and the reason where it is known to fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from attnverify.verdict import Section, Status, Verdict


@dataclass(frozen=True)
class Claim:
    """`says` is the sentence and `judge` gives its verdict.

    `fails` is the reason where the claim is known to be false, as it is often made: its verdict is
    then due to be REFUTED. `experiment` says that a measurement decides, which may go either way.
    `given` are the conditions where the verdict does not say them itself.
    """

    says: str
    judge: Callable[[], Verdict]
    fails: str = ""
    experiment: bool = False
    given: str = ""


def judged(claim: Claim) -> Verdict:
    """The verdict on a claim under its own sentence.

    REFUTED is expected where the claim is known to fail or an experiment decides; a claim that is
    known to fail and does not is REFUTED in turn, for then the ledger is wrong.
    """
    start = time.perf_counter()
    found = claim.judge()
    verdict = replace(
        found,
        name=claim.says,
        expected=False,
        seconds=time.perf_counter() - start,
        scope=found.scope or claim.given,
    )
    refuted = verdict.status is Status.REFUTED
    if not claim.fails:
        return replace(verdict, expected=claim.experiment and refuted)
    if refuted:
        return replace(verdict, expected=True, detail=f"{claim.fails}. {verdict.detail}")
    return replace(
        verdict,
        status=Status.REFUTED,
        certificate=(),
        detail=f"the ledger says that this fails ({claim.fails}), but it is {verdict.status.value}",
    )


def section(
    title: str,
    words: str,
    claims: Sequence[Claim],
    told: Callable[[str, Verdict], object] = lambda _title, _verdict: None,
) -> Section:
    """A section of the ledger, in order; `told(title, verdict)` hears verdicts as they come."""
    verdicts = []
    for claim in claims:
        verdicts.append(judged(claim))
        told(title, verdicts[-1])
    return Section(title, tuple(verdicts), figures={"description": words, "kind": "claims"})


def met(holds: object, name: str, detail: str, **more: object) -> Verdict:
    """HELD where a measurement is as claimed, REFUTED where it is not.

    >>> met(1 < 2, "order", "1 < 2").status.value
    'HELD'
    """
    status = Status.HELD if holds else Status.REFUTED
    return Verdict(name, status, detail, **more)  # type: ignore[arg-type]  # the fields of Verdict


def all_of(*found: Verdict) -> Verdict:
    """One verdict of several: as weak as the weakest."""
    order = (Status.REFUTED, Status.UNDECIDED, Status.HELD, Status.PROVED)
    worst = min(found, key=lambda verdict: order.index(verdict.status))
    return replace(worst, detail="; ".join(dict.fromkeys(verdict.detail for verdict in found)))
