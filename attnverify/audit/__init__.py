"""Would a test have noticed? Known bugs take the place of what it tests, one at a time."""

from attnverify.audit.audited import audit, suggested

__all__ = ["audit", "suggested"]
