"""NaN and infinities in places that a row does not see: which convention a subject follows.

A sum of weights times values that multiplies by zero turns a NaN in a masked value into a NaN of
every row; one that leaves masked places out does not.  Both are legal, so the convention is
observed, and judged where it is declared.  What no convention implies is judged always: a NaN that
reaches another batch entry, or another query's row, or that turns into wrong finite numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.terms import Entry
from attnverify.check.explanation import Observed, habit
from attnverify.check.identities import Asked, unseen
from attnverify.check.judge import Judge
from attnverify.check.probe import NotJudged, Probe
from attnverify.errors import ParameterError, RefutedError
from attnverify.inputs import Case
from attnverify.invariants import roles
from attnverify.subjects import SubjectFault
from attnverify.verdict import Status, Verdict, Witness

Array = NDArray[Any]

POISONS = ("isolates", "propagates")
NAME = "poison"
LEAK = habit("masked NaN leaks", "what is not finite is multiplied by 0, not left out", "EDG-06")
BAD = {"NaN": np.nan, "infinity": np.inf}


def poison_of(declared: str | None) -> str | None:
    """The declared convention; ParameterError for one that there is not.

    >>> poison_of("isolates")
    'isolates'
    """
    if declared is not None and declared not in POISONS:
        raise ParameterError(
            "a convention for NaN in masked places that cannot be judged",
            found=repr(declared),
            due=f"{', '.join(map(repr, POISONS))}, or leave it undeclared",
        )
    return declared


@dataclass(frozen=True)
class _Dose:
    """One poisoned case: what it holds and where, what sees it, what it could reach at all."""

    case: Case
    words: str
    seen: Array
    reachable: Array

    @property
    def masked(self) -> bool:
        """Whether some row that it could reach does not see it."""
        return bool((self.reachable & ~self.seen).any())


def poisoned(judge: Judge, cases: Iterable[Case], declared: str | None) -> Verdict | None:
    """What a subject makes of NaN and infinities, on cases with masked places; None without one."""
    probe, parts = Probe(judge), roles(judge.spec)
    spread: list[str] = []
    tried, masked = 0, False
    name = f"{NAME} ({judge.dtype})"
    for case in cases:
        asked = Asked(probe, parts, case)
        for dose in (*_queries(asked), *_keys(asked)):
            propagated = False
            try:
                propagated = _propagates(asked, dose)
                if declared == "isolates":
                    _isolates(asked, dose)
            except NotJudged:
                continue
            except (RefutedError, SubjectFault) as fault:
                said = f"{dose.words}: {fault.message}"
                refuted = Verdict(
                    name,
                    Status.REFUTED,
                    said,
                    witness=Witness(note=said),
                    evidence=_explained(dose) if propagated else {},
                )
                return judge.witnessed(refuted, case)
            tried, masked = tried + 1, masked or dose.masked
            spread += [dose.words] if propagated else []
    if not masked:
        none = "no row was found that does not see the place with NaN"
        return Verdict(name, Status.UNDECIDED, none) if declared else None
    return _said(name, tried, list(dict.fromkeys(spread)), declared)


def _explained(dose: _Dose) -> dict[str, Any]:
    """What it is that spreads what is not finite to rows that do not see it, and nothing else."""
    seen = f"{int((dose.reachable & ~dose.seen).sum())} entries that do not see it"
    told = f"lets {dose.words} through, as 0 times it is NaN"
    found = Observed(LEAK, told, f"of {seen}, some are not finite and the others right")
    return {"explained": [found.plain()]}


def _said(name: str, tried: int, spread: list[str], declared: str | None) -> Verdict:
    found = f"the subject propagates {'; '.join(spread)}" if spread else "the subject isolates them"
    if declared is not None:
        return Verdict(name, Status.HELD, f"{declared!r} is declared; {found}", cases=tried)
    said = f"no convention is declared for NaN and infinities in masked places; {found}"
    return Verdict(name, Status.UNDECIDED, f'{said} (declare poison="isolates" to judge it)')


def _keys(asked: Asked) -> Iterator[_Dose]:
    """Poison in one batch entry's keys and values at one place, which some rows do not see."""
    try:
        axis = asked.sequence
    except NotJudged:
        return
    if not asked.parts.masked or asked.chosen_by_values:
        return
    try:
        reachable = _first_entry(asked, (*asked.parts.key_inputs, *asked.parts.value_inputs))
    except NotJudged:
        return
    for place in (int(n) for n in asked.rng.permutation(asked.case.sizes[axis])):
        garbage = _in_one_entry(asked, asked.probe.garbage(asked.case, axis, [place]))
        seen = ~unseen(asked, garbage)
        if (reachable & ~seen).any():
            break
    else:
        return
    sides = {"keys": asked.parts.key_inputs, "values": asked.parts.value_inputs}
    for side, entries in sides.items():
        names = [entry.tensor.name for entry in entries]
        for word, value in BAD.items():
            planted = asked.probe.planted(asked.case, axis, [place], dict.fromkeys(names, value))
            if names:
                yield _Dose(
                    _in_one_entry(asked, planted), f"{word} in masked {side}", seen, reachable
                )


