"""The outputs of a spec with scores that no score reaches, as a cache for the next step."""

from __future__ import annotations

from collections.abc import Collection

from attnverify.spec import Spec


def unscored(spec: Spec, scores: Collection[str]) -> tuple[str, ...]:
    """The outputs that depend on none of the scores; none where there are no scores.

    >>> from attnverify import load
    >>> spec = load("kv_cache").replace(outputs=("O", "K_all"))
    >>> unscored(spec, {"S"})
    ('K_all',)
    """
    if not scores:
        return ()
    graph, reached = spec.graph(), set(scores)
    waiting = list(scores)
    while waiting:
        for name in graph.successors(waiting.pop()):
            if name not in reached:
                reached.add(name)
                waiting.append(name)
    return tuple(name for name in spec.outputs if name not in reached)
