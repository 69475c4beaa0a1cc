"""Verdicts about masks for all sizes, or the smallest sizes at which a claim fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from attnverify.algebra import masks
from attnverify.algebra.masks import Answer
from attnverify.algebra.predicates import Compare, Predicate
from attnverify.algebra.rewrite import free_in
from attnverify.algebra.terms import Index, Parameter, Softmax, as_expr
from attnverify.spec import Spec
from attnverify.verdict import Status, Verdict, Witness

# Axes along which positions of a sequence stand.
SEQUENCES = ("queries", "time")


def implied(given: Predicate, then: Predicate, parameters: Iterable[Parameter] = ()) -> Verdict:
    """PROVED where `then` holds wherever `given` does, for all sizes."""
    return _verdict(f"{given} implies {then}", lambda: masks.implies(given, then, parameters))


def equivalent(one: Predicate, other: Predicate, parameters: Iterable[Parameter] = ()) -> Verdict:
    """PROVED where two masks keep the same places, for all sizes."""
    return _verdict(f"{one} is {other}", lambda: masks.equivalent(one, other, parameters))


def never(where: Predicate, parameters: Iterable[Parameter] = ()) -> Verdict:
    """PROVED where a predicate holds nowhere, for all sizes."""
    return _verdict(f"never {where}", lambda: masks.never(where, parameters))


def every_row_sees(where: Predicate, over: Index, parameters: Iterable[Parameter] = ()) -> Verdict:
    """PROVED where every row sees a key, for all sizes.

    Otherwise the detail says exactly when a row does.
    """
    parameters = tuple(parameters)
    verdict = _verdict(
        f"every row sees a {over.axis.name} with {where}",
        lambda: masks.every_row_sees(where, over, parameters),
    )
    if verdict.status is not Status.REFUTED:
        return verdict
    when = masks.sees_when(where, over, parameters)
    return Verdict(
        verdict.name,
        verdict.status,
        f"a row sees one exactly when {when}; {verdict.detail}",
        seconds=verdict.seconds,
        witness=verdict.witness,
    )


def implies_causal(spec: Spec, softmax: Softmax) -> bool:
    """Whether a softmax's mask lets no query see a key after its own position, for all sizes.

    >>> from attnverify import load
    >>> spec = load("sliding_window")
    >>> implies_causal(spec, spec.equation("A").body)
    True
    """
    rows = [i for i in free_in(softmax.where) if i != softmax.over and i.axis.name in SEQUENCES]
    if len(rows) != 1:
        return False
    causal = Compare("<=", as_expr(softmax.over), as_expr(rows[0]))
    return masks.implies(softmax.where, causal, spec.parameters).holds is True


def _verdict(name: str, ask: Callable[[], Answer]) -> Verdict:
    start = time.perf_counter()
    answer = ask()
    spent = time.perf_counter() - start
    if answer.holds:
        return Verdict(name, Status.PROVED, name, seconds=spent, scope="all sizes of at least 1",
                       certificate=("z3: linear integer arithmetic", answer.question))  # fmt: skip
    if answer.counterexample is None:
        return Verdict(name, Status.UNDECIDED, answer.reason, seconds=spent)
    found = answer.counterexample
    witness = Witness(sizes=found.sizes, index=found.positions, note=str(found))
    return Verdict(name, Status.REFUTED, f"fails at {found}", seconds=spent, witness=witness)
