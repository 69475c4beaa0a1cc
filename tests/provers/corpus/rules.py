"""What newer rules prove, and what is false by one step of each of them.

Logarithms and absolute values, masks that decide masks inside functions, ends of axes, thresholds,
sums over one denominator, bounds of tanh, and axes whose positions are pairs.
"""

from __future__ import annotations

from fractions import Fraction

from attnverify.algebra.predicates import TRUE as ALWAYS
from attnverify.algebra.predicates import Compare, as_predicate
from attnverify.algebra.terms import (
    Apply,
    Axis,
    Expr,
    Maximum,
    Threshold,
    add,
    as_expr,
    inverse,
    mul,
    position,
    power,
)
from attnverify.notation import (
    eq,
    exp,
    larger,
    log,
    ne,
    relu,
    softmax,
    tanh,
    total,
    where,
)
from attnverify.statement import Statement
from tests.provers.corpus import bounded
from tests.provers.corpus.common import (
    a,
    claim,
    cut,
    e,
    i,
    j,
    keys,
    l,
    length,
    m,
    n,
    p,
    r,
    scale,
    seen_by,
    sees,
    t,
    x,
    y,
    z,
)


def absolute(value: object) -> Expr:
    """|value|."""
    return Apply("absolute", (as_expr(value),))


def tau(score: Expr, exponent: int = 1, mask: object = ALWAYS) -> Expr:
    """The threshold of scores over keys."""
    return Threshold(score, j, as_predicate(mask), Fraction(exponent))


def top(score: Expr, mask: object = ALWAYS) -> Expr:
    """The largest score over keys."""
    return Maximum(score, j, as_predicate(mask))


first, last = eq(j, 0), eq(j, n - 1)
mass = total(exp(x[j]), j)

LOGS = [
    claim("log of exp", log(exp(x[j])), x[j]),
    claim("log of a mass shifted", log(total(exp(x[j] + a[()]), j)), log(mass) + a[()]),
    claim("exp of log of a mass", exp(log(mass)), mass),
    claim(
        "exp of minus log of a mass",
        exp(x[l] - log(mass)),
        softmax(x[j], over=j) * 0 + exp(x[l]) / mass,
    ),
    claim(
        "log of a masked mass shifted",
        log(total(where(p[j]) * exp(x[j] + a[()]), j)),
        log(total(where(p[j]) * exp(x[j]), j)) + a[()],
        given=[sees(p[j])],
    ),
    claim("absolute of a positive multiple", absolute(scale * x[j]), scale * absolute(x[j])),
    claim("absolute of a negative", absolute(-2 * x[j]), 2 * absolute(x[j])),
    claim(
        "a cap moves little",
        absolute(scale * tanh(x[j] / scale) - x[j]),
        power(absolute(x[j]), 3) / (3 * power(as_expr(scale), 2)),
        kind="bound",
    ),
    claim(
        "tanh moves little",
        absolute(2 * x[j] - 2 * tanh(x[j])),
        mul(Fraction(2, 3), power(absolute(x[j]), 3)),
        kind="bound",
    ),
]
NOT_LOGS = [
    claim(
        "log of a masked mass, unseen",
        log(total(where(p[j]) * exp(x[j] + a[()]), j)),
        log(total(where(p[j]) * exp(x[j]), j)) + a[()] + e[()] - e[()] * where(p[l]),
    ),
    claim("log of a square", log(x[j] ** 2), 2 * log(x[j]) + a[()]),
    claim(
        "exp of log of a square",
        exp(log(x[j] ** 2 + y[j] ** 2)) * where(p[j]),
        (x[j] ** 2 + y[j] ** 2) * where(p[l]),
    ),
    claim("log of a mass scaled", log(total(2 * exp(x[j]), j)), 2 * log(mass)),
    claim(
        "log of a mass shifted by another key", log(total(exp(x[j] + y[j]), j)), log(mass) + y[l]
    ),
    claim("log of a mass shifted twice", log(total(exp(x[j] + a[()]), j)), log(mass) + 2 * a[()]),
    claim("exp of two logs", exp(2 * log(mass)), mass),
    claim("absolute of a sum", absolute(x[j] + y[j]), absolute(x[j]) + absolute(y[j])),
    claim("absolute of a signed multiple", absolute(a[()] * x[j]), a[()] * absolute(x[j])),
    claim(
        "a cap moves less",
        absolute(scale * tanh(x[j] / scale) - x[j]),
        power(absolute(x[j]), 3) / (4 * power(as_expr(scale), 2)),
        kind="bound",
    ),
    claim(
        "a cap without its square",
        absolute(tanh(2 * x[j]) / 2 - x[j]),
        power(absolute(x[j]), 3) / 3,
        kind="bound",
    ),
    claim(
        "a cap of another slope",
        absolute(scale * tanh(2 * x[j] / scale) - x[j]),
        power(absolute(x[j]), 3) / (3 * power(as_expr(scale), 2)),
        kind="bound",
    ),
    claim(
        "tanh the other way",
        power(absolute(x[j]), 3) / 3,
        absolute(tanh(x[j]) - x[j]),
        kind="bound",
    ),
    claim(
        "a signed weight of a cap",
        a[()] * absolute(tanh(x[j]) - x[j]),
        a[()] * power(absolute(x[j]), 3) / 3,
        kind="bound",
    ),
]

