"""Say which attention a function computes and which conventions it follows, without a spec."""

from attnverify.identify.probed import UNKNOWN, conventions, identify
from attnverify.identify.support import support

__all__ = ["UNKNOWN", "conventions", "identify", "support"]
