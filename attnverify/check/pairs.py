"""Name two bugs at once: pairs of mutants, where no single one gives the subject's answers.

Of all pairs only the plausible ones are composed.  An input that is zero, or sizes that are equal,
put a bug to sleep: there the other one alone must give the subject's answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.check.asked import Asked
from attnverify.check.diagnose import Diagnosis
from attnverify.check.explanation import Explanation
from attnverify.errors import SpecError
from attnverify.inputs import Case
from attnverify.transforms.mutate import Mutant, Operator

Array = NDArray[Any]

# What pairs may take after single mutants, of the processor and by the clock.
SECONDS, CLOCK = 2.0, 8.0
# Draws with zeroed inputs, and draws as they are.
ZEROED, PLAIN = 2, 3
# Larger draws cost more than they tell here.
MOST = 3000
TELLING = ("normal", "spread", "offset")


@dataclass(frozen=True)
class _Seen:
    """On which probes a mutant computes what the spec does, and on which what the subject does."""

    mutant: Mutant
    asleep: Array
    matches: Array


def paired(search: Diagnosis) -> list[Explanation]:
    """The likeliest pair of mutants that gives the subject's answers."""
    if not search.sieves or search.cut:
        return []
    search.seconds, search.clock = search.allowed + SECONDS, search.clock + CLOCK
    zeroed = [*_zeroed(search)]
    probes = [*_beside(search, [*search.answers_on(zeroed), *_plain(search)])]
    seen = [_seen(search, m, probes) for m in search.in_time(search.candidates())]
    for one, other in search.in_time(_plausible(seen, len(zeroed))):
        for pair in composed(one, other):
            told = search.evidence_for(pair) if search.passes(pair) else None
            if told is not None:
                # Equivalent pairs are many, and to judge each costs as much as this one.
                return [told]
    return []


def _broad(search: Diagnosis) -> list[Asked]:
    """Small draws, those first whose places can best be told apart."""
    small = [one for one in search.asked if _entries(one) <= MOST and one.case.style in TELLING]
    return sorted(small, key=lambda one: (-_breadth(one), _entries(one)))


def _zeroed(search: Diagnosis) -> Iterator[Case]:
    """Draws with one real input zero."""
    real = [e.tensor.name for e in search.judge.spec.inputs if e.tensor.kind == "real"]
    for one in _broad(search)[:ZEROED]:
        for name in real:
            zeros = np.zeros_like(one.case.arrays[name])
            yield replace(one.case, arrays={**one.case.arrays, name: zeros})


def _plain(search: Diagnosis) -> Iterator[Asked]:
    """Draws as they are, some with equal lengths."""
    broad = _broad(search)
    yield from broad[:PLAIN]
    square = [one for one in broad if len({*one.case.sizes.values()}) < len(one.case.sizes)]
    yield from square[:PLAIN]


def _beside(
    search: Diagnosis, some: Sequence[Asked]
) -> Iterator[tuple[Asked, Mapping[str, Array]]]:
    """Answers of the subject beside what the spec gives."""
    own = search.program(search.own[0])
    for one in some:
        yield one, own(one.case)


def _breadth(one: Asked) -> int:
    """How many axes are longer than two: places that can be told apart."""
    return sum(size > 2 for size in one.case.sizes.values())


def _entries(one: Asked) -> int:
    return sum(int(a.size) for a in one.case.arrays.values())


def _seen(
    search: Diagnosis, mutant: Mutant, probes: Sequence[tuple[Asked, Mapping[str, Array]]]
) -> _Seen:
    computed = search.program(mutant.spec)
    asleep, matches = [], []
    for one, right in probes:
        values = computed(one.case)
        answers = {name: np.asarray(right[name], float) for name in one.answers}
        asleep.append(search.alike(values, replace(one, answers=answers)))
        matches.append(search.alike(values, one))
    return _Seen(mutant, np.array(asleep, bool), np.array(matches, bool))


def _plausible(seen: Sequence[_Seen], zeroed: int) -> list[tuple[Mutant, Mutant]]:
    """The pairs of which each gives the subject's answer where zeros put the other to sleep.

    Elsewhere one may wake the other, as a mask turned round shows scores that were hidden: there it
    is only likelier.
    """
    ranked: list[tuple[int, int, tuple[Mutant, Mutant]]] = []
    for (first, one), (second, other) in combinations(enumerate(seen), 2):
        against = (one.asleep & ~other.matches) | (other.asleep & ~one.matches)
        if one.mutant.operator is not other.mutant.operator and not against[:zeroed].any():
            ranked.append((int(against.sum()), first + second, (one.mutant, other.mutant)))
    return [pair for *_, pair in sorted(ranked, key=lambda row: row[:2])]


def composed(one: Mutant, other: Mutant) -> Iterator[Mutant]:
    """Both rewrites of one spec, in whichever order the second finds its stage.

    >>> from attnverify import load
    >>> from attnverify.transforms.mutate import mutants
    >>> found = {m.operator.name: m for m in mutants(load("causal"))}
    >>> (pair,) = composed(found["alignment"], found["scale dropped"])
    >>> print(pair.operator.name, "|", pair.spec.equation("A"))
    alignment and scale dropped | A[b,h,i,j] = softmax_j(S[b,h,i,j] | j <= i + n_k - n_q)
    """
    for first, second in ((one, other), (other, one)):
        try:
            made = [m for m in second.operator.mutants(first.spec) if m.sentence == second.sentence]
        except SpecError:
            continue
        if made:
            yield Mutant(
                made[0].spec,
                _both(one.operator, other.operator),
                made[0].place,
                f"{one.sentence}, and {other.sentence}",
            )
            return


def _both(one: Operator, other: Operator) -> Operator:
    return Operator(
        f"{one.name} and {other.name}",
        f"{one.words}, and {other.words}",
        other.apply,
        (*one.bugs, *other.bugs),
    )
