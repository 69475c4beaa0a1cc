"""What the checker says of a step that does not apply."""

from __future__ import annotations


class Rejected(Exception):  # noqa: N818  no error of the user's: the answer of a checker
    """A step of a certificate does not apply; the message says which and why."""
