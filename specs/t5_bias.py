"""T5's relative bias: a learned number per head and logarithmic bucket of j - i, and scale 1.

Raffel et al. 2020, section 2.1. `two_sided=False` is the decoder's: causal, with all buckets for
the past. The input `table` is (buckets, heads); positions `max_distance` away and farther share one
bucket.
"""

from attnverify.notation import (
    Choice,
    Spec,
    attention,
    bucket_bias,
    causal,
    everything,
    family,
    parameter,
)

distance = parameter("max_distance", integer=True, ge=17, doc="where the last bucket begins")


def build(two_sided: bool, buckets: int, max_distance: object) -> Spec:
    """T5's bias for an encoder or for a decoder."""
    return attention(
        "t5_bias",
        bias=bucket_bias(two_sided=two_sided, buckets=buckets, max_distance=max_distance),
        mask=everything() if two_sided else causal(),
        scale=1,
        parameters=[max_distance],
    )


spec = family(
    build,
    two_sided=Choice(True, False),
    buckets=Choice(32, 8),
    max_distance=Choice(128, distance),
)
