"""CPU seconds to verify a member of the catalogue, split into statements and gradient routes."""

from __future__ import annotations

import time
from typing import TypedDict


class VerifyRow(TypedDict):
    """Seconds for one member; `cases` were drawn, each for every statement and route."""

    spec: str
    cases: int
    cpu: float
    statements: float
    routes: float


def of_name(name: str, examples: int | None = None) -> list[VerifyRow]:
    """Verify every member that a name stands for."""
    import attnverify as av
    from attnverify.library import members
    from attnverify.verify import share

    found = list(members(name, {}))
    cases = examples or share(len(found))
    rows = []
    for title, spec in found:
        start = time.process_time()
        verdicts = av.verify(spec, examples=cases).verdicts
        cpu = time.process_time() - start
        routes = sum(v.seconds or 0.0 for v in verdicts if "gradient: " in v.name)
        whole = sum(v.seconds or 0.0 for v in verdicts)
        rows.append(
            VerifyRow(spec=title, cases=cases, cpu=cpu, statements=whole - routes, routes=routes)
        )
    return rows


def measure(*, quick: bool = False) -> list[VerifyRow]:
    """The whole catalogue, or one small spec of it."""
    import attnverify as av

    if quick:
        return of_name("global", examples=8)
    return [row for name in av.catalog() for row in of_name(name)]
