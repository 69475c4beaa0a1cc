"""How far rounding may move a result: a standard deviation for every entry of every output.

Stochastic arithmetic: the oracle's own program, forward and gradient, is run many times with every
intermediate disturbed as its rounding would disturb it.
"""

from __future__ import annotations

from attnverify.rounding.bounds import Expected, Rounding, arrays_for
from attnverify.rounding.profiles import PROFILES, Profile, loose

__all__ = ["PROFILES", "Expected", "Profile", "Rounding", "arrays_for", "loose"]
