"""True, and made for rarer rules: diagonals, idempotents, roots, nested sums, parameters."""

from __future__ import annotations

from fractions import Fraction

from attnverify.algebra.predicates import as_predicate
from attnverify.algebra.terms import Power, inverse
from attnverify.notation import (
    eq,
    exp,
    larger,
    log,
    logistic,
    relu,
    softmax,
    sqrt,
    tanh,
    total,
    where,
)
from attnverify.statement import Relabel, Statement
from tests.provers.corpus.common import (
    a,
    claim,
    cut,
    d,
    g,
    i,
    j,
    l,
    length,
    m,
    n,
    p,
    row,
    s,
    seen_by,
    sees,
    sees_key,
    t,
    window,
    x,
    y,
    z,
)

DIAGONALS: list[Statement] = [
    claim(
        "exp on the diagonal", total(where(eq(j, l)) * exp(g[j, l] * x[j]), j), exp(g[l, l] * x[l])
    ),
    claim(
        "exp of a pair on the diagonal", total(where(eq(j, l)) * exp(x[j] + x[l]), j), exp(2 * x[l])
    ),
    claim(
        "exp of an antisymmetric pair is one on the diagonal",
        where(eq(j, l)) * exp(g[j, l] - g[l, j]),
        where(eq(j, l)),
    ),
    claim(
        "an inverse on the diagonal",
        total(where(eq(j, l)) * inverse(x[j] + x[l]), j),
        inverse(2 * x[l]),
    ),
    claim("an inverse of a difference on the diagonal", where(eq(j, l)) * inverse(x[j] - x[l]), 0),
    claim(
        "a function on the diagonal",
        total(where(eq(j, l)) * tanh(g[j, l] + g[l, j]), j),
        tanh(2 * g[l, l]),
    ),
    claim(
        "a root on the diagonal",
        where(eq(j, l)) * sqrt(relu(x[j] + x[l])),
        where(eq(j, l)) * sqrt(relu(2 * x[l])),
    ),
    claim(
        "a function under a root's inverse",
        where(eq(j, l)) / sqrt(relu(g[j, l])),
        where(eq(j, l)) / sqrt(relu(g[j, j])),
    ),
    claim(
        "a mass on the diagonal",
        where(eq(j, l)) / total(exp(g[j, m] + g[l, m]), m),
        where(eq(j, l)) / total(exp(2 * g[l, m]), m),
    ),
    claim(
        "a class that is symmetric",
        exp(x[j] * x[l]) * tanh(x[j] + x[l]),
        tanh(x[l] + x[j]) * exp(x[l] * x[j]),
    ),
    claim(
        "symmetric functions of pairs",
        total(where(j < l) * tanh(x[j] + x[l]), [j, l]),
        total(where(l < j) * tanh(x[j] + x[l]), [j, l]),
    ),
    claim(
        "three equal indices",
        where(eq(j, l) & eq(l, m)) * g[j, l] * x[m],
        where(eq(j, m) & eq(j, l)) * g[l, m] * x[j],
    ),
]

