"""Verdicts as independent jobs: what they depend on, where they run, what was judged before."""

from __future__ import annotations
