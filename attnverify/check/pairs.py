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
from attnverify.check.diagnose import LISTED, Diagnosis, Explanation
from attnverify.errors import SpecError
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
    """The pairs of mutants that give the subject's answers, the likelier ones first."""
    if not search.sieves or search.cut:
        return []
    search.seconds, search.clock = search.seconds + SECONDS, search.clock + CLOCK
    probes = list(_probes(search))
    seen = [_seen(search, m, probes) for m in search.in_time(search.candidates())]
    found: list[Explanation] = []
    for one, other in search.in_time(_plausible(seen)):
        for pair in composed(one, other):
            told = search.evidence_for(pair) if search.passes(pair) else None
            found += [told] if told is not None else []
        if len(found) >= LISTED:
            break
    return found


def _probes(search: Diagnosis) -> Iterator[tuple[Asked, Mapping[str, Array]]]:
    """Answers of the subject beside what the spec gives: small draws, and some with zeros."""
    small = [one for one in search.asked if _entries(one) <= MOST and one.case.style in TELLING]
    broad = sorted(small, key=lambda one: (-_breadth(one), _entries(one)))
    own = search.program(search.own[0])
    real = [e.tensor.name for e in search.judge.spec.inputs if e.tensor.kind == "real"]
    zeroed = [
        replace(one.case, arrays={**one.case.arrays, name: np.zeros_like(one.case.arrays[name])})
        for one in broad[:ZEROED]
        for name in real
    ]
    square = [one for one in broad if len({*one.case.sizes.values()}) < len(one.case.sizes)]
    for one in [*search.answers_on(zeroed), *broad[:PLAIN], *square[:PLAIN]]:
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


def _plausible(seen: Sequence[_Seen]) -> Iterator[tuple[Mutant, Mutant]]:
    """The pairs of which each gives the subject's answer wherever the other sleeps."""
    ranked = sorted(combinations(range(len(seen)), 2), key=sum)
    for first, second in ranked:
        one, other = seen[first], seen[second]
        if one.mutant.operator is other.mutant.operator:
            continue
        if (one.asleep & ~other.matches).any() or (other.asleep & ~one.matches).any():
            continue
        yield one.mutant, other.mutant


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