IDEMPOTENTS: list[Statement] = [
    claim("T inv(T) is its square", (x[j] * inverse(x[j])) ** 2, x[j] * inverse(x[j])),
    claim("T inv(T) before T", (x[j] * inverse(x[j])) * x[j] ** 3, x[j] ** 3),
    claim(
        "T inv(T) before inv(T)", (x[j] * inverse(x[j])) * inverse(x[j]) ** 2, inverse(x[j]) ** 2
    ),
    claim("T inv(T) is its inverse", inverse(x[j] * inverse(x[j])), x[j] * inverse(x[j])),
    claim(
        "a sum with its square",
        total(x[j] ** 2, j) * inverse(total(x[j] ** 2, j)) ** 2,
        inverse(total(x[l] ** 2, l)),
    ),
    claim(
        "the square of [Z != 0]",
        (total(x[j], j) * inverse(total(x[j], j))) ** 2,
        total(x[l], l) * inverse(total(x[m], m)),
    ),
    claim(
        "[Z != 0] before inv(Z)",
        total(x[j], j) * inverse(total(x[j], j)) * inverse(total(x[l], l)),
        inverse(total(x[j], j)),
    ),
    claim(
        "an inverse of an inverse of a sum",
        inverse(exp(y[l]) * inverse(total(x[j], j))),
        exp(-y[l]) * total(x[j], j),
    ),
    claim(
        "a common factor inside an inverse",
        inverse(total(x[j] * y[l], j)),
        inverse(y[l]) * inverse(total(x[j], j)),
    ),
    claim(
        "a common square inside an inverse",
        inverse(x[l] ** 2 * y[j] + x[l] * z[j]),
        inverse(x[l]) * inverse(x[l] * y[j] + z[j]),
    ),
    claim(
        "an inverse of a coefficient of two",
        inverse(where(seen_by[i, j]) + 1),
        1 - where(seen_by[i, j]) / 2,
    ),
    claim(
        "an inverse of three cases",
        inverse(where(seen_by[i, j]) - where(p[j])),
        where(seen_by[i, j]) - where(p[j]),
    ),
    claim(
        "an inverse of a masked sum",
        inverse(where(p[l]) * total(exp(x[j]), j)),
        where(p[l]) * inverse(total(exp(x[j]), j)),
    ),
    claim(
        "an inverse of independent sums",
        inverse(total(where(j <= i) * exp(x[j]) * y[l], [j, l])),
        inverse(total(where(j <= i) * exp(x[j]), j)) * inverse(total(y[l], l)),
    ),
    claim("an inverse of nothing", inverse(x[j] - x[j]), 0),
    claim("a power of an inverse", Power(inverse(x[j]), Fraction(2)), inverse(x[j] ** 2)),
    claim("a root of an inverse of exp", inverse(sqrt(exp(2 * x[j]))), exp(-x[j])),
    claim("a root with a size", sqrt(d * exp(x[j])), sqrt(d) * exp(x[j] / 2)),
    claim(
        "a root of a sum with a unit",
        sqrt(exp(2 * y[l]) * total(exp(x[j]), j)),
        exp(y[l]) * sqrt(total(exp(x[j]), j)),
    ),
    claim("a root of a rational", sqrt(exp(x[j]) * 12), 2 * sqrt(3) * exp(x[j] / 2)),
    claim("one minus a logistic", 1 - logistic(x[j]), exp(-x[j]) * logistic(x[j])),
    claim("a logistic by its exp", exp(x[j]) / (1 + exp(x[j])), logistic(x[j])),
    claim("odds of a logistic", exp(-x[j]) / (1 + exp(-x[j])), logistic(-x[j])),
    claim(
        "exp of a masked value", where(p[j]) * exp(where(p[j]) * 0 + x[j]), where(p[j]) * exp(x[j])
    ),
    claim("exp of a constant", exp(1) * exp(2) * x[j], exp(3) * x[j]),
    claim("exp of nothing", exp(x[j] - x[j]), 1),
    claim("a function of two", larger(x[j], y[j]) * a[()], a[()] * larger(x[j], y[j])),
    claim("log of one thing", log(exp(x[j]) + exp(y[j])), log(exp(y[j]) + exp(x[j]))),
]

