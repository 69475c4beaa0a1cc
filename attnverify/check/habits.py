"""What one call on fresh contiguous arrays cannot show: memory kept from call to call, strides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from attnverify.check.judge import Judge
from attnverify.compare import same_bits
from attnverify.inputs import Case, Draw
from attnverify.subjects import Pair, SubjectFault, SubjectGone
from attnverify.verdict import Status, Verdict, Witness

Array = NDArray[Any]


def habits(judge: Judge, draw: Draw, case: Case) -> tuple[Verdict, ...]:
    """Verdicts on ways to put a case that is HELD when put plainly: followed by another, strided.

    A subject that is well behaved gets none.  A REFUTED one carries the case that it was wrong on,
    and its replay puts that in the same ways.  UNDECIDED tells what is legal and worth knowing.
    """
    plain = judge.ask(case, backward=False)
    if any(v.status is not Status.HELD for v in plain.verdicts.values()) or not plain.verdicts:
        return ()
    other = draw.case(case.sizes, seed=case.seed + 1, parameters=case.parameters)
    second = () if other.empty and not draw.empty else _second(judge, case, other)
    return (
        *(judge.witnessed(verdict, other) for verdict in second),
        *(judge.witnessed(verdict, case) for verdict in _strided(judge, case)),
    )


def _second(judge: Judge, earlier: Case, case: Case) -> Iterator[Verdict]:
    """A case put right after another of the same sizes."""
    name = f"second call ({judge.dtype})"
    try:
        pair = judge.subject.twice(earlier.arrays, case.arrays, case.parameters)
    except SubjectFault as fault:
        if isinstance(fault, SubjectGone) and fault.hung:
            return
        yield _refuted(name, f"on a second call of the same sizes: {fault.message}")
        return
    stale = [v for v in judge.outputs(pair.second.outputs, case) if v.status is Status.REFUTED]
    for verdict in stale[:1]:
        said = f"right on a first call, wrong on a second one of the same sizes: {verdict.detail}"
        yield replace(verdict, name=name, detail=said)
    yield from _kept_outputs(pair, f"earlier outputs ({judge.dtype})")
    if pair.views:
        told = ", ".join(f"{out} lies in the memory of {given}" for out, given in pair.views)
        said = f"{told}: whoever writes to one changes the other"
        yield Verdict(f"views of inputs ({judge.dtype})", Status.UNDECIDED, said)


def _kept_outputs(pair: Pair, name: str) -> Iterator[Verdict]:
    """Whether what the first call returned is still what it was."""
    for out, array in pair.first.items():
        if same_bits(out, pair.later[out], array).status is not Status.HELD:
            yield _refuted(
                name, f"{out} of an earlier call changed when the subject was called again"
            )
            return


def _strided(judge: Judge, case: Case) -> Iterator[Verdict]:
    """The case with inputs whose axes lie in another order in memory."""
    name = f"strided inputs ({judge.dtype})"
    try:
        outputs = judge.subject.forward(case.arrays, case.parameters, strided=True)
    except SubjectGone as gone:
        if not gone.hung:
            yield _refuted(name, f"on inputs that are not contiguous: {gone.message}")
        return
    except SubjectFault as fault:
        # To refuse them loudly is a choice; to compute something else is not.
        said = f"inputs that are not contiguous are refused: {fault.message}"
        yield Verdict(name, Status.UNDECIDED, said)
        return
    wrong = [v for v in judge.outputs(outputs, case) if v.status is Status.REFUTED]
    for verdict in wrong[:1]:
        said = f"right on contiguous inputs, wrong on strided ones: {verdict.detail}"
        yield replace(verdict, name=name, detail=said)


def _refuted(name: str, detail: str) -> Verdict:
    return Verdict(name, Status.REFUTED, detail, witness=Witness(note=detail))
