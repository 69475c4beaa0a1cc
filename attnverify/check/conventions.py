"""What a subject does in rows that see no key, where implementations legally differ.

The convention is observed on a case of its own.  Whatever it is, such a row keeps to itself: what
stands in other rows, and in gradients beyond what the convention implies, is judged always.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.check.judge import Judge
from attnverify.check.probe import Bounded, NotJudged, Probe
from attnverify.check.settings import Settings
from attnverify.compare import convention
from attnverify.equations import place_axis
from attnverify.errors import RefutedError
from attnverify.inputs import Case, Draw
from attnverify.invariants import roles
from attnverify.invariants.sites import SHARED
from attnverify.subjects import SubjectFault
from attnverify.verdict import Status, Verdict, Witness

Array = NDArray[Any]

WORDS = {
    "zeros": "the subject gives zeros there",
    "nan": "the subject gives NaN there",
    "other": "the subject gives other finite values there",
    "mixed": "the subject is not consistent there",
}
NAME = "rows without keys"
# Cases of the schedule among which one with such rows is looked for.
CASES = 18


def observed(settings: Settings, judge: Judge, draw: Draw) -> Verdict | None:
    """What rows that see no key give, where there may be such rows and nothing is declared."""
    if settings.empty_rows is not None or not draw.masked:
        return None
    found = _case_with_empty_rows(settings, judge)
    return None if found is None else on_case(judge, *found)


def on_case(judge: Judge, case: Case, rows: Array) -> Verdict:
    """The verdict on one case; `rows` marks the entries of the first output without keys."""
    name = f"{NAME} ({judge.dtype})"
    probe = Probe(judge)
    try:
        output = probe.output(case)
    except NotJudged as reason:
        return Verdict(name, Status.UNDECIDED, f"no convention is declared; {reason}")
    except SubjectFault as fault:
        return Verdict(name, Status.UNDECIDED, f"no convention is declared; on such rows {fault}")
    kind = convention(output.value[rows])
    try:
        output.equals(probe.due(case), where=~rows, what="O of rows that see keys")
        if not judge.no_backward:
            _pulled(probe, case, rows, kind)
    except (RefutedError, SubjectFault) as fault:
        said = f"{WORDS[kind]}, and that is not confined to them: {fault.message}"
        refuted = Verdict(name, Status.REFUTED, said, witness=Witness(note=said))
        return judge.witnessed(refuted, case)
    except NotJudged:
        # Gradients of this case have no bound: the convention of its outputs is told all the same.
        pass
    return Verdict(
        name,
        Status.UNDECIDED,
        f"no convention is declared, so such rows are not judged; {WORDS[kind]}"
        ' (declare empty_rows="zeros" to judge them)',
    )


def _pulled(probe: Probe, case: Case, rows: Array, kind: str) -> None:
    """Gradients with such rows: a cotangent of zero there adds nothing, of zeros none does.

    Where such rows are NaN, so is what their own backward pass reaches.
    """
    quiet = probe.pulled_by(case, ~rows)
    loud = probe.pulled_by(case, np.ones_like(rows))
    for pulled, words in ((quiet, "with dO zero in those rows"), (loud, "with dO in those rows")):
        if pulled is loud and kind != "zeros":
            return
        dues = probe.dues(pulled, backward=True)
        for name, slope in probe.gradients(pulled).items():
            reached = _reached(probe, case, rows, name)
            free = reached & np.isnan(slope.value) & (kind in ("nan", "mixed"))
            due = dues[probe.judge.whole.gradients[name]]
            slope.equals(due, where=~free, what=f"d{name} {words}")


def _reached(probe: Probe, case: Case, rows: Array, name: str) -> Array:
    """Where an input's gradient depends on such rows: their batch entries and heads, for queries.

    A query's own gradient depends on its own row alone.
    """
    parts = roles(probe.spec)
    head, entry = (probe.spec.heads[n] for n in (probe.spec.outputs[0], name))
    own = set(SHARED)
    if entry in parts.query_inputs and entry not in parts.key_inputs:
        own |= {index.axis.name for index in parts.main.rows}
    axes = [place_axis(place).name for place in head.places]
    to = [place_axis(place).name for place in entry.places]
    shared = [axis for axis in axes if axis in to and set(axis.split("*")) <= own]
    gone = tuple(n for n, axis in enumerate(axes) if axis not in shared)
    any_row = Bounded(
        np.asarray(rows.any(axis=gone)), np.zeros(()), tuple(a for a in axes if a in shared)
    )
    order = [any_row.axes.index(axis) for axis in to if axis in shared]
    sizes = [any_row.value.shape[any_row.axes.index(a)] if a in shared else 1 for a in to]
    spread = np.transpose(any_row.value, order).reshape(sizes)
    return np.broadcast_to(spread, case.arrays[name].shape)


def _case_with_empty_rows(settings: Settings, judge: Judge) -> tuple[Case, Array] | None:
    """A drawn case with a row that sees no key, and where those rows lie in the first output.

    One in which other rows see keys is told more by.
    """
    draw = Draw(
        settings.spec, dtype=judge.dtype, support=settings.sizes, empty=True, types=judge.types
    )
    kept: tuple[Case, Array] | None = None
    for case in draw.schedule(settings.seed, CASES):
        rows = draw.empty_rows(case, settings.spec.outputs[0])
        if rows is None or not bool(np.any(rows)):
            continue
        if not bool(np.all(rows)):
            return replace(case), rows
        kept = kept or (case, rows)
    return kept
