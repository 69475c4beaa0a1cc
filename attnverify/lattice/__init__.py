"""The lattice of variants: which spec becomes which other, as statements with verdicts.

An edge says that one spec, with parameters, inputs or axes fixed in a certain way, computes what
another does (or comes within a bound of it). Each is a claim about a joint spec, tried on draws
that meet its hypotheses, and proved where the prover reaches.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from attnverify.lattice.build import statement, steered
from attnverify.lattice.edge import Edge, Side, edge
from attnverify.lattice.forms import FORMS
from attnverify.lattice.table import CHOICES
from attnverify.library import catalog
from attnverify.provers.disturbed import work
from attnverify.provers.draws import plan
from attnverify.provers.joint import joints
from attnverify.provers.sampled import tried
from attnverify.verdict import Report, Section, Status, Verdict
from attnverify.verify import TERMS, decide, environment

if TYPE_CHECKING:
    import networkx as nx

EDGES: tuple[Edge, ...] = (*CHOICES, *FORMS)
EXAMPLES = 60


def edges(names: Iterable[str] | None = None) -> tuple[Edge, ...]:
    """The edges whose two ends are in the catalogue, of all specs or of those named."""
    known = set(catalog())
    wanted = known if names is None else set(names)
    return tuple(
        one
        for one in EDGES
        if {one.source, one.target} <= known and {one.source, one.target} & wanted
    )


def lattice() -> nx.DiGraph[str]:
    """The specs of the catalogue, with an arrow from each to what it becomes.

    An arrow's "edges" are the edges between its two specs as data, its "words" say under which
    conditions.

    >>> lattice()["biased"]["global"]["words"]
    'global at bias 0'
    """
    import networkx as nx  # noqa: PLC0415  it loads for graphs alone

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(catalog())
    for one in edges():
        before = graph.get_edge_data(one.source, one.target, {"edges": ()})["edges"]
        found = (*before, one)
        words = "; ".join(each.words for each in found)
        graph.add_edge(one.source, one.target, edges=found, words=words)
    return graph


def verify_edges(
    wanted: Sequence[Edge] | None = None, *, examples: int = EXAMPLES, seed: int = 0
) -> Report:
    """A verdict on each edge, in one section per spec that it starts from.

    `examples` is the number of cases drawn for an edge. Raises AttnverifyError where an end does
    not load.
    """
    chosen = edges() if wanted is None else tuple(wanted)
    sections = []
    for source in dict.fromkeys(one.source for one in chosen):
        verdicts = tuple(_judged(one, examples, seed) for one in chosen if one.source == source)
        sections.append(Section(spec=source, verdicts=verdicts))
    return Report(sections=tuple(sections), environment=environment())


def judge(one: Edge, examples: int = EXAMPLES, seed: int = 0) -> Verdict:
    """The verdict on one edge; a failure that the edge gives a reason for is expected."""
    claim = statement(one)
    (joint,) = joints([claim])
    drawn = plan(
        [joint.spec], examples, seed, room=lambda sizes: work(joint.recipe, sizes) <= TERMS
    )
    (seen,) = tried([joint], steered(one, claim, drawn))
    verdict = decide(claim, seen)
    verdict = replace(verdict, evidence={**verdict.evidence, "becomes": one.target})
    if not one.fails:
        return verdict
    if verdict.status is Status.REFUTED:
        return replace(verdict, expected=True, detail=f"as known: {one.fails}. {verdict.detail}")
    return replace(
        verdict,
        status=Status.REFUTED,
        certificate=(),
        detail=f"the table says that this fails ({one.fails}), but it is {verdict.status.value}",
    )


def _judged(one: Edge, examples: int, seed: int) -> Verdict:
    start = time.perf_counter()
    verdict = judge(one, examples, seed)
    return replace(verdict, seconds=time.perf_counter() - start)


__all__ = ["EDGES", "Edge", "Side", "edge", "edges", "judge", "lattice", "verify_edges"]
