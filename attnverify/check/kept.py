"""What a subject keeps from call to call: an input of an earlier call, a table of other lengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from attnverify.algebra.rewrite import walk
from attnverify.algebra.terms import Apply
from attnverify.check.asked import Asked, agrees
from attnverify.check.chance import by_chance
from attnverify.check.diagnose import Diagnosis, Dues
from attnverify.check.explanation import Observed, habit
from attnverify.equations import Equation
from attnverify.inputs import Case
from attnverify.inputs.sizes import CHANNELS, FEW, supported
from attnverify.subjects import SubjectFault, WrongForm

Array = NDArray[Any]
ANGLES = habit("angles kept", "angles of an earlier call are used again", "POS-07")
MASK = habit("dropout mask kept", "the dropout mask of an earlier call is used again", "DRP-06")
INPUT = habit("input kept", "an input of an earlier call is used again")
TABLE = habit("relative bias kept", "a relative bias of an earlier call is used again", "POS-25")
LENGTHS = habit("lengths kept", "something is kept that an earlier call's lengths have")
# Lengths that no schedule has, so that nothing is kept of them yet.
ODD = (18, 21, 23, 26)
# Longer than anything that was asked before: what is kept for the longest is made anew.
LONG = 331
QUERIES = (7, 5, 7, 5, 7, 5)
BIASES = {"alibi_slope", "t5_bucket"}


@dataclass(frozen=True)
class _Twice:
    """Two calls of the same sizes, and the answers to both."""

    earlier: Case
    case: Case
    first: Mapping[str, Array]
    second: Mapping[str, Array]


def kept(search: Diagnosis) -> list[Observed]:
    """What of an earlier call explains the answers to a later one."""
    if by_chance(search):
        return []
    return _inputs_kept(search) or _lengths_kept(search)


def _inputs_kept(search: Diagnosis) -> list[Observed]:
    """An input of the first call of a shape that is used in later calls too."""
    names = [e.tensor.name for e in search.judge.spec.inputs]
    twice = [*_calls(search)]
    if len(twice) < len(ODD):
        return []
    for dues, told in _explaining_first(search, twice):
        for name in names[::-1]:
            kinds = [_by_first(dues, one, name) for one in twice]
            plain = [agrees(one.second, due) for one in twice if (due := dues(one.case))]
            if all(kinds) and False in plain:
                return [_stale(search, name, told, len(twice), plain.count(False))]
    return []


def _calls(search: Diagnosis) -> Iterator[_Twice]:
    for number, length in enumerate(ODD):
        wanted = {
            a.name: 2 if a.name in FEW else 4 if a.name in CHANNELS else length + place
            for place, a in enumerate(search.judge.spec.axes)
        }
        sizes = search.draw.with_room(supported(search.judge.spec, wanted, search.draw.support))
        one, two = (search.draw.case(sizes, seed=search.seed + 2 * number + n) for n in (0, 1))
        two = search.draw.case(sizes, seed=two.seed, parameters=one.parameters)
        first, second = _answer(search, one), _answer(search, two)
        if first is not None and second is not None:
            yield _Twice(one, two, first, second)


def _answer(search: Diagnosis, case: Case) -> dict[str, Array] | None:
    judge = search.judge
    try:
        outputs = judge.subject.forward(case.arrays, case.parameters)
        return {n: judge.restored_as(n, a, case) for n, a in outputs.items()}
    except (SubjectFault, WrongForm):
        return None


def _explaining_first(search: Diagnosis, twice: Sequence[_Twice]) -> Iterator[tuple[Dues, str]]:
    """The spec, or else each mutant, that gives the answers to all first calls."""
    own = search.own[1]
    if _gives(own, twice):
        yield own, ""
        return
    for mutant in search.in_time(search.candidates()):
        computed = search.program(mutant.spec)
        about = (search.alike(computed(o.earlier), Asked(o.earlier, o.first)) for o in twice)
        if all(about) and _gives(search.dues_of(mutant), twice):
            yield search.dues_of(mutant), mutant.sentence


def _gives(dues: Dues, twice: Sequence[_Twice]) -> bool:
    """Whether the answers to all first calls are those due."""
    return all((due := dues(one.earlier)) and agrees(one.first, due) for one in twice)


def _by_first(dues: Dues, one: _Twice, name: str) -> bool:
    """Whether the second answer is what is due with an input of the first call."""
    arrays = {**one.case.arrays, name: one.earlier.arrays[name]}
    due = dues(replace(one.case, arrays=arrays))
    return due is not None and agrees(one.second, due) is True


def _stale(search: Diagnosis, name: str, told: str, count: int, differed: int) -> Observed:
    kinds = {e.tensor.name: e.tensor.kind for e in search.judge.spec.inputs}
    operator = INPUT
    if name == "drop" and kinds[name] == "bool":
        operator = MASK
    elif kinds[name] == "int" and _turns(search):
        operator = ANGLES
    also = f"{told}, and " if told else ""
    evidence = (
        f"agrees on {count} of {count} second calls of one shape with the {name} of the first, "
        f"differs from the spec on {differed}"
    )
    return Observed(
        operator, f"{also}uses the {name} of an earlier call of the same shape", evidence
    )


def _applied(search: Diagnosis) -> set[str]:
    """The functions that the equations apply."""
    rows = [s for s in search.judge.spec.equations if isinstance(s, Equation)]
    return {n.primitive for row in rows for n in walk(row.body) if isinstance(n, Apply)}


def _turns(search: Diagnosis) -> bool:
    return "cos" in _applied(search)


def _lengths_kept(search: Diagnosis) -> list[Observed]:
    """One case that is right after a call of the same queries, and wrong after one of others."""
    spec, support = search.judge.spec, search.draw.support
    names = {axis.name for axis in spec.axes}
    if not {"queries", "keys"} <= names:
        return []

    def sized(queries: int, keys: int) -> dict[str, int] | None:
        wanted = {a: 1 if a in FEW else 2 for a in names} | {"queries": queries, "keys": keys}
        sizes = search.draw.with_room(supported(spec, wanted, support))
        return sizes if (sizes["queries"], sizes["keys"]) == (queries, keys) else None

    last = sized(QUERIES[0], LONG)
    case = None if last is None else search.draw.case(last, seed=search.seed)
    due = None if case is None or case.empty else search.own[1](case)
    if case is None or due is None:
        return []
    found = []
    for number, queries in enumerate(QUERIES, 1):
        sizes = sized(queries, LONG + number)
        if sizes is not None:
            _answer(search, search.draw.case(sizes, seed=search.seed))
            answer = _answer(search, case)
            found.append(answer is not None and agrees(answer, due) is True)
    if len(found) < len(QUERIES) or found != [queries == QUERIES[0] for queries in QUERIES]:
        return []
    operator = TABLE if BIASES & _applied(search) else LENGTHS
    told = "uses what it kept of an earlier call that had another number of queries"
    evidence = (
        "one input is right after a call of as many, and wrong after one of fewer, three times"
    )
    return [Observed(operator, told, evidence)]
