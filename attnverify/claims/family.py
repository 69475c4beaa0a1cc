"""One family, and the uses it is put to: translation, captioning, detection."""

from __future__ import annotations

from collections.abc import Iterable

from attnverify.claims.claim import Claim, all_of
from attnverify.claims.definition import asked
from attnverify.lattice import edges, judge
from attnverify.verdict import Status, Verdict
from attnverify.verdict.figure import Table

# Global, local, multi-head and masked forms: which becomes which, from the lattice.
FORMS = ("causal", "local", "sliding_window", "blocked", "padding", "biased", "multi_head",
         "grouped_query", "multi_query", "prefix")  # fmt: skip
MEMBERS = ("global", *FORMS)
CASES = 20


def one_family(names: Iterable[str] = MEMBERS) -> Verdict:
    """Whether the edges of the lattice between these specs hold: each becomes another one.

    >>> one_family(["biased", "global"]).status.value
    'PROVED'
    """
    known = {*names}
    chosen = [one for one in edges(known) if {one.source, one.target} <= known and not one.fails]
    found = [(one, judge(one, CASES)) for one in chosen]
    table = Table(
        ("spec", "becomes", "verdict"),
        tuple((one.source, one.words, verdict.status.value) for one, verdict in found),
        "edges of the lattice of variants",
    )
    statuses = [verdict.status for _, verdict in found]
    worst = next(
        (s for s in (Status.REFUTED, Status.UNDECIDED, Status.HELD) if s in statuses),
        Status.PROVED if statuses else Status.UNDECIDED,
    )
    proved = sum(status is Status.PROVED for status in statuses)
    return Verdict(
        "one family", worst,
        f"{len(statuses)} edges between {len(known)} specs, {proved} of them PROVED for all sizes",
        cases=CASES * len(statuses), scope="each edge under its own condition",
        evidence={"table": table.plain()},
    )  # fmt: skip


def sources_in_any_order() -> Verdict:
    """Whether a translating decoder reads its source as a set, as bare cross-attention does."""
    return asked("permutation equivariance", "seq2seq_attention")


CLAIMS: tuple[Claim, ...] = (
    Claim("global, local, multi-head and masked forms are one family", one_family),
    Claim(
        "it serves translation: a decoder weighs source positions, and the weights sum to one",
        lambda: all_of(
            asked("rows sum to one", "seq2seq_attention"), asked("rows sum to one", "cross")
        ),
        given="seq2seq_attention and cross",
    ),
    Claim(
        "cross-attention reads its source as a set",
        lambda: asked("permutation equivariance", "cross"),
    ),
    Claim(
        "a decoder with attention reads its source as a set",
        sources_in_any_order,
        fails="the states it attends to come of a recurrence along the source",
        given="seq2seq_attention, drawn sizes and inputs",
    ),
    Claim(
        "it serves captioning: regions of an image are weighed, in whatever order they come",
        lambda: all_of(
            asked("rows sum to one", "visual_attention"),
            asked("permutation equivariance", "visual_attention"),
        ),
    ),
    Claim(
        "it serves detection: object queries in another order give their boxes in that order",
        lambda: asked("permutation equivariance", "object_queries"),
    ),
    Claim(
        "every attention is equivariant to the order of its queries",
        lambda: asked("permutation equivariance", "causal"),
        fails="a mask along the sequence orders it",
        given="causal, drawn sizes and inputs",
    ),
)
