"""What is known of products and of whole parts of quotients: z3 is told it where it is at a loss.

Nothing here is news. Where a and b are at least 0 so is a b; where q is the whole part of a / d and
d is at least 1, d q <= a < d q + d; and a product by a whole number is a multiple. But z3 does not
multiply bounds by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import z3

from attnverify.algebra.normal.forms import Key, factors, renamed_form

if TYPE_CHECKING:
    from attnverify.algebra.normal.query import Query

Z3 = Any  # z3 publishes no types
MOST_FACTORS = 3


def lemmas(query: Query, key: Key) -> Iterator[Z3]:
    """What follows from the bounds of the factors of a product, or for a whole part."""
    if key[0] == "o":
        yield from _whole_part(query, key)
    parts = factors(key)
    if not 1 < len(parts) <= MOST_FACTORS:
        return
    for one, other in combinations(parts, 2):
        for first, second in product(_spare(query, one), _spare(query, other)):
            yield first * second >= 0
        for whole, by in ((one, other), (other, one)):
            if whole[0] == "o" and by[0] != "o":
                yield from _multiples(query.key(by), query.key(whole))


def _spare(query: Query, key: Key) -> Iterator[Z3]:
    """What is at least 0 by the range of a factor."""
    match key[0]:
        case "v":
            place = query.key(key)
            yield place
            yield query.size(query.setting.axis_of(key[2])) - 1 - place
        case "n":
            yield query.size(key[1]) - 1
        case "p":
            found = query.setting.parameters[key[1]]
            if found.ge is not None:
                yield query.key(key) - query.number(found.ge)
            if found.le is not None:
                yield query.number(found.le) - query.key(key)


def _whole_part(query: Query, key: Key) -> Iterator[Z3]:
    """D q <= a < d q + d, where d is at least 1."""
    found = query.setting.quotients.get(key[1])
    if found is None:
        return
    names = {-1 - place: arg for place, arg in enumerate(key[2])}
    above, under = (query.form(renamed_form(form, names)) for form in found)
    whole = query.key(key)
    multiple = under * whole
    yield z3.Implies(under >= 1, z3.And(multiple <= above, above < multiple + under))
    yield from _multiples(under, whole)


def _multiples(by: Z3, whole: Z3) -> Iterator[Z3]:
    """Where `by` is at least 1, what its multiple is for each of the smallest whole numbers."""
    for number in (-1, 0, 1):
        yield z3.Implies(whole == number, by * whole == by * number)
    yield z3.Implies(z3.And(by >= 1, whole >= 2), by * whole >= by * 2)
    yield z3.Implies(z3.And(by >= 1, whole <= -2), by * whole <= by * -2)
