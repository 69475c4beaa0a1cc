"""A subject's answers on a long case beside what is due, and the verdicts on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.terms import Entry, Index
from attnverify.check.matched import Matched
from attnverify.check.power import Power
from attnverify.check.rows import Group
from attnverify.check.rowwise import Bounds, Rows
from attnverify.check.tally import misused
from attnverify.compare import Due, nothing_but_zero
from attnverify.compare import judge as compared
from attnverify.compile.parts import cut
from attnverify.compile.streamed import KEYS, ROWS
from attnverify.inputs import Case
from attnverify.subjects import SubjectFault, WrongForm
from attnverify.verdict import Status, Verdict, Witness

Array = NDArray[Any]
# What must be zero is looked through in slices of so many places.
SLICE = 2**16


class Answers:
    """The subject's answers on a long case beside what is due, and the verdicts on them."""

    def __init__(self, rows: Rows, bounds: list[Bounds]) -> None:
        self.rows, self.bounds = rows, bounds
        self.spec, self.judge = rows.judge.spec, rows.judge
        self.rounding = rows.rounding(backward=rows.backward)

    def forward(self) -> dict[str, Verdict]:
        """Every output at the rows."""
        titles = {n: self.judge.forward_name(n) for n in self.judge.subject.plan.judged}
        try:
            outputs, _ = self.rows.asked(self.rows.case, backward=False)
        except SubjectFault as fault:
            if fault.misuse:
                raise misused(self.rows.name, fault.message) from fault
            return {t: _faulty(t, fault) for t in titles.values()}
        return {t: self.judged(t, outputs[n], n, n) for n, t in titles.items()}

    def backward(self, case: Case) -> dict[str, Verdict]:
        """Every gradient, under cotangents on the rows alone."""
        names = {n: self.judge.backward_name(n) for n in self.judge.subject.plan.real}
        try:
            _, slopes = self.rows.asked(case, backward=True)
        except SubjectFault as fault:
            return {t: _faulty(t, fault) for t in names.values()}
        return {
            t: self.judged(t, slopes[n], n, self.rounding.gradients[n], rest=True)
            for n, t in names.items()
        }

    def everywhere(self, slopes: Mapping[str, Array | None]) -> dict[str, Verdict]:
        """Gradients by rows, at the rows, under cotangents on all of them: the same ones.

        A row's gradient is linear in its own cotangent, and knows of no other.
        """
        found = {}
        for name in self.judge.subject.plan.real:
            if _axis(self.spec.heads[name]) == ROWS:
                title = self.judge.backward_name(name)
                due = self.rounding.gradients[name]
                found[title] = self.judged(title, slopes.get(name), name, due)
        return found

    def judged(
        self, title: str, got: Array | None, like: str, due: str, *, rest: bool = False
    ) -> Verdict:
        """One answer at rows or keys of each group; of a gradient, the `rest` is zero."""
        if got is None:
            return Verdict(title, Status.REFUTED, "the subject gave nothing", witness=Witness())
        try:
            array = self.judge.restored_as(like, got, self.rows.case)
        except WrongForm as fault:
            return _faulty(title, fault)
        head = self.spec.heads[like]
        parts = [b for b in self.bounds if not b.expected.reason]
        reasons = [b.expected.reason for b in self.bounds if b.expected.reason]
        if not parts:
            return Verdict(title, Status.UNDECIDED, f"no row could be judged: {reasons[0]}")
        axis = _axis(head)
        verdicts = []
        if not axis:
            verdicts.append(compared(title, array, _summed([b.expected.dues[due] for b in parts])))
        for part in parts if axis else ():
            kept = _kept(part.group)
            one = compared(title, cut(array, head, kept), part.expected.dues[due])
            verdicts.append(_placed(one, kept))
        if rest and axis and not reasons:
            verdicts.append(self._rest(title, array, head, axis, parts))
        return self._told(title, verdicts, reasons)

    def _rest(
        self, title: str, array: Array, head: Entry, axis: str, parts: list[Bounds]
    ) -> Verdict:
        """Nothing but zero where no row with a cotangent sees, or is."""
        at = next(n for n, p in enumerate(head.places) if _is(p, axis))
        away = np.ones(array.shape[at], bool)
        for part in parts:
            away[_kept(part.group)[axis]] = False
        for part in parts if {ROWS, KEYS} <= {*_names(head)} else ():
            # Of what has both, a row has entries at keys that it does not see.
            kept = _kept(part.group)
            others = np.setdiff1d(np.arange(self.rows.case.sizes[KEYS]), kept[KEYS])
            hidden = {**kept, KEYS: others}
            one = nothing_but_zero(title, cut(array, head, hidden), tuple(_names(head)))
            if one.status is not Status.HELD:
                return _placed(one, hidden)
        for start in range(0, len(away), SLICE):
            places = start + np.flatnonzero(away[start : start + SLICE])
            if not places.size:
                continue
            whole = places.size == min(SLICE, len(away) - start)
            span: Any = slice(start, start + SLICE) if whole else places
            piece = array[(slice(None),) * at + (span,)]
            one = nothing_but_zero(title, piece, tuple(_names(head)))
            if one.status is not Status.HELD:
                return _placed(one, {axis: places})
        return Verdict(title, Status.HELD)

    def _told(self, title: str, verdicts: list[Verdict], reasons: list[str]) -> Verdict:
        """The one verdict, with how many rows it is about."""
        for status in (Status.REFUTED, Status.UNDECIDED):
            for verdict in verdicts:
                if verdict.status is status:
                    return replace(verdict, detail=f"{self.coverage}: {verdict.detail}")
        worst = max(float(v.evidence.get("worst", 0.0)) for v in verdicts)
        rms = max(float(v.evidence.get("rms", 0.0)) for v in verdicts)
        entries = sum(int(v.evidence.get("entries", 0)) for v in verdicts)
        left = f"; {len(reasons)} groups of rows not judged: {reasons[0]}" if reasons else ""
        detail = f"{self.coverage}: largest error {worst:.2f} sigma of 6, "
        detail += f"root mean square {rms:.2f}{left}"
        return Verdict(
            title,
            Status.HELD,
            detail,
            cases=1,
            scope=self.scope,
            evidence={"worst": worst, "rms": rms, "entries": entries, "rows": self.rows.rows.count},
        )

    @property
    def coverage(self) -> str:
        """How many of how many rows, and which."""
        rows = self.rows.rows
        return f"{rows.count:,} of {self.rows.case.sizes[ROWS]:,} rows ({rows.told})"

    @property
    def scope(self) -> str:
        """The sizes, of which these rows."""
        sizes = ", ".join(f"{axis} {size}" for axis, size in self.rows.case.sizes.items())
        return f"{self.rows.rows.count} rows at {sizes}"

    def powered(self, found: Mapping[str, Verdict]) -> dict[str, Verdict]:
        """The verdicts that HELD with what they would have caught."""
        altered = self.rounding.altered
        names = {
            **{self.judge.forward_name(n): n for n in self.judge.subject.plan.judged},
            **{self.judge.backward_name(n): d for n, d in self.rounding.gradients.items()},
        }
        power = Power(altered, {n: names[n] for n in found if n in names})
        for part in self.bounds:
            if not part.expected.reason:
                arrays, parameters, sizes = self.rows.part(
                    part.group, self.rows.case, self.rounding
                )
                given = self.rounding.given(arrays, parameters, sizes)
                power.add(self.rows.case, given, part.expected)
                break
        matched = Matched(0.0, altered.temper)
        return {
            n: power.judged(v, matched) if v.status is Status.HELD else v for n, v in found.items()
        }


