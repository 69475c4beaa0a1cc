"""Axes of size zero: a process that ends on one, or an answer of another shape, is wrong.

They are asked of an isolated subject alone: in the judge's own process a crash would end both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attnverify.check.judge import Judge
from attnverify.errors import AttnverifyError
from attnverify.inputs import Case, Draw, supported
from attnverify.subjects import SubjectFault, SubjectGone, WrongForm
from attnverify.verdict import Status, Verdict, Witness

NAME = "empty axes"
# A loop over no steps and a batch of none are met in practice as much as no query and no key.
AXES = ("batch", "queries", "keys", "time")


def empties(judge: Judge, cases: Iterable[Case]) -> Verdict | None:
    """The verdict on cases that have an axis of size zero; None without one.

    Only shape and type are judged: a row over no keys is a matter of convention.
    """
    name, refused, held = f"{NAME} ({judge.dtype})", [], 0
    for empty in cases:
        axis = next(a for a, size in empty.sizes.items() if size == 0)
        try:
            judge.restored(judge.subject.forward(empty.arrays, empty.parameters), empty)
        except (SubjectGone, WrongForm) as fault:
            return judge.witnessed(_refuted(name, f"with no {axis} {fault.message}"), empty)
        except SubjectFault as fault:
            refused.append(f"with no {axis} {fault.message}")
        held += 1
    if refused:
        return Verdict(name, Status.UNDECIDED, f"refused aloud: {'; '.join(refused)}")
    return Verdict(name, Status.HELD, "shape and type are as due", cases=held) if held else None


def without_places(draw: Draw, case: Case) -> Iterator[Case]:
    """A case with each of these axes at size zero in turn, where the subject takes such sizes."""
    for axis in AXES:
        if axis not in case.sizes:
            continue
        sizes = {**case.sizes, axis: 0}
        try:
            if supported(draw.spec, sizes, draw.support) == sizes:
                yield draw.case(sizes, seed=case.seed, parameters=case.parameters)
        except AttnverifyError:
            # A size that others follow from, or that a parameter needs, cannot be zero.
            continue


def _refuted(name: str, detail: str) -> Verdict:
    return Verdict(name, Status.REFUTED, detail, witness=Witness(note=detail))
