"""What a prover found: proved with its certificate, or not, with what was left over and why."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """The answer of a prover; `proved` false says nothing about whether the claim is true.

    `certificate` lists the rules that were applied, in words; `lines` are its steps, which
    `attnverify.certify` checks, or the plan of an induction, whose statements have steps of their
    own; `residue` is what was left of left
    minus right; `reason` says why there is no proof.
    """

    proved: bool
    certificate: tuple[str, ...] = ()
    residue: str = ""
    reason: str = ""
    lines: tuple[str, ...] = field(default=(), compare=False, repr=False)
    queries: int = field(default=0, compare=False)