def _axis(head: Entry) -> str:
    """The axis that an array is judged along in parts: rows, or keys; none is added up."""
    names = _names(head)
    return ROWS if ROWS in names else KEYS if KEYS in names else ""


def _names(head: Entry) -> list[str]:
    return [p.axis.name if isinstance(p, Index) else "*".join(i.axis.name for i in p)
            for p in head.places]  # fmt: skip


def _is(place: Any, axis: str) -> bool:
    return isinstance(place, Index) and place.axis.name == axis


def _kept(group: Group) -> dict[str, Array]:
    return {ROWS: group.rows, KEYS: group.keys}


def _summed(dues: list[Due]) -> Due:
    """What all groups give together; their errors may add up."""
    value = np.asarray(sum(due.value for due in dues))
    return Due(value, np.asarray(sum(due.sigma for due in dues)), dues[0].axes)


def _placed(verdict: Verdict, kept: Mapping[str, Array]) -> Verdict:
    """The verdict with its witness at the place in the whole array."""
    witness = verdict.witness
    if witness is None or not witness.index:
        return verdict
    index = {a: int(kept[a][n]) if a in kept else n for a, n in witness.index.items()}
    place = ", ".join(f"{axis}={n}" for axis, n in index.items())
    detail = f"{verdict.evidence.get('failing', 'some')} entries fail, one at [{place}]: "
    detail += f"got {witness.got:.6g}, due {witness.due:.6g}, bound {witness.bound:.3g}"
    return replace(verdict, detail=detail, witness=replace(witness, index=index))


def _faulty(title: str, fault: Exception) -> Verdict:
    return Verdict(title, Status.REFUTED, str(fault), witness=Witness(note=str(fault)))