def _queries(asked: Asked) -> Iterator[_Dose]:
    """NaN in one query of one batch entry: its own row is all that it reaches."""
    own = [e.tensor.name for e in asked.parts.query_inputs if e not in asked.parts.key_inputs]
    along = [n for n in asked.probe.axis("queries") if n in own]
    if not along or not asked.parts.movable("queries") or asked.chosen_by_values:
        return
    place = int(asked.rng.integers(asked.case.sizes["queries"]))
    nan = asked.probe.planted(asked.case, "queries", [place], dict.fromkeys(along, np.nan))
    try:
        seen = _row(asked, place)
    except NotJudged:
        return
    yield _Dose(_in_one_entry(asked, nan), "NaN in one query", seen, seen)


def _first_entry(asked: Asked, planted: Iterable[Entry]) -> Array:
    """Where the output is the first batch entry's: a weight of zero spreads NaN no further.

    Poison in what all entries share may reach them all.
    """
    due = asked.probe.due(asked.case)
    reachable = np.ones(due.value.shape, bool)
    own = all(e.indices and e.indices[0].axis.name == "batch" for e in planted)
    if own and "batch" in due.axes:
        np.moveaxis(reachable, due.axes.index("batch"), 0)[1:] = False
    return reachable


def _row(asked: Asked, place: int) -> Array:
    """Where the output is one query's, in the first batch entry."""
    due = asked.probe.due(asked.case)
    if "queries" not in due.axes:
        raise NotJudged("the output has no rows of queries")
    row = np.zeros(due.value.shape, bool)
    np.moveaxis(row, due.axes.index("queries"), 0)[place] = True
    if "batch" in due.axes:
        np.moveaxis(row, due.axes.index("batch"), 0)[1:] = False
    return row


def _in_one_entry(asked: Asked, changed: Case) -> Case:
    """The changed case in its first batch entry, and the case as it was in the others."""
    arrays = dict(changed.arrays)
    for entry in asked.probe.spec.inputs:
        name = entry.tensor.name
        if entry.indices and entry.indices[0].axis.name == "batch":
            arrays[name] = arrays[name].copy()
            arrays[name][1:] = asked.case.arrays[name][1:]
    return replace(changed, arrays=arrays)


def _propagates(asked: Asked, dose: _Dose) -> bool:
    """Whether rows that do not see the poison are not finite; RefutedError where they are wrong."""
    after = asked.probe.output(dose.case, bound_of=asked.case)
    lost = ~np.isfinite(after.value)
    may = dose.seen | (dose.reachable & lost)
    due = asked.probe.due(asked.case)
    after.equals(due, where=~may, what="O of rows that do not see it")
    return bool((dose.reachable & ~dose.seen & lost).any())


def _isolates(asked: Asked, dose: _Dose) -> None:
    """As if it were not there, for all rows that do not see it and for their gradients."""
    probe, case = asked.probe, asked.case
    after = probe.output(dose.case, bound_of=case)
    due = probe.due(case)
    # Where nothing but zero is due, all that a row sees may have been dropped.
    after.equals(due, where=~dose.seen & ~due.exact_zeros, what="O of rows that do not see it")
    if probe.judge.no_backward:
        return
    apart = ~dose.seen & ~due.exact_zeros
    clean, poisoned_case = (probe.pulled_by(c, apart) for c in (case, dose.case))
    dues = probe.dues(clean, backward=True)
    for name, slope in probe.gradients(poisoned_case, bound_of=clean).items():
        slope.equals(
            dues[probe.judge.whole.gradients[name]],
            what=f"d{name} of a cotangent that is zero in rows that see it",
        )
