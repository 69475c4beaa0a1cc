"""Bounds of exp, products of bounds, whole parts of quotients: true as written, false by one step.

What is false has a wrong sign, a weaker hypothesis, a factor that may be negative, or an index one
too far.
too far.
"""

from __future__ import annotations

from attnverify.notation import absolute, eq, exp, floor_div, remainder, total, where
from attnverify.statement import Statement
from tests.provers.corpus.common import (
    attend,
    claim,
    cut,
    e,
    factor,
    i,
    j,
    l,
    n,
    n_q,
    p,
    r,
    s,
    scale,
    window,
    x,
    y,
)

bump = exp(-((x[j] - y[j]) ** 2))
far = exp(-2 * (j - r[i]) ** 2 / scale**2)

EXPS = [
    claim("a bump is at most one", bump, 1, kind="bound"),
    claim("a bump of three", exp(-((x[j] - 2 * y[j] + e[()]) ** 2)), 1, kind="bound"),
    claim("a bump about a place", far, 1, kind="bound"),
    claim("weights under a bump", attend(p[j]) * far, 1, kind="bound"),
    claim("a sum of weights under a bump", total(attend(p[j]) * far, j), 1, kind="bound"),
    claim("exp of less a length", exp(-absolute(x[j])), 1, kind="bound"),
    claim("a mass under a bump", total(bump, j), n, kind="bound"),
    claim("what a bump leaves", x[j] ** 2 * (1 - bump), kind="sign"),
    claim("two bumps", bump * exp(-(x[l] ** 2)), 1, kind="bound"),
]
NOT_EXPS = [
    claim("a bump the other way round", 1, bump, kind="bound"),
    claim("a bump is at most a half", 2 * bump, 1, kind="bound"),
    claim("exp of a square", exp((x[j] - y[j]) ** 2), 1, kind="bound"),
    claim("a saddle", exp(y[j] ** 2 - x[j] ** 2), 1, kind="bound"),
    claim("too much in the middle", exp(3 * x[j] * y[j] - x[j] ** 2 - y[j] ** 2), 1, kind="bound"),
    claim("a bump times any number", x[l] * bump, x[l], kind="bound"),
    claim("weights under exp of anything", attend(p[j]) * exp(-x[j]), 1, kind="bound"),
    claim("a sum of bumps", total(bump, j), 1, kind="bound"),
    claim("a bump of three with two middles",
          exp(-((x[j] - y[j] + e[()]) ** 2) + 2 * e[()] * x[j]), 1, kind="bound"),
    claim("exp of less a real", exp(-factor * x[j] ** 2), 1, kind="bound"),
    claim("exp of less a masked square",
          exp(-where(p[j]) * x[j] ** 2 + x[j] ** 2), 1, kind="bound"),
    claim("exp of an odd power", exp(-(x[j] ** 3)), 1, kind="bound"),
    claim("a bump is one", bump, 1),
    claim("exp of less an inverse", exp(-1 / x[j]), 1, kind="bound"),
    claim("exp of less an entry", exp(-x[j]), 1, kind="bound"),
    claim("exp of less a sum of squares and a line", exp(-x[j] ** 2 - x[j]), 1, kind="bound"),
]  # fmt: skip

within = where(window * j <= window * (n - 1))
PRODUCTS = [
    claim("a stride stays inside", within, 1),
    claim("a stride before the end", where(l + window * j > l + window * (n - 1)) * x[j], 0),
    claim("one block of all", where(eq(floor_div(j, window), floor_div(l, window))), 1,
          given=[window >= n]),
    claim("the first block", where(eq(floor_div(j, window), 0)), where(j < window)),
    claim("a whole part is not negative", where(floor_div(j, window) >= 0), 1),
    claim("a whole part is at most the whole", where(floor_div(j, window) <= j), 1),
    claim("a remainder is small", where(remainder(j, window) < window), 1),
    claim("a remainder is not negative", where(remainder(j - l, n) >= 0), 1),
    claim("a remainder goes round", where(eq(remainder(j - l, n), j - l + n)), where(j < l)),
    claim("a remainder of what is smaller", where(eq(remainder(j, n), j)), 1),
    claim("a sum over one block", total(where(eq(floor_div(j, window), floor_div(l, window)))
          * x[j], j), total(x[j], j), given=[window >= n]),
]  # fmt: skip
NOT_PRODUCTS = [
    claim("a stride past the end", where(window * (j + 1) <= window * (n - 1)), 1),
    claim("a stride of any sign", where(cut * j <= cut * (n - 1)), 1),
    claim("a stride of less", where(cut * j <= window * j), 1, given=[cut <= window + 1]),
    claim("one block of all but one", where(eq(floor_div(j, window), floor_div(l, window))), 1,
          given=[window >= n - 1]),
    claim("one block of queries", where(eq(floor_div(j, window), floor_div(l, window))) * s[i, j],
          s[i, j], given=[window >= n_q]),
    claim("one block of any size", where(eq(floor_div(j, window), floor_div(l, window))), 1,
          given=[window >= cut]),
    claim("a remainder is no difference", where(eq(remainder(j - l, n), j - l)), 1),
    claim("a remainder is small enough", where(remainder(j, window) < window - 1), 1),
    claim("a remainder goes round too soon",
          where(eq(remainder(j - l, n), j - l + n)), where(j <= l)),
    claim("a whole part of what is negative", where(floor_div(j - l, window) >= 0), 1),
    claim("a whole part is less than the whole", where(floor_div(j, window) < j), 1),
    claim("a whole part by a window of one", where(floor_div(j, window) < j), 1,
          given=[j >= 1]),
    claim("the first block and one", where(eq(floor_div(j, window), 0)), where(j <= window)),
    claim("products in the wrong order", where(window * j <= n * j), 1),
    claim("a square is larger", where(j <= j * l), 1),
    claim("a sum over one block of two", total(where(eq(floor_div(j, window),
          floor_div(l, window))) * x[j], j), total(x[j], j), given=[2 * window >= n]),
]  # fmt: skip

TRUE: list[Statement] = [*EXPS, *PRODUCTS]
FALSE: list[Statement] = [*NOT_EXPS, *NOT_PRODUCTS]
