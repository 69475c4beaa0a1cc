"""What printed source names, on autograd's arrays; autograd differentiates by its own rules.

Where a rule of the library's is wrong or leaves the total inverse, one stands here: its `where`
gives a branch that was broadcast a gradient of the wrong shape, its `broadcast_to` takes no new
leading dimensions, and its roots and logarithms have an infinite slope at 0, which a selection
behind them turns into NaN; its slope of tanh leaves the range where tanh is flat.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.extend import defvjp, primitive
from autograd.numpy.numpy_vjps import unbroadcast_f
from autograd.tracer import getval

from attnverify.compile import special, thresholds

where = primitive(np.where)
defvjp(
    where,
    lambda _ans, keep, x, _y: unbroadcast_f(x, lambda g: where(keep, g, 0)),
    lambda _ans, keep, _x, y: unbroadcast_f(y, lambda g: where(keep, 0, g)),
    argnums=(1, 2),
)


def broadcast_to(x: Any, shape: tuple[int, ...]) -> Any:
    """`x` repeated to a shape; the library's own rule takes no new leading dimensions."""
    return anp.add(x, np.zeros(shape, dtype=bool))


def inverse(x: Any) -> Any:
    """1/x, and 0 where x is 0."""
    safe = where(x != 0, x, 1)
    return where(x != 0, 1 / safe, 0)


sqrt = primitive(np.sqrt)
defvjp(sqrt, lambda ans, _x: lambda g: g * inverse(ans) / 2)

log = primitive(np.log)
defvjp(log, lambda _ans, x: lambda g: g * inverse(x))

tanh = primitive(np.tanh)


def _tanh_slope(x: Any) -> Any:
    """1 / cosh(x)^2, of an exponential that never grows."""
    small = anp.exp(-2 * anp.abs(x))
    return 4 * small / (1 + small) ** 2


defvjp(tanh, lambda _ans, x: lambda g: g * _tanh_slope(x))

power = primitive(np.power)


def _power_slope(x: Any, exponent: Any) -> Any:
    """The slope of a power at its base, 0 where the base is 0."""
    safe = where(x != 0, x, 1)
    return where(x != 0, exponent * power(safe, exponent - 1), 0)


defvjp(power, lambda _ans, x, e: unbroadcast_f(x, lambda g: g * _power_slope(x, e)), argnums=(0,))

expit = primitive(special.expit)
# The library's own rule is s (1 - s), which loses every digit where s is close to 1.
defvjp(expit, lambda ans, x: lambda g: g * ans * expit(-x))

erf = primitive(special.erf)
_SLOPE = 2 / np.sqrt(np.longdouble("3.14159265358979323846264338327950288"))
defvjp(erf, lambda _ans, x: lambda g: g * _SLOPE * anp.exp(-(x**2)))

NAMES: dict[str, Any] = {
    "np": SimpleNamespace(
        **{
            **vars(anp),
            "where": where,
            "broadcast_to": broadcast_to,
            "sqrt": sqrt,
            "log": log,
            "power": power,
            "tanh": tanh,
        }
    ),
    "inverse": inverse,
    "expit": expit,
    "erf": erf,
    "constant": getval,
    "threshold": lambda shown, *rest: thresholds.begin(getval(shown), *rest),
}
