"""NumPy's dialect."""

from __future__ import annotations

from attnverify.export import helpers
from attnverify.export.dialects import Dialect, forms
from attnverify.export.helpers import completed

ERF = '''
def erf(x):
    """The error function, which NumPy lacks: Python's, entry by entry."""
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(np.result_type(x, 0.5))
'''

NUMPY = Dialect(
    name="numpy",
    title="NumPy",
    library="np",
    imports=("import math", "", "import numpy as np"),
    forms={
        **forms("np"),
        "logistic": "logistic({0})",
        "erf": "erf({0})",
        "stop_gradient": "{0}",
        "reduce sum": "np.sum({0}, axis={1})",
        "reduce max": "np.max({0}, axis={1}, initial=-math.inf)",
        "forwards": "range({0})",
        "backwards": "reversed(range({0}))",
    },
    helpers={
        "expect": completed(helpers.EXPECT, "np"),
        "inverse": completed(helpers.INVERSE, "np"),
        "finite": completed(helpers.FINITE, "np"),
        "times": completed(helpers.TIMES, "np"),
        "contract": completed(helpers.CONTRACT, "np"),
        "logistic": completed(helpers.LOGISTIC, "np"),
        "erf": completed(ERF, "np"),
        "alibi_slope": completed(helpers.SLOPE, "np", ASREAL="np.asarray(head, real)"),
        "t5_bucket": completed(helpers.BUCKET, "np"),
        "threshold": completed(
            helpers.THRESHOLD,
            "np",
            KEPT="keepdims",
            LARGEST="np.max(scores, axis, keepdims=True, initial=-math.inf)",
            RELU="np.maximum(scores - middle, 0)",
        ),
    },
    number="np.asarray({0}, real)",
    arange="np.arange({0})",
    plain_counter=True,
    arrays=True,
    real="np.result_type({0}, 0.5)",
    reserved=frozenset({"np"}),
)
