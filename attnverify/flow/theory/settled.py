"""A verdict on a statement by itself: tried on draws, proved where the provers reach."""

from __future__ import annotations

from dataclasses import replace

from attnverify.provers.draws import plan
from attnverify.provers.joint import joints
from attnverify.provers.sampled import tried
from attnverify.statement import Statement
from attnverify.verdict import Verdict
from attnverify.verify import decide

EXAMPLES = 30


def settled(statement: Statement, name: str, *, seed: int = 0, scope: str = "") -> Verdict:
    """The verdict on one statement, under a name of its own.

    PROVED as `verify` proves: by the normal form, and evaluated exactly at unequal sizes.
    """
    (joint,) = joints([statement])
    (seen,) = tried([joint], plan([joint.spec], EXAMPLES, seed))
    found = decide(statement, seen)
    whole = "; ".join(part for part in (scope, found.scope) if part)
    return replace(found, name=name, scope=whole)