COMBINED: list[Statement] = [
    claim("roots of two multiply", sqrt(2 * exp(x[j])) * sqrt(2 * exp(x[j])), 2 * exp(x[j])),
    claim("roots of two and of eight", sqrt(8 * exp(x[j])) / sqrt(2 * exp(x[j])), 2),
    claim(
        "mass under two masks",
        total((where(j <= i) + where(p[j])) * exp(x[j]), j)
        * inverse(total((where(l <= i) + where(p[l])) * exp(x[l]), l)),
        sees_key((j <= i) | p[j]),
    ),
    claim(
        "mass outside a mask",
        total((1 - where(j < i)) * exp(x[j]), j) * inverse(total(where(l >= i) * exp(x[l]), l)),
        where(i < n),
    ),
    claim(
        "a mask in parts is still the mask",
        total((where((j <= i) & (j < cut)) + where((j <= i) & (j >= cut))) * exp(x[j]), j)
        * inverse(total(where(l <= i) * exp(x[l]), l)),
        1,
    ),
    claim(
        "a mask in parts inside exp",
        exp((where(j < cut) + where(j >= cut)) * x[l]),
        exp(x[l]),
    ),
    claim("a vanishing part inside exp", exp(where(p[j] & (j < i) & (j > i)) * x[l]), 1),
    claim(
        "parts that cancel inside exp",
        exp((where(j < cut) + where(j >= cut) - 1) * x[l] + y[l]),
        exp(y[l]),
    ),
    claim(
        "an inverse with two masks outside",
        inverse((where(row[i]) + where(seen_by[i, m]) + 1) * total(x[j], j)),
        inverse(where(row[i]) + where(seen_by[i, m]) + 1) * inverse(total(x[l], l)),
    ),
    claim(
        "cubes of a logistic's odds",
        exp(3 * x[j]) / (1 + exp(x[j])),
        exp(2 * x[j]) * logistic(x[j]),
    ),
    claim(
        "odds of a mixture",
        exp(x[j]) * y[l] / (2 + exp(x[j])),
        y[l] - 2 * y[l] * inverse(2 + exp(x[j])),
    ),
    claim(
        "odds of a mixture, weighed",
        3 * exp(x[j]) / (2 + 3 * exp(x[j])),
        1 - 2 / (2 + 3 * exp(x[j])),
    ),
    claim(
        "a difference of odds",
        (exp(2 * x[j]) - 1) * inverse(exp(2 * x[j]) + 1),
        1 - 2 * logistic(-2 * x[j]),
    ),
    claim("a product of a window and a size counted", total(where(j < window * n), j), n),
    claim(
        "one of two negatives",
        inverse(x[j] - y[j] - z[j]) * inverse(y[j] + z[j] - x[j]),
        -(inverse(x[j] - y[j] - z[j]) ** 2),
    ),
    claim(
        "squares are at least none",
        total(where(p[j]) * x[j] ** 2, j) + total(where(~p[j]) * x[j] ** 4, j),
        kind="sign",
    ),
    claim(
        "a mask less both",
        where(p[j]) + where(row[i]) - where(p[j]) * where(row[i]),
        1,
        kind="bound",
    ),
]

