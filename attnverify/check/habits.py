"""What one call on fresh contiguous arrays cannot show: memory kept from call to call, strides.

Nor does it show whether a call gives the same bits again, alone as among a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from attnverify.check.judge import Judge
from attnverify.check.probe import NotJudged, Probe
from attnverify.check.strides import ignored
from attnverify.compare import same_bits
from attnverify.inputs import Case, Draw, supported
from attnverify.subjects import Pair, SubjectFault, SubjectGone
from attnverify.subjects.views import VIEWS, WORDS
from attnverify.verdict import Status, Verdict, Witness

# Bits of one entry alone are compared with its bits in a batch of this many.
BATCH = 8
VIEWED = "strided inputs"


def habits(judge: Judge, draw: Draw, case: Case) -> tuple[Verdict, ...]:
    """Verdicts on ways to put a case that is HELD when put plainly: again, in another place.

    A subject that is well behaved gets none.  A REFUTED one carries the case that it was wrong on,
    and its replay puts that in the same ways.  UNDECIDED tells what is legal and worth knowing.
    """
    plain = judge.ask(case, backward=False)
    if any(v.status is not Status.HELD for v in plain.verdicts.values()) or not plain.verdicts:
        return ()
    other = draw.case(case.sizes, seed=case.seed + 1, parameters=case.parameters)
    second = () if other.empty and not draw.empty else _second(judge, case, other)
    found = [judge.witnessed(verdict, other) for verdict in second]
    found += [judge.witnessed(verdict, case) for verdict in _again(judge, case)]
    for put in (case, _same_batches(draw, case)):
        if put is not None and not any(v.name.startswith(VIEWED) for v in found):
            found += [judge.witnessed(verdict, put) for verdict in _viewed(judge, draw, put)]
    return (*found, *_batch_of_one(judge, draw, case))


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


def _again(judge: Judge, case: Case) -> Iterator[Verdict]:
    """The same case twice in a row: other bits are legal, and worth knowing."""
    try:
        pair = judge.subject.twice(case.arrays, case.arrays, case.parameters)
    except SubjectFault:
        return
    for out, array in pair.first.items():
        same = same_bits(out, pair.second.outputs[out], array)
        if same.status is not Status.HELD:
            said = f"not deterministic: {out} of the same call twice, {same.detail}"
            yield Verdict(f"repeated call ({judge.dtype})", Status.UNDECIDED, said)
            return


def _same_batches(draw: Draw, case: Case) -> Case | None:
    """The case with every batch entry equal to the first, which a broadcast view can be."""
    if case.sizes.get("batch", 1) < 2:
        return None
    arrays = dict(case.arrays)
    for entry in draw.spec.inputs:
        name = entry.tensor.name
        if entry.indices and entry.indices[0].axis.name == "batch":
            arrays[name] = np.repeat(arrays[name][:1], len(arrays[name]), axis=0)
    return replace(case, arrays=arrays)


def _viewed(judge: Judge, draw: Draw, case: Case) -> Iterator[Verdict]:
    """The case with inputs that lie in memory in other ways, as far as the framework knows them.

    With gradients the cotangents lie so too.
    """
    name = f"{VIEWED} ({judge.dtype})"
    backward = not judge.no_backward
    expected = judge.expected(case, backward=backward)
    if expected.reason:
        return
    for view in VIEWS:
        try:
            outputs = judge.subject.forward(case.arrays, case.parameters, view=view)
            judged = judge.outputs(outputs, case, expected)
            judged += judge.slopes(case, expected, view) if backward else []
        except SubjectGone as gone:
            if not gone.hung:
                yield _refuted(name, f"on inputs that are not contiguous: {gone.message}")
            return
        except SubjectFault as fault:
            # To refuse them loudly is a choice; to compute something else is not.
            said = f"of inputs, {WORDS[view]} are refused: {fault.message}"
            yield Verdict(name, Status.UNDECIDED, said)
            return
        wrong = next((v for v in judged if v.status is Status.REFUTED), None)
        if wrong is not None:
            said = f"right on contiguous inputs, wrong on {WORDS[view]}: {wrong.detail}"
            found = [one.plain() for one in ignored(judge, draw, case, view)]
            evidence = {**wrong.evidence, **({"explained": found} if found else {})}
            yield replace(wrong, name=name, detail=said, evidence=evidence)
            return


def _batch_of_one(judge: Judge, draw: Draw, case: Case) -> Iterator[Verdict]:
    """Whether one batch entry alone gives the bits that it gives among eight: reported."""
    if "batch" not in case.sizes:
        return
    sizes = {**case.sizes, "batch": BATCH}
    if supported(judge.spec, sizes, draw.support) != sizes:
        return
    many = draw.case(draw.with_room(sizes), seed=case.seed, parameters=case.parameters)
    probe = Probe(judge, draw.support)
    try:
        one = probe.only(many, "batch", many.sizes["batch"] - 1)
        among, alone = (probe.output(put) for put in (many, one))
    except (NotJudged, SubjectFault):
        return
    if "batch" not in among.axes:
        return
    last = among.only("batch", many.sizes["batch"] - 1)
    differ = int(np.sum((last.value != alone.value) & ~np.isnan(last.value)))
    if differ:
        said = (
            f"{differ} of {alone.value.size} entries of {judge.spec.outputs[0]} have other bits "
            f"in a batch of {many.sizes['batch']} than alone"
        )
        yield Verdict(f"batch invariance ({judge.dtype})", Status.UNDECIDED, said)


def _refuted(name: str, detail: str) -> Verdict:
    return Verdict(name, Status.REFUTED, detail, witness=Witness(note=detail))
