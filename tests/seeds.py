"""The seeds that right implementations are judged under: one as a rule, more where asked for."""

from __future__ import annotations

import os

# ATTNVERIFY_SEEDS=0,1,2 judges under three, and each on every case that `check` draws.
WHOLE = "ATTNVERIFY_SEEDS" in os.environ
SEEDS = tuple(int(seed) for seed in os.environ.get("ATTNVERIFY_SEEDS", "0").split(","))
