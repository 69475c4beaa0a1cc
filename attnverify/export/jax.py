"""JAX's dialect; a recurrence is a scan."""

from __future__ import annotations

from attnverify.export import helpers
from attnverify.export.dialects import Dialect, forms
from attnverify.export.helpers import completed

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
        "alibi_slope": completed(helpers.SLOPE, "jnp", ASREAL="jnp.asarray(head, real)"),
        "t5_bucket": completed(helpers.BUCKET, "jnp"),
        "threshold": completed(
            helpers.THRESHOLD,
            "jnp",
            KEPT="keepdims",
            LARGEST="jnp.max(lax.stop_gradient(scores), axis, keepdims=True)",
            RELU="jnp.maximum(lax.stop_gradient(scores) - middle, 0)",
        ),
    },
    number="jnp.asarray({0}, real)",
    arange="jnp.arange({0})",
    arrays="{0} = map(jnp.asarray, ({1}))",
    real="{0}.dtype",
    reserved=frozenset({"jnp", "jax", "lax", "partial", "held", "saved", "given"}),
)
