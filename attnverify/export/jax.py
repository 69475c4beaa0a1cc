"""JAX's dialect; a recurrence is a scan."""

from __future__ import annotations

from attnverify.export import helpers
from attnverify.export.dialects import Dialect, forms
from attnverify.export.helpers import completed

THRESHOLD = '''
def threshold(scores, axis, power):
    """The tau at which sum max(scores - tau, 0) ** power = 1 along an axis; 0 in an empty row.

    It lies within 1 below the largest score, and is found by halving. Derivatives hold it constant:
    two Newton steps follow, which have them.
    """
    scores = lax.stop_gradient(scores)
    top = jnp.max(scores, axis, keepdims=True, initial=-math.inf)
    empty = jnp.isneginf(top)
    high = jnp.where(empty, 0, top)

    def halved(_, ends):
        low, high = ends
        middle = (low + high) / 2
        mass = jnp.sum(jnp.maximum(scores - middle, 0) ** power, axis, keepdims=True)
        return jnp.where(mass >= 1, middle, low), jnp.where(mass >= 1, high, middle)

    low, high = lax.fori_loop(0, 60, halved, (high - 1, high))
    return jnp.where(empty, 0, low).squeeze(axis)
'''

JAX = Dialect(
    name="jax",
    title="JAX",
    library="jnp",
    imports=(
        "import math",
        "from functools import partial",
        "",
        "import jax",
        "import jax.numpy as jnp",
        "from jax import lax",
    ),
    forms={
        **forms("jnp"),
        "logistic": "jax.nn.sigmoid({0})",
        "erf": "lax.erf({0})",
        "stop_gradient": "lax.stop_gradient({0})",
        "reduce sum": "jnp.sum({0}, axis={1})",
        "reduce max": "jnp.max({0}, axis={1}, initial=-math.inf)",
    },
    helpers={
        "expect": completed(helpers.EXPECT, "jnp"),
        "inverse": completed(helpers.INVERSE, "jnp"),
        "finite": completed(helpers.FINITE, "jnp"),
        "times": completed(helpers.TIMES, "jnp"),
        "contract": completed(helpers.CONTRACT, "jnp"),
        "alibi_slope": completed(helpers.SLOPE, "jnp", ASREAL="jnp.asarray(head, real)"),
        "t5_bucket": completed(helpers.BUCKET, "jnp"),
        "threshold": THRESHOLD.strip(),
    },
    number="jnp.asarray({0}, real)",
    arange="jnp.arange({0})",
    arrays=True,
    real="jnp.result_type({0}, 0.5)",
    reserved=frozenset({"jnp", "jax", "lax", "partial", "held", "saved", "given"}),
)