INSIDE = [
    claim("a mask inside tanh", where(p[j]) * tanh(where(p[j]) * x[j]), where(p[j]) * tanh(x[j])),
    claim(
        "a mask inside a mass",
        where(i >= 2) * total(where(j <= i) * exp(where(j <= i) * x[j]), j),
        where(i >= 2) * total(where(j <= i) * exp(x[j]), j),
    ),
    claim(
        "a mask inside an inverse",
        where(p[l]) / (total(exp(x[j]), j) + where(p[l]) * exp(y[l])),
        where(p[l]) / (total(exp(x[j]), j) + exp(y[l])),
    ),
    claim(
        "a hypothesis inside tanh", tanh(x[j] + where(j > cut) * y[j]), tanh(x[j]), given=[j <= cut]
    ),
    claim("a position inside exp", exp(j * x[j]), 1, given=[eq(j, 0)]),
    claim(
        "two masks inside each other",
        where(p[j]) * tanh(exp(where(p[j]) * x[j])),
        where(p[j]) * tanh(exp(x[j])),
    ),
    claim(
        "cases of an exponent",
        exp(where(eq(j, l)) * x[m]),
        where(eq(j, l)) * exp(x[m]) + where(ne(j, l)),
    ),
]
NOT_INSIDE = [
    claim(
        "another mask inside tanh", where(p[j]) * tanh(where(p[l]) * x[j]), where(p[j]) * tanh(x[j])
    ),
    claim(
        "a mask outside alone",
        where(p[j]) * tanh(x[j]),
        tanh(where(p[j]) * x[j]) + where(p[l]) * x[j],
    ),
    claim("a weaker mask", where(j <= i) * tanh(where(j < i) * x[j]), where(j <= i) * tanh(x[j])),
    claim(
        "a mask of a bound key inside",
        total(where(p[j]) * tanh(where(p[l]) * x[j]), j),
        total(where(p[j]) * tanh(x[j]), j),
    ),
    claim(
        "that a divisor is not zero, inside itself",
        inverse(x[j]) * inverse(x[j] + where(eq(x[j], 0))),
        inverse(x[j]) ** 2 + where(eq(x[j], 0)),
    ),
    claim(
        "a hypothesis about another key inside",
        tanh(x[j] + where(j > cut) * y[j]),
        tanh(x[j]),
        given=[l <= cut],
    ),
    claim(
        "a hypothesis about a bound key inside",
        total(tanh(where(j > cut) * y[j]), j),
        0,
        given=[l <= cut],
    ),
    claim("a position of another key inside", exp(j * x[j]), 1, given=[eq(l, 0)]),
    claim(
        "cases of an exponent of an inequality",
        exp(where(j <= l) * x[m]),
        where(j <= l) * exp(x[m]),
    ),
    claim("cases without the other case", exp(where(eq(j, l)) * x[m]), where(eq(j, l)) * exp(x[m])),
]

