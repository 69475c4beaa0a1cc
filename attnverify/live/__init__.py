"""A live view of runs and specs in a browser, served to this machine alone unless told otherwise.

Nothing that a request says is evaluated: names are looked up among those that there are, numbers
are digits within limits, and a file is one of those that were listed.
"""

from __future__ import annotations

from attnverify.live.server import Server

__all__ = ["Server"]
