"""Verify a spec against itself: theorems, drawn properties, gradient routes that share no code."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
import sympy

from attnverify import __version__
from attnverify.algebra.rewrite import children, free, walk
from attnverify.algebra.terms import Expr, Index, Maximum, Softmax, Threshold, Total
from attnverify.certify import told as certificate
from attnverify.compile import compile  # noqa: A004  the fixed public name
from attnverify.errors import AttnverifyError
from attnverify.exact import Kept
from attnverify.invariants import Invariant, applicable, roles
from attnverify.library import members
from attnverify.pictured import weights_map
from attnverify.provers.disturbed import steps, work
from attnverify.provers.draws import (
    SIZES,
    TOGETHER,
    Case,
    Plan,
    fitting,
    plain_values,
    plan,
)
from attnverify.provers.induction import prove, steps_of
from attnverify.provers.joint import Joint, joints
from attnverify.provers.paths import Routes
from attnverify.provers.routes import routes
from attnverify.provers.sampled import confirm, trial, tried
from attnverify.serial import to_json
from attnverify.spec import Spec
from attnverify.statement import Statement
from attnverify.verdict import Report, Section, Status, Verdict

# Drawn cases of a spec, over all members of its family; and of a member, however many there are.
EXAMPLES = 200
LEAST = 40
# What one case may compute, and how many operations all groups of cases may take together.
TERMS = 12_000
OPERATIONS = 12_000


SCOPE = "in real arithmetic, for all sizes of at least 1"
# Entries that one exact evaluation may read: some seconds of rational arithmetic.
VISITS = 300_000
OnVerdict = Callable[[str, Verdict], object]


def verify(
    spec: str | Spec,
    *,
    examples: int | None = None,
    seed: int = 0,
    on_verdict: OnVerdict | None = None,
    **values: Any,
) -> Report:
    """Ask a spec every invariant that applies, and compare its derived gradients by three routes.

    A name stands for every member of its family unless `values` choose; parameters left open are
    drawn. `examples` is the number of cases drawn for each member, which all its statements and
    gradient routes see; 200 of a spec unless told, shared by its members.
    `on_verdict(title, verdict)` is called as verdicts come.

    Raises LoadError or ParameterError where the spec does not load.
    """
    told = on_verdict or (lambda _title, _verdict: None)
    found = list(members(spec, values))
    each = examples or share(len(found))
    sections = [_section(title, member, each, seed, told) for title, member in found]
    return Report(sections=tuple(sections), environment=environment())


def share(count: int) -> int:
    """How many cases are drawn for each of a spec's members, where nobody says.

    >>> share(1), share(4), share(30)
    (200, 50, 40)
    """
    return max(LEAST, -(-EXAMPLES // max(count, 1)))


def _section(title: str, spec: Spec, examples: int, seed: int, told: OnVerdict) -> Section:
    verdicts: list[Verdict] = []
    skipped: dict[str, str] = {}
    paths = Routes(spec)
    for verdict in _verdicts(paths, examples, seed, skipped):
        verdicts.append(verdict)
        told(title, verdict)
    shown = figures(spec, paths.gradient, skipped)
    return Section(spec=title, verdicts=tuple(verdicts), figures=shown)


def _verdicts(
    paths: Routes, examples: int, seed: int, skipped: dict[str, str]
) -> Iterator[Verdict]:
    spec, parts = paths.spec, roles(paths.spec)
    rows = applicable(spec)
    skipped.update({invariant.name: reason for invariant, reason in rows if reason})
    asked = [(row.name, row.statements(parts)) for row, reason in rows if not reason]
    start = time.perf_counter()
    computed = joints([statement for _, statements in asked for statement in statements])
    drawn = draws(paths, computed, examples, seed)
    found, kept = iter(tried(computed, drawn)), Kept()
    spent = (time.perf_counter() - start) / max(1, len(asked))
    for name, statements in asked:
        settling = partial(settle, spec, name, [(s, next(found)) for s in statements], kept)
        verdict = _timed(settling)
        yield replace(verdict, seconds=verdict.seconds + spent)
    for name in (name for name in spec.announces if name in skipped):
        reason = f"announced to fail, but it does not apply: {skipped[name]}"
        yield Verdict(name, Status.REFUTED, reason)
    for order in (1, 2):
        start = time.perf_counter()
        judged = routes(paths, examples, seed, order, drawn)
        spent = (time.perf_counter() - start) / len(judged)
        yield from (replace(verdict, seconds=spent) for verdict in judged)


def draws(paths: Routes, computed: Sequence[Joint], examples: int, seed: int) -> Plan:
    """The cases that a spec's statements and gradient routes all see.

    Large specs get smaller sizes, and more draws of each of them.
    """
    recipes = [*(joint.recipe for joint in computed), paths.derived.recipe]
    specs = [paths.spec, *(joint.spec for joint in computed)]
    usual = {axis.name: 3 for spec in specs for axis in spec.axes}
    groups = OPERATIONS // sum(steps(recipe, usual) for recipe in recipes)
    together = -(-examples // max(SIZES, groups))
    return plan(
        specs,
        examples,
        seed,
        smooth=paths.smooth,
        room=lambda sizes: all(work(recipe, sizes) <= TERMS for recipe in recipes),
        together=max(TOGETHER, together),
    )


def _timed(judging: Callable[[], Verdict]) -> Verdict:
    start = time.perf_counter()
    verdict = judging()
    return replace(verdict, seconds=time.perf_counter() - start)


def ask(invariant: Invariant, spec: Spec, examples: int, seed: int) -> Verdict:
    """The verdict on one invariant of a spec, by itself."""
    statements = invariant.statements(roles(spec))
    computed = joints(statements)
    drawn = plan([joint.spec for joint in computed], examples, seed)
    found = zip(statements, tried(computed, drawn), strict=True)
    return settle(spec, invariant.name, list(found))


def settle(
    spec: Spec, name: str, found: list[tuple[Statement, Verdict]], kept: Kept | None = None
) -> Verdict:
    """The verdict on an invariant from what draws say of its statements.

    A failure that the spec announces is expected.
    """
    verdict = joined(name, [decide(statement, seen, kept) for statement, seen in found])
    reason = spec.announces.get(name)
    if reason is None:
        return verdict
    if verdict.status is Status.REFUTED:
        return replace(verdict, expected=True, detail=f"as announced: {reason}. {verdict.detail}")
    # No failure among the draws is no proof that there is none: only a proof contradicts the spec.
    contradicted = verdict.status is Status.PROVED
    told = "it is PROVED" if contradicted else f"no draw shows it ({verdict.status.value})"
    return replace(
        verdict,
        status=Status.REFUTED if contradicted else Status.UNDECIDED,
        certificate=(),
        detail=f"the spec announces that this fails ({reason}), but {told}",
    )


def decide(statement: Statement, seen: Verdict, kept: Kept | None = None) -> Verdict:
    """Prove a statement that no draw refutes; a proof is also evaluated exactly.

    Statements of one spec that are given the same `kept` share the tables of its equations.
    """
    if seen.status is Status.REFUTED:
        return seen
    proof = prove(statement)
    if not proof.proved:
        return replace(seen, detail=f"{seen.detail}; not proved: {proof.reason}")
    for case in exact_cases(statement):
        found = confirm(trial(statement), case, kept)
        if found.status is Status.REFUTED:
            raise AttnverifyError(
                "the prover and the exact interpreter disagree",
                spec=statement.spec.name,
                found=f"{statement.name}: {statement.text()} is proved, but fails at "
                f"{found.detail}",
                due="one of them is wrong; please report it",
            )
    return Verdict(
        statement.name,
        Status.PROVED,
        statement.words or statement.text(),
        scope=SCOPE,
        certificate=certificate(statement, proof.certificate, steps_of(proof, statement)),
    )


def exact_cases(statement: Statement) -> list[Case]:
    """Two cases of unequal sizes, each axis at least as large as the number of its index variables.

    One draws ties and zeros, the other small integers. The largest axes are smaller where there
    would be too many places to visit.
    """
    computed = trial(statement)
    count: dict[str, int] = {axis.name: 1 for axis in computed.spec.axes}
    for expr in computed.spec.expressions():
        for axis, number in _index_count(expr).items():
            count[axis] = max(count.get(axis, 1), number)
    sizes = [
        {axis: min(4, number + (n + step) % 2) for n, (axis, number) in enumerate(count.items())}
        for step in (0, 1)
    ]

    def affordable(whole: Mapping[str, int]) -> bool:
        return sum(_visits(row, whole) for row in computed.spec.expressions()) <= VISITS

    choices = {p.name: plain_values(p) for p in statement.spec.parameters}
    styles = ("ties and zeros", "small integers")
    return [
        Case(
            fitting(computed.spec.axes, sizes[n], affordable),
            {name: found[n % len(found)] for name, found in choices.items()},
            styles[n],
            seed=n + 1,
        )
        for n in (0, 1)
    ]


def _visits(expr: Expr, sizes: Mapping[str, int]) -> int:
    """How many entries plain loops over all places of an expression read, about."""
    free_places = prod(sizes[index.axis.name] for index in free(expr))
    return free_places * _inner_visits(expr, sizes)


def _inner_visits(node: Expr, sizes: Mapping[str, int]) -> int:
    inside = sum(_inner_visits(child, sizes) for child in children(node)) or 1
    over = {index for index in _bound(node) if index not in free(node)}
    return inside * prod(sizes[index.axis.name] for index in over)


def _bound(node: Expr) -> tuple[Index, ...]:
    """The indices that a node names besides its free ones."""
    if isinstance(node, Total):
        return node.over
    if isinstance(node, Maximum | Threshold):
        return (node.over,)
    return (node.over, node.at) if isinstance(node, Softmax) else ()


def _index_count(expr: Expr) -> dict[str, int]:
    """How many different indices of each axis an expression names."""
    names: dict[str, set[str]] = {}
    for node in walk(expr):
        for index in (*_bound(node), *free(node)):
            names.setdefault(index.axis.name, set()).add(index.name)
    return {axis: len(found) for axis, found in names.items()}


def joined(name: str, verdicts: list[Verdict]) -> Verdict:
    """One verdict from those on an invariant's statements: as weak as the weakest."""
    refuted = next((v for v in verdicts if v.status is Status.REFUTED), None)
    if refuted is not None:
        return replace(refuted, name=name)
    weaker = [v for v in verdicts if v.status is not Status.PROVED]
    details = "; ".join(dict.fromkeys(v.detail for v in (weaker or verdicts) if v.detail))
    if weaker:
        cases = min((v.cases for v in weaker if v.cases is not None), default=None)
        return Verdict(name, weaker[0].status, details, cases=cases)
    steps = tuple(step for v in verdicts for step in v.certificate)
    return Verdict(name, Status.PROVED, details, scope=verdicts[0].scope, certificate=steps)


def figures(spec: Spec, derived: Spec, skipped: Mapping[str, str]) -> dict[str, Any]:
    """What a page shows beside verdicts: equations, weights, source, what does not apply, ..."""
    return {
        "description": spec.description,
        "equations": spec.printed(),
        "gradient": derived.printed(),
        "source": compile(derived).source,
        "weights": weights_map(spec),
        "spec": json.loads(to_json(spec)),
        "notes": {f"{name}: does not apply": reason for name, reason in skipped.items()},
    }


def environment() -> dict[str, str]:
    """The versions that a report depends on."""
    return {
        "attnverify": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "sympy": sympy.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }
