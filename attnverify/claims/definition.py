"""What attention is: its formula, its weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from attnverify.algebra.terms import Index, Tensor, inverse, mul, total
from attnverify.claims.claim import Claim, met
from attnverify.compile import compile as compile_spec
from attnverify.flow.initial import drawn, sizes_of
from attnverify.flow.theory.settled import settled
from attnverify.invariants import INVARIANTS
from attnverify.library import load
from attnverify.notation import exp, sqrt
from attnverify.statement import Statement
from attnverify.verdict import Verdict, Witness
from attnverify.verify import ask

EXAMPLES = 24


def asked(invariant: str, spec: str, **choices: Any) -> Verdict:
    """The verdict on an invariant of a spec, by its name."""
    (found,) = (row for row in INVARIANTS if row.name == invariant)
    return ask(found, load(spec, **choices), EXAMPLES, 0)


def formula(spec: str) -> Verdict:
    """O = softmax(Q K^T / sqrt(d_k)) V with softmax written out (Vaswani et al. 2017, eq. 1).

    >>> formula("global").status.value
    'PROVED'
    """
    whole = load(spec)
    b, h, i, c = whole.heads["O"].indices
    j, k = whole.heads["K"].indices[2:]
    l, m = Index("l", j.axis), Index("m", k.axis)
    Q, K, V = Tensor("Q"), Tensor("K"), Tensor("V")

    def grown(key: Index, channel: Index) -> Any:
        product = total(mul(Q[b, h, i, channel], K[b, h, key, channel]), over=channel)
        return exp(product / sqrt(k.axis.size))

    right = total(mul(grown(j, k), inverse(total(grown(l, m), over=l)), V[b, h, j, c]), over=j)
    return settled(Statement("formula", "equal", whole, whole.heads["O"], right), "formula")


def weights_differ(draws: int = 100, *, queries: str = "drawn") -> Verdict:
    """Whether every two outputs of a draw have different weights; `queries` "equal" makes them one.

    >>> weights_differ(5).status.value, weights_differ(5, queries="equal").status.value
    ('HELD', 'REFUTED')
    """
    spec = load("global", outputs="A")
    oracle, sizes = compile_spec(spec), sizes_of(spec, 6, 4, {"batch": 1, "heads": 1})
    least, equal = np.inf, {}
    for draw in range(draws):
        arrays = drawn(spec, sizes, np.random.default_rng(draw))
        if queries == "equal":
            arrays["Q"] = np.repeat(arrays["Q"][:, :, :1], 6, axis=2)
        A = oracle(**arrays)["A"][0, 0]
        apart = np.abs(A[:, None] - A[None]).max(axis=-1)[~np.eye(6, dtype=bool)].min()
        if apart < least:
            least, equal = float(apart), arrays
    return met(
        least > 0, "weights differ",
        f"the two most similar rows of {draws} draws differ by {least:.2g} at most",
        cases=draws, scope=f"6 queries and keys, {queries} queries",
        witness=None if least > 0 else Witness(sizes, equal, tensor="A", note="two equal queries"),
    )  # fmt: skip


CLAIMS: tuple[Claim, ...] = (
    Claim("attention is softmax(Q K^T / sqrt(d_k)) V", lambda: formula("global")),
    Claim(
        "whatever is called attention is softmax(Q K^T / sqrt(d_k)) V",
        lambda: formula("sigmoid"),
        fails="sigmoid attention gives each key a weight of its own",
        given="sigmoid, drawn sizes and inputs",
    ),
    Claim("the weights of an output sum to one", lambda: asked("rows sum to one", "global")),
    Claim(
        "weights sum to one in every attention",
        lambda: asked("rows sum to one", "luong_local_p"),
        fails="the Gaussian of Luong's local-p attention comes after softmax",
        given="luong_local_p, drawn sizes and inputs",
    ),
    Claim("weights differ from one output to another", weights_differ),
    Claim(
        "weights differ from one output to another, whatever the queries",
        lambda: weights_differ(20, queries="equal"),
        fails="equal queries have equal weights",
    ),
)