NESTED: list[Statement] = [
    claim(
        "weights of weights",
        total(softmax(total(softmax(s[i, j], over=j) * g[l, j], j), over=l), l),
        1,
    ),
    claim(
        "a positive sum of inverses",
        total(exp(t[i, m]) / total(exp(s[i, j] + x[m]), j), m)
        * inverse(total(exp(t[i, m]) / total(exp(s[i, l] + x[m]), l), m)),
        1,
    ),
    claim(
        "a masked sum of inverses",
        total(where(m <= i) * exp(x[m]) / total(exp(y[j]), j), m)
        * inverse(total(where(m <= i) * exp(x[m]) / total(exp(y[j]), j), m)),
        1,
    ),
    claim(
        "a mean of squares over itself",
        total(x[j] ** 2 + exp(y[j]), j) * inverse(total(x[l] ** 2, l) + total(exp(y[l]), l)),
        1,
    ),
    claim(
        "features that are positive",
        total((relu(x[j]) + exp(-relu(x[j]))) * y[j], j)
        * inverse(total(relu(x[l]) + exp(-relu(x[l])), l))
        + total((relu(x[j]) + exp(-relu(x[j]))) * (1 - y[j]), j)
        * inverse(total(relu(x[l]) + exp(-relu(x[l])), l)),
        1,
    ),
    claim("a parameter as a number", (cut + 1) * x[j] - x[j], cut * x[j]),
    claim("a window times a size", window * n * x[j], n * (window * x[j])),
    claim("an integer entry as a number", (length[()] + 1) * x[j] - x[j], length[()] * x[j]),
    claim("an inverse of a window", window * inverse(window) * x[j], x[j]),
    claim("an inverse of a position", (j + 1) * inverse(j + 1) * x[j], x[j]),
    claim(
        "positions up to a query", total(where(j <= i), j) * where(i < n), (i + 1) * where(i < n)
    ),
    claim("a size less itself", (n - n) * x[j], 0),
    claim("a product of sizes", total(1, [j, l]), n * n),
    claim("positions squared", total(where(eq(j, l)) * j * j, j), l * l),
    claim("a hypothesis on a mask", where(p[j]) * x[j], x[j], given=[as_predicate(p[j])]),
    claim("a hypothesis on lengths", where(length[()] > 0) * x[j], x[j], given=[length[()] >= 2]),
    claim(
        "a row that sees a key",
        total(softmax(s[i, j], over=j, where=seen_by[i, j]), j),
        1,
        given=[sees(seen_by[i, j], j)],
    ),
    claim(
        "a bound under a hypothesis",
        where(p[j]) * x[j] ** 2,
        x[j] ** 2,
        kind="bound",
        given=[as_predicate(p[j])],
    ),
    claim(
        "a mask permuted on both sides",
        where(eq(j, l)) * x[j],
        where(eq(j, l)) * x[j],
        relabels=[Relabel("keys", ("x",), ("j", "l"))],
    ),
    claim(
        "a parameter inside a sum that is shifted",
        total(where(j + 1 < n) * x[j], j) - total(where(j > 0) * x[j], j),
        total(where(eq(j, 0)) * x[j], j) - total(where(eq(j, n - 1)) * x[j], j),
    ),
    claim(
        "a mapped entry",
        x[j] * y[l],
        x[j] * y[l],
        relabels=[Relabel("keys", ("x",), ("j",), bijection=False)],
    ),
]

CONTEXTS: list[Statement] = [
    claim(
        "log of a product", log(exp(x[j]) * total(exp(y[l]), l)), x[j] + log(total(exp(y[l]), l))
    ),
    claim("exp of a log", exp(log(exp(x[j]) + 1)), exp(x[j]) + 1),
    claim("exp under its own mask", where(p[j]) * exp(where(p[j]) * x[j]), where(p[j]) * exp(x[j])),
]

# True, and beyond the rules that stand now; each would need the rule that its name says.
NOT_YET = [
    claim(
        "a comparison on the diagonal",
        where(eq(j, l)) * where(g[j, l] <= x[j]),
        where(eq(j, l)) * where(g[l, l] <= x[l]),
    ),
    claim("tanh through exp", tanh(x[j]), 2 * logistic(2 * x[j]) - 1),
    claim("a sum of positions", 2 * total(where(j <= l) * j, j), l * (l + 1)),
    claim(
        "a signed sum times its [Z != 0]",
        total(x[j], j) * total(x[l], l) * inverse(total(x[m], m)),
        total(x[j], j),
    ),
    claim("the square of relu", relu(x[j]) * x[j], relu(x[j]) ** 2),
    claim("larger of one thing", larger(x[j], x[j]), x[j]),
]

ROOTS = [
    claim(
        "what turns with a row over its length leaves it",
        total(x[j] * y[j], j) * inverse(sqrt(total(x[l] ** 2, l)))
        - total(x[j] ** 2, j) * total(x[l] * y[l], l) * inverse(sqrt(total(x[m] ** 2, m)) ** 3),
        0,
    ),
    claim("a root squared", sqrt(relu(x[j])) ** 2, relu(x[j])),
]

TRUE = [*ROOTS, *DIAGONALS, *IDEMPOTENTS, *COMBINED, *NESTED, *CONTEXTS]
