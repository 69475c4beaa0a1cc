"""Every member of the catalogue, for tests that go through all of it."""

from __future__ import annotations

from collections.abc import Mapping

from attnverify.library import catalog, members
from attnverify.spec import Spec

MEMBERS: Mapping[str, Spec] = {
    title: spec for name in catalog() for title, spec in members(name, {})
}
TITLES = tuple(MEMBERS)
GLOBAL = "global (dropout=False, lse_base=e)"
CAUSAL = "causal (align=top_left, offset=0, empty_rows=zeros)"
CAUSAL_FROM_THE_LAST = CAUSAL.replace("top_left", "bottom_right")