ENDS = [
    claim(
        "the last key of two sums",
        total(where(last) * x[j], j) * total(where(last) * y[j], j),
        total(where(last) * x[j] * y[j], j),
    ),
    claim(
        "the last key over itself",
        total(where(last) * exp(x[j]), j) / total(where(last) * exp(x[j]), j),
        1,
    ),
    claim("the first key", where(eq(l, 0)) * x[l], where(eq(l, 0)) * total(where(first) * x[j], j)),
    claim("a count of one", total(where(last), j), 1),
    claim(
        "keys up to the last",
        total(where(last) * total(where(l <= j) * x[l], l), j),
        total(x[l], l),
    ),
    claim(
        "a picked key counted",
        total(where(eq(j, length[()])), j),
        where((length[()] >= 0) & (length[()] < n)),
    ),
    claim(
        "a picked key under a mask",
        total(where(eq(j, length[()]) & (j <= cut)), j),
        where((length[()] >= 0) & (length[()] < n) & (length[()] <= cut)),
    ),
    claim(
        "sums without their ends",
        total(where(j > 0) * x[j], j) + total(where(first) * x[j], j),
        total(x[j], j),
    ),
]
NOT_ENDS = [
    claim(
        "the last key and the first", total(where(last) * x[j], j), total(where(first) * x[j], j)
    ),
    claim(
        "the last key but one",
        total(where(eq(j, n - 2)) * exp(x[j]), j) / total(where(eq(j, n - 2)) * exp(x[j]), j),
        1,
    ),
    claim(
        "the last key of another axis",
        total(where(eq(j, i)) * where(eq(i, r[i] * 0 + n - 1)) * x[j], j),
        total(where(last) * x[j], j),
    ),
    claim("the last key everywhere", x[l], total(where(last) * x[j], j)),
    claim(
        "two sums of the last key",
        total(where(last) * x[j], j) * total(x[j], j),
        total(where(last) * x[j] ** 2, j),
    ),
    claim(
        "keys up to the first",
        total(where(first) * total(where(l <= j) * x[l], l), j),
        total(x[l], l),
    ),
    claim("a picked key always counted", total(where(eq(j, length[()])), j), 1),
    claim(
        "a picked key counted from below",
        total(where(eq(j, length[()])), j),
        where(length[()] >= 0),
    ),
    claim(
        "a picked key under another mask",
        total(where(eq(j, length[()]) & (j <= cut)), j),
        where((length[()] >= 0) & (length[()] < n) & (length[()] < cut)),
    ),
    claim(
        "twice a key is a key",
        total(where(eq(2 * j, length[()])), j),
        where((length[()] >= 0) & (length[()] < n)),
    ),
]

ROWS = [
    claim("sparsemax sums to one", total(relu(x[j] - tau(x[j])), j), 1),
    claim("entmax sums to one", total(relu(x[j] - tau(x[j], 2)) ** 2, j), 1),
    claim("a threshold shifted", tau(x[j] + a[()]), tau(x[j]) + a[()]),
    claim("a maximum shifted", top(x[j] + y[l]), top(x[j]) + y[l]),
    claim(
        "a masked maximum shifted",
        top(x[j] + a[()], seen_by[i, j]),
        top(x[j], seen_by[i, j]) + a[()],
        given=[sees(seen_by[i, j])],
    ),
    claim(
        "a masked maximum shifted anywhere",
        top(x[j] + a[()], seen_by[i, j]),
        top(x[j], seen_by[i, j])
        + a[()] * total(where(seen_by[i, j]), j) / total(where(seen_by[i, j]), j),
    ),
    claim(
        "sparsemax of shifted scores",
        relu(x[l] + a[()] - tau(x[j] + a[()])),
        relu(x[l] - tau(x[j])),
    ),
    claim("a mean under sparsemax", total(relu(x[j] - tau(x[j])) * y[l], j), y[l]),
    claim(
        "a count compared with none",
        where(eq(total(where(p[j]), j), 0)) * exp(total(where(p[j]), j) * 0),
        1 - total(where(p[j]), j) / total(where(p[j]), j),
    ),
]
NOT_ROWS = [
    claim("sparsemax squared sums to one", total(relu(x[j] - tau(x[j])) ** 2, j), 1),
    claim("entmax unsquared sums to one", total(relu(x[j] - tau(x[j], 2)), j), 1),
    claim("the threshold of other scores", total(relu(x[j] - tau(y[j])), j), 1),
    claim("the threshold of twice the scores", total(relu(x[j] - tau(2 * x[j])), j), 1),
    claim("a masked threshold", total(relu(x[j] - tau(x[j], 1, p[j])), j), 1),
    claim("a threshold under a mask", total(where(p[j]) * relu(x[j] - tau(x[j])), j), 1),
    claim("a threshold that adds", total(relu(x[j] + tau(x[j])), j), 1),
    claim("a threshold of shifted scores", total(relu(x[j] - tau(x[j] + a[()])), j), 1),
    claim("a weighed sum under sparsemax", total(relu(x[j] - tau(x[j])) * y[j], j), y[l]),
    claim("a threshold scaled", tau(2 * x[j]), 2 * tau(x[j])),
    claim("a maximum scaled", top(a[()] * x[j]), a[()] * top(x[j])),
    claim(
        "a masked maximum shifted without keys",
        top(x[j] + a[()], seen_by[i, j]),
        top(x[j], seen_by[i, j]) + a[()],
    ),
    claim("a maximum under a smaller mask", top(x[j], j <= i), top(x[j], j < i)),
    claim("a maximum of a sum", top(x[j] + y[j]), top(x[j]) + top(y[j])),
    claim("a maximum of other keys", top(x[j]), top(y[j])),
    claim("a maximum is the larger of two", top(x[j]), larger(x[l], x[m])),
    claim(
        "a count compared with one",
        where(eq(total(where(p[j]), j), 1)),
        1 - total(where(p[j]), j) / total(where(p[j]), j),
    ),
    claim(
        "a signed sum compared with none", where(total(x[j], j) <= 0), where(eq(total(x[j], j), 0))
    ),
]

