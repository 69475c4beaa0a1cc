"""Certificates: what a proof's steps are, and a checker that applies them again."""

from attnverify.certify.check import Checked, check
from attnverify.certify.errors import Rejected

__all__ = ["Checked", "Rejected", "check"]
