"""The ledger of claims: what is said of attention, each sentence judged, in both directions.

A claim that is known to fail as it is often made stands beside the one that holds, with its reason;
its verdict is REFUTED and expected.
"""

from __future__ import annotations

from collections.abc import Callable

from attnverify.claims import costs, definition, family, gradients, influence, learning, reach
from attnverify.claims.claim import Claim, judged, section
from attnverify.verdict import Report, Verdict
from attnverify.verify import environment

# Title, what it is about, and the claims, in the order of the page.
LEDGER: tuple[tuple[str, str, tuple[Claim, ...]], ...] = (
    ("What attention is", "The formula, and what weights are.", definition.CLAIMS),
    (
        "Reach",
        (
            "Through how many steps information travels, and how many of them follow one "
            "another. A step leaves the position that it reads: it sums over positions, or reads "
            "the step before."
        ),
        reach.CLAIMS,
    ),
    (
        "Gradients by distance",
        "Norms of d output_t / d input_s before training, from derived gradients, by t - s.",
        gradients.CLAIMS,
    ),
    (
        "Theory beside measurement",
        (
            "What papers prove, held against derived Jacobians. Constants are derived again or "
            "measured; where one was not, the condition says so."
        ),
        gradients.THEORY,
    ),
    (
        "Long sequences",
        (
            "A small experiment: networks of equal size, compiled from their specs, learn two "
            "tasks of memory. An experiment may go either way, so none of these verdicts fails the "
            "report."
        ),
        learning.CLAIMS,
    ),
    ("Cost", "Exact counts of operations as polynomials in the sizes.", costs.CLAIMS),
    (
        "Weights as explanations",
        "What weights say of influence, and what they do not: they are not explanations.",
        influence.CLAIMS,
    ),
    ("One family and its uses", "Forms of attention, and what they serve.", family.CLAIMS),
)


def claims(on_verdict: Callable[[str, Verdict], object] | None = None) -> Report:
    """Judge every claim of the ledger; takes about a minute.

    `on_verdict(title, verdict)` is called as verdicts come. A claim that fails as the ledger says,
    or that an experiment decides, is REFUTED with `expected`.
    """
    told = on_verdict or (lambda _title, _verdict: None)
    sections = tuple(section(title, words, rows, told) for title, words, rows in LEDGER)
    return Report(sections, environment())


__all__ = ["LEDGER", "Claim", "claims", "judged"]
