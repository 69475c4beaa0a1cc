"""Checks that need no reference: the invariants of a spec, asked of the subject alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from attnverify.check.identities import (
    Asked,
    alone,
    causality,
    euler,
    hidden,
    key_gradients,
    linearity,
    permutation,
    read_off,
    row_sums,
    seeds_add,
    value_gradients,
    value_shift,
)
from attnverify.check.judge import Judge
from attnverify.check.probe import NotJudged, Oracle, Probe
from attnverify.check.states import decoding, merging
from attnverify.errors import RefutedError
from attnverify.inputs import Case, Draw, supported
from attnverify.invariants import applicable, roles
from attnverify.subjects import SubjectFault
from attnverify.verdict import Status, Verdict, Witness

# Sizes, by turns, and styles of the cases that are asked; the last is longer than a tile of 16.
SIZES: tuple[Mapping[str, int], ...] = (
    {"batch": 2, "heads": 2, "group": 2, "repeat": 2, "queries": 5, "keys": 7, "time": 6},
    {"batch": 3, "heads": 1, "queries": 6, "keys": 6, "time": 5},
    {"batch": 2, "heads": 3, "queries": 19, "keys": 21, "time": 9},
)
STYLES = ("normal", "integers", "peaked")
WIDTH = 4
# Each check asks a case several times over: one that would take larger arrays is brought down.
ENTRIES = 2**13


@dataclass(frozen=True)
class Free:
    """One check: its name, the invariant that must apply to the spec, and how it is asked."""

    name: str
    needs: str
    ask: Callable[[Asked], None]
    backward: bool = False


FREE: tuple[Free, ...] = (
    Free("rows sum to one", "rows sum to one", row_sums),
    Free("weights read off through V = I", "weights are not negative", read_off),
    Free("masked keys have no influence", "masked keys have no influence", hidden),
    Free("causality", "causality", causality),
    Free("permutation equivariance", "permutation equivariance", permutation),
    Free("batch independence", "batch independence", alone("batch")),
    Free("head independence", "head independence", alone("heads")),
    Free("linearity in the values", "linearity in the values", linearity),
    Free("value shift", "value shift", value_shift),
    Free("key gradients sum to zero", "key gradients sum to zero", key_gradients, backward=True),
    Free(
        "value gradients sum to output cotangents",
        "value gradients sum to output cotangents",
        value_gradients,
        backward=True,
    ),
    Free("<dQ, Q> = <dK, K>", "<dQ, Q> = <dK, K>", euler, backward=True),
    Free("gradients add up over cotangents", "", seeds_add, backward=True),
    Free("partial states merge", "permutation equivariance", merging),
    Free("decode = prefill", "", decoding),
)


def free(judge: Judge, draw: Draw, cases: Iterable[Case] | None = None) -> Iterator[Verdict]:
    """One verdict for each check that applies and that some case could be asked.

    The first case that refutes a check is its witness.
    """
    probe, parts = Probe(judge, draw.support), roles(judge.spec)
    asked = [Asked(probe, parts, case) for case in (drawn(draw) if cases is None else cases)]
    for check in applying(judge):
        found = _verdict(check, asked)
        if found is not None:
            yield found


def drawn(draw: Draw) -> Iterator[Case]:
    """The cases that are asked: unequal sizes, several batch entries and heads."""
    for number, (named, style) in enumerate(zip(SIZES, STYLES, strict=True)):
        sizes = {axis.name: named.get(axis.name, WIDTH) for axis in draw.spec.axes}
        fitting = draw.with_room(supported(draw.spec, sizes, draw.support), ENTRIES)
        case = draw.case(fitting, seed=number, style=style)
        # A caller may set a size to zero: nothing can be read off what is not there.
        if all(case.sizes.values()) and (draw.empty or not case.empty):
            yield case


def applying(judge: Judge) -> list[Free]:
    """The checks that a spec's invariants allow and its subject can be asked."""
    if judge.rounding.profile.scaled:
        # Where a tensor has one scale, no place is independent of another.
        return []
    announced = judge.spec.announces
    found = {
        invariant.name
        for invariant, unmet in applicable(judge.spec)
        if not unmet and invariant.name not in announced
    }
    asked = [check for check in FREE if not check.needs or check.needs in found]
    if judge.no_backward:
        asked = [check for check in asked if not check.backward]
    return [check for check in asked if _fits(check, judge, found)]


def _fits(check: Free, judge: Judge, invariants: set[str]) -> bool:
    """Whether the subject gives what a check reads."""
    spec, judged = judge.spec, judge.subject.plan.judged
    if check.ask is merging:
        return judged == spec.outputs == ("O", "L") and "log-sum-exp shift" in invariants
    if check.ask is decoding and not any(e.tensor.name.endswith("_past") for e in spec.inputs):
        return False
    return spec.outputs[0] in judged


def _verdict(check: Free, asked: Sequence[Asked]) -> Verdict | None:
    """HELD in all cases that could be asked, or REFUTED by the first; None where none could."""
    began, held = time.monotonic(), 0
    for one in asked:
        fault = _fault(check, one)
        if fault is None:
            continue
        if fault:
            return _refuted(check, one, fault, time.monotonic() - began)
        held += 1
    if not held:
        return None
    return Verdict(
        _named(check, asked[0]),
        Status.HELD,
        said(check),
        cases=held,
        scope="drawn cases, without a reference",
        seconds=time.monotonic() - began,
    )


def _refuted(check: Free, asked: Asked, fault: str, seconds: float) -> Verdict:
    detail = f"{said(check)}: {fault}"
    verdict = Verdict(
        _named(check, asked), Status.REFUTED, detail, seconds=seconds, witness=Witness(note=detail)
    )
    return asked.probe.judge.witnessed(verdict, asked.case)


def _named(check: Free, asked: Asked) -> str:
    return f"{check.name} ({asked.probe.dtype})"


def said(check: Free) -> str:
    """What a check claims, in the words of its first line."""
    return (check.ask.__doc__ or check.name).strip().partition("\n")[0].rstrip(".")


def _fault(check: Free, asked: Asked) -> str | None:
    """What is wrong on a case; empty where nothing is, None where it cannot be asked."""
    try:
        check.ask(asked)
    except NotJudged:
        return None
    except SubjectFault as fault:
        return fault.message
    except RefutedError as fault:
        return fault.message if _lawful(check, asked) else None
    return ""


def _lawful(check: Free, asked: Asked) -> bool:
    """Whether the spec's own oracle does what is asked: not every spec announces what it breaks."""
    oracle = Oracle(asked.probe.judge, asked.probe.support)
    try:
        check.ask(replace(asked, probe=oracle))
    except (NotJudged, RefutedError):
        return False
    return True
