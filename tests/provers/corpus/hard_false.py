"""False, a step away from what the rarer rules prove."""

from __future__ import annotations

from attnverify.algebra.predicates import as_predicate
from attnverify.algebra.terms import inverse
from attnverify.notation import (
    eq,
    exp,
    logistic,
    ne,
    relu,
    softmax,
    sqrt,
    tanh,
    total,
    where,
)
from attnverify.statement import Relabel
from tests.provers.corpus.common import (
    a,
    claim,
    cut,
    e,
    factor,
    g,
    i,
    j,
    k,
    l,
    m,
    n,
    n_q,
    p,
    r,
    s,
    scale,
    seen_by,
    sees,
    x,
    y,
    z,
)

FALSE = [
    claim("exp of the wrong diagonal", total(where(eq(j, l)) * exp(g[j, m]), j), exp(g[l, l])),
    claim("inverse of a difference off the diagonal", where(ne(j, l)) * inverse(x[j] - x[l]), 0),
    claim("antisymmetric pairs are one", exp(g[j, l] - g[l, j]), 1),
    claim(
        "an asymmetric function of pairs",
        total(where(j < l) * tanh(x[j] - x[l]), [j, l]),
        total(where(l < j) * tanh(x[j] - x[l]), [j, l]),
    ),
    claim("[T != 0] is one", x[j] * inverse(x[j]) * y[j] ** 2, y[j] ** 2),
    claim("[Z != 0] of a signed sum", (total(x[j], j) * inverse(total(x[j], j))) * y[l], y[l]),
    claim("[Z != 0] of squares", total(x[j] ** 2, j) * inverse(total(x[l] ** 2, l)), 1),
    claim("[Z != 0] of relu", total(relu(x[j]), j) * inverse(total(relu(x[l]), l)), 1),
    claim(
        "[Z != 0] of masked squares",
        total(where(j <= i) * (x[j] ** 2 + exp(y[j])), j)
        * inverse(total(where(j < i) * x[j] ** 2, j) + total(where(j < i) * exp(y[j]), j)),
        1,
    ),
    claim(
        "[Z != 0] of a positive and a square elsewhere",
        (total(where(j < i) * exp(y[j]), j) + a[()] ** 2)
        * inverse(total(where(j < i) * exp(y[j]), j) + a[()] ** 2),
        1,
    ),
    claim(
        "an inverse of a sum of masks",
        inverse(where(seen_by[i, j]) + where(p[j])),
        where(seen_by[i, j]) + where(p[j]),
    ),
    claim(
        "an inverse of dependent sums",
        inverse(total(where(j <= l) * exp(x[j]) * exp(y[l]), [j, l])),
        inverse(total(exp(x[j]), j)) * inverse(total(exp(y[l]), l)),
    ),
    claim(
        "an inverse of a sum of products",
        inverse(x[l] * y[j] + x[l] ** 2 * z[j]),
        inverse(x[l]) * inverse(y[j] + z[j]),
    ),
    claim(
        "a root of a product of signs", sqrt(relu(x[j])) * sqrt(relu(y[j])), sqrt(relu(x[j] * y[j]))
    ),
    claim("odds the other way", exp(x[j]) / (1 + exp(x[j])), logistic(-x[j])),
    claim("a temperature in the odds", exp(2 * x[j]) / (1 + exp(2 * x[j])), logistic(x[j])),
    claim("exp of one is one", exp(1) * x[j], x[j]),
    claim(
        "weights of weights at one key",
        softmax(softmax(s[i, j], over=j), over=j),
        softmax(s[i, j], over=j),
    ),
    claim("an inverse of a cut", cut * inverse(cut) * x[j], x[j]),
    claim("an inverse of a position that may be zero", j * inverse(j) * x[j], x[j]),
    claim("positions up to a query beyond the keys", total(where(j <= i), j), i + 1),
    claim("positions squared, elsewhere", total(where(eq(j, l)) * j * l, j), l * j),
    claim("a hypothesis on another key", where(p[j]) * x[j], x[j], given=[as_predicate(p[l])]),
    claim(
        "a hypothesis on another row",
        total(softmax(s[i, j], over=j, where=seen_by[i, j]), j),
        1,
        given=[sees(p[j], j)],
    ),
    claim(
        "a hypothesis does not reach bound names",
        total(where(p[j]) * x[j], j),
        total(x[j], j),
        given=[as_predicate(p[j])],
    ),
    claim(
        "a hypothesis does not reach a summed term",
        r[i] * 0 + where(p[j]) * x[j],
        total(x[l] ** 2, l),
        kind="bound",
        given=[as_predicate(p[j])],
    ),
    claim(
        "one term of a sum that is positive here",
        where(p[j]) * exp(x[j]) - where(~p[j]) * exp(x[j]) + e[()] * 0,
        total(where(p[l]) * exp(x[l]), l) - total(where(~p[l]) * exp(x[l]), l),
        kind="bound",
        given=[as_predicate(p[j])],
    ),
    claim(
        "a deep sum captured",
        total(total(g[j, l] * x[j], j) * x[l], l),
        total(total(g[j, l] * x[l], j) * x[l], l),
    ),
    claim("a factor that may be negative", factor * x[j] ** 2 * scale, kind="sign"),
    claim(
        "features that cancel",
        total(relu(x[j]) - exp(y[j]), j) * inverse(total(relu(x[l]) - exp(y[l]), l)),
        1,
    ),
    claim("size of another axis", total(where(k >= 0), k) * x[j], n * x[j]),
    claim(
        "a row of zeros over its length",
        total(x[j] ** 2, j) * inverse(sqrt(total(x[l] ** 2, l)) ** 2),
        1,
    ),
    claim(
        "the cube of a length for its square",
        total(x[j] ** 2, j) * inverse(sqrt(total(x[l] ** 2, l)) ** 3),
        inverse(sqrt(total(x[l] ** 2, l)) ** 2),
    ),
    claim(
        "another row's length",
        total(x[j] ** 2, j) * inverse(sqrt(total(y[l] ** 2, l)) ** 2),
        total(x[j] ** 2, j) * inverse(total(x[l] ** 2, l)),
    ),
    claim(
        "two maps of one name",
        where(eq(i, j)) * x[j] * r[i],
        where(eq(i, j)) * x[j] * r[i],
        relabels=[Relabel("keys", ("x",), ("j",)), Relabel("queries", ("r",), ("i",))],
    ),
    claim(
        "a bound of what is moved, by any map",
        where(j >= n_q) * x[j] ** 2,
        where(j >= n_q) * x[j] ** 2,
        kind="bound",
        relabels=[Relabel("keys", ("x",), ("j",), bijection=False)],
    ),
]
