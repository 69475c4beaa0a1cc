"""Facts about products and whole parts that follow from what a question says already.

They are added where z3 does not find them by itself: the product of two numbers that are not
negative is not, d q <= a < d q + d for the whole part q of a / d with d >= 1, and how a multiple of
d by a whole number compares with d. Each is true of all numbers, so that an answer is worth as much
with them as without.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from attnverify.certify.formulas import Key, factors, renamed_form

if TYPE_CHECKING:
    from attnverify.certify.query import Question

MOST_FACTORS = 3


def facts_about(question: Question, key: Key) -> Iterator[str]:
    """The facts about a product, or a whole part."""
    parts = factors(key)
    for part in parts:
        if part[0] == "o":
            yield from _quotient(question, part)
    if not 2 <= len(parts) <= MOST_FACTORS:
        return
    for place, one in enumerate(parts):
        for other in parts[place + 1 :]:
            for a in _not_negative(question, one):
                for b in _not_negative(question, other):
                    yield f"(<= 0 (* {a} {b}))"
            if (one[0] == "o") != (other[0] == "o"):
                whole, by = (one, other) if one[0] == "o" else (other, one)
                (q, q_real), (d, d_real) = question.key(whole), question.key(by)
                if not q_real and not d_real:
                    yield from _multiple(d, q)


def _not_negative(question: Question, key: Key) -> list[str]:
    """Numbers that a factor's range says are at least 0."""
    body, is_real = question.key(key)
    if is_real:
        return []
    if key[0] == "v":
        return [body, f"(- {question.size(question.axis_of(key[2]))} 1 {body})"]
    if key[0] == "n":
        return [f"(- {body} 1)"]
    if key[0] != "p":
        return []
    found, spare = question.parameters[key[1]], []
    if found.ge is not None and found.ge.denominator == 1:
        spare.append(f"(- {body} {_integer(int(found.ge))})")
    if found.le is not None and found.le.denominator == 1:
        spare.append(f"(- {_integer(int(found.le))} {body})")
    return spare


def _integer(value: int) -> str:
    return str(value) if value >= 0 else f"(- {-value})"


def _quotient(question: Question, key: Key) -> Iterator[str]:
    told = question.quotients.get(key[1])
    if told is None:
        return
    places = {-1 - n: var for n, var in enumerate(key[2])}
    (above, a_real), (under, d_real) = (question.form(renamed_form(f, places)) for f in told)
    q, _ = question.key(key)
    if a_real or d_real:
        return
    low, high = f"(<= (* {under} {q}) {above})", f"(< {above} (+ (* {under} {q}) {under}))"
    yield f"(=> (<= 1 {under}) (and {low} {high}))"
    yield from _multiple(under, q)


def _multiple(d: str, q: str) -> Iterator[str]:
    times = f"(* {d} {q})"
    yield f"(=> (= {q} 0) (= {times} 0))"
    yield f"(=> (= {q} 1) (= {times} {d}))"
    yield f"(=> (= {q} (- 1)) (= {times} (- {d})))"
    yield f"(=> (and (<= 1 {d}) (<= 2 {q})) (<= (* 2 {d}) {times}))"
    yield f"(=> (and (<= 1 {d}) (<= {q} (- 2))) (<= {times} (* (- 2) {d})))"