SUMS = [
    claim(
        "merging is associative",
        (exp(a[()]) * x[j] / (exp(a[()]) + exp(e[()])))
        * ((exp(a[()]) + exp(e[()])) / (exp(a[()]) + exp(e[()]) + exp(y[l]))),
        exp(a[()]) * x[j] / (exp(a[()]) + exp(e[()]) + exp(y[l])),
    ),
    claim(
        "a difference of inverses",
        inverse(exp(x[j]) + 1) - inverse(exp(x[j]) + 2),
        inverse((exp(x[j]) + 1) * (exp(x[j]) + 2)),
    ),
]
NOT_SUMS = [
    claim(
        "a difference of inverses, of what may be zero",
        inverse(x[j] + 1) - inverse(x[j] + 2),
        inverse((x[j] + 1) * (x[j] + 2)),
    ),
    claim(
        "merging with a wrong mass",
        (exp(a[()]) * x[j] / (exp(a[()]) + exp(e[()])))
        * ((exp(a[()]) + exp(e[()])) / (exp(a[()]) + exp(e[()]) + exp(y[l]))),
        exp(a[()]) * x[j] / (exp(a[()]) + 2 * exp(e[()]) + exp(y[l])),
    ),
    claim(
        "a difference of masked inverses",
        inverse(where(p[l]) * exp(x[j])) - inverse(exp(x[j]) + exp(y[l])),
        exp(y[l]) * inverse(exp(x[j]) * (exp(x[j]) + exp(y[l]))),
    ),
]

tile, offset, single = Axis("tile"), Axis("offset"), Axis("single")
T, O, T2, O2, W = tile["t"], offset["o"], tile["t2"], offset["o2"], single["w"]
whole = Compare("==", keys.size, mul(tile.size, offset.size))
alone = Compare("==", single.size, as_expr(1))
here = Compare("==", position((T, O)), as_expr(j))
swapped = Compare("==", position((O, T)), as_expr(j))
tiled = total(where(here) * z[T, O], [T, O])
PAIRS = [
    claim("a sum over pairs", total(exp(tiled), j), total(exp(z[T, O]), [T, O]), given=[whole]),
    claim(
        "softmax over pairs",
        total(softmax(tiled, over=j) * tiled, j),
        total(exp(z[T, O]) * z[T, O], [T, O]) / total(exp(z[T, O]), [T, O]),
        given=[whole],
    ),
    claim(
        "a position of a pair",
        total(where(here) * where(j < offset.size), j) * where(T >= 1),
        0,
        given=[whole],
    ),
    claim("a sum over one", total(t[i, W], W) * y[l], t[i, W] * y[l], given=[alone]),
    claim("a size of one", single.size * y[l], y[l], given=[alone]),
]
NOT_PAIRS = [
    claim("a sum over pairs of any size", total(exp(tiled), j), total(exp(z[T, O]), [T, O])),
    claim(
        "pairs the other way round",
        total(where(swapped) * exp(x[j]), j),
        total(where(here) * exp(x[j]), j),
        given=[whole],
    ),
    claim(
        "pairs of a longer axis",
        total(exp(tiled), j),
        total(exp(z[T, O]), [T, O]),
        given=[Compare("==", keys.size, add(mul(tile.size, offset.size), 1))],
    ),
    claim("one tile of pairs", total(exp(tiled), j), total(exp(z[T2, O]), O), given=[whole]),
    claim("tiles that are equal", x[l] * z[T, O], x[l] * z[T2, O], given=[whole]),
    claim("offsets that are equal", x[l] * z[T, O], x[l] * z[T, O2], given=[whole]),
    claim("a sum over any number", total(t[i, W], W), t[i, W]),
    claim(
        "a sum over two", total(t[i, W], W), t[i, W], given=[Compare("==", single.size, as_expr(2))]
    ),
]

TRUE: list[Statement] = [*LOGS, *INSIDE, *ENDS, *ROWS, *SUMS, *PAIRS, *bounded.TRUE]
FALSE: list[Statement] = [
    *NOT_LOGS,
    *NOT_INSIDE,
    *NOT_ENDS,
    *NOT_ROWS,
    *NOT_SUMS,
    *NOT_PAIRS,
    *bounded.FALSE,
]
